//! Who is shut out, as this gateway knows it.
//!
//! The set of them is in memory, so that who is let in costs nothing more, and follows the store's: by
//! requests alone, or a database that sleeps when nobody asks could not. A request that finds the set
//! too old asks for a newer one: before anything else if it may leave something in the store, for who
//! is shut out leaves nothing, and otherwise while it finds out whatever else it has to. What it was
//! about is not carried out before all is known.

use std::collections::HashSet;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time::Instant;

use crate::principal::UserId;
use crate::rejection::{Code, Rejection};
use crate::session::admitted::store_down;
use crate::session::blocks::{BLOCK_SEEN_WITHIN, BlocksVersion};
use crate::session::store::Directory;

/// How long after it was asked for a set is gone by. Shorter than is promised, by more than what lies
/// between a look at the clock and what is done then, and than clocks run apart meanwhile.
const GOOD_FOR: Duration = BLOCK_SEEN_WITHIN.saturating_sub(Duration::from_millis(250));

/// What is known of who is shut out; see the module.
pub(super) struct Gate<S: ?Sized> {
    store: Arc<S>,
    known: Mutex<Known>,
    /// Whoever asks the store has it. The others wait, and go by the answer.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Known {
    version: Option<BlocksVersion>,
    users: HashSet<UserId>,
    /// When the store was asked for what this is.
    asked_at: Option<Instant>,
    /// When it last failed to say.
    failed_at: Option<Instant>,
}

impl Known {
    /// Tells whether a user is shut out; nothing if that was asked for too long before `now`.
    fn has(&self, user_id: &UserId, now: Instant) -> Option<bool> {
        let is_good = self.asked_at.is_some_and(|at| now.duration_since(at) < GOOD_FOR);
        is_good.then(|| !self.users.is_empty() && self.users.contains(user_id))
    }
}

/// When it is found out whether a user may, if the store has to be asked whether they are shut out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Meanwhile, so that no round trip comes before another: that writes nothing.
    Beside,
    /// After it has told: that may write, and nothing is to stay of one who is shut out.
    After,
}

/// What a user meets at the gate.
enum Answer {
    Closed,
    Open,
    /// The store says so.
    Asked(Pin<Box<dyn Future<Output = Result<bool, Rejection>> + Send>>),
}

impl<S: Directory + Send + Sync + ?Sized + 'static> Gate<S> {
    pub(super) fn new(store: Arc<S>) -> Self {
        Self { store, known: Mutex::default(), turn: tokio::sync::Mutex::default() }
    }

    /// Finds out whether a user may do something, unless that user is shut out.
    pub(super) fn unless_blocked<F, T>(
        self: &Arc<Self>,
        user_id: &UserId,
        order: Order,
        admitted: F,
    ) -> UnlessBlocked<F, T>
    where
        F: Future<Output = Result<T, Rejection>>,
    {
        let now = Instant::now();
        let answer = match self.known().has(user_id, now) {
            Some(true) => Answer::Closed,
            Some(false) => Answer::Open,
            None => Answer::Asked(Box::pin(Arc::clone(self).ask(user_id.clone(), now))),
        };
        UnlessBlocked { answer, order, admitted, held: None }
    }

    /// No code panics while it holds the lock, so a poisoned one is still consistent.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the store tell whether a user is shut out, who came at that time.
    async fn ask(self: Arc<Self>, user_id: UserId, came_at: Instant) -> Result<bool, Rejection> {
        // Who has it may go any time: then the next one asks.
        let _turn = self.turn.lock().await;
        let version = {
            let known = self.known();
            if let Some(is_blocked) = known.has(&user_id, came_at) {
                return Ok(is_blocked);
            }
            // Or a store that is down would be waited for by each, one after the other.
            if known.failed_at.is_some_and(|at| at >= came_at) {
                return Err(Rejection::new(Code::ServiceUnavailable)
                    .because("the store could not tell who is blocked"));
            }
            known.version
        };
        let asked_at = Instant::now();
        match self.store.blocked_users(version).await {
            Ok(news) => {
                // They may be many, and so may those be that were known before: neither is made or
                // dropped while others wait for the lock.
                let mut news =
                    news.map(|news| (news.version, news.users.into_iter().collect::<HashSet<_>>()));
                let mut known = self.known();
                known.asked_at = Some(asked_at);
                if let Some((version, users)) = &mut news {
                    known.version = Some(*version);
                    std::mem::swap(&mut known.users, users);
                }
                let is_blocked = known.users.contains(&user_id);
                drop(known);
                Ok(is_blocked)
            }
            Err(error) => {
                self.known().failed_at = Some(Instant::now());
                Err(store_down(error))
            }
        }
    }
}

