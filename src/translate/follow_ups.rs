//! `retry_item`, `submit_tool_output`, `submit_structured_input`, `run_action`.

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use serde_json::value::RawValue;
use tower_service::Service;

use super::service::{Exchange, Reply};
use super::threads::Whereabouts;
use super::upstream::{Failure, Upstream};
use super::{envelope, reply, threads, unknown};
use crate::error::BoxError;
use crate::operation::run::{self, Asked};
use crate::protocol::RequestType;
use crate::rejection::{Code, Rejection};
use crate::session::{Needs, RunClaim, ThreadId};
use crate::stream::{ItemKind, Object};
use crate::validate::{ActionCall, FollowUp, Step};

/// Lets a thread go on, and answers with what comes of it.
pub(crate) async fn go_on<S, R>(
    exchange: Exchange<S>,
    claim: RunClaim,
    follow_up: FollowUp,
) -> Reply<R>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: Into<BoxError>>,
    R: Body<Data = Bytes, Error: Into<BoxError>>,
{
    let FollowUp { step, answer } = follow_up;
    let Some(thread_id) = claim.thread_id() else {
        return Err(Rejection::new(Code::Internal).because("there is no thread to go on with"));
    };
    let request = envelope::step(thread_id, &step);
    let want = Want::of_step(&step);
    drop(step);
    run::answer(exchange, claim, Asked::wanting(request, want), answer).await
}

/// Carries out an action that is no run.
pub(crate) async fn act<S, R>(
    mut exchange: Exchange<S>,
    thread_id: ThreadId,
    action: ActionCall,
) -> Reply<R>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: Into<BoxError>>,
    R: Body<Data = Bytes, Error: Into<BoxError>>,
{
    let request = envelope::action(RequestType::ThreadsSyncCustomAction, &thread_id, &action);
    let answer = match exchange.upstream.json(request).await {
        Ok(answer) => answer,
        Err(failure) => {
            let want = Want::of_sync_action(&action);
            return Err(refusal(&mut exchange.upstream, &thread_id, &want, failure).await);
        }
    };
    exchange.upstream.known.saw(RequestType::ThreadsSyncCustomAction);
    let acted = threads::object(&answer);
    let item = acted.as_ref().map(|acted| acted.get("updated_item"));
    let Some(item) = item.filter(|item| item.is_none_or(|item| Object::of(item).is_some())) else {
        let what = "the upstream's answer to an action is not one";
        return Err(Failure::Protocol(what).into());
    };
    let offset = exchange.settings.utc_offset;
    let updated_item = item.and_then(|item| threads::visible(item, offset));
    reply::one(reply::Acted { updated_item })
}

/// What a follow-up needs of its thread, and of the upstream.
#[derive(Debug)]
pub(crate) struct Want {
    pub(crate) kind: RequestType,
    pub(crate) needs: Needs,
    item: Option<Box<str>>,
}

impl Want {
    fn of_step(step: &Step) -> Self {
        let needs = Needs::of_step(step);
        let (kind, item) = match step {
            Step::Retry { item } => (RequestType::ThreadsRetryAfterItem, Some(item.clone())),
            Step::ToolOutput { .. } => (RequestType::ThreadsAddClientToolOutput, None),
            Step::StructuredInput { item, .. } => {
                (RequestType::ThreadsAddStructuredInput, Some(item.clone()))
            }
            Step::Action(action) => {
                let item = action.item_id.as_deref().map(Box::from);
                (RequestType::ThreadsCustomAction, item)
            }
        };
        Self { kind, needs, item }
    }

    fn of_sync_action(action: &ActionCall) -> Self {
        Self {
            kind: RequestType::ThreadsSyncCustomAction,
            needs: Needs::of_action(action),
            item: action.item_id.as_deref().map(Box::from),
        }
    }

    /// Whether an item is what it takes.
    fn is_met_by(&self, item: &RawValue) -> bool {
        let Some(item) = Object::of(item) else { return false };
        let is_it = self.item.as_deref().is_none_or(|wanted| item.id().as_deref() == Some(wanted));
        let waits = item.text("status").is_none_or(|status| status == "pending");
        let is_a = |kind: &str| item.text("type").as_deref() == Some(kind);
        is_it
            && match self.needs {
                Needs::Item => is_a("structured_input") && waits,
                Needs::ToolCall => is_a("client_tool_call") && waits,
                Needs::UserMessage => item.item_kind() == Some(ItemKind::UserMessage),
                Needs::Widget => is_a("widget"),
                Needs::Thread => true,
            }
    }
}

/// What a follow-up becomes that the upstream didn't begin to carry out.
///
/// A server that looks for what it needs in vain may say no more than that something broke, and one
/// that breaks, or doesn't know what is asked, says the same: what it knows, and its items, tell
/// which it was.
pub(crate) async fn refusal<S, R>(
    upstream: &mut Upstream<S>,
    thread_id: &str,
    want: &Want,
    failure: Failure,
) -> Rejection
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: Into<BoxError>>,
    R: Body<Data = Bytes, Error: Into<BoxError>>,
{
    if !failure.is_bare_500() {
        return upstream.refusal_about(thread_id, want.needs, failure).await;
    }
    match upstream.whereabouts(thread_id).await {
        Whereabouts::Lost => return threads::lost(),
        Whereabouts::Unknown => return failure.into(),
        Whereabouts::There => {}
    }
    // Who doesn't know such items has none.
    if want.needs == Needs::Item && upstream.is_ignorant_of(want.kind).await {
        return unknown::unsupported();
    }
    if let Some(unmet) = want.needs.unmet() {
        match upstream.has_item(thread_id, |item| want.is_met_by(item)).await {
            None => return failure.into(),
            Some(false) => {
                return unmet.because("the upstream answered 500, and hasn't got what it takes");
            }
            Some(true) => {}
        }
    }
    if want.needs != Needs::Item && upstream.is_ignorant_of(want.kind).await {
        return unknown::unsupported();
    }
    failure.into()
}
