//! Sessions: made, found, listed, deleted.

use std::collections::hash_map::Entry;
use std::num::{NonZeroU32, NonZeroU64};

use jiff::Timestamp;

use super::{Deleted, Lease, MemoryStore, Stored, Tables};
use crate::error::Error;
use crate::session::pages::{SessionPlace, SessionSummary, SessionsPage};
use crate::session::quarantine::Found;
use crate::session::record::{
    ConversationId, LAST_NUMBER, NO_NUMBER, Ownership, SessionId, SessionRecord, ThreadId,
};
use crate::session::store::{
    Created, Deletion, KEEP_PLACE, NewConversation, NewSession, SessionKey, Sessions, StoreFuture,
    is_held, whole_microseconds,
};

impl Sessions for MemoryStore {
    fn create(
        &self,
        session: NewSession,
        max_sessions: Option<NonZeroU32>,
    ) -> StoreFuture<'_, Created> {
        Box::pin(async move { self.tables().create(session, max_sessions) })
    }

    fn get<'a>(&'a self, session: SessionKey<'a>) -> StoreFuture<'a, Option<Found<SessionRecord>>> {
        self.later(move |tables| Some(tables.found(session)?.found(Stored::record)))
    }

    fn ownership<'a>(
        &'a self,
        session: SessionKey<'a>,
    ) -> StoreFuture<'a, Option<Found<Ownership>>> {
        self.later(move |tables| Some(tables.found(session)?.found(Stored::ownership)))
    }

    fn list(&self, page: SessionsPage) -> StoreFuture<'_, Vec<SessionSummary>> {
        self.later(move |tables| tables.list(&page))
    }

    fn set_title(
        &self,
        id: SessionId,
        title: Option<String>,
        now: Timestamp,
    ) -> StoreFuture<'_, Option<SessionRecord>> {
        self.later(move |tables| {
            let session = tables.sessions.get_mut(&id).filter(|session| !session.quarantined)?;
            let record = &mut session.record;
            record.title = title;
            record.touch(now);
            Some(record.clone())
        })
    }

    fn delete<'a>(
        &'a self,
        id: SessionId,
        thread_id: Option<&'a str>,
        now: Timestamp,
    ) -> StoreFuture<'a, Deletion> {
        self.later(move |tables| tables.delete(id, thread_id, now))
    }

    fn signing_key(&self, fresh: [u8; 32]) -> StoreFuture<'_, [u8; 32]> {
        self.later(move |tables| *tables.signing_key.get_or_insert(fresh))
    }

    fn ping(&self) -> StoreFuture<'_, ()> {
        self.later(|_| ())
    }
}

impl Tables {
    fn found(&self, session: SessionKey<'_>) -> Option<&Stored> {
        self.sessions.get(&self.id(session)?)
    }

    fn create(
        &mut self,
        session: NewSession,
        max_sessions: Option<NonZeroU32>,
    ) -> Result<Created, Error> {
        let NewSession { id, user_id, title, conversation, now, first_run } = session;
        if self.sessions.contains_key(&id) {
            return Err(Error::store("could not create a session", "its id is in use"));
        }
        let made = |id: &&SessionId| {
            self.sessions.get(id).is_some_and(|stored| !stored.adopted && !stored.quarantined)
        };
        let has = self.users.get(&user_id).into_iter().flatten().filter(made).count();
        if max_sessions.is_some_and(|max| has as u64 >= u64::from(max.get())) {
            return Ok(Created::LimitReached);
        }
        let conversation = match conversation {
            None => None,
            Some(NewConversation::Conv(bits)) => Some(ConversationId::Conv(bits)),
            Some(NewConversation::Next) => Some(self.next_number()?),
        };
        if let Some(conversation) = conversation {
            match self.conversations.entry(conversation) {
                Entry::Occupied(_) => return Ok(Created::ConversationTaken),
                Entry::Vacant(place) => place.insert(id),
            };
        }
        let now = whole_microseconds(now);
        let record =
            SessionRecord { conversation, title, ..SessionRecord::new(id, user_id.clone(), now) };
        self.users.entry(user_id).or_default().insert(id);
        let mut stored = Stored::new(record.clone());
        if let Some(begin) = first_run {
            stored.runs.push(begin.run);
            stored.lease = Some(Lease::new(&begin));
        }
        self.sessions.insert(id, stored);
        Ok(Created::Session(record))
    }

    fn next_number(&mut self) -> Result<ConversationId, Error> {
        let next = self.last_number.checked_add(1).filter(|next| *next <= LAST_NUMBER);
        let next = next
            .and_then(NonZeroU64::new)
            .ok_or_else(|| Error::store("could not create a session", NO_NUMBER))?;
        self.last_number = next.get();
        Ok(ConversationId::Integer(next))
    }

    fn list(&self, page: &SessionsPage) -> Vec<SessionSummary> {
        let ids = self.users.get(&page.user_id).into_iter().flatten();
        let mut places: Vec<_> = ids
            .filter_map(|id| self.sessions.get(id))
            .filter(|session| !session.quarantined)
            .map(|session| &session.record)
            .filter(|record| page.ids.has(record.conversation))
            .map(|record| SessionPlace {
                updated_at: record.updated_at,
                created_at: record.created_at,
                id: record.id,
            })
            .filter(|place| page.after.is_none_or(|after| *place > after))
            .collect();
        places.sort_unstable();
        places.truncate(page.limit);
        let record = |place: SessionPlace| Some(self.sessions.get(&place.id)?.record.clone());
        places.into_iter().filter_map(record).map(SessionSummary::from).collect()
    }

    fn delete(&mut self, id: SessionId, thread_id: Option<&str>, now: Timestamp) -> Deletion {
        let Some(session) = self.sessions.get(&id) else { return Deletion::Unknown };
        if session.quarantined {
            return Deletion::Quarantined;
        }
        match (&session.record.thread_id, thread_id) {
            (Some(bound), Some(thread_id)) if **bound == *thread_id => {}
            (Some(bound), _) => return Deletion::Bound(ThreadId::clone(bound)),
            (None, Some(_)) => return Deletion::Unknown,
            (None, None) => {
                let lease = session.lease.as_ref();
                if lease.is_some_and(|lease| is_held(now, Some(lease.since), lease.until)) {
                    return Deletion::Busy;
                }
            }
        }
        self.remove(id, now);
        Deletion::Done
    }

    /// Removes a session, whatever it is; `false` if there is none.
    pub(super) fn remove(&mut self, id: SessionId, now: Timestamp) -> bool {
        let Some(stored) = self.sessions.remove(&id) else { return false };
        if let Ok(gone) = now.checked_sub(KEEP_PLACE) {
            self.deleted_threads.retain(|_, deleted| deleted.at >= gone);
        }
        let place = stored.place();
        let record = stored.record;
        if let Some(thread_id) = record.thread_id {
            self.threads.remove(&thread_id);
            if stored.adopted {
                self.deleted_adopted_threads.insert(ThreadId::clone(&thread_id));
            }
            if let Some(place) = place {
                self.deleted_threads.insert(thread_id, Deleted { place, at: now });
            }
        }
        if let Some(conversation) = record.conversation {
            self.conversations.remove(&conversation);
        }
        if let Some(ids) = self.users.get_mut(&record.user_id) {
            ids.remove(&id);
            if ids.is_empty() {
                self.users.remove(&record.user_id);
            }
        }
        true
    }
}
