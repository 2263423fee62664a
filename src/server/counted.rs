//! The gateway's service, telling the connection what it is doing.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Method, Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use tower::Service;

use super::io::{Activity, InRequest};
use super::streams::BodyPiece;
use crate::authenticate::ConnectionCallers;
use crate::error::BoxError;
use crate::telemetry::{Record, is_long};

/// The service, telling the connection what it is doing.
#[derive(Clone)]
pub(super) struct Counted<S> {
    service: S,
    activity: Arc<Activity>,
    /// `None` on HTTP/1, where there is one request at a time.
    callers: Option<ConnectionCallers>,
}

impl<S> Counted<S> {
    pub(super) fn new(service: S, activity: Arc<Activity>) -> Self {
        let callers = activity.streams().map(|_| ConnectionCallers::default());
        Self { service, activity, callers }
    }
}

impl<S, R> hyper::service::Service<Request<Incoming>> for Counted<S>
where
    S: Service<Request<Incoming>, Response = Response<R>> + Clone,
    R: Body<Data = Bytes, Error: Into<BoxError>>,
{
    type Response = Response<CountedBody<R>>;
    type Error = S::Error;
    /// Boxed, so that what a request needed until its head is given back while its stream is open:
    /// hyper keeps the place of an unboxed one, 1 KiB, for as long as the connection lives.
    type Future = Pin<Box<CountedFuture<S>>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        if let Some(callers) = &self.callers {
            request.extensions_mut().insert(callers.clone());
        }
        let counted = self.activity.begin(request.version());
        Box::pin(CountedFuture::Waiting {
            service: self.service.clone(),
            is_head: request.method() == Method::HEAD,
            request: Some((request, counted)),
        })
    }
}

pin_project! {
    /// Waits for the service to be ready, and then for its response.
    #[project = CountedFutureProjection]
    pub(super) enum CountedFuture<S: Service<Request<Incoming>>> {
        Waiting { service: S, is_head: bool, request: Option<(Request<Incoming>, InRequest)> },
        Calling { #[pin] future: S::Future, is_head: bool, guard: Option<InRequest> },
    }
}

impl<S, R> Future for CountedFuture<S>
where
    S: Service<Request<Incoming>, Response = Response<R>>,
    R: Body<Data = Bytes, Error: Into<BoxError>>,
{
    type Output = Result<Response<CountedBody<R>>, S::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            match self.as_mut().project() {
                CountedFutureProjection::Waiting { service, is_head, request } => {
                    ready!(service.poll_ready(cx))?;
                    let is_head = *is_head;
                    let Some((request, guard)) = request.take() else { return Poll::Pending };
                    let future = service.call(request);
                    self.set(CountedFuture::Calling { future, is_head, guard: Some(guard) });
                }
                CountedFutureProjection::Calling { future, is_head, guard } => {
                    let mut response = ready!(future.poll(cx))?;
                    let guard = guard.take();
                    let length = response.body().size_hint().exact();
                    let next = if *is_head {
                        // No length is better than that of a body which isn't there for a GET.
                        if let Some(length @ 1..) = length {
                            let headers = response.headers_mut();
                            headers.entry(CONTENT_LENGTH).or_insert_with(|| length.into());
                        }
                        NextFrame::Nothing
                    } else {
                        if let Some(guard) = &guard {
                            guard.answers(length.is_some());
                        }
                        NextFrame::Ask
                    };
                    let untaken = if matches!(next, NextFrame::Ask) && is_long(response.body()) {
                        Untaken(response.extensions_mut().remove())
                    } else {
                        Untaken(None)
                    };
                    let body = |body| CountedBody { untaken, body, guard, given: 0, next };
                    return Poll::Ready(Ok(response.map(body)));
                }
            }
        }
    }
}

pin_project! {
    /// A body that counts as a request in progress. It passes its frames on untouched, and an
    /// error when everything that came before it has been written.
    ///
    /// It isn't over before all of it is written, unless it is small and, on HTTP/2, the client's
    /// windows have room for it: what the server keeps in its buffer once a body is over, nobody can
    /// take back, and nobody could tell whether the client took it.
    pub(super) struct CountedBody<R> {
        // Goes before the body, which logs its request when it goes.
        untaken: Untaken,
        #[pin]
        body: R,
        guard: Option<InRequest>,
        // Bytes that were given since the body last had none.
        given: usize,
        next: NextFrame,
    }
}

/// Tells the log that the client didn't take all, unless it is emptied before it goes.
struct Untaken(Option<Record>);

