//! Has a user's message answered anew.

use http::Method;
use serde_json::Value;

use crate::chatkit::{ChatKit, ChatKitBody, envelope};
use crate::operation::follow_up::{self, Want};
use crate::operation::run::{self, RunRequest};
use crate::operation::{Exchange, Gives, Operation, Read, Reply, Row, Takes};
use crate::principal::Principal;
use crate::protocol::RequestType;
use crate::rejection::{Code, Rejection};
use crate::session::ThreadPath;
use crate::session::{Desk, Needs, RunClaim};
use crate::surface::Surface;
use crate::validate::negotiate::{self, RunFormat};

const KIND: RequestType = RequestType::ThreadsRetryAfterItem;
const NEEDS: Needs = Needs::UserMessage;

pub(crate) struct RetryItem;

pub(crate) struct Call {
    path: ThreadPath,
    item: Box<str>,
    format: RunFormat,
}

impl Operation for RetryItem {
    const ROW: Row = Row {
        name: "retry_item",
        surface: Surface::Rest,
        method: Method::POST,
        path: "/sessions/{session_id}/threads/{thread_id}/items/{item_id}/retry",
        takes: Takes::MaybeJson,
        gives: Gives::Run,
        asks_upstream: true,
        may_be_foreign: true,
        refuses: &[Code::SessionNotFound, Code::ItemNotFound],
        tag: "Runs",
        summary: "Answer a message again",
        description: "What came after the item is removed, and the chat server answers anew: with events, \
             or with JSON as `create_run` does.",
        links: &[],
    };

    type Call = Call;
    type Grant = RunClaim;

    fn parse(read: &Read<'_>) -> Result<Call, Rejection> {
        let stream = if read.is_absent() {
            None
        } else {
            read.json()?.get("stream").and_then(Value::as_bool)
        };
        let format = negotiate::run_format(stream, read.headers());
        Ok(Call { path: read.thread_path(), item: read.item(), format })
    }

    async fn admit(desk: &Desk, principal: &Principal, call: &Call) -> Result<RunClaim, Rejection> {
        desk.begin_without_message(principal, &call.path, NEEDS, KIND).await
    }

    async fn answer<S: ChatKit<R>, R: ChatKitBody>(
        exchange: Exchange<S>,
        claim: RunClaim,
        call: Call,
    ) -> Reply<R> {
        let Call { item, format, .. } = call;
        let request = envelope::retry(follow_up::thread_of(&claim)?, &item);
        let want = Want { kind: KIND, needs: NEEDS, item: Some(item) };
        run::answer(exchange, claim, RunRequest::wanting(request, want), format).await
    }
}
