use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;

use super::connect::MaybeTlsStream;
use super::error::NoHttp;
use super::gate::Gate;
use super::timeouts::{Alarm, DeadlineWatch, Timeouts};
use super::{ForwardError, ForwardErrorKind};
use crate::error::BoxError;

/// A request's body, of whatever type it was.
pub(super) type OutgoingBody = UnsyncBoxBody<Bytes, BoxError>;

/// One connection to the upstream, driven by whoever waits for its answer.
///
/// No task of its own runs it: it moves on only while it is polled, and dropping it closes the
/// socket. It carries one exchange at a time.
pub(super) struct Connection {
    sender: SendRequest<OutgoingBody>,
    /// `None` once it has ended, whichever way. Dropping it then is what tells the sender and the
    /// body that nothing more will come.
    driver: Option<http1::Connection<TokioIo<MaybeTlsStream>, OutgoingBody>>,
    gate: Arc<Gate>,
    /// Of the gate; the only one that the socket, the body and the alarm ever see.
    waker: Waker,
    alarm: Alarm,
}

/// Why a request has no answer.
pub(super) enum SendError {
    /// Not a byte of it was written: it may be sent again, elsewhere.
    Unsent(Box<Request<OutgoingBody>>, ForwardError),
    /// It may have been read.
    Failed(ForwardError),
}

impl Connection {
    /// Opens HTTP/1.1 over `stream`.
    ///
    /// # Errors
    /// [`Connect`](ForwardErrorKind::Connect); hyper has no reason to at present.
    pub(super) async fn open(
        stream: MaybeTlsStream,
        http: &http1::Builder,
    ) -> Result<Box<Self>, ForwardError> {
        let (sender, driver) = http
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| ForwardError::new(ForwardErrorKind::Connect).with(error))?;
        let gate = Arc::<Gate>::default();
        let waker = Waker::from(Arc::clone(&gate));
        Ok(Box::new(Self { sender, driver: Some(driver), gate, waker, alarm: Alarm::default() }))
    }

    /// Sends `request` and waits for the head of its answer.
    pub(super) async fn send(
        &mut self,
        request: Request<OutgoingBody>,
        watch: &mut DeadlineWatch,
        timeouts: &Timeouts,
    ) -> Result<Response<Incoming>, SendError> {
        let mut response = pin!(self.sender.try_send_request(request));
        let outcome = std::future::poll_fn(|cx| {
            self.poll_until(cx, watch, timeouts, |cx| response.as_mut().poll(cx))
        })
        .await;
        match outcome {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(unanswered(error)),
            Err(expired) => Err(SendError::Failed(ForwardError::new(expired))),
        }
    }

    /// Gives the next piece of `body`, which must be that of this connection's latest answer.
    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
        watch: &mut DeadlineWatch,
        timeouts: &Timeouts,
        body: &mut Incoming,
    ) -> Poll<Option<Result<Frame<Bytes>, ForwardError>>> {
        let polled = self.poll_until(cx, watch, timeouts, |cx| Pin::new(&mut *body).poll_frame(cx));
        polled.map(|outcome| match outcome {
            Ok(frame) => frame.map(|frame| {
                frame.map_err(|error| ForwardError::new(ForwardErrorKind::BodyCut).with(error))
            }),
            Err(expired) => Some(Err(ForwardError::new(expired))),
        })
    }

    /// Tells whether it can take another request, as far as can be known without sending one: it
    /// has finished the exchange before, and its peer neither closed it nor said anything unasked.
    pub(super) fn is_reusable(&mut self) -> bool {
        if !self.sender.is_ready() {
            // The end of an answer is noticed one step after its last byte was handed over.
            self.drive();
        }
        self.driver.is_some() && self.sender.is_ready()
    }

    /// Tells the same of one that has been idle: looks at the socket first.
    pub(super) fn is_alive(&mut self) -> bool {
        self.drive();
        self.is_reusable()
    }

    /// Notes that it will be idle now: forgets the task that drove it.
    pub(super) fn rest(&self) {
        self.gate.leave();
    }

    /// Drives the connection and polls `wanted`, so that a task is only sent to sleep when the
    /// socket has nothing for it.
    ///
    /// The inner value is what `wanted` gave, or what expired.
    fn poll_until<T>(
        &mut self,
        cx: &mut Context<'_>,
        watch: &mut DeadlineWatch,
        timeouts: &Timeouts,
        mut wanted: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<Result<T, ForwardErrorKind>> {
        if !self.gate.shut(cx.waker()) {
            return Poll::Pending;
        }
        let mut polled = Poll::Pending;
        // The first time that a body is polled it tells the connection so, which then has to be
        // driven again. More than that is for the task's next turn.
        for _ in 0..2 {
            // From here on a knock counts, so before the connection is polled.
            self.gate.hush();
            self.drive();
            polled = wanted(&mut Context::from_waker(&self.waker)).map(Ok);
            if polled.is_ready() || !self.gate.is_knocked() {
                break;
            }
        }
        if polled.is_pending() {
            let mut inside = Context::from_waker(&self.waker);
            if let Some(expired) = watch.poll_silence(timeouts, &mut self.alarm, &mut inside) {
                polled = Poll::Ready(Err(expired));
            }
        }
        // What is ready needs no wake: the caller will ask again.
        if self.gate.open(polled.is_pending()) {
            cx.waker().wake_by_ref();
        }
        polled
    }

    fn drive(&mut self) {
        if let Some(driver) = &mut self.driver {
            let mut inside = Context::from_waker(&self.waker);
            // Its error, if it has one, is also the answer's or the body's, unless it was idle.
            if Pin::new(driver).poll(&mut inside).is_ready() {
                self.driver = None;
            }
        }
    }
}

fn unanswered(mut error: TrySendError<Request<OutgoingBody>>) -> SendError {
    let request = error.take_message();
    let error = error.into_error();
    let kind = if error.is_user() { ForwardErrorKind::Request } else { ForwardErrorKind::Head };
    let source: BoxError = if error.is_parse() { NoHttp(error).into() } else { error.into() };
    let error = ForwardError::new(kind).with(source);
    match request {
        Some(request) => SendError::Unsent(Box::new(request), error),
        None => SendError::Failed(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // It is there once for each open stream, beside hyper's buffers.
    #[test]
    fn a_connection_is_small() {
        let size = size_of::<Connection>();
        assert!(size <= 1024, "{size} bytes");
    }
}
