//! Runs: asked for, held until their status is known, and answered with events or in JSON.

use std::pin::Pin;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::Body;
use http_body_util::Full;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;
use tower_service::Service;
use tracing::warn;

use super::follow_up::{self, Want};
use super::{Exchange, Reply};
use crate::chatkit::messages::{Message, display};
use crate::chatkit::sender::ReplyPermit;
use crate::chatkit::threads::{self, Whereabouts};
use crate::chatkit::time::whole_microseconds;
use crate::chatkit::upstream::Upstream;
use crate::chatkit::{count, messages};
use crate::error::BoxError;
use crate::operation::observer::{self, SessionObserver};
use crate::operation::{ReplyBody, head, reply};
use crate::rejection::{Code, Rejection};
use crate::session::{Needs, RunClaim, SessionId, ThreadId};
use crate::stream::{
    RunFailure, RunFailureCause, Silence, Transcript, Watch, collect_run, hold_run,
};
use crate::validate::negotiate::RunFormat;

/// A run that is to be asked for.
pub(crate) struct RunRequest {
    request: Bytes,
    /// What a run without a message needs of its thread; `None` for one with a message.
    want: Option<Want>,
}

impl RunRequest {
    pub(crate) fn wanting(request: Bytes, want: Want) -> Self {
        Self { request, want: Some(want) }
    }
}

impl From<Bytes> for RunRequest {
    fn from(request: Bytes) -> Self {
        Self { request, want: None }
    }
}

/// Starts a run and answers with its events, or with what it left behind.
pub(crate) async fn answer<S, R>(
    mut exchange: Exchange<S>,
    claim: RunClaim,
    asked: impl Into<RunRequest>,
    format: RunFormat,
) -> Reply<R>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: Into<BoxError>>,
    R: Body<Data = Bytes, Error: Into<BoxError>>,
{
    let session_id = claim.session_id();
    let run = start(&mut exchange, claim, asked).await?;
    match format {
        RunFormat::Events => run.events(&mut exchange).await,
        RunFormat::Json => {
            // Boxed, so that a stream's future doesn't have room for it.
            let done = Box::pin(run.transcript(&mut exchange)).await?;
            let (offset, now) =
                (exchange.settings.utc_offset, whole_microseconds(Timestamp::now()));
            let message = messages::answer(&done.items, offset, now)
                .map_err(|garbled| done.failed(garbled))?;
            let Done { thread_id, items, .. } = &done;
            reply::one(FinishedRun { session_id, thread_id, message, items })
        }
    }
}

/// A run that the upstream has taken on; nothing of it has been read.
pub(crate) struct Started<R> {
    headers: HeaderMap,
    /// Boxed from the beginning: it is large, and changes hands.
    watch: Pin<Box<Watch<R, SessionObserver>>>,
    /// The thread that it is on; `None` for a first run, which makes it.
    thread_id: Option<ThreadId>,
    /// What a run without a message needs; `None` for one with a message.
    needs: Option<Needs>,
}

/// What a run left behind.
pub(crate) struct Done {
    pub(crate) thread_id: ThreadId,
    /// Every finished item, as the upstream sent it.
    pub(crate) items: Vec<Box<RawValue>>,
    /// The client was told to do something that is no item.
    pub(crate) has_effects: bool,
    /// Room for them.
    _kept: ReplyPermit,
}

impl Done {
    /// Refuses where what was said is no answer. The thread is there all the same.
    pub(crate) fn failed(&self, reason: impl Into<Rejection>) -> Rejection {
        reason.into().detail("thread_id", &*self.thread_id)
    }
}

/// Asks the upstream for a run. What becomes of a failure is boxed, here and in what follows: it is
/// rare, and takes much room.
pub(crate) async fn start<S, R>(
    exchange: &mut Exchange<S>,
    mut claim: RunClaim,
    asked: impl Into<RunRequest>,
) -> Result<Started<R>, Rejection>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: Into<BoxError>>,
    R: Body<Data = Bytes, Error: Into<BoxError>>,
{
    count::before(&mut exchange.upstream, &mut claim).await?;
    let RunRequest { request, want } = asked.into();
    let thread_id = claim.thread_id().cloned();
    let (answer, body) = match exchange.upstream.run(request).await {
        Ok(response) => response.into_parts(),
        Err(failure) => {
            if let (Some(id), Some(want)) = (&thread_id, want) {
                let upstream = &mut exchange.upstream;
                return Err(Box::pin(follow_up::refusal(upstream, id, &want, failure)).await);
            }
            if let Some(id) = &thread_id
                && Box::pin(exchange.upstream.failed_for_lack_of(id, &failure)).await
            {
                return Err(Rejection::new(Code::ThreadNotFound));
            }
            if thread_id.is_none() && failure.is_not_found() {
                // It was asked for nothing that could be missing, but an attachment.
                warn!(
                    endpoint = exchange.settings.endpoint.path(),
                    "the upstream answered 404 to the first message of a thread: is there a ChatKit \
                     server at its URL or endpoint? (axum's Router::layer puts a layer around the \
                     router's fallback, where there is none)"
                );
            }
            return Err(failure.into());
        }
    };
    if let Some(want) = &want {
        exchange.upstream.known.saw(want.kind);
    }
    let needs = want.map(|want| want.needs);
    let watch = Watch::new(body, SessionObserver::new(claim, exchange.record.take()));
    let watch = Box::pin(if thread_id.is_none() { watch.making_thread() } else { watch });
    let headers = head::of_stream(&answer.headers, &exchange.settings.identity);
    Ok(Started { headers, watch, thread_id, needs })
}

