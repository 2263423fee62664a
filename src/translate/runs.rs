//! `create_run`.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, HeaderName};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Body;
use http_body_util::Full;
use tower_service::Service;

use super::body::ReplyBody;
use super::observer::{self, SessionObserver};
use super::service::{Exchange, Reply, passed_on};
use super::upstream::Upstream;
use super::{envelope, messages, reply};
use crate::error::BoxError;
use crate::rejection::{Code, Rejection};
use crate::session::{RunClaim, ThreadId};
use crate::stream::{RunFailure, RunFailureCause, Watch, collect, hold};
use crate::validate::{Answer, RunCall};

const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Sends the user's message and answers with what comes of it.
pub(super) async fn create<S, R>(
    mut exchange: Exchange<S>,
    claim: RunClaim,
    run: RunCall,
) -> Reply<R>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: Into<BoxError>>,
    R: Body<Data = Bytes, Error: Into<BoxError>>,
{
    let thread_id = claim.thread_id().cloned();
    let session_id = claim.session_id();
    let request = envelope::user_message(thread_id.as_ref(), &run);
    let answer = run.answer;
    drop(run);
    let response = match exchange.upstream.run(request).await {
        Ok(response) => response,
        Err(failure) => {
            let lost = match &thread_id {
                Some(id) => exchange.upstream.failed_for_lack_of(id, &failure).await,
                None => false,
            };
            if lost {
                return Err(Rejection::new(Code::ThreadNotFound));
            }
            return Err(failure.into());
        }
    };
    let (head, body) = response.into_parts();
    let watch = Watch::new(body, SessionObserver::new(claim, exchange.record.take()));
    match answer {
        Answer::Events => match hold(watch, exchange.settings.hold).await {
            Ok(body) if thread_id.is_none() && body.is_threadless() => Err(threadless()),
            Ok(body) => {
                let mut response = Response::new(ReplyBody::Run { body });
                *response.headers_mut() = stream_headers(&head.headers);
                Ok(response)
            }
            Err(failure) => Err(refusal(&mut exchange.upstream, thread_id, failure).await),
        },
        Answer::Json => match collect(watch, exchange.settings.max_reply_bytes).await {
            Ok(transcript) if thread_id.is_none() && transcript.thread_id.is_none() => {
                Err(threadless())
            }
            Ok(transcript) => {
                let thread_id = transcript.thread_id.as_deref().or(thread_id.as_deref());
                reply::one(reply::Run {
                    session_id,
                    thread_id: thread_id.unwrap_or_default(),
                    message: messages::answer(&transcript.items, exchange.settings.utc_offset),
                    items: &transcript.items,
                })
            }
            Err(failure) => Err(refusal(&mut exchange.upstream, thread_id, failure).await),
        },
    }
}

/// A first run whose thread was never told: nothing more could be said in it.
fn threadless() -> Rejection {
    Rejection::new(Code::UpstreamError).because("the upstream named no thread before its output")
}

/// The upstream's headers, and what keeps a stream from being stored, buffered or changed on
/// its way: a ChatKit server says none of it itself.
pub(super) fn stream_headers(headers: &HeaderMap) -> HeaderMap {
    let mut headers = passed_on(headers);
    let no_store = HeaderValue::from_static("no-cache, no-store, no-transform");
    headers.insert(CACHE_CONTROL, no_store);
    headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    headers
}

/// What a run that failed before the commit becomes. A stream that was cut before any event is
/// how a ChatKit server says "no such thread", among other things.
async fn refusal<S, R>(
    upstream: &mut Upstream<S>,
    thread_id: Option<ThreadId>,
    failure: RunFailure,
) -> Rejection
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: Into<BoxError>>,
    R: Body<Data = Bytes, Error: Into<BoxError>>,
{
    if let RunFailureCause::Broken(error) = &failure.cause
        && let Some(rejection) = observer::unbound(&**error)
    {
        return rejection;
    }
    let silent = failure.events == 0
        && matches!(failure.cause, RunFailureCause::Broken(_) | RunFailureCause::Ended);
    let rejection = Rejection::of_run_failure(failure);
    if let (true, Code::UpstreamError, Some(thread_id)) = (silent, rejection.code(), thread_id)
        && upstream.has_lost(&thread_id).await
    {
        return Rejection::new(Code::ThreadNotFound).because("the upstream has lost the thread");
    }
    rejection
}
