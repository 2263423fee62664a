//! One client's connection, from its first byte to its end.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tower::Service;

use super::counted::Counted;
use super::io::{
    Activity, ClientStream, Requests, Snapshot, Socket, Watched, first_bytes, speaks_http2,
};
use super::streams::{LEAST_TAKEN, StreamTasks, WriteClock};
#[cfg(feature = "tls")]
use super::tls::{self, Agreed};
use crate::error::{BoxError, chain};
use crate::news::Rarely;
use crate::shown::shown;

/// What a client may take its time with.
#[derive(Clone, Copy, Debug)]
pub(super) struct ConnectionTimeouts {
    /// From a head's first byte to its last.
    pub(super) header_timeout: Duration,
    /// Between two requests.
    pub(super) idle_timeout: Duration,
    /// For a client to take [`LEAST_TAKEN`] bytes of what waits for it, or all of it.
    pub(super) write_timeout: Duration,
    /// The largest head, in bytes.
    pub(super) max_header_bytes: usize,
}

/// Tells how often a connection is looked at: the time-outs are kept to a quarter of the shortest.
fn tick(timeouts: &ConnectionTimeouts) -> Duration {
    let shortest = timeouts.header_timeout.min(timeouts.idle_timeout).min(timeouts.write_timeout);
    (shortest / 4).clamp(Duration::from_millis(10), Duration::from_secs(5))
}

/// What every connection with TLS begins with: a record of the handshake, whose version begins with 3.
const TLS_HANDSHAKE: &[u8] = &[0x16, 0x03];

/// Anybody can connect as often as they like: health checks, and browsers that try https first, do.
static TLS_SPOKEN: Rarely = Rarely::new();

const MAX_HEADERS: usize = 100;
const MAX_H2_STREAMS: u32 = 250;
const H2_STREAM_WINDOW_BYTES: u32 = 65_535;
const H2_MAX_SEND_BUFFER_BYTES: usize = 65_536;
const H2_KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(30);
/// For a PING that nothing is in front of. What waits in front of one has the write time-out too,
/// and is looked after by that alone.
const H2_KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// Serves a connection to its end, in TLS or not. `draining` turning true asks it to end after what it
/// does.
pub(super) async fn serve<S, R>(
    stream: TcpStream,
    tls: Option<Secrecy>,
    service: S,
    timeouts: ConnectionTimeouts,
    draining: watch::Receiver<bool>,
) where
    S: Service<Request<Incoming>, Response = Response<R>, Error: Into<BoxError>, Future: Send>
        + Clone
        + Send
        + 'static,
    R: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let is_plain = tls.is_none();
    // Each event is to leave at once.
    let _ = stream.set_nodelay(true);
    let Greeting { stream, http2, first } = {
        let mut draining = draining.clone();
        let greeted = pin!(greeting(stream, tls, timeouts));
        let drained = pin!(draining.wait_for(|draining| *draining));
        match either(greeted, drained).await {
            Some(Some(greeting)) => greeting,
            Some(None) | None => return,
        }
    };
    if is_plain && first.starts_with(TLS_HANDSHAKE) && TLS_SPOKEN.is_due() {
        tracing::info!(
            "a client speaks TLS where plain HTTP is spoken: its URL begins with http://, or \
             server.tls.certificate is to be set, or TLS to end at a proxy in front"
        );
    }
    let activity = Arc::new(Activity::new(http2));
    let io = TokioIo::new(Watched::new(stream, first, Arc::clone(&activity)));
    let counted = Counted::new(service, Arc::clone(&activity));
    let served = if let Some(streams) = activity.streams() {
        let connection = http2::Builder::new(StreamTasks(Arc::clone(streams)))
            .timer(TokioTimer::new())
            .keep_alive_interval(H2_KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(timeouts.write_timeout + H2_KEEP_ALIVE_TIMEOUT)
            .max_concurrent_streams(MAX_H2_STREAMS)
            .initial_stream_window_size(H2_STREAM_WINDOW_BYTES)
            .max_send_buf_size(H2_MAX_SEND_BUFFER_BYTES)
            .max_header_list_size(u32::try_from(timeouts.max_header_bytes).unwrap_or(u32::MAX))
            .serve_connection(io, counted);
        watch_over(Box::pin(connection), &activity, timeouts, draining).await
    } else {
        let connection = http1::Builder::new()
            .max_headers(MAX_HEADERS)
            .max_header_size(timeouts.max_header_bytes)
            .serve_connection(io, counted);
        watch_over(Box::pin(connection), &activity, timeouts, draining).await
    };
    match served {
        Ok(()) => {}
        // A client that leaves, or a stream that was cut for it: the request's line says so.
        Err(error) => tracing::debug!(error = &*shown(&chain(&*error)), "connection ended"),
    }
}

/// How TLS is spoken on a connection.
#[cfg(feature = "tls")]
pub(super) type Secrecy = Arc<tokio_rustls::rustls::ServerConfig>;
#[cfg(not(feature = "tls"))]
pub(super) type Secrecy = std::convert::Infallible;

