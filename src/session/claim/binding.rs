//! Whose the thread is that the upstream has named in a run, and the end of such a run.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use jiff::Timestamp;

use crate::error::Error;
use crate::principal::UserId;
use crate::session::quarantine::Reuse;
use crate::session::record::{SessionId, ThreadId};
use crate::session::store::{Bound, RunId, SessionStore, Settlement};

/// Settles a run when it has ended and its thread is bound or not, whichever is later: a settlement
/// that overtook a bind would take the session, or its lease, away from it.
pub(super) struct Ending {
    store: Arc<dyn SessionStore>,
    session_id: SessionId,
    run: RunId,
    settlement: OnceLock<Settlement>,
    /// What the run told is of a thread that is not the session's.
    is_unbound: AtomicBool,
}

impl Ending {
    pub(super) fn of(store: Arc<dyn SessionStore>, session_id: SessionId, run: RunId) -> Self {
        let (settlement, is_unbound) = (OnceLock::new(), AtomicBool::new(false));
        Self { store, session_id, run, settlement, is_unbound }
    }

    /// Says how the run has ended. Its claim alone does, once.
    pub(super) fn end(&self, settlement: Settlement) {
        let _ = self.settlement.set(settlement);
    }

    /// Binds a thread to the run's session, which is that user's, if the run `makes_it`, or sees whose
    /// it is.
    pub(super) async fn look_at(
        self: Arc<Self>,
        user_id: UserId,
        thread_id: ThreadId,
        makes_it: bool,
    ) -> Result<(), BindError> {
        // In a task of its own: a client that leaves now must not keep it from being known that the
        // upstream gave it another user's thread.
        let bound = tokio::spawn(async move {
            let now = Timestamp::now();
            let named = ThreadId::clone(&thread_id);
            let Self { store, session_id: id, run, .. } = &*self;
            let bound = if makes_it {
                store.bind(*id, &user_id, *run, named, now).await
            } else {
                let reuse = store.thread_named(*id, &user_id, named, now).await;
                reuse.map(|reuse| reuse.map_or(Bound::Done, Bound::ThreadReused))
            };
            if let Ok(Bound::ThreadReused(reuse)) = &bound {
                tell(*id, &thread_id, reuse);
            }
            if !matches!(bound, Ok(Bound::Done)) {
                self.is_unbound.store(true, Ordering::Release);
            }
            bound
        });
        match bound.await {
            Ok(Ok(Bound::Done)) => Ok(()),
            Ok(Ok(Bound::LeaseLost)) => Err(BindError::LeaseLost),
            Ok(Ok(Bound::ThreadReused(_))) => Err(BindError::ThreadReused),
            Ok(Err(error)) => Err(BindError::Store(error)),
            Err(stopped) => {
                Err(BindError::Store(Error::store("could not bind a session", stopped.to_string())))
            }
        }
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        let Some(settlement) = self.settlement.take() else { return };
        let settlement = if *self.is_unbound.get_mut() {
            let Settlement { discard_unbound, .. } = settlement;
            Settlement { discard_unbound, ..Settlement::default() }
        } else {
            settlement
        };
        // It is settled by the call; that it is durable is nothing that a client waits for.
        drop(self.store.settle(self.session_id, self.run, settlement));
    }
}

/// Tells whoever runs the gateway of an id that came twice: nobody else can do anything about it.
fn tell(id: SessionId, thread_id: &str, reuse: &Reuse) {
    let Reuse { owner_session, owner, other, quarantined } = reuse;
    let (owner, other) = (owner.as_str(), other.as_str());
    if let Some(threads_in_quarantine) = quarantined {
        tracing::error!(
            thread = thread_id,
            session = %owner_session,
            user = owner,
            other_session = %id,
            other_user = other,
            threads_in_quarantine,
            "the upstream gave two users' threads one id: the thread is in quarantine",
        );
    } else {
        tracing::error!(
            thread = thread_id,
            session = %owner_session,
            user = owner,
            other_session = %id,
            "the upstream gave two threads of a user one id",
        );
    }
}

/// A new thread could not be bound to its session.
#[derive(Debug)]
#[non_exhaustive]
pub enum BindError {
    /// The upstream took longer than the lease, and another run has begun.
    LeaseLost,
    /// The store failed.
    Store(Error),
    /// The upstream gave the thread the id of another session's.
    ThreadReused,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LeaseLost => "the session's lease was lost before its thread was made",
            Self::Store(_) => "the new thread could not be stored",
            Self::ThreadReused => "the upstream gave a thread the id of another session's",
        })
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Store(error) => Some(error),
            Self::LeaseLost | Self::ThreadReused => None,
        }
    }
}
