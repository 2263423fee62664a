//! The body of a committed run.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::flush::FlushFirst;
use super::watch::{RunObserver, Watch};
use crate::error::BoxError;
#[cfg(feature = "operation")]
use crate::limit::BufferPermit;

/// What was held, as the very same frames, and then the rest as it comes.
pub struct RunBody<B, O: RunObserver> {
    held: VecDeque<Frame<Bytes>>,
    /// Room for what is held, given back with the last of it.
    #[cfg(feature = "operation")]
    permit: Option<BufferPermit>,
    watch: Pin<Box<Watch<B, O>>>,
    flush: FlushFirst,
}

impl<B, O: RunObserver> RunBody<B, O> {
    pub(super) fn new(held: VecDeque<Frame<Bytes>>, watch: Pin<Box<Watch<B, O>>>) -> Self {
        Self {
            held,
            #[cfg(feature = "operation")]
            permit: None,
            watch,
            flush: FlushFirst::default(),
        }
    }

    /// Keeps `permit` for as long as anything is held.
    #[cfg(feature = "operation")]
    pub(crate) fn covered_by(self, permit: Option<BufferPermit>) -> Self {
        Self { permit: permit.filter(|permit| !permit.is_empty()), ..self }
    }

    /// Tells whether output has come and no thread was named before it.
    #[cfg(feature = "operation")]
    pub(crate) fn is_threadless(&self) -> bool {
        self.watch.is_threadless()
    }

    /// Makes a run that is committed as it is, without a hold.
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
                #[cfg(feature = "operation")]
                self.permit.take();
            }
            self.flush.gave_out();
            return Poll::Ready(Some(Ok(frame)));
        }
        let this = &mut *self;
        this.flush.poll(cx, |cx| this.watch.as_mut().poll_frame(cx))
    }

    fn is_end_stream(&self) -> bool {
        self.held.is_empty() && !self.flush.has_failed() && self.watch.is_end_stream()
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
