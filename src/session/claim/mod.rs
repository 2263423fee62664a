//! A run's claim on its session.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

use jiff::Timestamp;

use super::admitted::store_down;
use super::quarantine;
use super::record::{SessionId, SessionRecord, ThreadId};
use super::store::{
    BeginRun, OnThread, RunId, RunStart, SessionKey, SessionStore, Settlement, Uncounted,
};
use crate::bounds::{MAX_NAME_CHARS, cut};
use crate::limit::StreamPermit;
use crate::principal::UserId;
use crate::rejection::{Code, Rejection};

mod binding;

pub use binding::BindError;
use binding::Ending;

/// A run's place in its session, from admission to its end.
///
/// Dropping it settles the run: its messages are counted, its place is free, and a session
/// whose first run came to nothing can be tried again at once.
///
/// Where nobody has counted the messages of the session's thread, it has no place yet: they are to
/// be counted, and [`begin_counted`](Self::begin_counted) is to say how many there are, before the
/// run is asked for.
///
/// [`session`](crate::session) alone makes one. Outside of it this doesn't compile:
/// ```compile_fail,E0616
/// # use std::sync::Arc;
/// # use chatkit_rest::principal::UserId;
/// # use chatkit_rest::session::{BeginRun, RunClaim, SessionId, SessionStore};
/// fn forge(claim: &mut RunClaim, session: SessionId) {
///     claim.session_id = session;
/// }
/// ```
/// ```compile_fail,E0624
/// # use std::sync::Arc;
/// # use chatkit_rest::principal::UserId;
/// # use chatkit_rest::session::{BeginRun, OnThread, RunClaim, SessionId, SessionStore};
/// fn forge(store: Arc<dyn SessionStore>, id: SessionId, user: &UserId, begin: BeginRun) {
///     let _claim = RunClaim::begin(store, id.into(), OnThread::Any, user, begin);
/// }
/// ```
pub struct RunClaim {
    store: Arc<dyn SessionStore>,
    session_id: SessionId,
    run: RunId,
    user_id: UserId,
    start: Start,
    /// What the thread that this first run made is called.
    made: Option<ThreadId>,
    /// What else the upstream has named, the last of it: the same again is nothing new.
    named: Option<ThreadId>,
    settlement: Settlement,
    /// The run's end, once its thread is being bound.
    binding: Option<Arc<Ending>>,
    learns_titles: bool,
    counts: bool,
    showed_something: bool,
    permit: Option<StreamPermit>,
}

#[derive(Clone, Debug)]
enum Start {
    First,
    Next(ThreadId),
    /// Not begun. Boxed: it is rare, and others would have room for it.
    Uncounted(Box<Unbegun>),
}

#[derive(Clone, Debug)]
struct Unbegun {
    thread_id: ThreadId,
    /// What the store says of the thread's messages.
    seen: u64,
    begin: BeginRun,
}

/// Why a run has not begun.
pub(super) enum NotBegun {
    /// The session is another user's.
    Foreign,
    /// The thread that was named is not the session's.
    OtherThread,
    /// The session has no thread yet.
    Unbound,
    /// There is no such session.
    Unknown,
    /// What there is to say of a session that is the user's, or of none.
    Refused(Rejection),
}

impl RunClaim {
    /// Begins a run of a session of that user's, where it can be on that thread.
    ///
    /// # Errors
    /// Why it can't begin.
    pub(super) async fn begin(
        store: Arc<dyn SessionStore>,
        session: SessionKey<'_>,
        on: OnThread<'_>,
        user_id: &UserId,
        begin: BeginRun,
    ) -> Result<Self, NotBegun> {
        // The claim is made in the same poll that the store answers in: there is no await in
        // between at which it could be lost.
        let outcome = store.begin_run(session, on, user_id, begin).await;
        let outcome = outcome.map_err(|error| NotBegun::Refused(store_down(error)))?;
        // The user's own title stays, whatever the upstream calls its new thread.
        let learns_titles = !matches!(outcome, RunStart::First { titled: true, .. });
        let (session_id, start) = Start::of(outcome, &begin)?;
        let mut claim = Self::new(store, session_id, begin.run, user_id.clone(), start);
        claim.learns_titles = learns_titles;
        Ok(claim)
    }

    /// Takes the first run that has begun with its session, which was made for it: if the run ends
    /// without a thread, the session vanishes.
    pub(super) fn with_session(
        store: Arc<dyn SessionStore>,
        session: &SessionRecord,
        run: RunId,
    ) -> Self {
        let mut claim = Self::new(store, session.id, run, session.user_id.clone(), Start::First);
        claim.settlement.discard_unbound = true;
        claim
    }

