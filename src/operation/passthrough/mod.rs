//! Passes on a ChatKit request that comes as such, once all that it names is known to be the
//! caller's.
//!
//! What is sent are the client's very bytes, and what comes back are the upstream's, with three
//! exceptions: a list of threads shows the caller's own only (see `own_threads`), the cursor of a page
//! of items is sealed (see `cursors`), and an answer that is a failure becomes a refusal like any
//! other. No stream is held.

use bytes::Bytes;
use http::Method;
use serde_json::Value;

use crate::chatkit::{ChatKit, ChatKitBody};
use crate::operation::extra::check_extra;
use crate::operation::fields::{check_ids, check_metadata, string_at, texts_at};
use crate::operation::message::{chars_beside, check_text, texts};
use crate::operation::reply;
use crate::operation::{Exchange, Gives, Operation, Read, Reply, Row, Takes, attachment};
use crate::principal::Principal;
use crate::protocol::RequestType;
use crate::rejection::{Code, Rejection};
use crate::session::{
    Attachments, Desk, Granted, ItemCursors, OwnThreads, OwnedSession, OwnedThread, RunClaim,
    SessionId,
};
use crate::surface::Surface;
use crate::validate::json::{self, Parsed};
use crate::validate::{Report, UnknownRequests};

mod cursors;
mod known;
mod own_threads;
mod page;
mod pass;
mod shape;
mod spelling;
mod splice;
#[cfg(test)]
mod tests;

use page::WantedPage;

pub(crate) struct Passthrough;

#[derive(Debug)]
pub(crate) struct Call {
    /// `None` for a type that isn't known, where those are let through.
    kind: Option<RequestType>,
    /// The very bytes.
    body: Bytes,
    /// `params.thread_id`.
    thread_id: Option<String>,
    /// `params.input.attachments`, and last `params.attachment_id`.
    attachments: Vec<String>,
    /// `params.title`.
    title: Option<String>,
    /// The page that a list is asked for.
    page: WantedPage,
}

/// What a request may do, by its type, and what its answer may show.
pub(crate) enum Grant {
    /// It streams a run on a thread.
    Run(RunClaim),
    /// It lists threads: only these may be shown.
    ListThreads(OwnThreads),
    /// It asks for a thread, with its oldest items.
    GetThread(OwnedThread, ItemCursors),
    /// It lists a thread's items, from this cursor of the upstream's on.
    ListItems(OwnedThread, ItemCursors, Option<String>),
    /// It gives the thread of this session a title.
    Update(OwnedSession, ItemCursors),
    /// It deletes the thread of this session.
    Delete(OwnedSession),
    /// It creates an attachment, to be recorded as the caller's.
    CreateAttachment(Attachments),
    /// It deletes an attachment of the caller's.
    DeleteAttachment(Attachments),
    /// It does whatever it does, with nothing but the thread, if it names one.
    Other(Option<OwnedThread>),
}

impl Granted for Grant {
    /// Gives the session of a request that changes it: the log is told no other.
    fn session_id(&self) -> Option<SessionId> {
        match self {
            Self::Run(claim) => Some(claim.session_id()),
            Self::Update(session, _) | Self::Delete(session) => Some(session.record().id),
            Self::ListThreads(_)
            | Self::GetThread(..)
            | Self::ListItems(..)
            | Self::CreateAttachment(_)
            | Self::DeleteAttachment(_)
            | Self::Other(_) => None,
        }
    }
}

impl Operation for Passthrough {
    const ROW: Row = Row {
        name: "passthrough",
        surface: Surface::Rest,
        method: Method::POST,
        path: "",
        takes: Takes::ChatKit,
        gives: Gives::ChatKit,
        asks_upstream: true,
        may_be_foreign: true,
        refuses: &[
            Code::SessionNotFound,
            Code::AttachmentNotFound,
            Code::AttachmentIdReused,
            Code::MessageTooLong,
            Code::MessageLimit,
            Code::SessionLimit,
        ],
        tag: "ChatKit",
        summary: "Send a ChatKit request",
        description: "The very bytes reach the chat server, and its answer comes back, once everything \
             that the request names is known to be the caller's. Lists show the caller's own \
             threads only. Requests that start a run are answered with events, the others with \
             JSON.",
        links: &[],
    };

