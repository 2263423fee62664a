//! Calls that go on when whoever made them has gone: what was sent is done, and somebody must know of it.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::store::Shared;
use crate::error::Error;
use crate::principal::UserId;

/// A call under way. Dropped, it goes on.
pub(super) struct Task<'a, T: Send + 'static> {
    call: Call<T>,
    user_id: Option<&'a UserId>,
    shared: &'a Shared,
}

enum Call<T: Send + 'static> {
    Over,
    /// It has not begun, and doesn't if whoever makes it goes.
    New(Making<T>),
    /// It is done where it is waited for.
    Begun(Making<T>),
    /// It is done by itself, until it is over or it was not begun and nobody waits.
    Spawned {
        call: JoinHandle<Result<T, Error>>,
        _wanted: Arc<()>,
    },
}

type Making<T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send>>;

impl<'a, T: Send + 'static> Task<'a, T> {
    /// Makes a call of a user's, if it is one's, of whoever goes on to wait for it or goes: in between it has
    /// a connection.
    pub(super) fn new(
        shared: &'a Shared,
        user_id: Option<&'a UserId>,
        call: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Self {
        Self { call: Call::New(Box::pin(call)), user_id, shared }
    }

    /// Begins one of whoever may wait for something else meanwhile.
    pub(super) fn spawn(
        shared: &'a Shared,
        user_id: Option<&'a UserId>,
        call: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Self {
        let wanted = Arc::new(());
        let waiting = Arc::downgrade(&wanted);
        // It is large, and a task is moved some times.
        let call = Box::pin(call);
        let call = shared.runtime.spawn(async move {
            if Weak::strong_count(&waiting) == 0 {
                return Err(Error::store(UNFINISHED, "nobody waits for it"));
            }
            call.await
        });
        Self { call: Call::Spawned { call, _wanted: wanted }, user_id, shared }
    }
}

impl<T: Send + 'static> Future for Task<'_, T> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Call::New(_) = self.call
            && let Call::New(call) = std::mem::replace(&mut self.call, Call::Over)
        {
            self.call = Call::Begun(call);
        }
        let answer = match &mut self.call {
            Call::Over | Call::New(_) => return Poll::Pending,
            Call::Begun(call) => match call.as_mut().poll(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(answer) => answer,
            },
            Call::Spawned { call, .. } => match Pin::new(call).poll(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(answer) => {
                    let ended = |_| Error::store(UNFINISHED, "the runtime that did it has ended");
                    answer.map_err(ended).flatten()
                }
            },
        };
        self.call = Call::Over;
        Poll::Ready(answer)
    }
}

impl<T: Send + 'static> Drop for Task<'_, T> {
    fn drop(&mut self) {
        let call: Pin<Box<dyn Future<Output = ()> + Send>> =
            match std::mem::replace(&mut self.call, Call::Over) {
                Call::Over | Call::New(_) => return,
                Call::Begun(call) => Box::pin(async move { drop(call.await) }),
                Call::Spawned { call, .. } => Box::pin(async move { drop(call.await) }),
            };
        let (under_way, ended) = watch::channel(());
        self.shared.ledger.abandon(self.user_id.cloned(), ended);
        self.shared.runtime.spawn(async move {
            call.await;
            drop(under_way);
        });
    }
}

const UNFINISHED: &str = "could not finish a call";

/// Waits until calls have ended that nobody waits for any more.
///
/// # Errors
/// If that takes longer.
pub(super) async fn ended(calls: Vec<watch::Receiver<()>>, within: Duration) -> Result<(), Error> {
    if calls.is_empty() {
        return Ok(());
    }
    let waiting = async {
        for mut call in calls {
            while call.changed().await.is_ok() {}
        }
    };
    timeout(within, waiting).await.map_err(|_| {
        Error::store("could not go on", "the database has not answered what was asked before")
    })
}
