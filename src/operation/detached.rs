//! Work that is finished once it is begun, whether or not its client waits for it.

use std::future::Future;
use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::rejection::{Code, ProxyError, Rejection};

/// The tasks that are under way on their own: each would leave half of itself behind if it were
/// dropped with its client's request.
///
/// The upstream's time-outs end them. A client that leaves gives its place among the requests back,
/// so they have a bound of their own; and nobody's connection stands for them, so whoever stops the
/// process has to wait for them.
#[derive(Clone, Debug)]
pub(crate) struct DetachedTasks {
    places: Arc<Semaphore>,
    max: u32,
}

impl DetachedTasks {
    /// Allows at most `max` at once.
    pub(crate) fn new(max: usize) -> Self {
        let max = u32::try_from(max.min(Semaphore::MAX_PERMITS)).unwrap_or(u32::MAX);
        // As many as the permits that are asked for at the end, on any platform.
        Self { places: Arc::new(Semaphore::new(usize::try_from(max).unwrap_or(0))), max }
    }

    /// Does `work` to its end.
    ///
    /// # Errors
    /// What `work` fails with; 503 if there are too many already.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Rejection>> + Send + 'static,
    ) -> Result<T, Rejection> {
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| {
            Rejection::new(Code::ServiceUnavailable)
                .with_proxy_error(ProxyError::ConnectionLimitReached)
                .because("there is too much to finish for clients that have left")
        })?;
        let task = tokio::spawn(async move {
            let outcome = work.await;
            drop(place);
            outcome
        });
        task.await
            .map_err(|_| Rejection::new(Code::Internal).because("a detached task was stopped"))?
    }

    /// Waits until none is under way. None begins meanwhile: they are refused.
    pub(crate) async fn finished(&self) {
        // Only closing fails it, and nobody does.
        let _all = self.places.acquire_many(self.max).await;
    }
}

#[cfg(test)]
mod tests {
    use std::pin::{Pin, pin};
    use std::task::{Context, Waker};

    use tokio::sync::oneshot;

    use super::*;

    fn is_pending<F: Future>(future: Pin<&mut F>) -> bool {
        future.poll(&mut Context::from_waker(Waker::noop())).is_pending()
    }

    #[tokio::test]
    async fn a_detached_task_outlives_who_asked_for_it_and_is_waited_for() {
        let detached = DetachedTasks::new(2);
        detached.finished().await;
        let (go, gone) = oneshot::channel::<()>();
        let (done, mut was_done) = oneshot::channel();
        {
            let work = async move {
                gone.await.unwrap();
                done.send(()).unwrap();
                Ok(())
            };
            assert!(is_pending(pin!(detached.run(work))));
        }
        let mut finished = pin!(detached.finished());
        assert!(is_pending(finished.as_mut()));
        go.send(()).unwrap();
        finished.await;
        was_done.try_recv().unwrap();
        assert_eq!(detached.run(async { Ok(7) }).await.unwrap(), 7);
    }

    #[tokio::test]
    async fn what_is_too_much_is_refused_and_a_defect_gives_its_place_back() {
        let detached = DetachedTasks::new(1);
        {
            let held = detached.run(std::future::pending::<Result<(), _>>());
            assert!(is_pending(pin!(held)));
        }
        let refused = detached.run(async { Ok(()) }).await.unwrap_err();
        assert_eq!(refused.code(), Code::ServiceUnavailable);

        let detached = DetachedTasks::new(1);
        let defect = detached.run::<()>(async { panic!("on purpose") }).await.unwrap_err();
        assert_eq!(defect.code(), Code::Internal);
        detached.run(async { Ok(()) }).await.unwrap();
    }
}
