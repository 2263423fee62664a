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
use super::runs::stream_headers;
use super::service::{Exchange, Reply, passed_on};
use super::upstream::{Failure, Upstream};
use super::{envelope, reply, threads};
use crate::error::BoxError;
use crate::rejection::{Code, Rejection};
use crate::session::{Effect, OwnedSession, ThreadId, store_down};
use crate::stream::{RunBody, Watch};
use crate::validate::{ChatKitCall, Page};

/// What the server takes an absent limit, and 0, for.
const DEFAULT_LIMIT: i64 = 20;

/// The most pages that are read for one page of the caller's own threads.
const MAX_LIST_PAGES: usize = 100;

pub(super) async fn pass<S, R>(
    mut exchange: Exchange<S>,
    call: ChatKitCall,
    effect: Effect,
) -> Reply<R>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: Into<BoxError>>,
    R: Body<Data = Bytes, Error: Into<BoxError>>,
{
    let thread_id = call.thread_id;
    let upstream = &mut exchange.upstream;
    match effect {
        Effect::Run(claim) => {
            let (head, body) = match upstream.run(call.body).await {
                Ok(response) => response.into_parts(),
                Err(failure) => return Err(refusal(upstream, thread_id, failure).await),
            };
            let observer = SessionObserver::new(claim, exchange.record.take());
            let body = RunBody::unheld(Watch::new(body, observer));
            let mut response = Response::new(ReplyBody::Run { body });
            *response.headers_mut() = stream_headers(head.headers);
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
        Effect::CreateAttachment(attachments) => {
            let answer = whole(upstream, None, call.body).await?;
            let id = serde_json::from_slice::<&RawValue>(&answer).ok().and_then(threads::id);
            let Some(id) = id else {
                return Err(Rejection::new(Code::UpstreamError)
                    .because("the upstream's new attachment has no id"));
            };
            attachments.created(&id).await?;
            Ok(reply::whole(answer))
        }
        Effect::DeleteAttachment(attachments, id) => {
            let answer = whole(upstream, None, call.body).await?;
            attachments.deleted(&id).await?;
            Ok(reply::whole(answer))
        }
        Effect::None => {
            let accept = if call.kind.is_some() { "application/json" } else { "*/*" };
            let response = match upstream.send(accept, call.body).await {
                Ok(response) => response,
                Err(failure) => return Err(refusal(upstream, thread_id, failure).await),
            };
            let (head, body) = response.into_parts();
            let mut response = Response::new(ReplyBody::passthru(body));
            *response.headers_mut() = passed_on(head.headers);
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
        Err(failure) => Err(refusal(upstream, thread_id, failure).await),
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

/// What a failed exchange becomes; a bare 500 about a thread may mean that it is gone.
async fn refusal<S, R>(
    upstream: &mut Upstream<S>,
    thread_id: Option<String>,
    failure: Failure,
) -> Rejection
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: Into<BoxError>>,
    R: Body<Data = Bytes, Error: Into<BoxError>>,
{
    if let Some(thread_id) = thread_id
        && failure.is_bare_500()
        && upstream.has_lost(&thread_id).await
    {
        return Rejection::new(Code::ThreadNotFound).because("the upstream has lost the thread");
    }
    failure.into()
}

#[derive(Serialize)]
struct OwnPage<'a> {
    data: Vec<&'a RawValue>,
    has_more: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<&'a str>,
}

/// One page of the caller's own threads.
///
/// The upstream's list has everybody's. Its pages are read until there are enough of the
/// caller's, or all of them, or no more; each page asks for no more rows than are still wanted,
/// so that the cursor between two of the upstream's pages is always one of the caller's too.
async fn list<S, R>(upstream: &mut Upstream<S>, own: &HashSet<ThreadId>, wanted: &Page) -> Reply<R>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: Into<BoxError>>,
    R: Body<Data = Bytes, Error: Into<BoxError>>,
{
    let limit = match wanted.limit {
        None | Some(0) => DEFAULT_LIMIT,
        Some(limit) => limit,
    };
    let mut replies: Vec<Bytes> = Vec::new();
    let mut shown: HashSet<String> = HashSet::new();
    let mut cursors: HashSet<String> = HashSet::new();
    let mut after = wanted.after.clone();
    let mut bytes = 0;
    // Without any thread of their own there is nothing to look for.
    while !own.is_empty() && replies.len() < MAX_LIST_PAGES {
        let missing = limit.saturating_sub(i64::try_from(shown.len()).unwrap_or(i64::MAX));
        let request = envelope::page(None, missing, wanted.ascending, after.as_deref());
        let answer = upstream.json(request).await?;
        bytes += answer.len();
        if bytes > upstream.max_reply_bytes {
            return Err(Failure::Protocol("the upstream's threads are too large together").into());
        }
        let page = threads::page(&answer)?;
        for id in page.data.iter().filter_map(|thread| threads::id(thread)) {
            if own.contains(id.as_str()) {
                shown.insert(id);
            }
        }
        let next = page.next().map(str::to_owned);
        replies.push(answer);
        after = next;
        let Some(cursor) = &after else { break };
        if !cursors.insert(cursor.clone()) {
            return Err(Failure::Protocol("the upstream's cursor goes round").into());
        }
        let all_of_theirs = wanted.after.is_none() && shown.len() == own.len();
        if all_of_theirs {
            after = None;
            break;
        }
        if limit <= 0 || i64::try_from(shown.len()).is_ok_and(|count| count >= limit) {
            break;
        }
    }
    let mut data = Vec::new();
    let mut listed = HashSet::new();
    for answer in &replies {
        for thread in threads::page(answer)?.data {
            if let Some(id) = threads::id(thread)
                && shown.contains(&id)
                && listed.insert(id)
            {
                data.push(thread);
            }
        }
    }
    reply::json(&OwnPage { data, has_more: after.is_some(), after: after.as_deref() })
}
