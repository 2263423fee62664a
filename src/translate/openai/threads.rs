//! Threads, and pages of them.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use jiff::tz::Offset;
use serde::Serialize;
use tower_service::Service;

use super::List;
use super::find::{Found, Listing, find, look_up};
use crate::error::BoxError;
use crate::principal::UserId;
use crate::rejection::{Code, Rejection};
use crate::session::{SessionRecord, ThreadDirectory, ThreadId};
use crate::stream::Object;
use crate::translate::service::{Exchange, Reply};
use crate::translate::{reply, time};

/// How many threads that the upstream has lost are passed over for one page.
const MAX_LOST: usize = 50;

/// A thread as the upstream tells of it; whatever it doesn't, or in a way that can't be read, is
/// absent.
pub(crate) struct Told {
    id: String,
    created_at: Option<String>,
    title: Option<String>,
    status: Option<Status>,
}

impl Told {
    /// Reads what is told; `None` if it doesn't say of which thread.
    pub(crate) fn read(thread: &Object<'_>) -> Option<Self> {
        Some(Self {
            id: thread.id()?,
            created_at: thread.text("created_at"),
            title: thread.text("title"),
            status: Status::read(thread),
        })
    }

    /// Of a thread about which the upstream says nothing.
    pub(crate) fn nothing_of(thread_id: &str) -> Self {
        Self { id: thread_id.to_owned(), created_at: None, title: None, status: None }
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// What its texts take in memory.
    pub(crate) fn bytes(&self) -> usize {
        let reason = match &self.status {
            Some(Status::Locked { reason } | Status::Closed { reason }) => reason.as_ref(),
            Some(Status::Active) | None => None,
        };
        let texts = [self.created_at.as_ref(), self.title.as_ref(), reason];
        self.id.len() + texts.into_iter().flatten().map(String::len).sum::<usize>()
    }
}

/// A thread as it is shown.
#[derive(Debug, Serialize)]
pub(crate) struct Shown {
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

impl Status {
    /// Reads a thread's, which may be its name alone.
    fn read(thread: &Object<'_>) -> Option<Self> {
        let status = thread.object("status");
        let kind = match &status {
            Some(status) => status.text("type")?,
            None => thread.text("status")?,
        };
        let reason = status.and_then(|status| status.text("reason"));
        match &*kind {
            "locked" => Some(Self::Locked { reason }),
            "closed" => Some(Self::Closed { reason }),
            _ => None,
        }
    }
}

/// What the upstream says, with what only the store knows: whose it is, and the rest where the
/// upstream is silent.
fn show(record: &SessionRecord, told: Told, offset: Offset) -> Shown {
    let created_at = told.created_at.and_then(|text| time::parse(&text, offset));
    Shown {
        id: told.id,
        object: "chatkit.thread",
        created_at: created_at.unwrap_or(record.created_at).as_second(),
        status: told.status.unwrap_or(Status::Active),
        title: told.title.or_else(|| record.title.clone()),
        user: record.user_id.as_str().to_owned(),
    }
}

pub(crate) fn not_found() -> Rejection {
    Rejection::new(Code::ThreadNotFound)
        .message("No thread found with this id.")
        .because("the upstream has lost the thread")
}

pub(crate) async fn get<S, R>(exchange: &mut Exchange<S>, record: &SessionRecord) -> Reply<R>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: Into<BoxError>> + Clone,
    R: Body<Data = Bytes, Error: Into<BoxError>>,
{
    let Some(thread_id) = &record.thread_id else { return Err(not_found()) };
    let mut upstream = exchange.upstream_for(&record.user_id);
    let told = look_up(&mut upstream, thread_id).await?.ok_or_else(not_found)?;
    reply::json(&show(record, told, exchange.settings.utc_offset))
}

/// A page of the store's threads, as the upstream tells of them.
///
/// One list of the upstream's usually has them all; what it doesn't show is asked for one by one.
/// Threads that the upstream has lost are left out, and those after them take their places, but a
/// page is never empty while there are more: a client would stop there. A thread of which nobody
/// can tell is shown as the store has it, for one thread must not keep anybody from all others.
pub(crate) async fn list<S, R>(
    exchange: &mut Exchange<S>,
    directory: ThreadDirectory,
    limit: usize,
) -> Reply<R>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: Into<BoxError>> + Clone,
    R: Body<Data = Bytes, Error: Into<BoxError>>,
{
    reply::json(&page(exchange, directory, limit).await?)
}

pub(crate) async fn page<S, R>(
    exchange: &mut Exchange<S>,
    mut directory: ThreadDirectory,
    limit: usize,
) -> Result<List<Shown>, Rejection>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: Into<BoxError>> + Clone,
    R: Body<Data = Bytes, Error: Into<BoxError>>,
{
    let offset = exchange.settings.utc_offset;
    let mut data: Vec<Shown> = Vec::new();
    let mut lists = Lists::default();
    let mut ahead: VecDeque<SessionRecord> = VecDeque::new();
    let (mut all_read, mut lost) = (limit == 0, 0);
    let mut stopped_at = None;
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
        let found = lists.find(exchange, &directory, &record, thread_id, &ahead).await;
        match found {
            Found::Told(told) => data.push(show(&record, told, offset)),
            Found::Unknown { failure, .. } if failure.is_the_last() => {
                return Err(failure.into());
            }
            // It has answered nothing of use yet: that is not about this thread.
            Found::Unknown { failure, .. } if !lists.answered => return Err(failure.into()),
            Found::Unknown { .. } => {
                data.push(show(&record, Told::nothing_of(thread_id), offset));
            }
            Found::Lost => {
                lost += 1;
                if lost < MAX_LOST {
                    continue;
                }
                if ahead.is_empty() && !all_read {
                    ahead.extend(directory.next(1).await?);
                }
                if data.is_empty() && !ahead.is_empty() {
                    data.push(show(&record, Told::nothing_of(thread_id), offset));
                }
                stopped_at = Some(thread_id.to_string());
                break;
            }
        }
    }
    let backwards = directory.is_backwards();
    if backwards {
        data.reverse();
    }
    let has_more = !ahead.is_empty();
    let mut shown = List::new(data, |thread| &thread.id, has_more);
    if let (Some(cursor), true) = (stopped_at, has_more) {
        // Who goes on does so behind what was left out.
        *(if backwards { &mut shown.first_id } else { &mut shown.last_id }) = Some(cursor);
    }
    Ok(shown)
}

/// What the upstream's lists show, for each user on behalf of whom one was asked for.
#[derive(Default)]
struct Lists {
    by_owner: HashMap<UserId, Listing>,
    /// The upstream has answered something of use.
    answered: bool,
}

impl Lists {
    async fn find<S, R>(
        &mut self,
        exchange: &mut Exchange<S>,
        directory: &ThreadDirectory,
        record: &SessionRecord,
        thread_id: &ThreadId,
        ahead: &VecDeque<SessionRecord>,
    ) -> Found
    where
        S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: Into<BoxError>> + Clone,
        R: Body<Data = Bytes, Error: Into<BoxError>>,
    {
        if let Some(told) = self.take(thread_id) {
            return Found::Told(told);
        }
        let owner = &record.user_id;
        let mut upstream = exchange.upstream_for(owner);
        if self.is_to_be_asked_for(owner, ahead) {
            // The cursor may be another user's thread, which only the first list need know.
            let after = if self.by_owner.is_empty() { directory.cursor() } else { None };
            let after = after.map(|cursor| &**cursor);
            let asked = Listing::ask(&mut upstream, directory.is_ascending(), after).await;
            self.answered |= asked.is_ok();
            let is_first = self.by_owner.is_empty();
            let listing = match asked {
                Ok(listing) => listing,
                // Some servers fail on a cursor that they don't know, as one is that they have
                // lost, and some have no list.
                Err(failure) if failure.is_bare_500() || failure.is_not_found() => {
                    Listing::default()
                }
                Err(failure) if failure.is_the_last() => {
                    return Found::Unknown { failure, is_empty: false };
                }
                Err(failure) if is_first => return Found::Unknown { failure, is_empty: false },
                Err(_) => Listing::default(),
            };
            self.by_owner.insert(owner.clone(), listing);
            if let Some(told) = self.take(thread_id) {
                return Found::Told(told);
            }
        }
        let listing = self.by_owner.entry(owner.clone()).or_default();
        let found = find(&mut upstream, thread_id, listing).await;
        self.answered |= !matches!(found, Found::Unknown { .. });
        found
    }

