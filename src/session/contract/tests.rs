//! The promises over stores in memory, and what a store says that has two parts.

use std::num::NonZeroU32;
use std::sync::Arc;

use jiff::Timestamp;

use super::support::{at, create_bound, user};
use super::{PROMISES, Part, SHARED_PROMISES, Store};
use crate::principal::UserId;
use crate::session::{
    Adoption, Allowances, AttachmentOwners, BeginRun, BlockedUser, Bound, ClientSession,
    ClientSessions, Created, Deletion, Directory, Found, MemoryStore, MessageCount, NewSession,
    OnThread, Ownership, Reuse, RunId, RunStart, Runs, SessionId, SessionKey, SessionRecord,
    SessionStore, SessionSummary, Sessions, SessionsPage, Settlement, StoreFuture, ThreadId,
    ThreadsPage,
};

/// A store without what an application may have no use of.
#[derive(Debug, Default)]
struct Plain(MemoryStore);

impl Sessions for Plain {
    fn create(&self, new: NewSession, max: Option<NonZeroU32>) -> StoreFuture<'_, Created> {
        self.0.create(new, max)
    }

    fn get<'a>(&'a self, key: SessionKey<'a>) -> StoreFuture<'a, Option<Found<SessionRecord>>> {
        self.0.get(key)
    }

    fn ownership<'a>(&'a self, key: SessionKey<'a>) -> StoreFuture<'a, Option<Found<Ownership>>> {
        self.0.ownership(key)
    }

    fn list(&self, page: SessionsPage) -> StoreFuture<'_, Vec<SessionSummary>> {
        self.0.list(page)
    }

    fn set_title(
        &self,
        id: SessionId,
        title: Option<String>,
        now: Timestamp,
    ) -> StoreFuture<'_, Option<SessionRecord>> {
        self.0.set_title(id, title, now)
    }

    fn delete<'a>(
        &'a self,
        id: SessionId,
        thread_id: Option<&'a str>,
        now: Timestamp,
    ) -> StoreFuture<'a, Deletion> {
        self.0.delete(id, thread_id, now)
    }

    fn signing_key(&self, fresh: [u8; 32]) -> StoreFuture<'_, [u8; 32]> {
        self.0.signing_key(fresh)
    }

    fn ping(&self) -> StoreFuture<'_, ()> {
        self.0.ping()
    }
}

impl Runs for Plain {
    fn begin_run<'a>(
        &'a self,
        session: SessionKey<'a>,
        on: OnThread<'a>,
        user_id: &'a UserId,
        begin: BeginRun,
    ) -> StoreFuture<'a, RunStart> {
        self.0.begin_run(session, on, user_id, begin)
    }

    fn bind<'a>(
        &'a self,
        id: SessionId,
        user_id: &'a UserId,
        run: RunId,
        thread_id: ThreadId,
        now: Timestamp,
    ) -> StoreFuture<'a, Bound> {
        self.0.bind(id, user_id, run, thread_id, now)
    }

    fn thread_named<'a>(
        &'a self,
        id: SessionId,
        user_id: &'a UserId,
        thread_id: ThreadId,
        now: Timestamp,
    ) -> StoreFuture<'a, Option<Reuse>> {
        self.0.thread_named(id, user_id, thread_id, now)
    }

    fn settle(&self, id: SessionId, run: RunId, settlement: Settlement) -> StoreFuture<'_, ()> {
        self.0.settle(id, run, settlement)
    }

    fn set_message_count(
        &self,
        id: SessionId,
        seen: MessageCount,
        messages: u64,
    ) -> StoreFuture<'_, ()> {
        self.0.set_message_count(id, seen, messages)
    }
}

impl Allowances for Plain {}
impl AttachmentOwners for Plain {}
impl ClientSessions for Plain {}
impl Directory for Plain {}

