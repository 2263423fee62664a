//! Response bodies.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::rendezvous::Rendezvous;
use super::run::CutReason;
use crate::error::chain;
use crate::forward::{ForwardError, ForwardErrorKind};
use crate::shown::shown;

/// The body of an answer of [`Embedded`](super::Embedded).
///
/// A stream is produced as it is polled, one frame per event. Dropping it early is what a client
/// does that leaves: the run ends and what was said so far is stored.
pub struct EmbeddedBody(BodyKind);

enum BodyKind {
    Full(Bytes),
    Stream(RunStream),
}

type BoxedRun = Pin<Box<dyn Future<Output = Result<(), CutReason>> + Send>>;

/// A run, and the frame that it is ahead by.
///
/// The run is always polled once more than there are frames asked for, so that it knows that it
/// is over when the last frame leaves and not only when somebody asks for the next.
struct RunStream {
    run: Option<BoxedRun>,
    frames: Rendezvous<Bytes>,
    next: Option<Bytes>,
    cut: Option<ForwardError>,
}

impl EmbeddedBody {
    pub(super) fn full(bytes: impl Into<Bytes>) -> Self {
        Self(BodyKind::Full(bytes.into()))
    }

    /// Makes the body that polls `run`, which puts its frames into the other end of `frames`.
    pub(super) fn stream(
        frames: Rendezvous<Bytes>,
        run: impl Future<Output = Result<(), CutReason>> + Send + 'static,
    ) -> Self {
        let run: Option<BoxedRun> = Some(Box::pin(run));
        Self(BodyKind::Stream(RunStream { run, frames, next: None, cut: None }))
    }
}

impl RunStream {
    /// Polls the run until there is a next frame, or none yet, or none any more.
    fn advance(&mut self, cx: &mut Context<'_>) {
        let Some(run) = &mut self.run else { return };
        if self.next.is_some() {
            return;
        }
        if let Poll::Ready(ended) = run.as_mut().poll(cx) {
            self.run = None;
            self.cut = ended.err().map(cut);
        }
        self.next = self.frames.take();
    }
}

fn cut(cut: CutReason) -> ForwardError {
    let error = ForwardError::new(ForwardErrorKind::BodyCut);
    match cut {
        CutReason::Broken(source) => {
            tracing::warn!(error = &*shown(&chain(&*source)), "a run failed");
            error.with(source)
        }
        CutReason::Impossible(reason) => {
            tracing::debug!(reason, "a run was cut");
            error.with(reason)
        }
        CutReason::Wanted => error,
    }
}

impl Body for EmbeddedBody {
    type Data = Bytes;
    type Error = ForwardError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ForwardError>>> {
        match &mut self.0 {
            BodyKind::Full(bytes) if bytes.is_empty() => Poll::Ready(None),
            BodyKind::Full(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            BodyKind::Stream(stream) => {
                stream.advance(cx);
                if let Some(bytes) = stream.next.take() {
                    stream.advance(cx);
                    Poll::Ready(Some(Ok(Frame::data(bytes))))
                } else if stream.run.is_some() {
                    Poll::Pending
                } else {
                    Poll::Ready(stream.cut.take().map(Err))
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            BodyKind::Full(bytes) => bytes.is_empty(),
            BodyKind::Stream(stream) => {
                stream.run.is_none() && stream.next.is_none() && stream.cut.is_none()
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            BodyKind::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            BodyKind::Stream(_) => SizeHint::default(),
        }
    }
}

impl fmt::Debug for EmbeddedBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            BodyKind::Full(_) => "EmbeddedBody(full)",
            BodyKind::Stream(_) => "EmbeddedBody(stream)",
        })
    }
}
