//! `retry_item`, `submit_tool_output`, `submit_structured_input`, `run_action`.

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use serde_json::value::RawValue;
use tower_service::Service;

use super::runs::{self, Asked};
use super::service::{Exchange, Reply};
use super::threads::Whereabouts;
use super::upstream::{Failure, Upstream};
use super::{envelope, reply, threads};
use crate::error::BoxError;
use crate::protocol::RequestType;
use crate::rejection::{Code, Rejection};
use crate::session::{Needs, RunClaim, ThreadId};
use crate::stream::Object;
use crate::validate::{ActionCall, FollowUp};

/// Lets a thread go on, and answers with what comes of it.
pub(super) async fn go_on<S, R>(
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
    let needs = Needs::of_step(&step);
    drop(step);
    runs::answer(exchange, claim, Asked::needing(request, needs), answer).await
}

/// Carries out an action that is no run.
pub(super) async fn act<S, R>(
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
            return Err(not_acted(&mut exchange.upstream, &thread_id, &action, failure).await);
        }
    };
    let acted = threads::object(&answer);
    let item = acted.as_ref().map(|acted| acted.get("updated_item"));
    let Some(item) = item.filter(|item| item.is_none_or(|item| Object::of(item).is_some())) else {
        let what = "the upstream's answer to an action is not one";
        return Err(Failure::Protocol(what).into());
    };
    let offset = exchange.settings.utc_offset;
    let updated_item = item
        .filter(|item| !threads::is_hidden(item))
        .map(|item| threads::with_utc_time(item, offset));
    reply::one(reply::Acted { updated_item })
}

/// What a failed action becomes. A server that looks for its widget in vain says no more than
/// that something broke, and a handler that breaks says the same: its items tell which it was.
async fn not_acted<S, R>(
    upstream: &mut Upstream<S>,
    thread_id: &str,
    action: &ActionCall,
    failure: Failure,
) -> Rejection
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: Into<BoxError>>,
    R: Body<Data = Bytes, Error: Into<BoxError>>,
{
    let needs = Needs::of_action(action);
    let Some(item_id) = action.item_id.as_deref().filter(|_| failure.is_bare_500()) else {
        return upstream.refusal_about(thread_id, needs, failure).await;
    };
    match upstream.whereabouts(thread_id).await {
        Whereabouts::Lost => threads::lost(),
        Whereabouts::There => match upstream.all_items(thread_id).await {
            Ok(items) if !items.iter().any(|item| is_widget(item, item_id)) => {
                needs.unmet().unwrap_or_else(|| failure.into())
            }
            _ => failure.into(),
        },
        Whereabouts::Unknown => failure.into(),
    }
}

fn is_widget(item: &RawValue, wanted: &str) -> bool {
    Object::of(item).is_some_and(|item| {
        item.id().as_deref() == Some(wanted) && item.text("type").as_deref() == Some("widget")
    })
}