/// Checks a store of each promise's own, each in its turn.
async fn check<S: SessionStore + Default>(has: impl Fn(Part) -> bool) -> usize {
    let promises = PROMISES.iter().filter(|promise| has(promise.part));
    let mut checked = 0;
    for promise in promises {
        let store: Store = Arc::new(S::default());
        let checking = tokio::spawn(async move { (promise.check)(&store).await });
        assert!(checking.await.is_ok(), "{promise:?}");
        checked += 1;
    }
    checked
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_store_in_memory_keeps_what_is_promised() {
    assert_eq!(check::<MemoryStore>(|_| true).await, PROMISES.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_store_in_memory_is_one_of_two() {
    for promise in SHARED_PROMISES {
        let store: Store = Arc::new(MemoryStore::new());
        let stores = [store.clone(), store];
        let checking = tokio::spawn(async move { (promise.check)(&stores).await });
        assert!(checking.await.is_ok(), "{promise:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_promises_of_a_part_go_by_what_it_has() {
    let checked = check::<Plain>(|part| matches!(part, Part::Sessions | Part::Runs)).await;
    assert!(checked > 50, "{checked}");
}

#[test]
fn every_promise_has_a_name_of_its_own() {
    let mut names: Vec<_> = PROMISES.iter().map(|promise| (promise.part, promise.name)).collect();
    names.sort_unstable_by_key(|(_, name)| *name);
    names.dedup();
    assert_eq!(names.len(), PROMISES.len());
}

#[tokio::test]
async fn a_store_of_two_parts_says_what_it_lacks() {
    let store: Store = Arc::new(Plain::default());
    create_bound(&store, "ada", "thr_1").await;
    let ada = user("ada");

    assert!(store.own_attachment(&ada, "atc_1").await.unwrap_err().is_lacking());
    let ids = vec!["atc_1".to_owned(), "atc_2".to_owned()];
    assert_eq!(store.attachment_owners(ids).await.unwrap(), [None, None]);
    assert!(!store.disown_attachment("atc_1").await.unwrap());

    let session = ClientSession {
        id: "cksess_1".to_owned(),
        user_id: ada.clone(),
        created_at: at(0),
        expires_at: at(600),
        cancelled_at: None,
        requests_per_minute: NonZeroU32::MAX,
        details: "{}".to_owned(),
    };
    let created = store.create_client_session(session, NonZeroU32::MAX).await;
    assert!(created.unwrap_err().is_lacking());
    assert_eq!(store.client_session("cksess_1").await.unwrap(), None);
    assert_eq!(store.cancel_client_session("cksess_1", at(0)).await.unwrap(), None);

    let page = ThreadsPage { user_id: None, ascending: true, after: None, until: None, limit: 9 };
    assert!(store.threads(page).await.unwrap_err().is_lacking());
    assert_eq!(store.place_of_thread("thr_1").await.unwrap(), None);
    let entry = Adoption::Attachment { attachment_id: "atc_1".to_owned(), user_id: ada };
    for entries in [Vec::new(), vec![entry]] {
        assert!(store.adopt(entries).await.unwrap_err().is_lacking());
    }
    assert!(store.quarantined(None, 9).await.unwrap_err().is_lacking());
    assert!(store.release("thr_1").await.unwrap_err().is_lacking());
    assert!(store.delete_quarantined("thr_1", at(0)).await.unwrap_err().is_lacking());
    let block = BlockedUser::new(user("eve"), at(0));
    assert!(store.block(block).await.unwrap_err().is_lacking());
    assert!(store.unblock(&user("eve")).await.unwrap_err().is_lacking());
    assert!(store.blocks(None, 9).await.unwrap_err().is_lacking());
    assert_eq!(store.blocked_users(None).await.unwrap(), None);
    // None of these is a failure of the store, for which somebody would be woken up.
    let error = store.release("thr_1").await.unwrap_err();
    assert!(!error.is_store() && error.to_string().contains("has no"), "{error}");
}