impl<R> Started<R>
where
    R: Body<Data = Bytes, Error: Into<BoxError>>,
{
    fn silence(&self) -> Silence {
        if self.needs.is_some() { Silence::Passes } else { Silence::Fails }
    }

    /// Holds it until its status is known, and answers with its events.
    pub(crate) async fn events<S>(self, exchange: &mut Exchange<S>) -> Reply<R>
    where
        S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: Into<BoxError>>,
    {
        let silence = self.silence();
        let Self { headers, watch, thread_id, needs } = self;
        let mut kept = exchange.upstream.sender.permit();
        let mut room = |bytes| kept.grow_to(bytes).is_ok();
        match hold_run(watch, exchange.settings.hold, silence, &mut room).await {
            Ok(body) if thread_id.is_none() && body.is_threadless() => Err(threadless()),
            Ok(body) => {
                let body = body.covered_by(kept.into_permit());
                let mut response = Response::new(ReplyBody::Run { body });
                *response.headers_mut() = headers;
                Ok(response)
            }
            Err(failure) => {
                let upstream = &mut exchange.upstream;
                Err(Box::pin(refusal(upstream, thread_id, needs, failure)).await)
            }
        }
    }

    /// Reads it to its end.
    pub(crate) async fn transcript<S>(self, exchange: &mut Exchange<S>) -> Result<Done, Rejection>
    where
        S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: Into<BoxError>>,
    {
        let silence = self.silence();
        let Self { watch, thread_id, needs, .. } = self;
        let mut kept = exchange.upstream.sender.permit();
        let max_bytes = exchange.upstream.max_reply_bytes();
        match collect_run(watch, max_bytes, silence, |bytes| kept.grow_to(bytes)).await {
            Ok(transcript) => {
                let made = transcript.thread_id.as_deref().map(ThreadId::from);
                let thread_id = made.or(thread_id).ok_or_else(threadless)?;
                let Transcript { items, has_effects, .. } = transcript;
                Ok(Done { thread_id, items, has_effects, _kept: kept })
            }
            Err(failure) => {
                let upstream = &mut exchange.upstream;
                Err(Box::pin(refusal(upstream, thread_id, needs, failure)).await)
            }
        }
    }
}

/// Refuses a first run whose thread was never told: nothing more could be said in it.
fn threadless() -> Rejection {
    Rejection::new(Code::UpstreamError).because("the upstream named no thread before its output")
}

/// Says what a run that failed before the commit becomes. A stream that was cut before any event is
/// how a ChatKit server says "no such thread", among other things.
async fn refusal<S, R>(
    upstream: &mut Upstream<S>,
    thread_id: Option<ThreadId>,
    needs: Option<Needs>,
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
    let said_nothing = failure.events == 0
        && matches!(failure.cause, RunFailureCause::Broken(_) | RunFailureCause::Ended);
    let lacks = needs.filter(|needs| is_for_lack_of(*needs, &failure));
    let rejection = Rejection::of_run_failure(failure);
    let (Code::UpstreamError, Some(thread_id)) = (rejection.code(), thread_id) else {
        return rejection;
    };
    if !said_nothing && lacks.is_none() {
        return rejection;
    }
    match (upstream.whereabouts(&thread_id).await, lacks.and_then(Needs::unmet)) {
        (Whereabouts::Lost, _) => threads::lost(),
        (Whereabouts::There, Some(unmet)) => unmet.because("the upstream said nothing else"),
        (Whereabouts::There | Whereabouts::Unknown, _) => rejection,
    }
}

/// Tells whether a run that failed did so for lack of what it needs, if its thread is there and the
/// upstream works.
fn is_for_lack_of(needs: Needs, failure: &RunFailure) -> bool {
    match (&failure.cause, failure.events) {
        (RunFailureCause::Broken(_), 0) => true,
        (RunFailureCause::Ended, 0) => needs == Needs::UserMessage,
        // Nothing has been prepared, so it is not the action that failed.
        (RunFailureCause::ErrorEvent(error), 1) => {
            needs == Needs::Widget && error.code == "stream.error" && !error.allow_retry
        }
        _ => false,
    }
}

/// A finished run.
#[derive(Serialize)]
struct FinishedRun<'a> {
    #[serde(serialize_with = "display")]
    session_id: SessionId,
    thread_id: &'a str,
    message: Option<Message>,
    items: &'a [Box<RawValue>],
}