    type Call = Call;
    type Grant = Grant;

    fn parse(read: &Read<'_>) -> Result<Call, Rejection> {
        let max = read.limits().max_json_values;
        let mut parsed = json::read(read.body(), max, &shape::OF_ANY)?;
        let kind = kind(read, &parsed.value)?;
        spelling::check(kind, &parsed.value)?;
        check_metadata(&parsed.value)?;
        let null = Value::Null;
        if let Some(kind) = kind
            && let Some(shape) = shape::other(kind, parsed.value.get("params").unwrap_or(&null))
        {
            parsed = json::read(read.body(), max, shape)?;
        }
        let params = parsed.value.get("params").unwrap_or(&null);
        let thread_id = string_at(params, "thread_id");
        let attachments = attachments_of(kind, params)?;
        if let Some(kind) = kind {
            // They are checked whatever the type makes of them.
            let checked: Vec<_> = thread_id.iter().chain(&attachments).map(|id| &**id).collect();
            check_extra(&parsed.value, known::of(kind), &checked)?;
        }
        if matches!(kind, Some(RequestType::ThreadsCreate | RequestType::ThreadsAddUserMessage)) {
            check_message(read, params, &parsed)?;
        }
        let page = WantedPage::of(params);
        let body = match kind {
            Some(RequestType::ItemsList) if page.is_too_much() => page.bounded(read.body())?,
            _ => read.body().clone(),
        };
        Ok(Call { kind, body, thread_id, attachments, title: string_at(params, "title"), page })
    }

    async fn admit(desk: &Desk, principal: &Principal, call: &Call) -> Result<Grant, Rejection> {
        use RequestType as T;
        desk.check_attachments(principal, &call.attachments).await?;
        let thread = match (call.kind, call.thread_id.as_deref()) {
            // What is changed is read whole.
            (Some(T::ThreadsUpdate), Some(id)) => {
                let session = desk.session_of_thread(principal, id).await?;
                return Ok(Grant::Update(session, desk.chatkit_cursors(principal)));
            }
            (Some(T::ThreadsDelete), Some(id)) => {
                return desk.session_of_thread(principal, id).await.map(Grant::Delete);
            }
            // Its owner is found in the step that begins the run.
            (Some(kind), Some(id)) if kind.is_streaming() && kind != T::ThreadsCreate => {
                return desk.begin_on_thread(principal, id, kind).await.map(Grant::Run);
            }
            // Whatever the type makes of it: a thread that is named is one that is checked.
            (_, Some(id)) => Some(desk.owned_thread(principal, id).await?),
            (_, None) => None,
        };
        let WantedPage { ascending, after, .. } = &call.page;
        Ok(match (call.kind, thread) {
            (Some(T::ThreadsCreate), _) => Grant::Run(desk.begin_new_thread(principal).await?),
            // By type alone: a member that the type doesn't have must not change what it does.
            (Some(T::ThreadsList), _) => {
                let own = desk.list_own_threads(principal, *ascending, after.as_deref()).await?;
                Grant::ListThreads(own)
            }
            (Some(T::ThreadsGetById), Some(thread)) => {
                Grant::GetThread(thread, desk.chatkit_cursors(principal))
            }
            (Some(T::ItemsList), Some(thread)) => {
                let cursors = desk.chatkit_cursors(principal);
                let after = match after {
                    Some(after) => Some(cursors.open_in(&thread, after).await?),
                    None => None,
                };
                Grant::ListItems(thread, cursors, after)
            }
            (Some(T::AttachmentsCreate), _) => Grant::CreateAttachment(desk.attachments(principal)),
            (Some(T::AttachmentsDelete), _) => Grant::DeleteAttachment(desk.attachments(principal)),
            (_, thread) => Grant::Other(thread),
        })
    }

