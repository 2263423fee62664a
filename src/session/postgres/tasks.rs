//! Calls that go on when whoever made them has gone: what was sent is done, and somebody must know of it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

use super::ledger::Ledger;
use crate::error::Error;
use crate::principal::UserId;

/// A call under way. Dropped, it goes on.
pub(super) struct Task<T> {
    answer: oneshot::Receiver<Result<T, Error>>,
    /// Closed when the call is over.
    call: watch::Receiver<()>,
    user_id: Option<UserId>,
    ledger: Arc<Ledger>,
    is_over: bool,
}

impl<T: Send + 'static> Task<T> {
    /// Begins a call of a user's, if it is one's. It isn't begun if whoever makes it goes before.
    pub(super) fn spawn(
        runtime: &tokio::runtime::Handle,
        ledger: &Arc<Ledger>,
        user_id: Option<&UserId>,
        call: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Self {
        let (answers, answer) = oneshot::channel();
        let (under_way, ended) = watch::channel(());
        runtime.spawn(async move {
            if !answers.is_closed() {
                let _ = answers.send(call.await);
            }
            drop(under_way);
        });
        let (ledger, user_id) = (Arc::clone(ledger), user_id.cloned());
        Self { answer, call: ended, user_id, ledger, is_over: false }
    }
}

impl<T> Future for Task<T> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = match Pin::new(&mut self.answer).poll(context) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(answer) => answer,
        };
        self.is_over = true;
        let ended =
            |_| Error::store("could not finish a call", "the runtime that did it has ended");
        Poll::Ready(answer.map_err(ended).flatten())
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        if !self.is_over {
            self.ledger.abandon(self.user_id.take(), self.call.clone());
        }
    }
}

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
