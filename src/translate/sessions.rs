//! `get_session`, `update_session`, `delete_session`.

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use jiff::Timestamp;
use serde_json::value::RawValue;
use tower_service::Service;

use super::service::{Exchange, Reply};
use super::{envelope, messages, reply, threads};
use crate::error::BoxError;
use crate::protocol::RequestType;
use crate::rejection::{Code, Rejection};
use crate::session::{OwnedSession, RunClaim, store_down};

/// The session, and its messages as the upstream has them.
pub(crate) async fn get<S, R>(mut exchange: Exchange<S>, session: OwnedSession) -> Reply<R>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: Into<BoxError>>,
    R: Body<Data = Bytes, Error: Into<BoxError>>,
{
    let record = session.record();
    let summary = reply::Session::from(record);
    let Some(thread_id) = &record.thread_id else {
        return reply::one(reply::FullSession {
            session: summary,
            thread_id: None,
            status: None,
            messages: Vec::new(),
        });
    };
    // Some servers answer this with 500 for ever once a thread has a title: that costs no more
    // than the status.
    let get = envelope::thread(RequestType::ThreadsGetById, thread_id);
    let (is_there, status) = match exchange.upstream.json(get).await {
        Ok(thread) => (true, status(&thread)),
        // Who doesn't answer at all is not asked a second time.
        Err(failure) if failure.is_the_last() => return Err(failure.into()),
        Err(_) => (false, None),
    };
    let (items, _kept) = exchange.upstream.all_items(thread_id).await?;
    let (messages, counted) =
        messages::messages(&items, exchange.settings.utc_offset, record.created_at);
    // A thread that is lost looks like one without items, and is no reason to begin anew.
    let counted = match record.message_count.known() {
        before if items.is_empty() => before.or(is_there.then_some(0)),
        _ => Some(counted),
    };
    if let Some(counted) = counted {
        session.repair_message_count(counted).await.map_err(store_down)?;
    }
    reply::one(reply::FullSession {
        session: summary.with_message_count(counted),
        thread_id: Some(thread_id),
        status,
        messages,
    })
}

fn status(thread: &Bytes) -> Option<Box<RawValue>> {
    let status = threads::object(thread)?.get("status")?;
    status.get().starts_with('{').then(|| status.to_owned())
}

/// The upstream first: a title that it doesn't take is not shown.
pub(crate) async fn update<S, R>(
    mut exchange: Exchange<S>,
    session: OwnedSession,
    title: String,
) -> Reply<R>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: Into<BoxError>>,
    R: Body<Data = Bytes, Error: Into<BoxError>>,
{
    if let Some(thread_id) = &session.record().thread_id {
        let request = envelope::thread_title(thread_id, &title);
        if let Err(failure) = exchange.upstream.json(request).await {
            if exchange.upstream.failed_for_lack_of(thread_id, &failure).await {
                return Err(Rejection::new(Code::ThreadNotFound));
            }
            return Err(failure.into());
        }
    }
    let record = session.set_title(title, Timestamp::now()).await.map_err(store_down)?;
    match record {
        Some(record) => reply::one(reply::Session::from(&record)),
        None => Err(Rejection::new(Code::SessionNotFound)),
    }
}

/// The thread first, then the session: what is half-done can be done again.
pub(crate) async fn delete<S, R>(
    mut exchange: Exchange<S>,
    session: OwnedSession,
    claim: Option<RunClaim>,
) -> Reply<R>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: Into<BoxError>>,
    R: Body<Data = Bytes, Error: Into<BoxError>>,
{
    let record = session.record();
    if let Some(thread_id) = &record.thread_id {
        let request = envelope::thread(RequestType::ThreadsDelete, thread_id);
        if let Err(failure) = exchange.upstream.json(request).await
            && !exchange.upstream.failed_for_lack_of(thread_id, &failure).await
        {
            return Err(failure.into());
        }
    }
    session.delete().await?;
    drop(claim);
    reply::one(reply::Deleted { id: record.id, session_id: record.id, deleted: true })
}