/// What a connection began with.
struct Greeting {
    stream: ClientStream,
    http2: bool,
    /// What was read to tell.
    first: Bytes,
}

/// Waits until it is known which protocol the client speaks; `None` if it speaks none in time.
async fn greeting(
    stream: TcpStream,
    tls: Option<Secrecy>,
    timeouts: ConnectionTimeouts,
) -> Option<Greeting> {
    #[cfg(feature = "tls")]
    let (mut stream, agreed) = match tls {
        None => (ClientStream::Plain(Socket::new(stream)), Agreed::Nothing),
        // Boxed, for it is large, and the connections without have the place of it.
        Some(config) => Box::pin(tls::accept(stream, config, timeouts.header_timeout)).await?,
    };
    #[cfg(not(feature = "tls"))]
    let mut stream = match tls {
        None => ClientStream::Plain(Socket::new(stream)),
        Some(none) => match none {},
    };
    let first = timeout(timeouts.idle_timeout, first_bytes(&mut stream)).await.ok()?.ok()?;
    let told = timeout(timeouts.header_timeout, speaks_http2(&mut stream, first));
    let (http2, first) = told.await.ok()?.ok()?;
    #[cfg(feature = "tls")]
    let http2 = match agreed {
        Agreed::Nothing => http2,
        // What isn't what was agreed on is no request.
        Agreed::Http1 => false,
        Agreed::Http2 if http2 => true,
        Agreed::Http2 => return None,
    };
    Some(Greeting { stream, http2, first })
}

