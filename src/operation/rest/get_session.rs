//! Reads a session, and its messages as the upstream has them.

use bytes::Bytes;
use http::Method;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::chatkit::messages::Message;
use crate::chatkit::{ChatKit, ChatKitBody, envelope, messages, threads};
use crate::operation::reply;
use crate::operation::{Exchange, Gives, Operation, Read, Reply, Row, Takes};
use crate::principal::Principal;
use crate::protocol::RequestType;
use crate::rejection::{Code, Rejection};
use crate::session::{Desk, OwnedSession, store_down};
use crate::surface::Surface;

pub(crate) struct GetSession;

pub(crate) struct Call {
    session: Box<str>,
}

impl Operation for GetSession {
    const ROW: Row = Row {
        name: "get_session",
        surface: Surface::Rest,
        method: Method::GET,
        path: "/sessions/{session_id}",
        takes: Takes::Nothing,
        gives: Gives::Json,
        asks_upstream: true,
        may_be_foreign: true,
        refuses: &[Code::SessionNotFound],
        tag: "Sessions",
        summary: "Read a session and its messages",
        description: "Messages are those that the chat server has, oldest first.",
        links: &[],
    };

    type Call = Call;
    type Grant = OwnedSession;

    fn parse(read: &Read<'_>) -> Result<Call, Rejection> {
        Ok(Call { session: read.session() })
    }

    async fn admit(
        desk: &Desk,
        principal: &Principal,
        call: &Call,
    ) -> Result<OwnedSession, Rejection> {
        desk.owned(principal, &call.session).await
    }

    async fn answer<S: ChatKit<R>, R: ChatKitBody>(
        mut exchange: Exchange<S>,
        session: OwnedSession,
        _: Call,
    ) -> Reply<R> {
        let record = session.record();
        let summary = reply::Session::from(record);
        let Some(thread_id) = &record.thread_id else {
            return reply::one(FullSession {
                session: summary,
                thread_id: None,
                status: None,
                messages: Vec::new(),
            });
        };
        // Some servers answer this with 500 for ever once a thread has a title: that costs no more
        // than the status.
        let get = envelope::thread(RequestType::ThreadsGetById, thread_id);
        let (is_there, status) = match exchange.upstream.json(get).await {
            Ok(thread) => (true, status(&thread)),
            // Who doesn't answer at all is not asked a second time.
            Err(failure) if failure.is_the_last() => return Err(failure.into()),
            Err(_) => (false, None),
        };
        let (items, _kept) = exchange.upstream.all_items(thread_id).await?;
        let (messages, counted) =
            messages::messages(&items, exchange.settings.utc_offset, record.created_at);
        // A thread that is lost looks like one without items, and is no reason to begin anew.
        let counted = match record.message_count.known() {
            before if items.is_empty() => before.or(is_there.then_some(0)),
            _ => Some(counted),
        };
        if let Some(counted) = counted {
            session.repair_message_count(counted).await.map_err(store_down)?;
        }
        reply::one(FullSession {
            session: summary.with_message_count(counted),
            thread_id: Some(thread_id),
            status,
            messages,
        })
    }
}

fn status(thread: &Bytes) -> Option<Box<RawValue>> {
    let status = threads::object(thread)?.get("status")?;
    status.get().starts_with('{').then(|| status.to_owned())
}

/// A session with its messages.
#[derive(Serialize)]
struct FullSession<'a> {
    #[serde(flatten)]
    session: reply::Session<'a>,
    thread_id: Option<&'a str>,
    status: Option<Box<RawValue>>,
    messages: Vec<Message>,
}
