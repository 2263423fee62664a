//! Threads, and pages of them.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use jiff::tz::Offset;
use serde::{Deserialize, Serialize};
use tower_service::Service;

use super::{Exchange, List};
use crate::error::BoxError;
use crate::principal::UserId;
use crate::protocol::RequestType;
use crate::rejection::{Code, Rejection};
use crate::session::{SessionRecord, ThreadDirectory, ThreadId};
use crate::translate::service::Reply;
use crate::translate::upstream::{Failure, Upstream};
use crate::translate::{envelope, reply, threads, time};

/// How many rows are asked for at once.
const ROWS: i64 = 100;

/// The most pages of the upstream's list in which a single thread is looked for.
const MAX_PAGES: usize = 5;

/// The most threads that the upstream may have lost in what is looked through for one page.
const MAX_LOST: usize = 50;

/// A thread as the upstream tells of it.
#[derive(Deserialize)]
pub(super) struct Told {
    id: String,
    #[serde(default)]
    created_at: Option<String>,
    #[serde(default)]
    title: Option<String>,
    #[serde(default)]
    status: Option<ToldStatus>,
}

#[derive(Deserialize)]
struct ToldStatus {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    reason: Option<String>,
}

/// A thread as it is shown.
#[derive(Debug, Serialize)]
struct Shown {
    id: String,
    object: &'static str,
    created_at: i64,
    status: Status,
    title: Option<String>,
    user: String,
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Status {
    Active,
    Locked { reason: Option<String> },
    Closed { reason: Option<String> },
}

/// What the upstream says, with what only the store knows: whose it is, and the rest where the
/// upstream is silent.
fn show(record: &SessionRecord, told: Told, offset: Offset) -> Shown {
    let created_at = told.created_at.and_then(|text| time::parse(&text, offset));
    let status = told.status.map_or(Status::Active, |status| match &*status.kind {
        "locked" => Status::Locked { reason: status.reason },
        "closed" => Status::Closed { reason: status.reason },
        _ => Status::Active,
    });
    Shown {
        id: told.id,
        object: "chatkit.thread",
        created_at: created_at.unwrap_or(record.created_at).as_second(),
        status,
        title: told.title.or_else(|| record.title.clone()),
        user: record.user_id.as_str().to_owned(),
    }
}

pub(super) fn not_found() -> Rejection {
    Rejection::new(Code::ThreadNotFound)
        .message("No thread found with this id.")
        .because("the upstream has lost the thread")
}

pub(super) async fn get<S, R>(exchange: &mut Exchange<'_, S>, record: &SessionRecord) -> Reply<R>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: Into<BoxError>> + Clone,
    R: Body<Data = Bytes, Error: Into<BoxError>>,
{
    let Some(thread_id) = &record.thread_id else { return Err(not_found()) };
    let mut upstream = exchange.upstream(&record.user_id);
    let told = look_up(&mut upstream, thread_id).await?.ok_or_else(not_found)?;
    reply::json(&show(record, told, exchange.settings.utc_offset))
}

/// What the upstream tells of a thread; `None` if it has lost it.
///
/// A bare 500 may mean that, or that its store is down, or that the thread has a title, which
/// makes some servers fail here for ever. The list of threads, which must work, tells.
pub(super) async fn look_up<S, R>(
    upstream: &mut Upstream<S>,
    thread_id: &str,
) -> Result<Option<Told>, Failure>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: Into<BoxError>>,
    R: Body<Data = Bytes, Error: Into<BoxError>>,
{
    let get = envelope::thread(RequestType::ThreadsGetById, thread_id);
    let failure = match upstream.json(get).await {
        Ok(thread) => {
            return serde_json::from_slice(&thread)
                .map(Some)
                .map_err(|_| Failure::Protocol("the upstream's thread is not one"));
        }
        Err(failure) if failure.is_not_found() => return Ok(None),
        Err(failure) if !failure.is_bare_500() => return Err(failure),
        Err(failure) => failure,
    };
    let mut after: Option<String> = None;
    for _ in 0..MAX_PAGES {
        let request = envelope::page(None, ROWS, false, after.as_deref());
        let Ok(answer) = upstream.json(request).await else { return Err(failure) };
        let page = threads::page(&answer)?;
        let mut rows = page.data.iter().filter_map(|row| serde_json::from_str(row.get()).ok());
        if let Some(row) = rows.find(|row: &Told| row.id == thread_id) {
            return Ok(Some(row));
        }
        match page.next() {
            None => return Ok(None),
            Some(next) if after.as_deref() != Some(next) => after = Some(next.to_owned()),
            Some(_) => break,
        }
    }
    // More threads than are looked through: nobody can tell.
    Err(failure)
}

/// A page of the store's threads, as the upstream tells of them.
///
/// One list of the upstream's usually has them all; what it doesn't show is asked for one by one.
/// Threads that the upstream has lost are left out, and those after them take their places.
pub(super) async fn list<S, R>(
    exchange: &mut Exchange<'_, S>,
    mut directory: ThreadDirectory,
    limit: usize,
) -> Reply<R>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: Into<BoxError>> + Clone,
    R: Body<Data = Bytes, Error: Into<BoxError>>,
{
    let offset = exchange.settings.utc_offset;
    let mut data: Vec<Shown> = Vec::new();
    let mut rows: Option<Rows> = None;
    let mut ahead: VecDeque<SessionRecord> = VecDeque::new();
    let (mut all_read, mut lost) = (limit == 0, 0);
    loop {
        if ahead.is_empty() && !all_read {
            // One more than is wanted tells whether there are more.
            let wanted = limit.saturating_sub(data.len()) + 1;
            let records = directory.next(wanted).await?;
            all_read = records.len() < wanted;
            ahead.extend(records);
        }
        if data.len() >= limit {
            break;
        }
        let Some(record) = ahead.pop_front() else { break };
        let Some(thread_id) = &record.thread_id else { continue };
        let rows = match &mut rows {
            Some(rows) => rows,
            none => none.insert(Rows::ask(exchange, &directory, &record.user_id).await?),
        };
        let told = match rows.of(thread_id) {
            Some(told) => Some(told),
            None => look_up(&mut exchange.upstream(&record.user_id), thread_id).await?,
        };
        match told {
            Some(told) => data.push(show(&record, told, offset)),
            None if lost < MAX_LOST => lost += 1,
            None => {
                return Err(Rejection::new(Code::UpstreamError)
                    .because("the upstream has lost too many threads"));
            }
        }
    }
    if directory.is_backwards() {
        data.reverse();
    }
    reply::json(&List::new(data, |thread| &thread.id, !ahead.is_empty()))
}

/// What one list of the upstream's shows.
struct Rows(HashMap<ThreadId, Told>);

impl Rows {
    /// Asks on behalf of the user whose threads are wanted, else of the `first` thread's owner:
    /// nobody in particular is somebody that the upstream may refuse.
    async fn ask<S, R>(
        exchange: &mut Exchange<'_, S>,
        directory: &ThreadDirectory,
        first: &UserId,
    ) -> Result<Self, Failure>
    where
        S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: Into<BoxError>> + Clone,
        R: Body<Data = Bytes, Error: Into<BoxError>>,
    {
        let mut upstream = exchange.upstream(directory.user().unwrap_or(first));
        let after = directory.cursor().map(|cursor| &**cursor);
        let request = envelope::page(None, ROWS, directory.is_ascending(), after);
        let answer = match upstream.json(request).await {
            Ok(answer) => answer,
            // Some servers fail on a cursor that they don't know, as one is that they have lost.
            Err(failure) if failure.is_bare_500() || failure.is_not_found() => {
                return Ok(Self(HashMap::new()));
            }
            Err(failure) => return Err(failure),
        };
        let page = threads::page(&answer)?;
        let rows = page.data.iter().filter_map(|row| serde_json::from_str(row.get()).ok());
        Ok(Self(rows.map(|row: Told| (ThreadId::from(&*row.id), row)).collect()))
    }

    fn of(&mut self, thread_id: &ThreadId) -> Option<Told> {
        self.0.remove(thread_id)
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::session::SessionId;

    #[test]
    fn a_thread_is_shown_as_the_upstream_tells_of_it() {
        let record = SessionRecord {
            id: SessionId::random(),
            user_id: UserId::parse("ada").unwrap(),
            conversation: None,
            thread_id: Some("thr_1".into()),
            title: Some("Mine".to_owned()),
            created_at: Timestamp::from_second(1_000_000_000).unwrap(),
            updated_at: Timestamp::from_second(1_000_000_001).unwrap(),
            message_count: 2,
        };
        for (told, created_at, status, title) in [
            (
                json!({"id": "thr_1", "created_at": "2026-11-21T12:35:00.999999", "title": "Theirs",
                    "status": {"type": "active"}, "metadata": {}, "items": {"data": []}}),
                1_795_232_100,
                json!({"type": "active"}),
                "Theirs",
            ),
            (
                json!({"id": "thr_1", "created_at": "2026-11-21T03:35:00Z", "title": null,
                    "status": {"type": "closed"}}),
                1_795_232_100,
                json!({"type": "closed", "reason": null}),
                "Mine",
            ),
            (
                json!({"id": "thr_1", "status": {"type": "locked", "reason": "Paid."}}),
                1_000_000_000,
                json!({"type": "locked", "reason": "Paid."}),
                "Mine",
            ),
            (
                json!({"id": "thr_1", "created_at": "soon", "status": {"type": "new"}}),
                1_000_000_000,
                json!({"type": "active"}),
                "Mine",
            ),
        ] {
            let shown = show(&record, serde_json::from_value(told).unwrap(), Offset::constant(9));
            assert_eq!(
                serde_json::to_value(shown).unwrap(),
                json!({"id": "thr_1", "object": "chatkit.thread", "created_at": created_at,
                    "status": status, "title": title, "user": "ada"})
            );
        }
    }
}
