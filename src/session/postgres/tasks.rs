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
    /// None when it is over.
    call: Option<JoinHandle<Result<T, Error>>>,
    user_id: Option<&'a UserId>,
    shared: &'a Shared,
    /// Gone with whoever waits.
    _wanted: Arc<()>,
}

impl<'a, T: Send + 'static> Task<'a, T> {
    /// Begins a call of a user's, if it is one's. It isn't begun if whoever makes it goes before.
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
        Self { call: Some(call), user_id, shared, _wanted: wanted }
    }
}

impl<T: Send + 'static> Future for Task<'_, T> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(call) = &mut self.call else { return Poll::Pending };
        let answer = match Pin::new(call).poll(context) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(answer) => answer,
        };
        self.call = None;
        let ended = |_| Error::store(UNFINISHED, "the runtime that did it has ended");
        Poll::Ready(answer.map_err(ended).flatten())
    }
}

impl<T: Send + 'static> Drop for Task<'_, T> {
    fn drop(&mut self) {
        let Some(call) = self.call.take() else { return };
        let (under_way, ended) = watch::channel(());
        self.shared.ledger.abandon(self.user_id.cloned(), ended);
        self.shared.runtime.spawn(async move {
            let _ = call.await;
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