    /// Boxes what reads an answer, or a failure, so that what passes one on doesn't have room for it.
    async fn answer<S: ChatKit<R>, R: ChatKitBody>(
        mut exchange: Exchange<S>,
        grant: Grant,
        mut call: Call,
    ) -> Reply<R> {
        if let (Some(kind), Some(record)) = (call.kind, &exchange.record) {
            record.chatkit(kind.as_str());
        }
        match grant {
            Grant::Run(claim) => pass::run(exchange, claim, call).await,
            Grant::ListThreads(own) => {
                Box::pin(own_threads::list(&mut exchange.upstream, own, &call.page)).await
            }
            Grant::GetThread(thread, cursors) => {
                Box::pin(pass::thread(exchange, thread, &cursors, call.body)).await
            }
            Grant::ListItems(thread, cursors, after) => {
                let body = match after {
                    Some(after) => cursors::open(&call.body, &after)?,
                    None => call.body,
                };
                Box::pin(pass::items(exchange, thread, &cursors, body)).await
            }
            Grant::Update(session, cursors) => {
                let title = call.title.unwrap_or_default();
                Box::pin(pass::update(exchange, session, &cursors, title, call.body)).await
            }
            Grant::Delete(session) => Box::pin(pass::delete(exchange, session, call.body)).await,
            Grant::CreateAttachment(owner) => {
                let Exchange { upstream, detached, .. } = exchange;
                let answer = attachment::record(upstream, &detached, owner, call.body);
                Ok(reply::whole(Box::pin(answer).await?))
            }
            Grant::DeleteAttachment(owner) => {
                let Exchange { upstream, detached, .. } = exchange;
                let id = call.attachments.pop().unwrap_or_default();
                let answer = attachment::remove(upstream, &detached, owner, id, call.body);
                Ok(reply::whole(Box::pin(answer).await?))
            }
            Grant::Other(thread) => pass::other(exchange, thread, call).await,
        }
    }
}

/// Gives the type of a request, which matches that type's schema.
fn kind(read: &Read<'_>, request: &Value) -> Result<Option<RequestType>, Rejection> {
    let Value::Object(envelope) = request else {
        return Err(Report::one("", "must be an object").into());
    };
    let kind = match envelope.get("type") {
        None => return Err(Report::one("/type", "is required").into()),
        Some(Value::String(name)) => RequestType::parse(name),
        Some(_) => return Err(Report::one("/type", "must be a string").into()),
    };
    match (kind, read.unknown_requests()) {
        (Some(kind), _) => read.reader().schemas.check_chatkit(kind, request)?,
        (None, UnknownRequests::Forward) => {}
        (None, UnknownRequests::Refuse) => {
            let message = "is not a ChatKit request type that is known here";
            return Err(Report::one("/type", message).into());
        }
    }
    Ok(kind)
}

/// Gives the ids of the attachments that a request names; last that of the one that it is about.
fn attachments_of(kind: Option<RequestType>, params: &Value) -> Result<Vec<String>, Rejection> {
    let mut attachments = match params.get("input") {
        Some(input) => texts_at(input, "attachments"),
        None => Vec::new(),
    };
    check_ids("/params/input/attachments", &attachments)?;
    if kind == Some(RequestType::ItemsFeedback) {
        check_ids("/params/item_ids", &texts_at(params, "item_ids"))?;
    }
    attachments.extend(string_at(params, "attachment_id"));
    Ok(attachments)
}

/// Refuses a message that is too long.
fn check_message(read: &Read<'_>, params: &Value, parsed: &Parsed) -> Result<(), Rejection> {
    let input = params.get("input").unwrap_or(&Value::Null);
    let parts = input.get("content").and_then(Value::as_array);
    let beside = chars_beside(input, parsed);
    check_text(read.limits().max_message_chars, texts(parts), beside, false)
}
