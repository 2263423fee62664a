//! ChatKit requests that come as such.
//!
//! What is sent are the client's very bytes, and what comes back are the upstream's, with two
//! exceptions: a list of threads shows the caller's own only, and an answer that is a failure
//! becomes a refusal like any other. Nothing is held.

use std::collections::HashSet;

use bytes::Bytes;
use http::header::CACHE_CONTROL;
use http::{HeaderValue, Request, Response};
use http_body::Body;
use http_body_util::Full;
use serde::Serialize;
use serde_json::value::RawValue;
use tower_service::Service;

use super::body::ReplyBody;
use super::observer::SessionObserver;
use super::pages::Place;
use super::runs::stream_headers;
use super::service::{Exchange, Reply, passed_on};
use super::threads::Whereabouts;
use super::upstream::{Detachable, Failure, Upstream};
use super::{attachments, envelope, reply, threads, unknown};
use crate::error::BoxError;
use crate::forward::is_json;
use crate::protocol::RequestType;
use crate::rejection::{Code, Rejection};
use crate::session::{Effect, OwnedSession, ThreadId, store_down};
use crate::stream::{RunBody, Watch};
use crate::validate::{ChatKitCall, Page};

/// What the server takes an absent limit, and 0, for.
const DEFAULT_LIMIT: i64 = 20;

/// The fewest rows that are asked for at once: the caller's may be rare among them.
const MIN_LIST_ROWS: i64 = 100;

/// The most pages that are read for one page of the caller's own threads.
const MAX_LIST_PAGES: usize = 10;

pub(super) async fn pass<S, R>(
    mut exchange: Exchange<S>,
    call: ChatKitCall,
    effect: Effect,
) -> Reply<R>
where
    S: Detachable<R>,
    R: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let (kind, thread_id) = (call.kind, call.thread_id);
    let upstream = &mut exchange.upstream;
    match effect {
        Effect::Run(claim) => {
            let (head, body) = match upstream.run(call.body).await {
                Ok(response) => response.into_parts(),
                Err(failure) => return Err(refusal(upstream, kind, thread_id, failure).await),
            };
            if let Some(kind) = kind {
                upstream.known.saw(kind);
            }
            let observer = SessionObserver::new(claim, exchange.record.take());
            let body = RunBody::unheld(Watch::new(body, observer));
            let mut response = Response::new(ReplyBody::Run { body });
            *response.headers_mut() = stream_headers(&head.headers);
            Ok(response)
        }
        Effect::ListThreads(own) => list(upstream, &own, &call.page).await,
        Effect::Update(session) => {
            let answer = whole(upstream, thread_id, call.body).await?;
            let title = call.title.unwrap_or_default();
            session.set_title(title, jiff::Timestamp::now()).await.map_err(store_down)?;
            Ok(reply::whole(answer))
        }
        Effect::Delete(session) => delete(upstream, session, call.body).await,
        Effect::CreateAttachment(owner) => {
            let Exchange { upstream, errands, .. } = exchange;
            let answer = attachments::record(upstream, &errands, owner, call.body).await?;
            Ok(reply::whole(answer))
        }
        Effect::DeleteAttachment(owner, id) => {
            let Exchange { upstream, errands, .. } = exchange;
            let answer = attachments::remove(upstream, &errands, owner, id, call.body).await?;
            Ok(reply::whole(answer))
        }
        Effect::None => {
            let accept = if call.kind.is_some() { "application/json" } else { "*/*" };
            let response = match upstream.send(accept, call.body).await {
                Ok(response) => response,
                Err(failure) => return Err(refusal(upstream, kind, thread_id, failure).await),
            };
            if let Some(kind) = kind {
                upstream.known.saw(kind);
            }
            let (head, body) = response.into_parts();
            if call.kind.is_some() && !is_json(&head.headers) {
                return Err(Failure::NOT_JSON.into());
            }
            let mut response = Response::new(ReplyBody::passthru(body));
            *response.headers_mut() = passed_on(&head.headers);
            let no_store = HeaderValue::from_static("no-store");
            response.headers_mut().entry(CACHE_CONTROL).or_insert(no_store);
            Ok(response)
        }
    }
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
        session.delete().await.map_err(store_down)?;
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

#[derive(Serialize)]
struct OwnPage<'a> {
    data: Vec<&'a RawValue>,
    has_more: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<String>,
}

/// One page of the caller's own threads.
///
/// The upstream's list has everybody's. Its pages are read until there are enough of the
/// caller's, or all of them, or no more; a page in which more were found than are wanted is
/// begun anew for the next one.
async fn list<S, R>(upstream: &mut Upstream<S>, own: &HashSet<ThreadId>, wanted: &Page) -> Reply<R>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: Into<BoxError>>,
    R: Body<Data = Bytes, Error: Into<BoxError>>,
{
    let limit = match wanted.limit {
        None | Some(0) => DEFAULT_LIMIT,
        Some(limit) => limit.max(0),
    };
    let enough = usize::try_from(limit).unwrap_or(usize::MAX);
    let rows = limit.max(MIN_LIST_ROWS);
    let mut place = Place::parse(wanted.after.as_deref());
    let from_the_start = place == Place::default();
    // The client's own cursor among them: a store that begins anew on one it doesn't know would
    // lead there again.
    let mut cursors: HashSet<String> = place.after.iter().cloned().collect();
    let mut shown: HashSet<String> = HashSet::new();
    let mut data: Vec<Box<RawValue>> = Vec::new();
    let mut next = None;
    let mut bytes = 0;
    // Without any thread of their own there is nothing to look for.
    for page_number in 1..=MAX_LIST_PAGES {
        if own.is_empty() || enough == 0 {
            break;
        }
        let request = envelope::page(None, rows, wanted.ascending, place.after.as_deref());
        let answer = upstream.json(request).await?;
        bytes += answer.len();
        if bytes > upstream.max_reply_bytes {
            return Err(Failure::Protocol("the upstream's threads are too large together").into());
        }
        let page = threads::page(&answer)?;
        let mut seen = 0;
        for thread in &page.data {
            let Some(id) = threads::id(thread).filter(|id| own.contains(id.as_str())) else {
                continue;
            };
            seen += 1;
            if seen <= place.skip {
                continue;
            }
            if data.len() == enough {
                next = Some(Place { after: place.after.clone(), skip: seen - 1 });
                break;
            }
            if shown.insert(id) {
                data.push((*thread).to_owned());
            }
        }
        let all_of_theirs = from_the_start && shown.len() == own.len();
        if next.is_some() || all_of_theirs {
            break;
        }
        let Some(cursor) = page.next().map(str::to_owned) else { break };
        if !cursors.insert(cursor.clone()) {
            return Err(Failure::Protocol("the upstream's cursor goes round").into());
        }
        place = Place { after: Some(cursor), skip: 0 };
        if data.len() == enough || page_number == MAX_LIST_PAGES {
            next = Some(place);
            break;
        }
    }
    let data = data.iter().map(|thread| &**thread).collect();
    reply::json(&OwnPage { data, has_more: next.is_some(), after: next.map(Place::write) })
}