/// Gives the first of two to be ready: `Some` of the first, or `None` for the second.
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
    timeouts: ConnectionTimeouts,
    mut draining: watch::Receiver<bool>,
) -> Result<(), BoxError>
where
    C: GracefulConnection<Error: Into<BoxError>>,
{
    let changed = draining.clone();
    let mut drained = pin!(draining.wait_for(|draining| *draining));
    let mut waiting = false;
    let mut asked = false;
    let tick = tick(&timeouts);
    let mut timer = pin!(sleep_until(Instant::now() + tick));
    let mut clocks = Clocks::new(activity.look(), Instant::now());
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
            let stuck = activity.streams().and_then(|streams| {
                let any = streams.cut_slow(now, timeouts.write_timeout);
                any.then(|| WindowProgress { window: streams.window(), sent: streams.sent() })
            });
            let look = activity.look();
            let for_how_long = clocks.look(look, stuck, now);
            match verdict(&look, &for_how_long, &timeouts) {
                ConnectionFate::GoOn => {}
                ConnectionFate::Close => {
                    return Poll::Ready(Err("the client took too long".into()));
                }
                ConnectionFate::Finish if asked => {}
                ConnectionFate::Finish => {
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
enum ConnectionFate {
    Close,
    Finish,
    GoOn,
}

/// For how long things have been as they are.
#[derive(Clone, Copy, Debug, Default)]
struct Times {
    /// No request has begun or ended.
    unchanged: Duration,
    /// The same head has been on its way.
    head: Duration,
    /// The client has taken too little, of the socket or of the connection's window.
    slow: Duration,
}

/// What is known of a connection on which some body waits for a window.
#[derive(Clone, Copy, Debug)]
struct WindowProgress {
    /// Bytes that the connection may carry.
    window: u64,
    /// Bytes of bodies that it has carried.
    sent: u64,
}

/// What is remembered from one look at a connection to the next.
struct Clocks {
    last: Snapshot,
    unchanged_since: Instant,
    head_since: Instant,
    socket: WriteClock,
    window: WriteClock,
}

impl Clocks {
    fn new(look: Snapshot, now: Instant) -> Self {
        let (socket, window) = Default::default();
        Self { last: look, unchanged_since: now, head_since: now, socket, window }
    }

    fn look(&mut self, look: Snapshot, waiting: Option<WindowProgress>, now: Instant) -> Times {
        let last = std::mem::replace(&mut self.last, look);
        // On HTTP/2 a head that begins need not become a request.
        let in_turn = look.requests == Requests::InTurn;
        if look.turns != last.turns || (in_turn && look.head_begun != last.head_begun) {
            self.unchanged_since = now;
        }
        if !look.head_begun || !last.head_begun || look.heads != last.heads {
            self.head_since = now;
        }
        // While there is room on the connection it is the stream's window that is waited for.
        let shut = waiting.filter(|waiting| waiting.window < LEAST_TAKEN);
        let sent = shut.map_or(0, |waiting| waiting.sent);
        let socket = self.socket.slow_for(look.blocked, false, look.written, now);
        let window = self.window.slow_for(shut.is_some(), false, sent, now);
        Times {
            unchanged: now - self.unchanged_since,
            head: now - self.head_since,
            slow: socket.max(window),
        }
    }
}

fn verdict(look: &Snapshot, times: &Times, timeouts: &ConnectionTimeouts) -> ConnectionFate {
    if times.slow >= timeouts.write_timeout {
        return ConnectionFate::Close;
    }
    // On HTTP/1 what comes during a request is for later, and while the socket is full nothing is
    // read on HTTP/2.
    let due = match look.requests {
        Requests::InTurn => !look.busy,
        Requests::AtOnce => !look.blocked,
    };
    if due && look.head_begun && times.head >= timeouts.header_timeout {
        return ConnectionFate::Close;
    }
    if look.busy {
        return ConnectionFate::GoOn;
    }
    if times.unchanged >= timeouts.idle_timeout + timeouts.header_timeout.min(timeouts.idle_timeout)
    {
        // Asked to finish, it didn't.
        return ConnectionFate::Close;
    }
    if times.unchanged >= timeouts.idle_timeout {
        ConnectionFate::Finish
    } else {
        ConnectionFate::GoOn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUTS: ConnectionTimeouts = ConnectionTimeouts {
        header_timeout: Duration::from_secs(10),
        idle_timeout: Duration::from_secs(75),
        write_timeout: Duration::from_secs(60),
        max_header_bytes: 65_536,
    };

    #[test]
    fn who_is_silent_for_too_long_is_sent_away() {
        let idle = Activity::new(false).look();
        let head = Snapshot { head_begun: true, ..idle };
        let multiplexed = Snapshot { requests: Requests::AtOnce, ..head };
        let busy = Snapshot { busy: true, ..idle };
        let secs = Duration::from_secs;
        for (look, unchanged, head, slow, expected) in [
            (idle, 74, 0, 0, ConnectionFate::GoOn),
            (idle, 75, 0, 0, ConnectionFate::Finish),
            (idle, 84, 0, 0, ConnectionFate::Finish),
            (idle, 85, 0, 0, ConnectionFate::Close),
            (head, 9, 9, 0, ConnectionFate::GoOn),
            (head, 10, 10, 0, ConnectionFate::Close),
            // A stream may be silent for as long as its model thinks.
            (Snapshot { busy: true, ..head }, 10_000, 10_000, 0, ConnectionFate::GoOn),
            // But a head that has begun beside it is waited for by everything that comes after.
            (multiplexed, 9, 9, 0, ConnectionFate::GoOn),
            (Snapshot { busy: true, ..multiplexed }, 0, 10, 0, ConnectionFate::Close),
            (
                Snapshot { busy: true, blocked: true, ..multiplexed },
                0,
                10,
                10,
                ConnectionFate::GoOn,
            ),
            (busy, 0, 0, 59, ConnectionFate::GoOn),
            (busy, 0, 0, 60, ConnectionFate::Close),
            (idle, 0, 0, 60, ConnectionFate::Close),
        ] {
            let times = Times { unchanged: secs(unchanged), head: secs(head), slow: secs(slow) };
            assert_eq!(verdict(&look, &times, &TIMEOUTS), expected, "{look:?} {times:?}");
        }
        // Who is asked to finish has no longer for it than for a request to come.
        let short = ConnectionTimeouts { idle_timeout: secs(1), ..TIMEOUTS };
        let times = Times { unchanged: secs(2), ..Times::default() };
        assert_eq!(verdict(&idle, &times, &short), ConnectionFate::Close);
    }

    #[test]
    fn each_clock_runs_while_its_own_thing_lasts() {
        let mut now = Instant::now();
        let second = Duration::from_secs(1);
        let first = Activity::new(true).look();
        let mut clocks = Clocks::new(first, now);
        let mut look = |look, waiting| {
            now += second;
            clocks.look(look, waiting, now)
        };
        // Heads that begin and end are no requests.
        let head = Snapshot { head_begun: true, heads: 1, ..first };
        assert_eq!(look(head, None).head, Duration::ZERO);
        let times = look(head, None);
        assert_eq!((times.head, times.unchanged), (second, 2 * second));
        let times = look(Snapshot { heads: 2, ..head }, None);
        assert_eq!((times.head, times.unchanged), (Duration::ZERO, 3 * second));
        assert_eq!(look(Snapshot { turns: 1, ..first }, None).unchanged, Duration::ZERO);

        // Bytewise reading of a full socket.
        let blocked = |written| Snapshot { blocked: true, written, ..first };
        assert_eq!(look(blocked(10_000), None).slow, Duration::ZERO);
        assert_eq!(look(blocked(10_001), None).slow, second);
        assert_eq!(look(blocked(11_023), None).slow, 2 * second);
        assert_eq!(look(blocked(11_024), None).slow, Duration::ZERO);

        // Bytewise opening of the connection's window; a stream's own is not its fault.
        let waiting = |window, sent| Some(WindowProgress { window, sent });
        assert_eq!(look(first, waiting(1023, 65_535)).slow, Duration::ZERO);
        assert_eq!(look(first, waiting(1023, 65_536)).slow, second);
        assert_eq!(look(first, waiting(1024, 65_536)).slow, Duration::ZERO);
        assert_eq!(look(first, waiting(1023, 65_536)).slow, Duration::ZERO);
        assert_eq!(look(first, None).slow, Duration::ZERO);
    }
}
