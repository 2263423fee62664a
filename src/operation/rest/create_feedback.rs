//! Tells the upstream what the user thinks of some items.

use http::Method;
use serde::Serialize;

use crate::chatkit::{ChatKit, ChatKitBody, envelope};
use crate::operation::fields::{check_ids, string_at, texts_at};
use crate::operation::reply;
use crate::operation::{Exchange, Gives, Operation, Read, Reply, Row, Takes};
use crate::principal::Principal;
use crate::rejection::{Code, Rejection};
use crate::session::ThreadPath;
use crate::session::{Desk, Needs, OwnedThread};
use crate::surface::Surface;

pub(crate) struct CreateFeedback;

pub(crate) struct Call {
    path: ThreadPath,
    item_ids: Vec<String>,
    /// `positive` or `negative`.
    kind: String,
}

impl Operation for CreateFeedback {
    const ROW: Row = Row {
        name: "create_feedback",
        surface: Surface::Rest,
        method: Method::POST,
        path: "/sessions/{session_id}/threads/{thread_id}/feedback",
        takes: Takes::Json,
        gives: Gives::Json,
        asks_upstream: true,
        may_be_foreign: true,
        refuses: &[Code::SessionNotFound, Code::ThreadNotFound, Code::ItemNotFound],
        tag: "Items",
        summary: "Say what you think of an answer",
        description: "One opinion for one or more items.",
        links: &[],
    };

    type Call = Call;
    type Grant = OwnedThread;

    fn parse(read: &Read<'_>) -> Result<Call, Rejection> {
        let value = read.json()?;
        let item_ids = texts_at(&value, "item_ids");
        check_ids("/item_ids", &item_ids)?;
        let kind = string_at(&value, "kind").unwrap_or_default();
        Ok(Call { path: read.thread_path(), item_ids, kind })
    }

    async fn admit(
        desk: &Desk,
        principal: &Principal,
        call: &Call,
    ) -> Result<OwnedThread, Rejection> {
        desk.bound_thread(principal, &call.path, Needs::Item).await
    }

    async fn answer<S: ChatKit<R>, R: ChatKitBody>(
        mut exchange: Exchange<S>,
        thread: OwnedThread,
        Call { item_ids, kind, .. }: Call,
    ) -> Reply<R> {
        let request = envelope::feedback(thread.id(), &item_ids, &kind);
        if let Err(failure) = exchange.upstream.json(request).await {
            return Err(exchange.upstream.refusal_about(thread.id(), Needs::Item, failure).await);
        }
        reply::one(GivenFeedback { item_ids: &item_ids, kind: &kind })
    }
}

/// What was thought of some items.
#[derive(Serialize)]
struct GivenFeedback<'a> {
    item_ids: &'a [String],
    kind: &'a str,
}
