//! A store that makes the calls of one gateway as the weather lets it.
//!
//! It is kept from seed to seed, as the gateway that has it is; what is below it is not.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};

use chatkit_rest::jiff::Timestamp;
use chatkit_rest::principal::UserId;
use chatkit_rest::session::{
    Adopted, Adoption, AttachmentOwners, BeginRun, Blocked, BlockedUser, Bound, ClientSession,
    ClientSessionCreated, ClientSessions, ConversationId, Created, Deletion, Directory, Found,
    MessageCount, NewSession, OnThread, Owned, Ownership, PlacedSession, QuarantinedThread,
    Released, Reuse, RunId, RunStart, Runs, SessionId, SessionKey, SessionRecord, SessionStore,
    SessionSummary, Sessions, SessionsPage, Settlement, StoreFuture, ThreadId, ThreadPlace,
    ThreadsPage,
};

use crate::faults::{self, Bind, Ground, Regret};

/// The key that everything is signed with, in each seed: a gateway asks for it once.
const KEY: [u8; 32] = [7; 32];

#[derive(Debug, Default)]
pub(crate) struct Faulty(Mutex<Option<Arc<Ground>>>);

impl Faulty {
    pub(crate) fn put_on(&self, ground: Arc<Ground>) {
        *self.0.lock().unwrap() = Some(ground);
    }

    fn ground(&self) -> Arc<Ground> {
        Arc::clone(self.0.lock().unwrap().as_ref().unwrap())
    }

    /// Makes a call of what owns all that it needs, because it may be made when nobody waits.
    fn ask<T, F, M>(&self, what: &'static str, regret: Regret<T>, make: M) -> StoreFuture<'_, T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, chatkit_rest::error::Error>> + Send + 'static,
        M: FnOnce(Arc<dyn SessionStore>) -> F,
    {
        let ground = self.ground();
        let call = make(Arc::clone(&ground.opening.store));
        Box::pin(ground.call(what, Box::pin(call), regret))
    }
}

/// A session's name that is nobody else's.
enum Key {
    Conversation(ConversationId),
    Id(SessionId),
    Thread(String),
}

impl Key {
    fn of(key: SessionKey<'_>) -> Self {
        match key {
            SessionKey::Conversation(id) => Self::Conversation(id),
            SessionKey::Id(id) => Self::Id(id),
            SessionKey::Thread(id) => Self::Thread(id.to_owned()),
        }
    }

    fn lent(&self) -> SessionKey<'_> {
        match self {
            Self::Conversation(id) => SessionKey::Conversation(*id),
            Self::Id(id) => SessionKey::Id(*id),
            Self::Thread(id) => SessionKey::Thread(id),
        }
    }
}

/// Passes a call on whose arguments are its own.
macro_rules! as_it_is {
    ($(fn $name:ident($($argument:ident: $type:ty),*) -> $found:ty;)*) => {
        $(
            fn $name(&self, $($argument: $type),*) -> StoreFuture<'_, $found> {
                self.ask(stringify!($name), Regret::Nothing, |store| async move {
                    store.$name($($argument),*).await
                })
            }
        )*
    };
}

