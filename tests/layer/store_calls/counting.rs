//! A store that tells what it is asked.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chatkit_rest::allowance::{AllowanceKey, Slice, SliceReport, TakeSlice};
use chatkit_rest::principal::UserId;
use chatkit_rest::session::{
    Allowances, AttachmentOwners, BeginRun, Bound, ClientSessions, Created, Deletion, Directory,
    Found, MemoryStore, MessageCount, NewSession, OnThread, Owned, Ownership, PlacedSession, Reuse,
    RunId, RunStart, Runs, SessionId, SessionKey, SessionRecord, SessionSummary, Sessions,
    SessionsPage, Settlement, StoreFuture, ThreadId, ThreadPlace, ThreadsPage,
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
            #[allow(clippy::elidable_lifetime_names, reason = "some of the arguments name it")]
            fn $name<'a>(&'a self, $($argument: $type),*) -> StoreFuture<'a, $found> {
                self.journal.note(stringify!($name));
                self.inner.$name($($argument),*)
            }
        )*
    };
}
/// A store that keeps sessions and runs, and nothing else.
#[derive(Debug, Default)]
pub(super) struct Half {
    inner: MemoryStore,
    pub(super) journal: Journal,
}

macro_rules! sessions_and_runs {
    ($store:ty) => {
impl Sessions for $store {
    note_each! {
        fn create(session: NewSession, max_sessions: Option<NonZeroU32>) -> Created;
        fn get(session: SessionKey<'a>) -> Option<Found<SessionRecord>>;
        fn ownership(session: SessionKey<'a>) -> Option<Found<Ownership>>;
        fn list(page: SessionsPage) -> Vec<SessionSummary>;
        fn set_title(id: SessionId, title: Option<String>, now: Timestamp) -> Option<SessionRecord>;
        fn delete(id: SessionId, thread_id: Option<&'a str>, now: Timestamp) -> Deletion;
        fn signing_key(fresh: [u8; 32]) -> [u8; 32];
        fn ping() -> ();
    }
}

impl Runs for $store {
    note_each! {
        fn begin_run(
            session: SessionKey<'a>,
            on: OnThread<'a>,
            user_id: &'a UserId,
            begin: BeginRun,
        ) -> RunStart;
        fn bind(
            id: SessionId,
            user_id: &'a UserId,
            run: RunId,
            thread_id: ThreadId,
            now: Timestamp,
        ) -> Bound;
        fn thread_named(
            id: SessionId,
            user_id: &'a UserId,
            thread_id: ThreadId,
            now: Timestamp,
        ) -> Option<Reuse>;
        fn settle(id: SessionId, run: RunId, settlement: Settlement) -> ();
        fn set_message_count(id: SessionId, seen: MessageCount, messages: u64) -> ();
    }
}
    };
}

sessions_and_runs!(Counting);
sessions_and_runs!(Half);

impl Allowances for Half {}

impl AttachmentOwners for Half {}

impl ClientSessions for Half {}

impl Directory for Half {}

impl AttachmentOwners for Counting {
    note_each! {
        fn own_attachment(user_id: &'a UserId, attachment_id: &'a str) -> Owned;
        fn attachment_owners(attachment_ids: Vec<String>) -> Vec<Option<UserId>>;
        fn disown_attachment(attachment_id: &'a str) -> bool;
    }
}

impl ClientSessions for Counting {}

impl Allowances for Counting {
    note_each! {
        fn take_allowance(key: &'a AllowanceKey, take: TakeSlice) -> Slice;
        fn give_back_allowances(
            window: Duration,
            reports: Vec<(AllowanceKey, SliceReport)>,
        ) -> ();
    }
}

impl Directory for Counting {
    note_each! {
        fn threads(page: ThreadsPage) -> Vec<PlacedSession>;
        fn place_of_thread(thread_id: &'a str) -> Option<ThreadPlace>;
    }
}
