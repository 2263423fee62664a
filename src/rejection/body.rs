//! [`RefusedOr`].

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use pin_project_lite::pin_project;

use super::{RefusalStyle, Rejection};

pin_project! {
    /// A response body that is either a refusal or the inner service's own, passed on untouched.
    #[derive(Debug)]
    #[project = RefusedOrProjection]
    #[allow(missing_docs, reason = "named for what they hold")]
    #[non_exhaustive]
    pub enum RefusedOr<B> {
        Refused { #[pin] body: Full<Bytes> },
        Passthru { #[pin] body: B },
    }
}

impl<B> RefusedOr<B> {
    /// Passes the inner service's response.
    pub fn pass(response: Response<B>) -> Response<Self> {
        response.map(|body| Self::Passthru { body })
    }

    /// Makes a refusal.
    pub fn refuse(rejection: Rejection, style: &RefusalStyle) -> Response<Self> {
        rejection.into_response(style).map(|body| Self::Refused { body })
    }
}

/// An answer of the gateway's own.
impl<B> From<Bytes> for RefusedOr<B> {
    fn from(bytes: Bytes) -> Self {
        Self::Refused { body: Full::new(bytes) }
    }
}

/// An empty body, which is what a layer that answers by itself (CORS) asks for.
impl<B> Default for RefusedOr<B> {
    fn default() -> Self {
        Self::Refused { body: Full::default() }
    }
}

/// Gives an answer of the gateway's own, as a body of the inner service's type. Most frameworks'
/// bodies are made of bytes, and few of another crate's body.
#[cfg(any(feature = "authenticate", feature = "validate"))]
pub(crate) fn made_of<R: From<Bytes>>(response: Response<Full<Bytes>>) -> Response<R> {
    response.map(|mut body| {
        // It has all its bytes at once, in one frame, or none.
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let bytes = match Pin::new(&mut body).poll_frame(&mut cx) {
            Poll::Ready(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
            Poll::Ready(Some(Err(never))) => match never {},
            Poll::Ready(None) | Poll::Pending => Bytes::new(),
        };
        R::from(bytes)
    })
}

impl<B: Body<Data = Bytes>> Body for RefusedOr<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project() {
            RefusedOrProjection::Passthru { body } => body.poll_frame(cx),
            RefusedOrProjection::Refused { body } => {
                body.poll_frame(cx).map_err(|never| match never {})
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Passthru { body } => body.is_end_stream(),
            Self::Refused { body } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Passthru { body } => body.size_hint(),
            Self::Refused { body } => body.size_hint(),
        }
    }
}