impl Sessions for Faulty {
    fn create(
        &self,
        mut session: NewSession,
        max_sessions: Option<NonZeroU32>,
    ) -> StoreFuture<'_, Created> {
        session.now = self.ground().clock.now();
        let regret = match &mut session.first_run {
            Some(begin) => {
                begin.now = session.now;
                Regret::Run(begin.run, faults::made, true)
            }
            None => Regret::Nothing,
        };
        let binds = Arc::clone(&self.ground().binds);
        self.ask("create", regret, |store| async move {
            let run = session.first_run.map(|begin| begin.run);
            let created = store.create(session, max_sessions).await;
            if let (Ok(Created::Session(record)), Some(run)) = (&created, run) {
                binds.lease(record.id, run);
            }
            created
        })
    }

    fn get<'a>(&'a self, session: SessionKey<'a>) -> StoreFuture<'a, Option<Found<SessionRecord>>> {
        let key = Key::of(session);
        self.ask("get", Regret::Nothing, |store| async move { store.get(key.lent()).await })
    }

    fn ownership<'a>(
        &'a self,
        session: SessionKey<'a>,
    ) -> StoreFuture<'a, Option<Found<Ownership>>> {
        let key = Key::of(session);
        let regret = Regret::Nothing;
        self.ask("ownership", regret, |store| async move { store.ownership(key.lent()).await })
    }

    fn set_title(
        &self,
        id: SessionId,
        title: Option<String>,
        _: Timestamp,
    ) -> StoreFuture<'_, Option<SessionRecord>> {
        let now = self.ground().clock.now();
        let regret = Regret::Nothing;
        self.ask("set_title", regret, |store| async move { store.set_title(id, title, now).await })
    }

    fn delete<'a>(
        &'a self,
        id: SessionId,
        thread_id: Option<&'a str>,
        _: Timestamp,
    ) -> StoreFuture<'a, Deletion> {
        let now = self.ground().clock.now();
        let thread_id = thread_id.map(str::to_owned);
        self.ask("delete", Regret::Nothing, |store| async move {
            store.delete(id, thread_id.as_deref(), now).await
        })
    }

    fn signing_key(&self, _: [u8; 32]) -> StoreFuture<'_, [u8; 32]> {
        self.ask(
            "signing_key",
            Regret::Nothing,
            |store| async move { store.signing_key(KEY).await },
        )
    }

    as_it_is! {
        fn list(page: SessionsPage) -> Vec<SessionSummary>;
        fn ping() -> ();
    }
}

/// The thread that a run is to be on, which is nobody else's.
enum On {
    Any,
    Bound,
    Named(String),
}

impl Runs for Faulty {
    fn begin_run<'a>(
        &'a self,
        session: SessionKey<'a>,
        on: OnThread<'a>,
        user_id: &'a UserId,
        mut begin: BeginRun,
    ) -> StoreFuture<'a, RunStart> {
        begin.now = self.ground().clock.now();
        let (key, user_id) = (Key::of(session), user_id.clone());
        let on = match on {
            OnThread::Any => On::Any,
            OnThread::Bound => On::Bound,
            OnThread::Named(thread) => On::Named(thread.to_owned()),
        };
        let regret = Regret::Run(begin.run, faults::begun, false);
        let binds = Arc::clone(&self.ground().binds);
        self.ask("begin_run", regret, |store| async move {
            let on = match &on {
                On::Any => OnThread::Any,
                On::Bound => OnThread::Bound,
                On::Named(thread) => OnThread::Named(thread),
            };
            let start = store.begin_run(key.lent(), on, &user_id, begin).await;
            match &start {
                Ok(RunStart::First { session, .. }) => {
                    binds.lease(*session, begin.run);
                    binds.take_place(*session, begin.run, None);
                }
                Ok(RunStart::Next { session, thread_id }) => {
                    binds.take_place(*session, begin.run, Some(thread_id));
                }
                _ => {}
            }
            start
        })
    }

    fn bind<'a>(
        &'a self,
        id: SessionId,
        user_id: &'a UserId,
        run: RunId,
        thread_id: ThreadId,
        _: Timestamp,
    ) -> StoreFuture<'a, Bound> {
        let ground = self.ground();
        let (now, user_id, thread) = (ground.clock.now(), user_id.clone(), thread_id.clone());
        let at = Arc::clone(&ground);
        let call = self.ask("bind", Regret::Nothing, |store| async move {
            let bound = store.bind(id, &user_id, run, thread_id, now).await;
            // What a store's threads do at the same time has no order here.
            if let Ok(Bound::Done) = &bound
                && !at.binds.end_lease(id, run)
                && !at.opening.blocks
            {
                at.trace.broken(&format!("{id} is bound by a run that has it no more"));
            }
            bound
        });
        Box::pin(async move {
            let outcome = call.await;
            let bind = match &outcome {
                Ok(Bound::Done) => Bind::Acknowledged,
                Ok(_) | Err(_) => Bind::Failed,
            };
            ground.bound(run, &thread, bind, outcome.is_err());
            outcome
        })
    }

    fn thread_named<'a>(
        &'a self,
        id: SessionId,
        user_id: &'a UserId,
        thread_id: ThreadId,
        _: Timestamp,
    ) -> StoreFuture<'a, Option<Reuse>> {
        let (now, user_id) = (self.ground().clock.now(), user_id.clone());
        self.ask("thread_named", Regret::Nothing, |store| async move {
            store.thread_named(id, &user_id, thread_id, now).await
        })
    }

    fn settle(&self, id: SessionId, run: RunId, mut settlement: Settlement) -> StoreFuture<'_, ()> {
        let ground = self.ground();
        settlement.touched_at = settlement.touched_at.map(|_| ground.clock.now());
        ground.settle(id, run, settlement);
        Box::pin(std::future::ready(Ok(())))
    }

    as_it_is! {
        fn set_message_count(id: SessionId, seen: MessageCount, messages: u64) -> ();
    }
}

