//! Reads a thread, without its items.

use http::Method;

use super::find::look_up;
use super::thread::{not_found, show};
use crate::chatkit::{ChatKit, ChatKitBody};
use crate::operation::reply;
use crate::operation::{Exchange, Gives, Operation, Read, Reply, Row, Takes};
use crate::principal::Principal;
use crate::rejection::{Code, Rejection};
use crate::session::{Desk, OwnedSession};
use crate::surface::Surface;

pub(crate) struct GetThread;

pub(crate) struct Call {
    thread: Box<str>,
}

impl Operation for GetThread {
    const ROW: Row = Row {
        name: "openai_get_thread",
        surface: Surface::OpenAi,
        method: Method::GET,
        path: "/threads/{thread_id}",
        takes: Takes::Nothing,
        gives: Gives::Json,
        asks_upstream: true,
        may_be_foreign: false,
        refuses: &[Code::ThreadNotFound, Code::Conflict],
        tag: "OpenAI",
        summary: "Read a thread",
        description: "Without its items.",
        links: &[],
    };

    type Call = Call;
    type Grant = OwnedSession;

    fn parse(read: &Read<'_>) -> Result<Call, Rejection> {
        Ok(Call { thread: read.thread() })
    }

    async fn admit(desk: &Desk, _: &Principal, call: &Call) -> Result<OwnedSession, Rejection> {
        desk.find_thread(&call.thread).await
    }

    async fn answer<S: ChatKit<R>, R: ChatKitBody>(
        exchange: Exchange<S>,
        session: OwnedSession,
        _: Call,
    ) -> Reply<R> {
        let record = session.record();
        let Some(thread_id) = &record.thread_id else { return Err(not_found()) };
        let mut upstream = exchange.upstream_for(&record.user_id);
        let told = look_up(&mut upstream, thread_id).await?.ok_or_else(not_found)?;
        reply::json(&show(record, told, exchange.settings.utc_offset))
    }
}