    fn new(
        store: Arc<dyn SessionStore>,
        session_id: SessionId,
        run: RunId,
        user_id: UserId,
        start: Start,
    ) -> Self {
        Self {
            store,
            session_id,
            run,
            user_id,
            start,
            made: None,
            named: None,
            settlement: Settlement::default(),
            binding: None,
            learns_titles: true,
            counts: true,
            showed_something: false,
            permit: None,
        }
    }

    /// Gives the thread whose messages are to be counted before the run is asked for, if they are.
    pub fn to_count(&self) -> Option<&ThreadId> {
        match &self.start {
            Start::First | Start::Next(_) => None,
            Start::Uncounted(unbegun) => Some(&unbegun.thread_id),
        }
    }

    /// Gives the session's limit of messages, where they are to be counted and there is one.
    pub fn to_stay_below(&self) -> Option<u64> {
        match &self.start {
            Start::First | Start::Next(_) => None,
            Start::Uncounted(unbegun) => unbegun.begin.max_messages.map(|max| max.get().into()),
        }
    }

    /// Tells whether a run has begun before without the messages' being counted: there is no limit,
    /// and they could not be.
    pub fn was_begun_uncounted(&self) -> bool {
        match &self.start {
            Start::First | Start::Next(_) => false,
            Start::Uncounted(unbegun) => unbegun.seen > 0 && unbegun.begin.max_messages.is_none(),
        }
    }

    /// Gives the refusal of a run whose thread has as many messages as it may have, and maybe more:
    /// how many, nobody has counted.
    pub fn refuse_as_full(&self) -> Rejection {
        match &self.start {
            Start::First | Start::Next(_) => Rejection::new(Code::MessageLimit),
            Start::Uncounted(unbegun) => full(&unbegun.begin),
        }
    }

    /// Begins a run whose thread's [messages were counted](Self::to_count) just now; `None` if
    /// that could not be done, which is no obstacle unless there [is a limit](Self::to_stay_below).
    /// Nothing happens where it has begun already.
    ///
    /// # Errors
    /// If the thread has as many messages as it may have, or they are unknown and limited, or the
    /// session is gone, or the store fails.
    pub async fn begin_counted(&mut self, messages: Option<u64>) -> Result<(), Rejection> {
        let Start::Uncounted(unbegun) = &self.start else { return Ok(()) };
        let Unbegun { thread_id, seen, begin } = Unbegun::clone(unbegun);
        let uncounted = match messages {
            Some(messages) => Uncounted::Counted { seen, messages },
            None if begin.max_messages.is_none() => Uncounted::Begin,
            None => Uncounted::Tell,
        };
        let begin = BeginRun { now: Timestamp::now(), uncounted, ..begin };
        let on = OnThread::Named(&thread_id);
        let outcome = self.store.begin_run(self.session_id.into(), on, &self.user_id, begin).await;
        self.start = match Start::of(outcome.map_err(store_down)?, &begin) {
            Ok((_, start)) => start,
            Err(NotBegun::Refused(rejection)) => return Err(rejection),
            // None of the others changes as long as there is the session.
            Err(
                NotBegun::Foreign | NotBegun::OtherThread | NotBegun::Unbound | NotBegun::Unknown,
            ) => return Err(Rejection::new(Code::SessionNotFound)),
        };
        match self.start {
            Start::Next(_) => Ok(()),
            Start::First | Start::Uncounted(_) => Err(Rejection::new(Code::ServiceUnavailable)
                .because("it is not known how many messages the thread has")),
        }
    }

    /// Holds one of the user's streams until its end.
    pub(super) fn holding(mut self, permit: Option<StreamPermit>) -> Self {
        self.permit = permit;
        self
    }

    /// Counts none of its messages.
    pub(super) fn uncounted(mut self) -> Self {
        self.counts = false;
        self
    }

    /// Gives the session.
    pub fn session_id(&self) -> SessionId {
        self.session_id
    }

    /// Gives the upstream's thread; `None` for a first run, which makes it.
    pub fn thread_id(&self) -> Option<&ThreadId> {
        match &self.start {
            Start::First => None,
            Start::Next(thread_id) => Some(thread_id),
            Start::Uncounted(unbegun) => Some(&unbegun.thread_id),
        }
    }

