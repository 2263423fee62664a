//! What makes a thread go on without a message: what it needs, and what it becomes without that.

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use serde_json::value::RawValue;
use tower_service::Service;

use crate::chatkit::threads::{self, Whereabouts};
use crate::chatkit::unknown;
use crate::chatkit::upstream::{Upstream, UpstreamFailure};
use crate::error::BoxError;
use crate::protocol::RequestType;
use crate::rejection::{Code, Rejection};
use crate::session::{Needs, RunClaim, ThreadId};
use crate::stream::{ItemKind, Object};

/// Gives the thread of a run that goes on.
///
/// # Errors
/// 500 if there is none, which was found out before.
pub(crate) fn thread_of(claim: &RunClaim) -> Result<&ThreadId, Rejection> {
    claim
        .thread_id()
        .ok_or_else(|| Rejection::new(Code::Internal).because("there is no thread to go on with"))
}

/// What a follow-up needs of its thread, and of the upstream.
#[derive(Debug)]
pub(crate) struct Want {
    pub(crate) kind: RequestType,
    pub(crate) needs: Needs,
    /// The item that it is about.
    pub(crate) item: Option<Box<str>>,
}

impl Want {
    /// Tells whether an item is what it takes.
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

/// Says what a follow-up becomes that the upstream didn't begin to carry out.
///
/// A server that looks for what it needs in vain may say no more than that something broke, and one
/// that breaks, or doesn't know what is asked, says the same: what it knows, and its items, tell
/// which it was.
pub(crate) async fn refusal<S, R>(
    upstream: &mut Upstream<S>,
    thread_id: &str,
    want: &Want,
    failure: UpstreamFailure,
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
