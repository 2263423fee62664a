//! [`Validated`].

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use serde_json::Value;

/// A body that matches its schema: the very bytes that came, and what they say.
///
/// Only a [`ValidateLayer`](super::ValidateLayer) makes one, so a service that takes
/// `Request<Validated>` doesn't compile without the layer in front of it. As a [`Body`] it is the
/// bytes in one frame.
pub struct Validated {
    bytes: Bytes,
    json: Value,
}

impl Validated {
    pub(super) fn new(bytes: Bytes, json: Value) -> Self {
        Self { bytes, json }
    }

    /// Gives the bytes as they came. Once they were polled as a body, there are none.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Gives what the bytes say.
    pub fn json(&self) -> &Value {
        &self.json
    }

    /// Takes them apart, the bytes first.
    pub fn into_parts(self) -> (Bytes, Value) {
        (self.bytes, self.json)
    }
}

impl Body for Validated {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let bytes = std::mem::take(&mut self.bytes);
        // No JSON is empty.
        Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.len() as u64)
    }
}

/// What a client said is nobody else's to read.
impl fmt::Debug for Validated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Validated").field("bytes", &self.bytes.len()).finish_non_exhaustive()
    }
}