impl Drop for Untaken {
    fn drop(&mut self) {
        if let Some(record) = &self.0 {
            record.untaken();
        }
    }
}

/// What comes next of a body.
enum NextFrame {
    /// What the body says.
    Ask,
    /// The end, whatever the body says: a HEAD is answered. HTTP/1's server would know that.
    Nothing,
    /// The last byte, when those before it are written. The server asks for room before it takes
    /// this one.
    LastByte { last: Bytes, since: Option<u64> },
    /// The trailers, or nothing, when all is written.
    End { trailers: Option<Box<HeaderMap>>, since: Option<u64> },
    /// The error, when all that can be is written.
    Fail { error: Option<BoxError>, since: Option<u64> },
}

impl<R: Body<Data = Bytes, Error: Into<BoxError>>> CountedBody<R> {
    /// Gives the body's frame as it is passed on, or what is to come first.
    fn pass(self: Pin<&mut Self>, frame: Frame<Bytes>) -> Option<Frame<BodyPiece>> {
        let this = self.project();
        let ends = this.body.is_end_stream();
        let Some(guard) = this.guard else {
            return Some(frame.map_data(BodyPiece::unwatched));
        };
        let frame = match frame.into_data() {
            Ok(data) => {
                *this.given = this.given.saturating_add(data.len());
                let mut piece = guard.piece(data);
                if ends {
                    if !guard.may_end(*this.given)
                        && let Some(last) = piece.split_last()
                    {
                        *this.next = NextFrame::LastByte { last, since: None };
                    } else {
                        guard.ended();
                        this.untaken.0 = None;
                    }
                }
                return Some(Frame::data(piece));
            }
            Err(frame) => frame,
        };
        match frame.into_trailers() {
            Ok(trailers) => {
                *this.next = NextFrame::End { trailers: Some(Box::new(trailers)), since: None };
                None
            }
            // There is no third kind.
            Err(frame) => Some(frame.map_data(BodyPiece::unwatched)),
        }
    }
}

impl<R: Body<Data = Bytes, Error: Into<BoxError>>> Body for CountedBody<R> {
    type Data = BodyPiece;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<BodyPiece>, BoxError>>> {
        loop {
            let mut this = self.as_mut().project();
            let guard = this.guard.as_ref();
            match this.next {
                NextFrame::Ask => {
                    let Poll::Ready(frame) = this.body.as_mut().poll_frame(cx) else {
                        *this.given = 0;
                        return Poll::Pending;
                    };
                    match frame {
                        Some(Ok(frame)) => {
                            if let Some(frame) = self.as_mut().pass(frame) {
                                return Poll::Ready(Some(Ok(frame)));
                            }
                        }
                        Some(Err(error)) => {
                            *this.next = NextFrame::Fail { error: Some(error.into()), since: None };
                        }
                        None => *this.next = NextFrame::End { trailers: None, since: None },
                    }
                }
                NextFrame::Nothing => return Poll::Ready(None),
                NextFrame::LastByte { last, since } => {
                    if let Some(guard) = guard {
                        ready!(guard.poll_taken(since, cx));
                        guard.ended();
                    }
                    *this.given = 0;
                    this.untaken.0 = None;
                    let last = std::mem::take(last);
                    let piece = match guard {
                        Some(guard) => guard.piece(last),
                        None => BodyPiece::unwatched(last),
                    };
                    *this.next = NextFrame::End { trailers: None, since: None };
                    return Poll::Ready(Some(Ok(Frame::data(piece))));
                }
                NextFrame::End { trailers, since } => {
                    if let Some(guard) = guard
                        && !guard.may_end(*this.given)
                    {
                        ready!(guard.poll_taken(since, cx));
                    }
                    if let Some(guard) = guard {
                        guard.ended();
                    }
                    this.untaken.0 = None;
                    let trailers = trailers.take();
                    return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(*trailers))));
                }
                NextFrame::Fail { error, since } => {
                    if let Some(guard) = guard {
                        ready!(guard.poll_written(since, cx));
                    }
                    return Poll::Ready(error.take().map(Err));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.next {
            NextFrame::Ask | NextFrame::End { trailers: None, .. } => self.body.is_end_stream(),
            NextFrame::Nothing => true,
            NextFrame::LastByte { .. } | NextFrame::End { .. } | NextFrame::Fail { .. } => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.next {
            NextFrame::Nothing => SizeHint::with_exact(0),
            NextFrame::LastByte { .. } => SizeHint::with_exact(1),
            NextFrame::Ask | NextFrame::End { .. } | NextFrame::Fail { .. } => {
                self.body.size_hint()
            }
        }
    }
}
