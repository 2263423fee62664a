//! An error after what came before it.

use std::task::{Context, Poll};

use crate::error::BoxError;

/// Lets a server write what it was given before it is told of an error.
///
/// A server that meets a body's error drops what it has not written yet, the head of the
/// response included; a client on a connection that was used before then takes the request for
/// unread and may send it again. A server writes when a body has nothing more for now, so that
/// is what it is told first.
#[derive(Debug)]
pub struct FlushFirst {
    /// Something was given out since the last `Pending`.
    unflushed: bool,
    failed: Option<BoxError>,
}

impl Default for FlushFirst {
    /// Begins where the head has been given out.
    fn default() -> Self {
        Self { unflushed: true, failed: None }
    }
}

impl FlushFirst {
    /// Notes that something was given out without [`poll`](Self::poll).
    pub fn gave_out(&mut self) {
        self.unflushed = true;
    }

    /// Tells whether an error is still to be told.
    pub fn has_failed(&self) -> bool {
        self.failed.is_some()
    }

    /// Polls a body by `poll`.
    pub fn poll<F>(
        &mut self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Context<'_>) -> Poll<Option<Result<F, BoxError>>>,
    ) -> Poll<Option<Result<F, BoxError>>> {
        if let Some(error) = self.failed.take() {
            return Poll::Ready(Some(Err(error)));
        }
        match poll(cx) {
            Poll::Ready(Some(Err(error))) if self.unflushed => {
                self.failed = Some(error);
                self.unflushed = false;
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Pending => {
                self.unflushed = false;
                Poll::Pending
            }
            ready @ Poll::Ready(_) => {
                self.unflushed = true;
                ready
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn polled(flush: &mut FlushFirst, next: Poll<Option<Result<u8, BoxError>>>) -> &'static str {
        match flush.poll(&mut Context::from_waker(Waker::noop()), |_| next) {
            Poll::Pending => "pending",
            Poll::Ready(None) => "end",
            Poll::Ready(Some(Ok(_))) => "frame",
            Poll::Ready(Some(Err(_))) => "error",
        }
    }

    #[test]
    fn an_error_waits_until_what_came_before_was_written() {
        let frame = || Poll::Ready(Some(Ok(1)));
        let error = || Poll::Ready(Some(Err(BoxError::from("cut"))));
        let mut head_only = FlushFirst::default();
        assert_eq!(polled(&mut head_only, error()), "pending");
        assert!(head_only.has_failed());
        assert_eq!(polled(&mut head_only, frame()), "error");
        let mut silent = FlushFirst::default();
        assert_eq!(polled(&mut silent, Poll::Pending), "pending");
        assert_eq!(polled(&mut silent, error()), "error");
        let mut streaming = FlushFirst::default();
        assert_eq!(polled(&mut streaming, Poll::Pending), "pending");
        assert_eq!(polled(&mut streaming, frame()), "frame");
        assert_eq!(polled(&mut streaming, error()), "pending");
        assert_eq!(polled(&mut streaming, Poll::Ready(None)), "error");
    }
}
