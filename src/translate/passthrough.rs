//! ChatKit requests that come as such.
//!
//! What is sent are the client's very bytes, and what comes back are the upstream's, with three
//! exceptions: a list of threads shows the caller's own only (see `own_threads`), the cursor of a page
//! of items is sealed (see `cursors`), and an answer that is a failure becomes a refusal like any
//! other. No stream is held.

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use tower_service::Service;

use super::body::ReplyBody;
use super::cursors::{self, Shape};
use super::observer::SessionObserver;
use super::service::{Exchange, Reply};
use super::threads::Whereabouts;
use super::upstream::{ANYTHING, ChatKit, ChatKitBody, Failure, JSON, Upstream};
use super::{attachments, count, head, own_threads, reply, threads, unknown};
use crate::error::BoxError;
use crate::forward::{is_event_stream, is_json};
use crate::protocol::RequestType;
use crate::rejection::{Code, Rejection};
use crate::session::{Effect, ItemCursors, OwnedSession, store_down};
use crate::stream::{RunBody, Watch};
use crate::validate::ChatKitCall;

/// What reads an answer, or a failure, is boxed, so that what passes one on doesn't have room for it.
pub(crate) async fn pass<S, R>(
    mut exchange: Exchange<S>,
    call: ChatKitCall,
    effect: Effect,
) -> Reply<R>
where
    S: ChatKit<R>,
    R: ChatKitBody,
{
    let (kind, thread_id) = (call.kind, call.thread_id);
    let upstream = &mut exchange.upstream;
    match effect {
        Effect::Run(mut claim) => {
            count::before(upstream, &mut claim).await?;
            let (answer, body) = match upstream.run(call.body).await {
                Ok(response) => response.into_parts(),
                Err(failure) => {
                    return Err(Box::pin(refusal(upstream, kind, thread_id, failure)).await);
                }
            };
            if let Some(kind) = kind {
                upstream.known.saw(kind);
            }
            let observer = SessionObserver::new(claim, exchange.record.take());
            let body = RunBody::unheld(Watch::new(body, observer));
            let mut response = Response::new(ReplyBody::Run { body });
            *response.headers_mut() = head::of_stream(&answer.headers, &exchange.settings.identity);
            Ok(response)
        }
        Effect::ListThreads(own) => Box::pin(own_threads::list(upstream, own, &call.page)).await,
        Effect::GetThread(cursors) => {
            Box::pin(page(exchange, call.body, kind, thread_id, Shape::Thread, &cursors)).await
        }
        Effect::ListItems(cursors, after) => {
            let body = match after {
                Some(after) => cursors::open(&call.body, &after)?,
                None => call.body,
            };
            Box::pin(page(exchange, body, kind, thread_id, Shape::Page, &cursors)).await
        }
        Effect::Update(session, cursors) => {
            let answer = Box::pin(whole(upstream, thread_id.clone(), call.body)).await?;
            let title = call.title.unwrap_or_default();
            session.set_title(title, jiff::Timestamp::now()).await.map_err(store_down)?;
            let thread_id = thread_id.unwrap_or_default();
            let sealed = cursors::seal(answer, Shape::Thread, &cursors, &thread_id).await?;
            Ok(reply::sealed(sealed))
        }
        Effect::Delete(session) => Box::pin(delete(upstream, session, call.body)).await,
        Effect::CreateAttachment(owner) => {
            let Exchange { upstream, errands, .. } = exchange;
            let answer = attachments::record(upstream, &errands, owner, call.body);
            let answer = Box::pin(answer).await?;
            Ok(reply::whole(answer))
        }
        Effect::DeleteAttachment(owner, id) => {
            let Exchange { upstream, errands, .. } = exchange;
            let answer = attachments::remove(upstream, &errands, owner, id, call.body);
            let answer = Box::pin(answer).await?;
            Ok(reply::whole(answer))
        }
        Effect::None => {
            let accept = if call.kind.is_some() { JSON } else { ANYTHING };
            let response = match upstream.send(accept, call.body).await {
                Ok(response) => response,
                Err(failure) => {
                    return Err(Box::pin(refusal(upstream, kind, thread_id, failure)).await);
                }
            };
            if let Some(kind) = kind {
                upstream.known.saw(kind);
            }
            let (answer, body) = response.into_parts();
            if call.kind.is_some() && !is_json(&answer.headers) {
                return Err(Failure::NOT_JSON.into());
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
    }
}

/// Passes on an answer that is a page of items or has one.
async fn page<S, R>(
    mut exchange: Exchange<S>,
    body: Bytes,
    kind: Option<RequestType>,
    thread_id: Option<String>,
    shape: Shape,
    cursors: &ItemCursors,
) -> Reply<R>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: Into<BoxError>>,
    R: Body<Data = Bytes, Error: Into<BoxError>>,
{
    let upstream = &mut exchange.upstream;
    let response = match upstream.send_for_json(body).await {
        Ok(response) => response,
        Err(failure) => return Err(refusal(upstream, kind, thread_id, failure).await),
    };
    if let Some(kind) = kind {
        upstream.known.saw(kind);
    }
    let (answer, body) = response.into_parts();
    let body = upstream.whole(body).await?;
    let thread_id = thread_id.unwrap_or_default();
    let body = cursors::seal(body, shape, cursors, &thread_id).await?;
    let mut response = Response::new(ReplyBody::sealed(body));
    *response.headers_mut() = head::of_answer(&answer.headers, &exchange.settings.identity);
    Ok(response)
}

async fn whole<S, R>(
    upstream: &mut Upstream<S>,
    thread_id: Option<String>,
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

async fn delete<S, R>(upstream: &mut Upstream<S>, session: OwnedSession, body: Bytes) -> Reply<R>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: Into<BoxError>>,
    R: Body<Data = Bytes, Error: Into<BoxError>>,
{
    let thread_id = session.record().thread_id.as_deref().map(str::to_owned);
    let answer = whole(upstream, thread_id, body).await;
    let gone = match &answer {
        Ok(_) => true,
        Err(rejection) => rejection.code() == Code::ThreadNotFound,
    };
    if gone {
        session.delete().await?;
    }
    Ok(reply::whole(answer?))
}

/// What a failed exchange becomes; a bare 500 may mean that its thread is gone, or that the upstream
/// doesn't know what was asked.
async fn refusal<S, R>(
    upstream: &mut Upstream<S>,
    kind: Option<RequestType>,
    thread_id: Option<String>,
    failure: Failure,
) -> Rejection
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: Into<BoxError>>,
    R: Body<Data = Bytes, Error: Into<BoxError>>,
{
    if let Some(thread_id) = thread_id {
        let is_lost = match kind {
            Some(RequestType::ThreadsGetById) if failure.is_bare_500() => {
                upstream.whereabouts_of_untold(&thread_id).await == Whereabouts::Lost
            }
            _ => upstream.failed_for_lack_of(&thread_id, &failure).await,
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
