//! One client's connection, from its first byte to its end.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use pin_project_lite::pin_project;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tower::Service;

use super::io::{Activity, InRequest, Look, Watched, speaks_http2};
use crate::error::BoxError;

/// What a client may take its time with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// From a head's first byte to its last.
    pub(super) header_timeout: Duration,
    /// Between two requests.
    pub(super) idle_timeout: Duration,
    /// For anything that was sent to be taken.
    pub(super) write_timeout: Duration,
    /// The largest head, in bytes.
    pub(super) max_header_bytes: usize,
}

/// How often a connection is looked at: the time-outs are kept to a quarter of the shortest.
fn tick(patience: &Patience) -> Duration {
    let shortest = patience.header_timeout.min(patience.idle_timeout).min(patience.write_timeout);
    (shortest / 4).clamp(Duration::from_millis(10), Duration::from_secs(5))
}

const MAX_HEADERS: usize = 100;
const MAX_H2_STREAMS: u32 = 250;
const H2_STREAM_WINDOW_BYTES: u32 = 65_535;
const H2_MAX_SEND_BUFFER_BYTES: usize = 65_536;
const H2_KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(30);
const H2_KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// Serves a connection to its end. `draining` turning true asks it to end after what it does.
pub(super) async fn serve<S, R>(
    mut stream: TcpStream,
    service: S,
    patience: Patience,
    draining: watch::Receiver<bool>,
) where
    S: Service<Request<Incoming>, Response = Response<R>, Error: Into<BoxError>, Future: Send>
        + Clone
        + Send
        + 'static,
    R: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    // Each event is to leave at once.
    let _ = stream.set_nodelay(true);
    let (http2, first) = {
        let mut draining = draining.clone();
        let first = pin!(async {
            timeout(patience.idle_timeout, stream.readable()).await??;
            timeout(patience.header_timeout, speaks_http2(&mut stream)).await?
        });
        let drained = pin!(draining.wait_for(|draining| *draining));
        match either(first, drained).await {
            Some(Ok(first)) => first,
            Some(Err(_)) | None => return,
        }
    };
    let activity = Arc::new(Activity::new(http2));
    let io = TokioIo::new(Watched::new(stream, first, Arc::clone(&activity)));
    let counted = Counted { service, activity: Arc::clone(&activity) };
    let served = if http2 {
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(H2_KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(H2_KEEP_ALIVE_TIMEOUT)
            .max_concurrent_streams(MAX_H2_STREAMS)
            .initial_stream_window_size(H2_STREAM_WINDOW_BYTES)
            .max_send_buf_size(H2_MAX_SEND_BUFFER_BYTES)
            .max_header_list_size(u32::try_from(patience.max_header_bytes).unwrap_or(u32::MAX))
            .serve_connection(io, counted);
        watch_over(Box::pin(connection), &activity, patience, draining).await
    } else {
        let connection = http1::Builder::new()
            .max_headers(MAX_HEADERS)
            .max_header_size(patience.max_header_bytes)
            .serve_connection(io, counted);
        watch_over(Box::pin(connection), &activity, patience, draining).await
    };
    match served {
        Ok(()) => {}
        // A client that leaves, or a stream that was cut for it: the request's line says so.
        Err(error) => tracing::debug!(error = %crate::error::chain(&*error), "connection ended"),
    }
}

/// The first of two to be ready: `Some` of the first, or `None` for the second.
async fn either<A: Future, B: Future>(
    mut first: Pin<&mut A>,
    mut second: Pin<&mut B>,
) -> Option<A::Output> {
    poll_fn(|cx| match first.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => second.as_mut().poll(cx).map(|_| None),
    })
    .await
}

/// Drives a connection, ends it when it has been silent for too long, and asks it to end when
/// the gateway drains.
///
/// The connection is boxed because it is large: as an argument and a pinned local of this
/// future, it would be there several times over, for as long as a stream is open.
async fn watch_over<C>(
    mut connection: Pin<Box<C>>,
    activity: &Activity,
    patience: Patience,
    mut draining: watch::Receiver<bool>,
) -> Result<(), BoxError>
where
    C: GracefulConnection<Error: Into<BoxError>>,
{
    let changed = draining.clone();
    let mut drained = pin!(draining.wait_for(|draining| *draining));
    let mut waiting = false;
    let mut asked = false;
    let tick = tick(&patience);
    let mut timer = pin!(sleep_until(Instant::now() + tick));
    let mut last = activity.look();
    let mut since = Instant::now();
    let mut written_since = Instant::now();
    let mut task: Option<Waker> = None;
    poll_fn(|cx| {
        if !task.as_ref().is_some_and(|task| task.will_wake(cx.waker())) {
            task = Some(cx.waker().clone());
            activity.served_by(cx.waker());
        }
        activity.poll_begins();
        if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
            return Poll::Ready(ended.map_err(Into::into));
        }
        activity.poll_ends();
        // Once it waits it need not be asked for every event of a stream: the task is the same.
        let ask = !asked && (!waiting || changed.has_changed().unwrap_or(true));
        waiting = true;
        if ask && drained.as_mut().poll(cx).is_ready() {
            asked = true;
            connection.as_mut().graceful_shutdown();
            cx.waker().wake_by_ref();
        }
        while timer.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            timer.as_mut().reset(now + tick);
            let look = activity.look();
            if (look.turns, look.head_begun) != (last.turns, last.head_begun) {
                since = now;
            }
            if look.writes != last.writes || !look.blocked {
                written_since = now;
            }
            last = look;
            match verdict(&look, now - since, now - written_since, &patience) {
                Verdict::GoOn => {}
                Verdict::Close => {
                    return Poll::Ready(Err("the client took too long".into()));
                }
                Verdict::Finish if asked => {}
                Verdict::Finish => {
                    asked = true;
                    connection.as_mut().graceful_shutdown();
                    cx.waker().wake_by_ref();
                }
            }
        }
        Poll::Pending
    })
    .await
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Close,
    Finish,
    GoOn,
}

