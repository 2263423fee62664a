//! Deletes a thread with what belongs to it: its session, and its owner's attachments in it.

use std::borrow::Cow;
use std::collections::HashSet;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::Body;
use http_body_util::Full;
use serde::Serialize;
use serde_json::value::RawValue;
use tower_service::Service;

use super::find::{Listing, ThreadLookup, find};
use super::thread::not_found;
use crate::bounds::{MAX_ID_CHARS, is_longer};
use crate::chatkit::upstream::Upstream;
use crate::chatkit::{ChatKit, ChatKitBody, envelope, threads};
use crate::error::BoxError;
use crate::operation::attachment;
use crate::operation::reply;
use crate::operation::{Exchange, Gives, Operation, Read, Reply, Row, Takes};
use crate::principal::Principal;
use crate::protocol::RequestType;
use crate::rejection::{Code, Rejection};
use crate::session::{Attachments, Desk, OwnedSession, ThreadId};
use crate::shown::shown;
use crate::stream::{Object, text};
use crate::surface::Surface;

/// The most attachments that are deleted with a thread.
const MAX_ATTACHMENTS: usize = 1000;

/// How many items are asked for at once.
const PAGE_ROWS: i64 = 100;

/// The most pages of items that are read for them.
const MAX_PAGES: usize = 10_000;

#[derive(Serialize)]
struct DeletedThread<'a> {
    id: &'a str,
    object: &'static str,
    deleted: bool,
}

pub(crate) struct DeleteThread;

pub(crate) struct Call {
    thread: Box<str>,
}

impl Operation for DeleteThread {
    const ROW: Row = Row {
        name: "openai_delete_thread",
        surface: Surface::OpenAi,
        method: Method::DELETE,
        path: "/threads/{thread_id}",
        takes: Takes::Nothing,
        gives: Gives::Json,
        asks_upstream: true,
        may_be_foreign: false,
        refuses: &[Code::ThreadNotFound, Code::Conflict],
        tag: "OpenAI",
        summary: "Delete a thread",
        description: "And the session that it belongs to.",
        links: &[],
    };

    type Call = Call;
    type Grant = (OwnedSession, Attachments);

    fn parse(read: &Read<'_>) -> Result<Call, Rejection> {
        Ok(Call { thread: read.thread() })
    }

    async fn admit(desk: &Desk, _: &Principal, call: &Call) -> Result<Self::Grant, Rejection> {
        desk.find_thread_with_files(&call.thread).await
    }

    async fn answer<S: ChatKit<R>, R: ChatKitBody>(
        exchange: Exchange<S>,
        (session, attachments): Self::Grant,
        _: Call,
    ) -> Reply<R> {
        let Some(thread_id) = session.record().thread_id.clone() else { return Err(not_found()) };
        let upstream = exchange.upstream_for(&session.record().user_id);
        let id = thread_id.clone();
        // Detached: once the thread is gone nobody can tell any more which files were in it.
        exchange.detached.run(delete(upstream, session, id, attachments)).await?;
        reply::json(&DeletedThread {
            id: &thread_id,
            object: "chatkit.thread.deleted",
            deleted: true,
        })
    }
}

/// Deletes a thread, its session, and the attachments that are its owner's.
///
/// They are read off the thread while it is there, and deleted when it is gone: what fails before
/// that leaves everything as it was, and of what fails after it only files are left.
async fn delete<S, R>(
    mut upstream: Upstream<S>,
    mut session: OwnedSession,
    thread_id: ThreadId,
    attachments: Attachments,
) -> Result<(), Rejection>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: Into<BoxError>>,
    R: Body<Data = Bytes, Error: Into<BoxError>>,
{
    let files = files_of(&mut upstream, &thread_id).await?;
    remove(&mut upstream, &mut session, &thread_id).await?;
    for id in files {
        if let Err(rejection) = delete_file(&mut upstream, &attachments, &id).await {
            not_deleted(&rejection);
            if !matches!(
                rejection.code(),
                Code::UpstreamError | Code::UpstreamRejected | Code::AttachmentNotFound
            ) {
                break;
            }
        }
    }
    Ok(())
}

