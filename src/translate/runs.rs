//! `create_run`.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, HeaderName};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Body;
use http_body_util::Full;
use serde_json::value::RawValue;
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
pub(super) async fn create<S, R>(exchange: Exchange<S>, claim: RunClaim, run: RunCall) -> Reply<R>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: Into<BoxError>>,
    R: Body<Data = Bytes, Error: Into<BoxError>>,
{
    let request = envelope::user_message(claim.thread_id(), &run);
    answer(exchange, claim, request, run.answer).await
}

/// Starts a run and answers with its events, or with what it left behind.
pub(super) async fn answer<S, R>(
    mut exchange: Exchange<S>,
    claim: RunClaim,
    request: Bytes,
    answer: Answer,
) -> Reply<R>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: Into<BoxError>>,
    R: Body<Data = Bytes, Error: Into<BoxError>>,
{
    let session_id = claim.session_id();
    let run = start(&mut exchange, claim, request).await?;
    match answer {
        Answer::Events => run.events(&mut exchange).await,
        Answer::Json => {
            let done = run.transcript(&mut exchange).await?;
            reply::one(reply::Run {
                session_id,
                thread_id: &done.thread_id,
                message: messages::answer(&done.items, exchange.settings.utc_offset),
                items: &done.items,
            })
        }
    }
}

/// A run that the upstream has taken on; nothing of it has been read.
pub(super) struct Started<R> {
    headers: HeaderMap,
    watch: Watch<R, SessionObserver>,
    /// The thread that it is on; `None` for a first run, which makes it.
    thread_id: Option<ThreadId>,
}

/// What a run left behind.
pub(super) struct Done {
    pub(super) thread_id: ThreadId,
    /// Every finished item, as the upstream sent it.
    pub(super) items: Vec<Box<RawValue>>,
}

/// Asks the upstream for a run.
pub(super) async fn start<S, R>(
    exchange: &mut Exchange<S>,
    claim: RunClaim,
    request: Bytes,
) -> Result<Started<R>, Rejection>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: Into<BoxError>>,
    R: Body<Data = Bytes, Error: Into<BoxError>>,
{
    let thread_id = claim.thread_id().cloned();
    let (head, body) = match exchange.upstream.run(request).await {
        Ok(response) => response.into_parts(),
        Err(failure) => {
            if let Some(id) = &thread_id
                && exchange.upstream.failed_for_lack_of(id, &failure).await
            {
                return Err(Rejection::new(Code::ThreadNotFound));
            }
            return Err(failure.into());
        }
    };
    let watch = Watch::new(body, SessionObserver::new(claim, exchange.record.take()));
    Ok(Started { headers: stream_headers(&head.headers), watch, thread_id })
}

impl<R> Started<R>
where
    R: Body<Data = Bytes, Error: Into<BoxError>>,
{
    /// Holds it until its status is known, and answers with its events.
    pub(super) async fn events<S>(self, exchange: &mut Exchange<S>) -> Reply<R>
    where
        S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: Into<BoxError>>,
    {
        let Self { headers, watch, thread_id } = self;
        match hold(watch, exchange.settings.hold).await {
            Ok(body) if thread_id.is_none() && body.is_threadless() => Err(threadless()),
            Ok(body) => {
                let mut response = Response::new(ReplyBody::Run { body });
                *response.headers_mut() = headers;
                Ok(response)
            }
            Err(failure) => Err(refusal(&mut exchange.upstream, thread_id, failure).await),
        }
    }

    /// Reads it to its end.
    pub(super) async fn transcript<S>(self, exchange: &mut Exchange<S>) -> Result<Done, Rejection>
    where
        S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: Into<BoxError>>,
    {
        let Self { watch, thread_id, .. } = self;
        match collect(watch, exchange.settings.max_reply_bytes).await {
            Ok(transcript) => {
                let made = transcript.thread_id.as_deref().map(ThreadId::from);
                let thread_id = made.or(thread_id).ok_or_else(threadless)?;
                Ok(Done { thread_id, items: transcript.items })
            }
            Err(failure) => Err(refusal(&mut exchange.upstream, thread_id, failure).await),
        }
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
