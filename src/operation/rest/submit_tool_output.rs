//! Gives a client tool call that waits its output.

use http::Method;
use serde::Deserialize;
use serde_json::value::RawValue;

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
use crate::validate::json::Shape;
use crate::validate::negotiate::{self, RunFormat};

const KIND: RequestType = RequestType::ThreadsAddClientToolOutput;
const NEEDS: Needs = Needs::ToolCall;

pub(crate) struct SubmitToolOutput;

pub(crate) struct Call {
    path: ThreadPath,
    /// Any JSON, as it was written.
    result: Box<RawValue>,
    format: RunFormat,
}

impl Operation for SubmitToolOutput {
    const ROW: Row = Row {
        name: "submit_tool_output",
        surface: Surface::Rest,
        method: Method::POST,
        path: "/sessions/{session_id}/threads/{thread_id}/tool_outputs",
        takes: Takes::Json,
        gives: Gives::Run,
        asks_upstream: true,
        may_be_foreign: true,
        refuses: &[Code::SessionNotFound, Code::ItemNotFound],
        tag: "Runs",
        summary: "Give the output of a client tool",
        description: "It goes to the tool call that the thread waits for, and the run goes on.",
        links: &[],
    };

    type Call = Call;
    type Grant = RunClaim;

    fn parse(read: &Read<'_>) -> Result<Call, Rejection> {
        read.parts(&SHAPE)?;
        let ToolOutputBody { result, stream } = read.typed()?;
        let format = negotiate::run_format(stream, read.headers());
        Ok(Call { path: read.thread_path(), result: result.to_owned(), format })
    }

    async fn admit(desk: &Desk, principal: &Principal, call: &Call) -> Result<RunClaim, Rejection> {
        desk.begin_without_message(principal, &call.path, NEEDS, KIND).await
    }

    async fn answer<S: ChatKit<R>, R: ChatKitBody>(
        exchange: Exchange<S>,
        claim: RunClaim,
        call: Call,
    ) -> Reply<R> {
        let Call { result, format, .. } = call;
        let request = envelope::tool_output(follow_up::thread_of(&claim)?, &result);
        drop(result);
        let want = Want { kind: KIND, needs: NEEDS, item: None };
        run::answer(exchange, claim, RunRequest::wanting(request, want), format).await
    }
}

/// What is any JSON is passed on without a look.
static SHAPE: Shape = Shape::Object(&[("result", Shape::Raw)]);

#[derive(Deserialize)]
struct ToolOutputBody<'a> {
    /// Not an `Option`, in which a null would be lost.
    #[serde(borrow, default = "null")]
    result: &'a RawValue,
    #[serde(default)]
    stream: Option<bool>,
}

fn null() -> &'static RawValue {
    RawValue::NULL
}