impl AttachmentOwners for Faulty {
    fn own_attachment<'a>(
        &'a self,
        user_id: &'a UserId,
        attachment_id: &'a str,
    ) -> StoreFuture<'a, Owned> {
        let (user_id, attachment_id) = (user_id.clone(), attachment_id.to_owned());
        self.ask("own_attachment", Regret::Nothing, |store| async move {
            store.own_attachment(&user_id, &attachment_id).await
        })
    }

    fn disown_attachment<'a>(&'a self, attachment_id: &'a str) -> StoreFuture<'a, bool> {
        let attachment_id = attachment_id.to_owned();
        self.ask("disown_attachment", Regret::Nothing, |store| async move {
            store.disown_attachment(&attachment_id).await
        })
    }

    as_it_is! {
        fn attachment_owners(attachment_ids: Vec<String>) -> Vec<Option<UserId>>;
    }
}

impl ClientSessions for Faulty {
    fn client_session<'a>(&'a self, id: &'a str) -> StoreFuture<'a, Option<ClientSession>> {
        let id = id.to_owned();
        self.ask("client_session", Regret::Nothing, |store| async move {
            store.client_session(&id).await
        })
    }

    // With the real time, by which the secrets of these are checked.
    fn cancel_client_session<'a>(
        &'a self,
        id: &'a str,
        now: Timestamp,
    ) -> StoreFuture<'a, Option<ClientSession>> {
        let id = id.to_owned();
        self.ask("cancel_client_session", Regret::Nothing, |store| async move {
            store.cancel_client_session(&id, now).await
        })
    }

    as_it_is! {
        fn create_client_session(session: ClientSession, max_active: NonZeroU32) -> ClientSessionCreated;
    }
}

/// Nobody is ever shut out, and the weather has no say in it: the gateway remembers from seed to seed
/// when it has asked, and a seed alone would be another one.
impl Directory for Faulty {
    fn place_of_thread<'a>(&'a self, thread_id: &'a str) -> StoreFuture<'a, Option<ThreadPlace>> {
        let thread_id = thread_id.to_owned();
        self.ask("place_of_thread", Regret::Nothing, |store| async move {
            store.place_of_thread(&thread_id).await
        })
    }

    fn release<'a>(&'a self, thread_id: &'a str) -> StoreFuture<'a, Released> {
        let thread_id = thread_id.to_owned();
        self.ask("release", Regret::Nothing, |store| async move { store.release(&thread_id).await })
    }

    fn delete_quarantined<'a>(
        &'a self,
        thread_id: &'a str,
        now: Timestamp,
    ) -> StoreFuture<'a, bool> {
        let thread_id = thread_id.to_owned();
        self.ask("delete_quarantined", Regret::Nothing, |store| async move {
            store.delete_quarantined(&thread_id, now).await
        })
    }

    fn unblock<'a>(&'a self, user_id: &'a UserId) -> StoreFuture<'a, bool> {
        let user_id = user_id.clone();
        self.ask("unblock", Regret::Nothing, |store| async move { store.unblock(&user_id).await })
    }

    as_it_is! {
        fn block(block: BlockedUser) -> Blocked;
        fn blocks(after: Option<UserId>, limit: usize) -> Vec<BlockedUser>;
        fn threads(page: ThreadsPage) -> Vec<PlacedSession>;
        fn adopt(entries: Vec<Adoption>) -> Vec<Adopted>;
        fn quarantined(after: Option<ThreadId>, limit: usize) -> Vec<QuarantinedThread>;
    }
}

impl chatkit_rest::session::Allowances for Faulty {}
