//! All threads: taken on, listed, in quarantine; and who is blocked.

use std::collections::hash_map::Entry;
use std::ops::Bound as Edge;

use jiff::Timestamp;

use super::{Attachment, MemoryStore, Stored, Tables};
use crate::principal::UserId;
use crate::session::adoption::{self, Adopted, AdoptedThread, Adoption, AdoptionConflict, KnownBy};
use crate::session::blocks::{
    Blocked, BlockedUser, BlockedUsers, BlocksVersion, MAX_BLOCKED_USERS,
};
use crate::session::pages::{PlacedSession, ThreadPlace, ThreadsPage};
use crate::session::quarantine::{QuarantinedThread, Released};
use crate::session::record::{ConversationId, MessageCount, SessionRecord, ThreadId};
use crate::session::store::{Directory, StoreFuture, whole_microseconds};

impl Directory for MemoryStore {
    fn threads(&self, page: ThreadsPage) -> StoreFuture<'_, Vec<PlacedSession>> {
        self.later(move |tables| tables.page(&page))
    }

    fn place_of_thread<'a>(&'a self, thread_id: &'a str) -> StoreFuture<'a, Option<ThreadPlace>> {
        self.later(move |tables| match tables.threads.get(thread_id) {
            Some(id) => tables.sessions.get(id)?.place(),
            None => tables.deleted_threads.get(thread_id).map(|deleted| deleted.place),
        })
    }

    fn adopt(&self, entries: Vec<Adoption>) -> StoreFuture<'_, Vec<Adopted>> {
        self.later(move |tables| entries.into_iter().map(|entry| tables.adopt(entry)).collect())
    }

    fn quarantined(
        &self,
        after: Option<ThreadId>,
        limit: usize,
    ) -> StoreFuture<'_, Vec<QuarantinedThread>> {
        self.later(move |tables| {
            let from = after.as_deref().map_or(Edge::Unbounded, Edge::Excluded);
            let threads = tables.quarantine.range::<str, _>((from, Edge::Unbounded));
            threads.take(limit).map(|(_, thread)| thread.clone()).collect()
        })
    }

    fn release<'a>(&'a self, thread_id: &'a str) -> StoreFuture<'a, Released> {
        self.later(move |tables| {
            if tables.quarantine.remove(thread_id).is_none() {
                return Released::Unknown;
            }
            match tables.threads.get(thread_id).and_then(|id| tables.sessions.get_mut(id)) {
                Some(session) => {
                    session.quarantined = false;
                    Released::ToOwner
                }
                None => Released::Id,
            }
        })
    }

    fn delete_quarantined<'a>(
        &'a self,
        thread_id: &'a str,
        now: Timestamp,
    ) -> StoreFuture<'a, bool> {
        self.later(move |tables| {
            let Some(id) = tables.threads.get(thread_id).copied() else { return false };
            let Some(thread) = tables.quarantine.get_mut(thread_id) else { return false };
            thread.is_deleted = true;
            tables.remove(id, now)
        })
    }

    fn block(&self, block: BlockedUser) -> StoreFuture<'_, Blocked> {
        self.later(move |tables| {
            if tables.blocked.contains_key(&block.user_id) {
                return Blocked::Already;
            }
            if tables.blocked.len() >= MAX_BLOCKED_USERS {
                return Blocked::Full;
            }
            let since = whole_microseconds(block.since);
            tables.blocked.insert(block.user_id.clone(), BlockedUser { since, ..block });
            tables.blocks_version = Some(BlocksVersion::random());
            Blocked::Done
        })
    }

    fn unblock<'a>(&'a self, user_id: &'a UserId) -> StoreFuture<'a, bool> {
        self.later(move |tables| {
            let was_blocked = tables.blocked.remove(user_id).is_some();
            if was_blocked {
                tables.blocks_version = Some(BlocksVersion::random());
            }
            was_blocked
        })
    }

    fn blocks(&self, after: Option<UserId>, limit: usize) -> StoreFuture<'_, Vec<BlockedUser>> {
        self.later(move |tables| {
            let from = after.as_ref().map_or(Edge::Unbounded, Edge::Excluded);
            let users = tables.blocked.range((from, Edge::Unbounded));
            users.take(limit).map(|(_, block)| block.clone()).collect()
        })
    }

    fn blocked_users(&self, known: Option<BlocksVersion>) -> StoreFuture<'_, Option<BlockedUsers>> {
        self.later(move |tables| {
            let version = tables.blocks_version.filter(|version| Some(*version) != known)?;
            Some(BlockedUsers::new(version, tables.blocked.keys().cloned().collect()))
        })
    }
}

