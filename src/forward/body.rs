use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::ForwardError;
use super::breaker::Outcome;
use super::connection::Connection;
use super::guard::Admission;
use super::service::Shared;
use super::timeouts::DeadlineWatch;

/// The body of an upstream's answer, and the connection it comes by.
///
/// Polling it is what reads from the upstream. Dropping it before its end closes the connection,
/// which the upstream takes as a cancelled request; at a clean end the connection goes back to
/// the pool.
///
/// Pieces come as the upstream sent them, one per HTTP chunk, without being copied. Those that
/// came in one packet are all handed over before it is pending. An answer that is cut gives
/// everything that came before the cut and then an error, never an end. Trailers are dropped
/// (RFC 9110 section 6.5.1 allows it): nobody asked for them.
pub struct UpstreamBody {
    incoming: Incoming,
    /// `None` after the end or an error.
    connection: Option<Box<Connection>>,
    upstream: Arc<Shared>,
    watch: DeadlineWatch,
    reusable: bool,
    /// Its place, and what judges it; `None` after the end or an error.
    admission: Option<Admission>,
}

impl UpstreamBody {
    /// Makes the body of an answer; `reusable` tells whether the connection may serve another
    /// request after a clean end.
    pub(super) fn new(
        incoming: Incoming,
        connection: Box<Connection>,
        upstream: Arc<Shared>,
        watch: DeadlineWatch,
        reusable: bool,
        admission: Option<Admission>,
    ) -> Self {
        let connection = Some(connection);
        let mut body = Self { incoming, connection, upstream, watch, reusable, admission };
        body.finish_if_ended();
        body
    }

    /// Gives the connection back at the end. A body whose length was known isn't asked for its end,
    /// so its last byte is that.
    fn finish_if_ended(&mut self) {
        if self.incoming.is_end_stream() {
            self.finish();
        }
    }

    fn finish(&mut self) {
        if let Some(connection) = self.connection.take()
            && self.reusable
        {
            self.upstream.pool.put(connection);
        }
        self.end(Outcome::Answered);
    }

    /// Gives the place back.
    fn end(&mut self, outcome: Outcome) {
        if let Some(mut admission) = self.admission.take() {
            admission.judge(outcome);
        }
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = ForwardError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ForwardError>>> {
        let this = self.get_mut();
        loop {
            let Some(connection) = &mut this.connection else { return Poll::Ready(None) };
            let (watch, timeouts) = (&mut this.watch, &this.upstream.timeouts);
            return match connection.poll_frame(cx, watch, timeouts, &mut this.incoming) {
                Poll::Ready(Some(Ok(frame))) if frame.is_data() => {
                    this.watch.frame();
                    // A stream that has begun is an answer: what may still break it is not what
                    // keeps the upstream from answering, and it may last.
                    if let Some(admission) = &mut this.admission {
                        admission.note_byte();
                        if this.watch.is_stream() {
                            admission.judge(Outcome::Answered);
                        }
                    }
                    this.finish_if_ended();
                    Poll::Ready(Some(Ok(frame)))
                }
                // Trailers.
                Poll::Ready(Some(Ok(_))) => continue,
                Poll::Ready(Some(Err(error))) => {
                    this.connection = None;
                    this.end(Outcome::Failed);
                    Poll::Ready(Some(Err(error)))
                }
                Poll::Ready(None) => {
                    this.finish();
                    Poll::Ready(None)
                }
                Poll::Pending => Poll::Pending,
            };
        }
    }

    fn is_end_stream(&self) -> bool {
        self.connection.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        if self.connection.is_none() { SizeHint::with_exact(0) } else { self.incoming.size_hint() }
    }
}

impl fmt::Debug for UpstreamBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamBody")
            .field("incoming", &self.incoming)
            .field("watch", &self.watch)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_small() {
        let size = size_of::<UpstreamBody>();
        assert!(size <= 192, "{size} bytes");
    }
}
