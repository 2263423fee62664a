//! The exchanges with the upstream in which requests and answers pass.

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use jiff::Timestamp;
use tower_service::Service;

use super::Call;
use super::cursors::{self, AnswerShape};
use crate::chatkit::threads::{self, Whereabouts};
use crate::chatkit::upstream::{ANYTHING, JSON, Upstream, UpstreamFailure};
use crate::chatkit::{ChatKit, ChatKitBody, count, unknown};
use crate::error::BoxError;
use crate::forward::{is_event_stream, is_json};
use crate::operation::{Exchange, Reply};
use crate::operation::{ReplyBody, SessionObserver, head, reply};
use crate::protocol::RequestType;
use crate::rejection::{Code, Rejection};
use crate::session::{ItemCursors, OwnedSession, OwnedThread, RunClaim, store_down};
use crate::stream::{RunBody, Watch};

/// Passes on a run's events.
pub(super) async fn run<S, R>(
    mut exchange: Exchange<S>,
    mut claim: RunClaim,
    call: Call,
) -> Reply<R>
where
    S: ChatKit<R>,
    R: ChatKitBody,
{
    let upstream = &mut exchange.upstream;
    count::before(upstream, &mut claim).await?;
    let (answer, body) = match upstream.run(call.body).await {
        Ok(response) => response.into_parts(),
        Err(failure) => {
            let thread_id = call.thread_id.as_deref();
            return Err(Box::pin(refusal(upstream, call.kind, thread_id, failure)).await);
        }
    };
    if let Some(kind) = call.kind {
        upstream.known.saw(kind);
    }
    let observer = SessionObserver::new(claim, exchange.record.take());
    let body = RunBody::unheld(Watch::new(body, observer));
    let mut response = Response::new(ReplyBody::Run { body });
    *response.headers_mut() = head::of_stream(&answer.headers, &exchange.settings.identity);
    Ok(response)
}

/// Passes on whatever is answered, which is JSON if the request's type is known.
pub(super) async fn other<S, R>(
    mut exchange: Exchange<S>,
    thread: Option<OwnedThread>,
    call: Call,
) -> Reply<R>
where
    S: ChatKit<R>,
    R: ChatKitBody,
{
    let upstream = &mut exchange.upstream;
    let accept = if call.kind.is_some() { JSON } else { ANYTHING };
    let response = match upstream.send(accept, call.body).await {
        Ok(response) => response,
        Err(failure) => {
            let thread_id = thread.as_ref().map(|thread| &**thread.id());
            return Err(Box::pin(refusal(upstream, call.kind, thread_id, failure)).await);
        }
    };
    if let Some(kind) = call.kind {
        upstream.known.saw(kind);
    }
    let (answer, body) = response.into_parts();
    if call.kind.is_some() && !is_json(&answer.headers) {
        return Err(UpstreamFailure::NOT_JSON.into());
    }
    let mut response = Response::new(ReplyBody::passthru(body));
    let identity = &exchange.settings.identity;
    if is_event_stream(&answer.headers) {
        *response.headers_mut() = head::of_stream(&answer.headers, identity);
        return Ok(response);
    }
    *response.headers_mut() = head::of_answer(&answer.headers, identity);
    Ok(response)
}

/// Passes on a thread, with its page of items.
pub(super) async fn thread<S, R>(
    exchange: Exchange<S>,
    thread: OwnedThread,
    cursors: &ItemCursors,
    body: Bytes,
) -> Reply<R>
where
    S: ChatKit<R>,
    R: ChatKitBody,
{
    sealed(exchange, RequestType::ThreadsGetById, body, AnswerShape::Thread, thread, cursors).await
}

/// Passes on a page of a thread's items.
pub(super) async fn items<S, R>(
    exchange: Exchange<S>,
    thread: OwnedThread,
    cursors: &ItemCursors,
    body: Bytes,
) -> Reply<R>
where
    S: ChatKit<R>,
    R: ChatKitBody,
{
    sealed(exchange, RequestType::ItemsList, body, AnswerShape::Page, thread, cursors).await
}