impl<S: ?Sized> fmt::Debug for Gate<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").finish_non_exhaustive()
    }
}

pin_project! {
    /// The future of what may be done, and of whether the user is shut out.
    pub(crate) struct UnlessBlocked<F, T> {
        answer: Answer,
        order: Order,
        #[pin]
        admitted: F,
        // What came before it was known. Boxed: it is rare, and each request would have room for it.
        held: Option<Box<Result<T, Rejection>>>,
    }
}

impl<F, T> UnlessBlocked<F, T> {
    /// Makes that of a caller whom nobody shuts out.
    pub(super) fn open(admitted: F) -> Self {
        Self { answer: Answer::Open, order: Order::Beside, admitted, held: None }
    }
}

impl<F: Future<Output = Result<T, Rejection>>, T> Future for UnlessBlocked<F, T> {
    type Output = Result<T, Rejection>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Answer::Asked(asked) = this.answer
            && let Poll::Ready(told) = asked.as_mut().poll(context)
        {
            match told {
                Ok(true) => *this.answer = Answer::Closed,
                Ok(false) => *this.answer = Answer::Open,
                Err(rejection) => return Poll::Ready(Err(rejection)),
            }
        }
        let may_begin = match this.answer {
            Answer::Closed => false,
            Answer::Open => true,
            Answer::Asked(_) => *this.order == Order::Beside,
        };
        if may_begin && this.held.is_none() {
            match this.admitted.poll(context) {
                Poll::Ready(found) if matches!(this.answer, Answer::Open) => {
                    return Poll::Ready(found);
                }
                Poll::Ready(found) => *this.held = Some(Box::new(found)),
                Poll::Pending => return Poll::Pending,
            }
        }
        match this.answer {
            Answer::Closed => Poll::Ready(Err(refusal())),
            Answer::Open => this.held.take().map_or(Poll::Pending, |found| Poll::Ready(*found)),
            Answer::Asked(_) => Poll::Pending,
        }
    }
}

