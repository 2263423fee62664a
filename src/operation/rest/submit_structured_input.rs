//! Answers an item's questions, or skips them.

use http::Method;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::chatkit::{ChatKit, ChatKitBody, envelope};
use crate::operation::fields::defect;
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

const KIND: RequestType = RequestType::ThreadsAddStructuredInput;
const NEEDS: Needs = Needs::Item;

pub(crate) struct SubmitStructuredInput;

pub(crate) struct Call {
    path: ThreadPath,
    /// The item that asks.
    item: Box<str>,
    /// `status` and `answers`, as they were written.
    input: Box<RawValue>,
    format: RunFormat,
}

impl Operation for SubmitStructuredInput {
    const ROW: Row = Row {
        name: "submit_structured_input",
        surface: Surface::Rest,
        method: Method::POST,
        path: "/sessions/{session_id}/threads/{thread_id}/items/{item_id}/structured_input",
        takes: Takes::Json,
        gives: Gives::Run,
        asks_upstream: true,
        may_be_foreign: true,
        refuses: &[Code::SessionNotFound, Code::ItemNotFound],
        tag: "Runs",
        summary: "Fill in a form",
        description: "The answers to an item that asks for structured input; the run goes on.",
        links: &[],
    };

    type Call = Call;
    type Grant = RunClaim;

    fn parse(read: &Read<'_>) -> Result<Call, Rejection> {
        read.json()?;
        let body: StructuredInputBody<'_> = read.typed()?;
        let format = negotiate::run_format(body.stream, read.headers());
        Ok(Call { path: read.thread_path(), item: read.item(), input: input_of(&body)?, format })
    }

    async fn admit(desk: &Desk, principal: &Principal, call: &Call) -> Result<RunClaim, Rejection> {
        desk.begin_without_message(principal, &call.path, NEEDS, KIND).await
    }

    async fn answer<S: ChatKit<R>, R: ChatKitBody>(
        exchange: Exchange<S>,
        claim: RunClaim,
        call: Call,
    ) -> Reply<R> {
        let Call { item, input, format, .. } = call;
        let request = envelope::structured_input(follow_up::thread_of(&claim)?, &item, &input);
        drop(input);
        let want = Want { kind: KIND, needs: NEEDS, item: Some(item) };
        run::answer(exchange, claim, RunRequest::wanting(request, want), format).await
    }
}

#[derive(Deserialize)]
struct StructuredInputBody<'a> {
    #[serde(borrow, default)]
    status: Option<&'a RawValue>,
    #[serde(borrow, default)]
    answers: Option<&'a RawValue>,
    #[serde(default)]
    stream: Option<bool>,
}

/// Gives the two as ChatKit has them, in an object of their own.
fn input_of(body: &StructuredInputBody<'_>) -> Result<Box<RawValue>, Rejection> {
    let members = [("status", body.status), ("answers", body.answers)];
    let members: Vec<String> = members
        .iter()
        .filter_map(|(name, value)| value.map(|value| format!("\"{name}\":{}", value.get())))
        .collect();
    RawValue::from_string(format!("{{{}}}", members.join(","))).map_err(|error| defect(&error))
}
