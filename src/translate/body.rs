//! The body of a reply.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use pin_project_lite::pin_project;

use crate::error::BoxError;
use crate::stream::{FlushFirst, RunBody, RunObserver};

pin_project! {
    /// What an operation answers with.
    #[derive(Debug)]
    #[project = ReplyBodyProjection]
    #[allow(missing_docs, reason = "named for what they hold")]
    pub enum ReplyBody<R, O: RunObserver> {
        /// A JSON document of the gateway's: a reply, or a refusal.
        Json { #[pin] body: Full<Bytes> },
        /// An answer of the upstream's, passed on untouched.
        Passthru { #[pin] body: R, flush: FlushFirst },
        /// A run, passed on untouched.
        Run { #[pin] body: RunBody<R, O> },
    }
}

impl<R, O: RunObserver> ReplyBody<R, O> {
    pub(super) fn passthru(body: R) -> Self {
        Self::Passthru { body, flush: FlushFirst::default() }
    }

    pub(super) fn whole(bytes: Bytes) -> Self {
        Self::Json { body: Full::new(bytes) }
    }
}

impl<R, O: RunObserver> From<Full<Bytes>> for ReplyBody<R, O> {
    fn from(body: Full<Bytes>) -> Self {
        Self::Json { body }
    }
}

impl<R, O> Body for ReplyBody<R, O>
where
    R: Body<Data = Bytes, Error: Into<BoxError>>,
    O: RunObserver,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.project() {
            ReplyBodyProjection::Json { body } => {
                body.poll_frame(cx).map_err(|never| match never {})
            }
            ReplyBodyProjection::Passthru { body, flush } => {
                flush.poll(cx, |cx| body.poll_frame(cx).map_err(Into::into))
            }
            ReplyBodyProjection::Run { body } => body.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Json { body } => body.is_end_stream(),
            Self::Passthru { body, flush } => !flush.has_failed() && body.is_end_stream(),
            Self::Run { body } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Json { body } => body.size_hint(),
            Self::Passthru { body, .. } => body.size_hint(),
            Self::Run { body } => body.size_hint(),
        }
    }
}
