//! The body of a committed run.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::watch::{RunObserver, Watch};
use crate::error::BoxError;

/// What was held, as the very same frames, and then the rest as it comes.
pub struct RunBody<B, O: RunObserver> {
    held: VecDeque<Frame<Bytes>>,
    watch: Pin<Box<Watch<B, O>>>,
    /// A frame was given out since the last `Pending`.
    unflushed: bool,
    failed: Option<BoxError>,
}

impl<B, O: RunObserver> RunBody<B, O> {
    pub(super) fn new(held: VecDeque<Frame<Bytes>>, watch: Pin<Box<Watch<B, O>>>) -> Self {
        Self { held, watch, unflushed: false, failed: None }
    }

    /// A run that is committed as it is, without a hold.
    pub fn unheld(watch: Watch<B, O>) -> Self {
        Self::new(VecDeque::new(), Box::pin(watch))
    }
}

impl<B, O> Body for RunBody<B, O>
where
    B: Body<Data = Bytes, Error: Into<BoxError>>,
    O: RunObserver,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(frame) = self.held.pop_front() {
            if self.held.is_empty() {
                self.held = VecDeque::new();
            }
            self.unflushed = true;
            return Poll::Ready(Some(Ok(frame)));
        }
        if let Some(error) = self.failed.take() {
            return Poll::Ready(Some(Err(error)));
        }
        match self.watch.as_mut().poll_frame(cx) {
            Poll::Ready(Some(Err(error))) if self.unflushed => {
                // An error makes the server drop what it has not written yet. It writes
                // when a body has nothing more for now, so that is what it is told first.
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

    fn is_end_stream(&self) -> bool {
        self.held.is_empty() && self.failed.is_none() && self.watch.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.held.is_empty() { self.watch.size_hint() } else { SizeHint::default() }
    }
}

impl<B, O: RunObserver> fmt::Debug for RunBody<B, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunBody").field("held", &self.held.len()).finish_non_exhaustive()
    }
}