    /// The first owner's has everybody's threads where the upstream knows no users. Where it
    /// does, one of somebody else's saves more than it costs if it shows two.
    fn is_to_be_asked_for(&self, owner: &UserId, ahead: &VecDeque<SessionRecord>) -> bool {
        if self.by_owner.is_empty() {
            return true;
        }
        let is_missing =
            |thread_id: &ThreadId| !self.by_owner.values().any(|listing| listing.shows(thread_id));
        !self.by_owner.contains_key(owner)
            && ahead
                .iter()
                .filter(|record| record.user_id == *owner)
                .any(|record| record.thread_id.as_ref().is_some_and(is_missing))
    }

    fn take(&mut self, thread_id: &str) -> Option<Told> {
        self.by_owner.values_mut().find_map(|listing| listing.take(thread_id))
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::session::{MessageCount, SessionId};

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
            message_count: MessageCount::Known(2),
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
            (
                json!({"id": "thr_1", "created_at": 1_795_232_100_999_i64, "status": "locked",
                    "title": {}}),
                1_795_232_100,
                json!({"type": "locked", "reason": null}),
                "Mine",
            ),
            (
                json!({"id": "thr_1", "created_at": [], "title": 7,
                    "status": {"type": "closed", "reason": []}}),
                1_000_000_000,
                json!({"type": "closed", "reason": null}),
                "7",
            ),
            (
                json!({"id": "thr_1", "created_at": "1795232100", "status": {"type": null}}),
                1_795_232_100,
                json!({"type": "active"}),
                "Mine",
            ),
        ] {
            let told = told.to_string();
            let told = Told::read(&Object::read(&told).unwrap()).unwrap();
            let shown = show(&record, told, Offset::constant(9));
            assert_eq!(
                serde_json::to_value(shown).unwrap(),
                json!({"id": "thr_1", "object": "chatkit.thread", "created_at": created_at,
                    "status": status, "title": title, "user": "ada"})
            );
        }
    }
}