impl Tables {
    fn adopt(&mut self, entry: Adoption) -> Adopted {
        match entry {
            Adoption::Attachment { attachment_id, user_id } => {
                match self.attachments.entry(attachment_id.into()) {
                    Entry::Occupied(place) => {
                        adoption::of_attachment(&place.get().user_id, &user_id)
                    }
                    Entry::Vacant(place)
                        if self.deleted_adopted_attachments.contains(place.key()) =>
                    {
                        Adopted::Deleted
                    }
                    Entry::Vacant(place) => {
                        place.insert(Attachment { user_id, adopted: true });
                        Adopted::Done
                    }
                }
            }
            Adoption::Thread(thread) => self.adopt_thread(thread),
        }
    }

    fn adopt_thread(&mut self, thread: AdoptedThread) -> Adopted {
        let session = self.threads.get(&thread.thread_id).and_then(|id| self.sessions.get(id));
        if let Some(session) = session {
            return thread.beside(&session.found(Stored::record));
        }
        if self.quarantine.contains_key(&thread.thread_id) {
            return Adopted::Conflict(AdoptionConflict::Quarantined);
        }
        if self.deleted_adopted_threads.contains(&thread.thread_id)
            || self.deleted_threads.contains_key(&thread.thread_id)
        {
            return Adopted::Deleted;
        }
        let is_taken = match thread.known_by {
            None => false,
            Some(KnownBy::Conversation(id)) => self.conversations.contains_key(&id),
            Some(KnownBy::Session(id)) => self.sessions.contains_key(&id),
        };
        if is_taken {
            return thread.taken();
        }
        let (id, conversation) = (thread.session_id(), thread.conversation());
        let AdoptedThread { thread_id, user_id, title, created_at, updated_at, .. } = thread;
        if let Some(conversation) = conversation {
            self.conversations.insert(conversation, id);
        }
        if let Some(ConversationId::Integer(number)) = conversation {
            self.last_number = self.last_number.max(number.get());
        }
        self.threads.insert(ThreadId::clone(&thread_id), id);
        self.users.entry(user_id.clone()).or_default().insert(id);
        let record = SessionRecord {
            id,
            user_id,
            thread_id: Some(thread_id),
            conversation,
            title,
            created_at: whole_microseconds(created_at),
            updated_at: whole_microseconds(updated_at),
            message_count: MessageCount::AtLeast(0),
        };
        let bound_at = Some(record.created_at);
        let stored = Stored { adopted: true, bound_at, ..Stored::new(record) };
        self.sessions.insert(id, stored);
        Adopted::Done
    }

    fn page(&self, page: &ThreadsPage) -> Vec<PlacedSession> {
        let (after, until) = (page.after, page.until);
        let (above, below) = if page.ascending { (after, until) } else { (until, after) };
        let mut bound: Vec<_> = self
            .sessions
            .values()
            .filter(|session| !session.quarantined)
            .filter(|session| page.user_id.as_ref().is_none_or(|id| *id == session.record.user_id))
            .filter_map(|session| Some((session.place()?, &session.record)))
            .filter(|(place, _)| above.is_none_or(|above| *place > above))
            .filter(|(place, _)| below.is_none_or(|below| *place < below))
            .collect();
        bound.sort_unstable_by_key(|(place, _)| *place);
        if !page.ascending {
            bound.reverse();
        }
        let placed =
            |(place, record): (_, &SessionRecord)| PlacedSession { place, record: record.clone() };
        bound.into_iter().take(page.limit).map(placed).collect()
    }
}
