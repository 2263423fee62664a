//! Lists the threads of one user, or of all, a page at a time.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::Body;
use http_body_util::Full;
use tower_service::Service;

use super::find::{Listing, ThreadLookup, find};
use super::list::{self, ListPage, ShownPage};
use super::thread::{ShownThread, ThreadSummary, show};
use super::user_id;
use crate::chatkit::{ChatKit, ChatKitBody};
use crate::error::BoxError;
use crate::operation::reply;
use crate::operation::{Exchange, Gives, Operation, Read, Reply, Row, Takes};
use crate::principal::{Principal, UserId};
use crate::rejection::Rejection;
use crate::session::{Desk, SessionRecord, ThreadDirectory, ThreadId};
use crate::surface::Surface;

#[cfg(test)]
mod tests;

/// How many threads that the upstream has lost are passed over for one page.
const MAX_LOST: usize = 50;

pub(crate) struct ListThreads;

#[derive(Debug)]
pub(crate) struct Call {
    user: Option<UserId>,
    page: ListPage,
}

impl Operation for ListThreads {
    const ROW: Row = Row {
        name: "openai_list_threads",
        surface: Surface::OpenAi,
        method: Method::GET,
        path: "/threads",
        takes: Takes::Nothing,
        gives: Gives::Json,
        asks_upstream: true,
        may_be_foreign: false,
        refuses: &[],
        tag: "OpenAI",
        summary: "List threads",
        description: "Of one user, or of all; newest first.",
        links: &[("thread_id", "/first_id")],
    };

    type Call = Call;
    type Grant = ThreadDirectory;

    fn parse(read: &Read<'_>) -> Result<Call, Rejection> {
        let (value, page) = list::page(read, &["after", "before", "limit", "order", "user"])?;
        let user = match list::text(&value, "user") {
            Some(user) => Some(user_id(&user).map_err(list::fault)?),
            None => None,
        };
        Ok(Call { user, page })
    }

    async fn admit(desk: &Desk, _: &Principal, call: &Call) -> Result<ThreadDirectory, Rejection> {
        let ListPage { ascending, after, before, .. } = &call.page;
        let user = call.user.clone();
        desk.open_directory(user, *ascending, after.as_deref(), before.as_deref()).await
    }

    async fn answer<S: ChatKit<R>, R: ChatKitBody>(
        mut exchange: Exchange<S>,
        directory: ThreadDirectory,
        call: Call,
    ) -> Reply<R> {
        reply::json(&page(&mut exchange, directory, call.page.limit).await?)
    }
}

/// Gives a page of the store's threads, as the upstream tells of them.
///
/// One list of the upstream's usually has them all; what it doesn't show is asked for one by one.
/// Threads that the upstream has lost are left out, and those after them take their places, but a
/// page is never empty while there are more: a client would stop there. A thread of which nobody
/// can tell is shown as the store has it, for one thread must not keep anybody from all others.
async fn page<S, R>(
    exchange: &mut Exchange<S>,
    mut directory: ThreadDirectory,
    limit: usize,
) -> Result<ShownPage<ShownThread>, Rejection>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: Into<BoxError>> + Clone,
    R: Body<Data = Bytes, Error: Into<BoxError>>,
{
    let offset = exchange.settings.utc_offset;
    let mut data: Vec<ShownThread> = Vec::new();
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
            ThreadLookup::Found(told) => data.push(show(&record, told, offset)),
            ThreadLookup::Unknown { failure, .. } if failure.is_the_last() => {
                return Err(failure.into());
            }
            // It has answered nothing of use yet: that is not about this thread.
            ThreadLookup::Unknown { failure, .. } if !lists.answered => return Err(failure.into()),
            ThreadLookup::Unknown { .. } => {
                data.push(show(&record, ThreadSummary::nothing_of(thread_id), offset));
            }
            ThreadLookup::Lost => {
                lost += 1;
                if lost < MAX_LOST {
                    continue;
                }
                if ahead.is_empty() && !all_read {
                    ahead.extend(directory.next(1).await?);
                }
                if data.is_empty() && !ahead.is_empty() {
                    data.push(show(&record, ThreadSummary::nothing_of(thread_id), offset));
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
    let mut shown = ShownPage::new(data, |thread| &thread.id, has_more);
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
    /// Finds out about a thread, by the list of its owner's or by itself.
    async fn find<S, R>(
        &mut self,
        exchange: &mut Exchange<S>,
        directory: &ThreadDirectory,
        record: &SessionRecord,
        thread_id: &ThreadId,
        ahead: &VecDeque<SessionRecord>,
    ) -> ThreadLookup
    where
        S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: Into<BoxError>> + Clone,
        R: Body<Data = Bytes, Error: Into<BoxError>>,
    {
        if let Some(told) = self.take(thread_id) {
            return ThreadLookup::Found(told);
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
                    return ThreadLookup::Unknown { failure, is_empty: false };
                }
                Err(failure) if is_first => {
                    return ThreadLookup::Unknown { failure, is_empty: false };
                }
                Err(_) => Listing::default(),
            };
            self.by_owner.insert(owner.clone(), listing);
            if let Some(told) = self.take(thread_id) {
                return ThreadLookup::Found(told);
            }
        }
        let listing = self.by_owner.entry(owner.clone()).or_default();
        let found = find(&mut upstream, thread_id, listing).await;
        self.answered |= !matches!(found, ThreadLookup::Unknown { .. });
        found
    }

    /// Tells whether an owner's list is to be asked for.
    ///
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

    /// Takes what any of them shows of a thread.
    fn take(&mut self, thread_id: &str) -> Option<ThreadSummary> {
        self.by_owner.values_mut().find_map(|listing| listing.take(thread_id))
    }
}