    /// Stores the id of the thread that this first run made. Any other that the upstream names, then
    /// or in a later run, which makes none, is only made sure to be no other user's. The future owns
    /// what it needs, and once it is polled what it does is done, whether or not somebody waits for it,
    /// and before the run is settled; `None` if it is the thread that the run is on, or has made.
    pub fn bind(
        &mut self,
        thread_id: &str,
    ) -> Option<impl Future<Output = Result<(), BindError>> + Send + 'static> {
        let makes_it = matches!(self.start, Start::First) && self.made.is_none();
        if !makes_it && !self.is_another(thread_id) {
            return None;
        }
        // The title may be that of another thread, which was named before this one was made.
        if makes_it && self.named.take().is_some_and(|named| *named != *thread_id) {
            self.settlement.title = None;
        }
        Some(self.look_at(thread_id, makes_it))
    }

    /// Makes sure that a thread which the upstream names is no other user's, as
    /// [`bind`](Self::bind) does of one that the run doesn't make; `None` if it is the run's own, or
    /// was looked at just before.
    pub fn name(
        &mut self,
        thread_id: &str,
    ) -> Option<impl Future<Output = Result<(), BindError>> + Send + 'static> {
        let is_known =
            [self.own(), self.named.as_ref()].into_iter().flatten().any(|it| **it == *thread_id);
        if is_known {
            return None;
        }
        self.named = Some(ThreadId::from(thread_id));
        Some(self.look_at(thread_id, false))
    }

    /// Gives the thread that the run is on, or has made.
    fn own(&self) -> Option<&ThreadId> {
        self.made.as_ref().or_else(|| self.thread_id())
    }

    /// Tells whether a thread is not the run's own, as far as that has one yet.
    pub fn is_another(&self, thread_id: &str) -> bool {
        self.own().is_some_and(|own| **own != *thread_id)
    }

    /// Binds a thread, if the run `makes_it`, or sees whose it is.
    fn look_at(
        &mut self,
        thread_id: &str,
        makes_it: bool,
    ) -> impl Future<Output = Result<(), BindError>> + Send + use<> {
        let ending = Arc::clone(self.binding.get_or_insert_with(|| {
            Arc::new(Ending::of(Arc::clone(&self.store), self.session_id, self.run))
        }));
        let user_id = self.user_id.clone();
        let thread_id = ThreadId::from(thread_id);
        if makes_it {
            self.made = Some(ThreadId::clone(&thread_id));
        }
        ending.look_at(user_id, thread_id, makes_it)
    }

    /// Notes that the upstream finished an item, whatever it is.
    pub fn saw_item(&mut self) {
        self.showed_something = true;
    }

    /// Counts a user's or an assistant's message that the upstream finished.
    pub fn count_message(&mut self) {
        self.saw_item();
        self.settlement.messages += u64::from(self.counts);
    }

    /// Learns what the upstream calls the thread: as much of it as a client's title may have, 255
    /// characters.
    pub fn learn_title(&mut self, title: &str) {
        if self.learns_titles {
            self.settlement.title = Some(Some(cut(title, MAX_NAME_CHARS).to_owned()));
        }
    }
}

impl Start {
    /// Tells in which session a run has begun, and how; or why it hasn't.
    fn of(outcome: RunStart, begin: &BeginRun) -> Result<(SessionId, Self), NotBegun> {
        let refusal = match outcome {
            RunStart::First { session, titled: _ } => return Ok((session, Self::First)),
            RunStart::Next { session, thread_id } => return Ok((session, Self::Next(thread_id))),
            RunStart::Uncounted { session, thread_id, seen } => {
                let unbegun = Box::new(Unbegun { thread_id, seen, begin: *begin });
                return Ok((session, Self::Uncounted(unbegun)));
            }
            RunStart::Foreign => return Err(NotBegun::Foreign),
            RunStart::OtherThread => return Err(NotBegun::OtherThread),
            RunStart::Unbound => return Err(NotBegun::Unbound),
            RunStart::Unknown => return Err(NotBegun::Unknown),
            RunStart::Busy => busy(),
            RunStart::MessageLimit => full(begin),
            RunStart::Quarantined => quarantine::refusal(),
        };
        Err(NotBegun::Refused(refusal))
    }
}

/// Refuses what a first run that is under way is in the way of.
pub(super) fn busy() -> Rejection {
    Rejection::new(Code::Conflict)
        .message("The session's first message is still being sent; try again.")
}

fn full(begin: &BeginRun) -> Rejection {
    let max = begin.max_messages.map_or(0, NonZeroU32::get);
    Rejection::new(Code::MessageLimit)
        .message(format!("A session may have at most {max} messages; start another."))
        .detail("max_messages", max)
}

impl Drop for RunClaim {
    fn drop(&mut self) {
        if self.to_count().is_some() {
            return;
        }
        let mut settlement = std::mem::take(&mut self.settlement);
        if self.showed_something || settlement.title.is_some() {
            settlement.touched_at = Some(Timestamp::now());
        }
        match self.binding.take() {
            // Nobody else sets it.
            Some(ending) => ending.end(settlement),
            None => drop(self.store.settle(self.session_id, self.run, settlement)),
        }
    }
}

impl fmt::Debug for RunClaim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunClaim")
            .field("session_id", &self.session_id)
            .field("start", &self.start)
            .finish_non_exhaustive()
    }
}