/// Deletes a session's thread, and then the session.
///
/// A thread that the upstream can neither delete nor get, that has no items and that no list
/// shows is as good as lost: nothing of it is left that anybody could see, and nobody could ever
/// be rid of it.
async fn remove<S, R>(
    upstream: &mut Upstream<S>,
    session: &mut OwnedSession,
    thread_id: &str,
) -> Result<(), Rejection>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: Into<BoxError>>,
    R: Body<Data = Bytes, Error: Into<BoxError>>,
{
    let request = envelope::thread(RequestType::ThreadsDelete, thread_id);
    if let Err(failure) = upstream.json(request).await {
        let is_gone = failure.is_not_found()
            || failure.is_bare_500()
                && matches!(
                    find(upstream, thread_id, &mut Listing::default()).await,
                    ThreadLookup::Lost | ThreadLookup::Unknown { is_empty: true, .. }
                );
        if !is_gone {
            return Err(failure.into());
        }
    }
    session.delete().await.map(drop)
}

/// Gives the ids of the attachments in a thread, as many as can be had. Only they are kept, so a thread
/// of any size will do.
async fn files_of<S, R>(
    upstream: &mut Upstream<S>,
    thread_id: &str,
) -> Result<Vec<String>, Rejection>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: Into<BoxError>>,
    R: Body<Data = Bytes, Error: Into<BoxError>>,
{
    let mut found = Vec::new();
    let mut cursors = HashSet::new();
    let mut after: Option<String> = None;
    for _ in 0..MAX_PAGES {
        let request = envelope::page(Some(thread_id), PAGE_ROWS, true, after.as_deref());
        let answer = match upstream.json(request).await {
            Ok(answer) => answer,
            // Who doesn't answer at all is not asked a second time.
            Err(failure) if failure.is_the_last() => return Err(failure.into()),
            Err(failure) => {
                not_deleted(&failure.into());
                return Ok(found);
            }
        };
        let page = match threads::page(&answer) {
            Ok(page) => page,
            Err(failure) => {
                not_deleted(&failure.into());
                return Ok(found);
            }
        };
        for id in page.data.iter().flat_map(|item| files(item)) {
            if found.len() == MAX_ATTACHMENTS {
                return Ok(found);
            }
            if !found.contains(&id) {
                found.push(id);
            }
        }
        let Some(next) = page.next() else { return Ok(found) };
        // Stores begin anew on a cursor that they don't know.
        if !cursors.insert(next.to_owned()) {
            break;
        }
        after = Some(next.to_owned());
    }
    Ok(found)
}

/// Tells the log that attachments are left.
fn not_deleted(rejection: &Rejection) {
    let cause = shown(rejection.cause().unwrap_or_default());
    tracing::warn!(cause = &*cause, "a thread's attachments were not deleted with it");
}

/// Deletes an attachment, if it is the owner's.
async fn delete_file<S, R>(
    upstream: &mut Upstream<S>,
    attachments: &Attachments,
    id: &str,
) -> Result<(), Rejection>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: Into<BoxError>>,
    R: Body<Data = Bytes, Error: Into<BoxError>>,
{
    // An item may name somebody else's file, whose it stays.
    if !attachments.has(id).await? {
        return Ok(());
    }
    let request = envelope::delete_attachment(id);
    attachment::forget(upstream, attachments, id, request).await.map(drop)
}

/// Gives the ids of a message's attachments.
fn files(item: &RawValue) -> Vec<String> {
    let attachments = Object::of(item).map(|item| item.list("attachments")).unwrap_or_default();
    attachments
        .into_iter()
        .filter_map(|file| match Object::of(file) {
            Some(file) => file.id(),
            None => text(file).map(Cow::into_owned),
        })
        // Longer ones are nobody's.
        .filter(|id| !is_longer(id, MAX_ID_CHARS))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_odd_attachment_does_not_leave_the_others_behind() {
        for (item, expected) in [
            (
                r#"{"attachments":[{"id":"a"},{"id":null},{"id":7},"b",null,{"id":"c","id":"d"}]}"#,
                &["a", "7", "b", "d"][..],
            ),
            (r#"{"attachments":null}"#, &[]),
            (r#"{"attachments":{}}"#, &[]),
            (r#"{"id":"m"}"#, &[]),
        ] {
            let item = RawValue::from_string(item.to_owned()).unwrap();
            assert_eq!(files(&item), expected);
        }
        let longest = "é".repeat(MAX_ID_CHARS);
        let item = format!(r#"{{"attachments":["{longest}","{longest}x"]}}"#);
        assert_eq!(files(&RawValue::from_string(item).unwrap()), [longest]);
    }
}