/// Passes on an answer that is a page of items or has one.
async fn sealed<S, R>(
    mut exchange: Exchange<S>,
    kind: RequestType,
    body: Bytes,
    shape: AnswerShape,
    thread: OwnedThread,
    cursors: &ItemCursors,
) -> Reply<R>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: Into<BoxError>>,
    R: Body<Data = Bytes, Error: Into<BoxError>>,
{
    let upstream = &mut exchange.upstream;
    let response = match upstream.send_for_json(body).await {
        Ok(response) => response,
        Err(failure) => {
            return Err(refusal(upstream, Some(kind), Some(thread.id()), failure).await);
        }
    };
    upstream.known.saw(kind);
    let (answer, body) = response.into_parts();
    let body = upstream.whole(body).await?;
    let body = cursors::seal(body, shape, cursors, thread.id()).await?;
    let mut response = Response::new(ReplyBody::sealed(body));
    *response.headers_mut() = head::of_answer(&answer.headers, &exchange.settings.identity);
    Ok(response)
}

/// Has the upstream give a thread another title, and keeps that.
pub(super) async fn update<S, R>(
    mut exchange: Exchange<S>,
    session: OwnedSession,
    cursors: &ItemCursors,
    title: String,
    body: Bytes,
) -> Reply<R>
where
    S: ChatKit<R>,
    R: ChatKitBody,
{
    let thread_id = session.record().thread_id.as_deref();
    let answer = whole(&mut exchange.upstream, thread_id, body).await?;
    session.set_title(title, Timestamp::now()).await.map_err(store_down)?;
    let thread_id = thread_id.unwrap_or_default();
    let sealed = cursors::seal(answer, AnswerShape::Thread, cursors, thread_id).await?;
    Ok(reply::sealed(sealed))
}

/// Has the upstream delete a thread, and deletes its session.
pub(super) async fn delete<S, R>(
    mut exchange: Exchange<S>,
    mut session: OwnedSession,
    body: Bytes,
) -> Reply<R>
where
    S: ChatKit<R>,
    R: ChatKitBody,
{
    let thread_id = session.record().thread_id.as_deref();
    let answer = whole(&mut exchange.upstream, thread_id, body).await;
    let gone = match &answer {
        Ok(_) => true,
        Err(rejection) => rejection.code() == Code::ThreadNotFound,
    };
    if gone {
        session.delete().await?;
    }
    Ok(reply::whole(answer?))
}

async fn whole<S, R>(
    upstream: &mut Upstream<S>,
    thread_id: Option<&str>,
    body: Bytes,
) -> Result<Bytes, Rejection>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: Into<BoxError>>,
    R: Body<Data = Bytes, Error: Into<BoxError>>,
{
    match upstream.json(body).await {
        Ok(answer) => Ok(answer),
        Err(failure) => Err(refusal(upstream, None, thread_id, failure).await),
    }
}

/// Says what a failed exchange becomes: a bare 500 may mean that its thread is gone, or that the upstream
/// doesn't know what was asked.
async fn refusal<S, R>(
    upstream: &mut Upstream<S>,
    kind: Option<RequestType>,
    thread_id: Option<&str>,
    failure: UpstreamFailure,
) -> Rejection
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: Into<BoxError>>,
    R: Body<Data = Bytes, Error: Into<BoxError>>,
{
    if let Some(thread_id) = thread_id {
        let is_lost = match kind {
            Some(RequestType::ThreadsGetById) if failure.is_bare_500() => {
                upstream.whereabouts_of_untold(thread_id).await == Whereabouts::Lost
            }
            _ => upstream.failed_for_lack_of(thread_id, &failure).await,
        };
        if is_lost {
            return threads::lost();
        }
    }
    if let Some(kind) = kind
        && failure.is_bare_500()
        && upstream.is_ignorant_of(kind).await
    {
        return unknown::unsupported();
    }
    failure.into()
}