/// Refuses a user who is shut out.
fn refusal() -> Rejection {
    Rejection::new(Code::UserBlocked).because("the user is blocked: see chatkit-rest user list")
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::future::{pending, ready};

    use tokio::sync::oneshot;
    use tokio::time::advance;

    use super::*;
    use crate::error::Error;
    use crate::session::blocks::BlockedUsers;
    use crate::session::store::StoreFuture;

    type Told = Result<Option<BlockedUsers>, Error>;

    /// A store that tells who is blocked when it is let, and is asked for nothing else.
    #[derive(Default)]
    struct Slow(Mutex<Asked>);

    #[derive(Default)]
    struct Asked {
        told: VecDeque<oneshot::Receiver<Told>>,
        known: Vec<Option<BlocksVersion>>,
    }

    impl Slow {
        /// Gives what lets one more be told.
        fn to_tell(&self) -> oneshot::Sender<Told> {
            let (tell, told) = oneshot::channel();
            self.0.lock().unwrap().told.push_back(told);
            tell
        }

        fn tells(&self, users: &[&str]) -> BlocksVersion {
            let version = BlocksVersion::random();
            let users = users.iter().map(|id| user(id)).collect();
            let told = self.to_tell().send(Ok(Some(BlockedUsers::new(version, users))));
            assert!(told.is_ok());
            version
        }

        fn asked(&self) -> Vec<Option<BlocksVersion>> {
            std::mem::take(&mut self.0.lock().unwrap().known)
        }
    }

    impl Directory for Slow {
        fn blocked_users(
            &self,
            known: Option<BlocksVersion>,
        ) -> StoreFuture<'_, Option<BlockedUsers>> {
            let mut state = self.0.lock().unwrap();
            state.known.push(known);
            let told = state.told.pop_front().expect("asked too often");
            Box::pin(async move { told.await.unwrap() })
        }
    }

    fn user(id: &str) -> UserId {
        UserId::parse(id).unwrap()
    }

    fn gate() -> (Arc<Slow>, Arc<Gate<Slow>>) {
        let store = Arc::new(Slow::default());
        (Arc::clone(&store), Arc::new(Gate::new(store)))
    }

    async fn code(gate: &Arc<Gate<Slow>>, id: &str) -> Result<(), Code> {
        gate.unless_blocked(&user(id), Order::Beside, ready(Ok(())))
            .await
            .map_err(|refused| refused.code())
    }

    #[tokio::test(start_paused = true)]
    async fn the_store_is_asked_by_requests_and_never_twice_in_so_short_a_time() {
        let (store, gate) = gate();
        let first = store.tells(&["eve"]);
        assert_eq!(code(&gate, "ada").await, Ok(()));
        assert_eq!(code(&gate, "eve").await, Err(Code::UserBlocked));
        advance(GOOD_FOR.saturating_sub(Duration::from_millis(1))).await;
        assert_eq!(code(&gate, "eve").await, Err(Code::UserBlocked));
        assert_eq!(store.asked(), [None]);

        // Nobody asks, whatever time it is.
        advance(Duration::from_secs(3600)).await;
        assert_eq!(store.asked(), []);
        let second = store.tells(&["ada"]);
        assert_eq!(code(&gate, "ada").await, Err(Code::UserBlocked));
        assert_eq!(code(&gate, "eve").await, Ok(()));
        assert_eq!(store.asked(), [Some(first)]);

        // Nothing new.
        advance(GOOD_FOR).await;
        assert!(store.to_tell().send(Ok(None)).is_ok());
        assert_eq!(code(&gate, "ada").await, Err(Code::UserBlocked));
        assert_eq!(code(&gate, "ada").await, Err(Code::UserBlocked));
        assert_eq!(store.asked(), [Some(second)]);
    }

    // It is as old as the question, which may have been on its way for long.
    #[tokio::test(start_paused = true)]
    async fn an_answer_is_of_the_time_of_its_question() {
        let (store, gate) = gate();
        let tell = store.to_tell();
        let asking = tokio::spawn({
            let gate = Arc::clone(&gate);
            async move { code(&gate, "ada").await }
        });
        tokio::task::yield_now().await;
        advance(GOOD_FOR).await;
        assert!(tell.send(Ok(None)).is_ok());
        assert_eq!(asking.await.unwrap(), Ok(()));
        store.tells(&["ada"]);
        assert_eq!(code(&gate, "ada").await, Err(Code::UserBlocked));
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_to_be_asked_is_asked_at_once_and_neither_goes_on_before_the_other() {
        for (is_blocked, is_first) in [(true, true), (true, false), (false, true), (false, false)] {
            let (store, gate) = gate();
            let (tell, (admit, admitted)) = (store.to_tell(), oneshot::channel());
            let (asked, is_asked) = oneshot::channel();
            let finding = tokio::spawn({
                let gate = Arc::clone(&gate);
                async move {
                    let admitted = async {
                        asked.send(()).unwrap();
                        admitted.await.unwrap()
                    };
                    let found: Result<u32, _> =
                        gate.unless_blocked(&user("ada"), Order::Beside, admitted).await;
                    found.map_err(|refused| refused.code())
                }
            });
            is_asked.await.unwrap();
            assert_eq!(store.asked(), [None], "before anything is known");
            let users = if is_blocked { vec![user("ada")] } else { Vec::new() };
            let told = Ok(Some(BlockedUsers::new(BlocksVersion::random(), users)));
            if is_first {
                admit.send(Ok(7)).unwrap();
                tokio::task::yield_now().await;
                assert!(!finding.is_finished());
                assert!(tell.send(told).is_ok());
            } else {
                assert!(tell.send(told).is_ok());
                tokio::task::yield_now().await;
                // Who is shut out need not wait for more.
                assert_eq!(finding.is_finished(), is_blocked);
                let _ = admit.send(Ok(7));
            }
            let expected = if is_blocked { Err(Code::UserBlocked) } else { Ok(7) };
            assert_eq!(finding.await.unwrap(), expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_asks_for_all_and_the_next_if_that_one_goes() {
        let (store, gate) = gate();
        // Never told.
        let _first = store.to_tell();
        let gone = tokio::spawn({
            let gate = Arc::clone(&gate);
            async move { code(&gate, "ada").await }
        });
        tokio::task::yield_now().await;
        store.tells(&["ada"]);
        let others: Vec<_> = (0..20)
            .map(|_| {
                let gate = Arc::clone(&gate);
                tokio::spawn(async move { code(&gate, "ada").await })
            })
            .collect();
        tokio::task::yield_now().await;
        assert_eq!(store.asked().len(), 1);
        gone.abort();
        for other in others {
            assert_eq!(other.await.unwrap(), Err(Code::UserBlocked));
        }
        assert_eq!(store.asked().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_is_down_lets_nobody_in_and_is_waited_for_once() {
        let (store, gate) = gate();
        let tell = store.to_tell();
        let all: Vec<_> = (0..20)
            .map(|_| {
                let gate = Arc::clone(&gate);
                tokio::spawn(async move { code(&gate, "ada").await })
            })
            .collect();
        tokio::task::yield_now().await;
        assert!(tell.send(Err(Error::store("it is down", "for a test"))).is_ok());
        for one in all {
            assert_eq!(one.await.unwrap(), Err(Code::ServiceUnavailable));
        }
        assert_eq!(store.asked().len(), 1);
        // Who comes later asks again.
        advance(Duration::from_millis(1)).await;
        store.tells(&[]);
        assert_eq!(code(&gate, "ada").await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_known_to_be_shut_out_takes_nothing() {
        let (store, gate) = gate();
        store.tells(&["ada"]);
        assert_eq!(code(&gate, "ada").await, Err(Code::UserBlocked));
        // It would never end.
        let found: Result<(), _> =
            gate.unless_blocked(&user("ada"), Order::Beside, pending()).await;
        assert_eq!(found.unwrap_err().code(), Code::UserBlocked);
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_write_begins_when_it_is_known_that_the_user_may() {
        for is_blocked in [false, true] {
            let (store, gate) = gate();
            let (tell, begun) = (store.to_tell(), Arc::new(Mutex::new(0)));
            let write = || {
                let (gate, begun) = (Arc::clone(&gate), Arc::clone(&begun));
                tokio::spawn(async move {
                    let admitted = async {
                        *begun.lock().unwrap() += 1;
                        Ok(())
                    };
                    let found = gate.unless_blocked(&user("ada"), Order::After, admitted).await;
                    found.map_err(|refused| refused.code())
                })
            };
            let first = write();
            tokio::task::yield_now().await;
            assert_eq!((store.asked(), *begun.lock().unwrap()), (vec![None], 0));
            let users = if is_blocked { vec![user("ada")] } else { Vec::new() };
            assert!(tell.send(Ok(Some(BlockedUsers::new(BlocksVersion::random(), users)))).is_ok());
            let expected = if is_blocked { Err(Code::UserBlocked) } else { Ok(()) };
            assert_eq!(first.await.unwrap(), expected);
            // What is known is not asked for again.
            assert_eq!(write().await.unwrap(), expected);
            let writes = if is_blocked { 0 } else { 2 };
            assert_eq!((store.asked(), *begun.lock().unwrap()), (vec![], writes));
        }
    }

    // Nor of one of whom nobody can say.
    #[tokio::test(start_paused = true)]
    async fn what_may_write_does_not_begin_if_the_store_cannot_say() {
        let (store, gate) = gate();
        assert!(store.to_tell().send(Err(Error::store("it is down", "for a test"))).is_ok());
        let admitted = async { panic!("it began") };
        let found: Result<(), _> = gate.unless_blocked(&user("ada"), Order::After, admitted).await;
        assert_eq!(found.unwrap_err().code(), Code::ServiceUnavailable);
    }
}
