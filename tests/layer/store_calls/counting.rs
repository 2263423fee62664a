//! A store that tells what it is asked.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};

use chatkit_rest::principal::UserId;
use chatkit_rest::session::{
    Adopted, Adoption, BeginRun, Bound, ClientSession, ClientSessionCreated, ConversationId,
    Created, Deletion, Found, Lease, MemoryStore, MessageCount, NewSession, Owned, Ownership,
    PlacedSession, QuarantinedThread, Released, Reuse, RunStart, SessionId, SessionRecord,
    SessionStore, SessionSummary, SessionsPage, Settlement, StoreFuture, ThreadId, ThreadPlace,
    ThreadsPage,
};
use jiff::Timestamp;

/// What a store was asked, in three parts: before the upstream was, before the client had the first of
/// its answer, and after that.
#[derive(Clone, Debug, Default)]
pub(super) struct Journal(Arc<Mutex<(usize, Calls)>>);

type Calls = [Vec<&'static str>; 3];

impl Journal {
    fn note(&self, call: &'static str) {
        let (part, calls) = &mut *self.0.lock().unwrap();
        calls[*part].push(call);
    }

    /// Notes that what comes now is of this part, or of a later one if that has begun.
    pub(super) fn begin(&self, part: usize) {
        let (now, _) = &mut *self.0.lock().unwrap();
        *now = part.max(*now);
    }

    /// Takes out what is in it, the names of each part in one text.
    pub(super) fn take(&self) -> [String; 3] {
        let (_, calls) = std::mem::take(&mut *self.0.lock().unwrap());
        calls.map(|calls| calls.join(" "))
    }
}

/// A store in memory, whose every call is in a journal.
#[derive(Debug, Default)]
pub(super) struct Counting {
    inner: MemoryStore,
    pub(super) journal: Journal,
}

macro_rules! note_each {
    ($(
        fn $name:ident($($argument:ident: $type:ty),* $(,)?) -> $found:ty;
    )*) => {
        $(
            fn $name(&self, $($argument: $type),*) -> StoreFuture<'_, $found> {
                self.journal.note(stringify!($name));
                self.inner.$name($($argument),*)
            }
        )*
    };
}

impl SessionStore for Counting {
    note_each! {
        fn create(session: NewSession, max_sessions: Option<NonZeroU32>) -> Created;
        fn adopt(entries: Vec<Adoption>) -> Vec<Adopted>;
        fn get(id: SessionId) -> Option<Found<SessionRecord>>;
        fn by_thread(thread_id: &str) -> Option<Found<SessionRecord>>;
        fn ownership(id: SessionId) -> Option<Found<Ownership>>;
        fn ownership_of_thread(thread_id: &str) -> Option<Found<Ownership>>;
        fn by_conversation(id: ConversationId) -> Option<Found<SessionRecord>>;
        fn list(page: SessionsPage) -> Vec<SessionSummary>;
        fn set_title(id: SessionId, title: Option<String>, now: Timestamp) -> Option<SessionRecord>;
        fn bind(
            id: SessionId,
            user_id: &UserId,
            lease: Lease,
            thread_id: ThreadId,
            now: Timestamp,
        ) -> Bound;
        fn thread_named(
            id: SessionId,
            user_id: &UserId,
            thread_id: ThreadId,
            now: Timestamp,
        ) -> Option<Reuse>;
        fn quarantined(after: Option<ThreadId>, limit: usize) -> Vec<QuarantinedThread>;
        fn release(thread_id: &str) -> Released;
        fn delete_quarantined(thread_id: &str, now: Timestamp) -> bool;
        fn set_message_count(id: SessionId, seen: MessageCount, messages: u64) -> ();
        fn delete(id: SessionId, now: Timestamp) -> Deletion;
        fn own_attachment(user_id: &UserId, attachment_id: &str) -> Owned;
        fn attachment_owner(attachment_id: &str) -> Option<UserId>;
        fn attachment_owners(attachment_ids: Vec<String>) -> Vec<Option<UserId>>;
        fn disown_attachment(attachment_id: &str) -> bool;
        fn threads(page: ThreadsPage) -> Vec<PlacedSession>;
        fn place_of_thread(thread_id: &str) -> Option<ThreadPlace>;
        fn signing_key(fresh: [u8; 32]) -> [u8; 32];
        fn create_client_session(
            session: ClientSession,
            max_active: NonZeroU32,
        ) -> ClientSessionCreated;
        fn client_session(id: &str) -> Option<ClientSession>;
        fn cancel_client_session(id: &str, now: Timestamp) -> Option<ClientSession>;
        fn ping() -> ();
    }

    fn begin_run<'a>(
        &'a self,
        id: SessionId,
        user_id: &'a UserId,
        thread_id: Option<&'a str>,
        begin: BeginRun,
    ) -> StoreFuture<'a, RunStart> {
        self.journal.note("begin_run");
        self.inner.begin_run(id, user_id, thread_id, begin)
    }

    fn settle(&self, id: SessionId, settlement: Settlement) {
        self.journal.note("settle");
        self.inner.settle(id, settlement);
    }
}
