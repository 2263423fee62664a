//! An answer of the upstream's that passes with another cursor in it.

use std::mem::take;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::error::BoxError;

/// An answer of the upstream's in which at most its cursor was replaced.
#[derive(Debug)]
pub struct SealedAnswer([Bytes; 3]);

impl SealedAnswer {
    /// Puts it together of what is before the cursor, the new one, and what is behind.
    pub(crate) fn new(pieces: [Bytes; 3]) -> Self {
        Self(pieces)
    }

    /// Leaves an answer as it is.
    pub(crate) fn untouched(answer: Bytes) -> Self {
        Self([answer, Bytes::new(), Bytes::new()])
    }

    /// Takes it apart again.
    #[cfg(test)]
    pub(crate) fn into_pieces(self) -> [Bytes; 3] {
        self.0
    }
}

impl Body for SealedAnswer {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let next = self.0.iter_mut().find(|piece| !piece.is_empty());
        Poll::Ready(next.map(|piece| Ok(Frame::data(take(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.iter().all(Bytes::is_empty)
    }

    fn size_hint(&self) -> SizeHint {
        let bytes: usize = self.0.iter().map(Bytes::len).sum();
        SizeHint::with_exact(u64::try_from(bytes).unwrap_or(u64::MAX))
    }
}