fn verdict(look: &Look, unchanged: Duration, unwritten: Duration, patience: &Patience) -> Verdict {
    if look.blocked && unwritten >= patience.write_timeout {
        return Verdict::Close;
    }
    if look.busy {
        return Verdict::GoOn;
    }
    if look.head_begun && unchanged >= patience.header_timeout {
        return Verdict::Close;
    }
    if unchanged >= patience.idle_timeout + patience.header_timeout {
        // Asked to finish, it didn't.
        return Verdict::Close;
    }
    if unchanged >= patience.idle_timeout { Verdict::Finish } else { Verdict::GoOn }
}

/// The service, telling the connection what it is doing.
#[derive(Clone)]
struct Counted<S> {
    service: S,
    activity: Arc<Activity>,
}

impl<S, R> hyper::service::Service<Request<Incoming>> for Counted<S>
where
    S: Service<Request<Incoming>, Response = Response<R>> + Clone,
    R: Body<Error: Into<BoxError>>,
{
    type Response = Response<CountedBody<R>>;
    type Error = S::Error;
    /// Boxed, so that what a request needed until its head is given back while its stream is open:
    /// hyper keeps the place of an unboxed one, 1 KiB, for as long as the connection lives.
    type Future = Pin<Box<CountedFuture<S>>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let counted = self.activity.begin(request.version());
        Box::pin(CountedFuture::Waiting {
            service: self.service.clone(),
            request: Some((request, counted)),
        })
    }
}

pin_project! {
    /// Waits for the service to be ready, and then for its response.
    #[project = CountedFutureProjection]
    enum CountedFuture<S: Service<Request<Incoming>>> {
        Waiting { service: S, request: Option<(Request<Incoming>, InRequest)> },
        Calling { #[pin] future: S::Future, guard: Option<InRequest> },
    }
}

impl<S, R> Future for CountedFuture<S>
where
    S: Service<Request<Incoming>, Response = Response<R>>,
    R: Body<Error: Into<BoxError>>,
{
    type Output = Result<Response<CountedBody<R>>, S::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            match self.as_mut().project() {
                CountedFutureProjection::Waiting { service, request } => {
                    std::task::ready!(service.poll_ready(cx))?;
                    let Some((request, guard)) = request.take() else { return Poll::Pending };
                    let future = service.call(request);
                    self.set(CountedFuture::Calling { future, guard: Some(guard) });
                }
                CountedFutureProjection::Calling { future, guard } => {
                    let response = std::task::ready!(future.poll(cx))?;
                    let guard = guard.take();
                    if let Some(guard) = &guard {
                        guard.answers(response.body().size_hint().exact().is_some());
                    }
                    let body = |body| CountedBody { body, guard, failed: None, since: None };
                    return Poll::Ready(Ok(response.map(body)));
                }
            }
        }
    }
}

pin_project! {
    /// A body that counts as a request in progress. It passes its frames on untouched, and an
    /// error when everything that came before it has been written.
    struct CountedBody<R> {
        #[pin]
        body: R,
        guard: Option<InRequest>,
        failed: Option<BoxError>,
        since: Option<u64>,
    }
}

impl<R: Body<Error: Into<BoxError>>> Body for CountedBody<R> {
    type Data = R::Data;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<R::Data>, BoxError>>> {
        let mut this = self.project();
        if this.failed.is_none() {
            match ready!(this.body.as_mut().poll_frame(cx)) {
                Some(Ok(frame)) => {
                    if let (Some(guard), true) = (&this.guard, this.body.is_end_stream()) {
                        guard.ended();
                    }
                    return Poll::Ready(Some(Ok(frame)));
                }
                Some(Err(error)) => *this.failed = Some(error.into()),
                None => {
                    if let Some(guard) = &this.guard {
                        guard.ended();
                    }
                    return Poll::Ready(None);
                }
            }
        }
        if let Some(guard) = &this.guard {
            ready!(guard.poll_written(this.since, cx));
        }
        Poll::Ready(this.failed.take().map(Err))
    }

    fn is_end_stream(&self) -> bool {
        self.failed.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_silent_for_too_long_is_sent_away() {
        let patience = Patience {
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            write_timeout: Duration::from_secs(60),
            max_header_bytes: 65_536,
        };
        let idle = Look { busy: false, turns: 1, head_begun: false, blocked: false, writes: 0 };
        let secs = Duration::from_secs;
        for (look, unchanged, unwritten, expected) in [
            (idle, 74, 0, Verdict::GoOn),
            (idle, 75, 0, Verdict::Finish),
            (idle, 84, 0, Verdict::Finish),
            (idle, 85, 0, Verdict::Close),
            (Look { head_begun: true, ..idle }, 9, 0, Verdict::GoOn),
            (Look { head_begun: true, ..idle }, 10, 0, Verdict::Close),
            // A stream may be silent for as long as its model thinks.
            (Look { busy: true, head_begun: true, ..idle }, 10_000, 0, Verdict::GoOn),
            (Look { busy: true, blocked: true, ..idle }, 0, 59, Verdict::GoOn),
            (Look { busy: true, blocked: true, ..idle }, 0, 60, Verdict::Close),
        ] {
            assert_eq!(verdict(&look, secs(unchanged), secs(unwritten), &patience), expected);
        }
    }
}
