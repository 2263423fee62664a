//! A client's socket, watched.
//!
//! Time-outs by request would cost a timer for each; instead the socket keeps a few plain facts
//! that one slow timer per connection looks at.
//!
//! It also knows when everything has been written. A server drops what it has buffered for a
//! response whose body fails, so the body's error is kept back until then: see
//! [`Activity::poll_written`].

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{Buf as _, Bytes};
use http::Version;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::frames::Frames;
use super::streams::{BodyPiece, SMALL_BODY_BYTES, StreamState, Streams};

/// What is known of a connection without asking it.
#[derive(Debug, Default)]
pub(super) struct Activity {
    /// Requests that are being served.
    requests: AtomicU32,
    /// Goes up whenever a request begins or ends.
    turns: AtomicU64,
    /// A head is on its way: bytes have come since the last request began or ended, or, on
    /// HTTP/2, frames of one.
    unread_head: AtomicBool,
    /// Bytes are waiting for the client to take them.
    blocked: AtomicBool,
    /// Bytes that the client has taken.
    written: AtomicU64,
    /// On HTTP/2, where requests share the connection.
    streams: Option<Arc<Streams>>,
    /// How often the connection has been polled.
    polls: AtomicU64,
    /// Whether anybody waits for everything to be written.
    awaited: AtomicBool,
    waiting: Mutex<Waiters>,
    /// Only a reset can tell a cut from an end: HTTP/1.0 has no last chunk.
    reset: AtomicBool,
}

#[derive(Debug, Default)]
struct Waiters {
    /// The last poll, by number, after which nothing was left to be written.
    written: u64,
    connection: Option<Waker>,
    bodies: Vec<Waker>,
}

/// How a connection carries its requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Requests {
    /// One after the other: HTTP/1.
    InTurn,
    /// Many together: HTTP/2.
    AtOnce,
}

/// One look at an [`Activity`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Snapshot {
    pub(super) busy: bool,
    pub(super) turns: u64,
    pub(super) requests: Requests,
    pub(super) head_begun: bool,
    /// Another number is another head.
    pub(super) heads: u64,
    pub(super) blocked: bool,
    pub(super) written: u64,
}

impl Activity {
    /// Makes that of a connection that carries many requests at once, or one after the other.
    pub(super) fn new(multiplexed: bool) -> Self {
        Self { streams: multiplexed.then(Streams::new), ..Self::default() }
    }

    pub(super) fn look(&self) -> Snapshot {
        let turns = self.turns.load(Ordering::Relaxed);
        Snapshot {
            busy: self.requests.load(Ordering::Relaxed) > 0,
            turns,
            requests: if self.streams.is_some() { Requests::AtOnce } else { Requests::InTurn },
            head_begun: self.unread_head.load(Ordering::Relaxed),
            heads: self.streams.as_ref().map_or(turns, |streams| streams.heads()),
            blocked: self.blocked.load(Ordering::Relaxed),
            written: self.written.load(Ordering::Relaxed),
        }
    }

    /// Gives the open streams, on HTTP/2.
    pub(super) fn streams(&self) -> Option<&Arc<Streams>> {
        self.streams.as_ref()
    }

    /// Begins a request; it ends when the guard is dropped.
    pub(super) fn begin(self: &Arc<Self>, version: Version) -> InRequest {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.turn();
        InRequest {
            activity: Arc::clone(self),
            knows_chunks: version > Version::HTTP_10,
            stream: self.streams.as_ref().map(Streams::begin),
        }
    }

    /// Notes that the connection is served by this task from now on.
    pub(super) fn served_by(&self, task: &Waker) {
        self.waiting().connection = Some(task.clone());
    }

    /// Notes that the connection is about to be polled.
    pub(super) fn poll_begins(&self) {
        self.polls.fetch_add(1, Ordering::AcqRel);
    }

    /// Notes that the connection has been polled and waits. Unless the socket is full, it has then
    /// written all it had.
    pub(super) fn poll_ends(&self) {
        if !self.awaited.load(Ordering::SeqCst) || self.blocked.load(Ordering::Relaxed) {
            return;
        }
        let bodies = {
            let mut waiting = self.waiting();
            waiting.written = self.polls.load(Ordering::Relaxed);
            std::mem::take(&mut waiting.bodies)
        };
        bodies.into_iter().for_each(Waker::wake);
    }

    /// Resolves when everything that was handed over before the first call has been written to the
    /// socket. `since` is what that call remembers, `None` at first.
    ///
    /// That takes a whole poll of the connection that began after it. What an HTTP/2 client has
    /// opened no window for is not waited for. How long a full socket is waited for is up to the
    /// connection's write time-out.
    fn poll_written(&self, since: &mut Option<u64>, cx: &mut Context<'_>) -> Poll<()> {
        self.awaited.store(true, Ordering::SeqCst);
        let mut waiting = self.waiting();
        let since = *since.get_or_insert_with(|| {
            if let Some(connection) = &waiting.connection {
                connection.wake_by_ref();
            }
            // A read-modify-write, so that a later poll also sees what came before this one.
            self.polls.fetch_add(0, Ordering::AcqRel)
        });
        if waiting.written > since {
            return Poll::Ready(());
        }
        let waker = cx.waker();
        if !waiting.bodies.iter().any(|known| known.will_wake(waker)) {
            waiting.bodies.push(waker.clone());
        }
        Poll::Pending
    }

    fn waiting(&self) -> MutexGuard<'_, Waiters> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn turn(&self) {
        self.turns.fetch_add(1, Ordering::Relaxed);
        if self.streams.is_none() {
            self.unread_head.store(false, Ordering::Relaxed);
        }
    }
}

/// A request that is being served, its response's body included.
#[derive(Debug)]
pub(super) struct InRequest {
    activity: Arc<Activity>,
    knows_chunks: bool,
    /// On HTTP/2.
    stream: Option<Arc<StreamState>>,
}

impl InRequest {
    /// Notes that its response begins. A body that ends with the connection, because the client
    /// knows no chunks, has not ended if the connection does before [`ended`](Self::ended): then it
    /// is reset. What the system has not yet sent is lost with it, but a cut that looks like an end
    /// would be worse.
    pub(super) fn answers(&self, has_length: bool) {
        self.activity.reset.store(!self.knows_chunks && !has_length, Ordering::Relaxed);
    }

    /// Notes that its response's body came to its end.
    pub(super) fn ended(&self) {
        self.activity.reset.store(false, Ordering::Relaxed);
    }

    /// Tells whether its body's end may come before what was given away is taken: see
    /// [`StreamState::may_end`]. `given` is what was given since the body last had nothing to give,
    /// so that it may not have been written.
    pub(super) fn may_end(&self, given: usize) -> bool {
        match &self.stream {
            Some(stream) => stream.may_end(),
            None => given <= SMALL_BODY_BYTES && !self.activity.blocked.load(Ordering::Relaxed),
        }
    }

    /// Resolves when what was given away is taken, as far as that is known: on HTTP/1 by the
    /// system. `since` is as for [`poll_written`](Self::poll_written).
    pub(super) fn poll_taken(&self, since: &mut Option<u64>, cx: &mut Context<'_>) -> Poll<()> {
        match &self.stream {
            Some(stream) => stream.poll_taken(cx),
            None => self.poll_written(since, cx),
        }
    }

    /// Does what [`Activity::poll_written`] does.
    pub(super) fn poll_written(&self, since: &mut Option<u64>, cx: &mut Context<'_>) -> Poll<()> {
        self.activity.poll_written(since, cx)
    }

    /// Gives a piece of its response's body, which is given away now.
    pub(super) fn piece(&self, bytes: Bytes) -> BodyPiece {
        match &self.stream {
            Some(stream) => stream.piece(bytes),
            None => BodyPiece::unwatched(bytes),
        }
    }
}

impl Drop for InRequest {
    fn drop(&mut self) {
        if let Some(stream) = &self.stream {
            stream.end();
        }
        self.activity.requests.fetch_sub(1, Ordering::Relaxed);
        self.activity.turn();
    }
}

/// The socket, where what goes out and what is left is known: below TLS, which has a buffer of its own.
#[derive(Debug)]
pub(super) struct Socket {
    stream: TcpStream,
    /// None before anything is known of the connection.
    activity: Option<Arc<Activity>>,
}

impl Socket {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, activity: None }
    }

    fn wrote(&self, poll: &Poll<io::Result<usize>>) {
        let Some(activity) = &self.activity else { return };
        activity.blocked.store(poll.is_pending(), Ordering::Relaxed);
        if let Poll::Ready(Ok(written)) = poll {
            activity.written.fetch_add(*written as u64, Ordering::Relaxed);
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.wrote(&poll);
        poll
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.wrote(&poll);
        poll
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let activity = self.activity.as_ref();
        if activity.is_some_and(|activity| activity.reset.load(Ordering::Relaxed)) {
            // A socket that can't be told is as good as reset.
            let _ = self.stream.set_zero_linger();
        }
    }
}

/// A client's bytes, encrypted on the way or not.
#[derive(Debug)]
pub(super) enum ClientStream {
    Plain(Socket),
    #[cfg(feature = "tls")]
    Tls(Box<tokio_rustls::server::TlsStream<Socket>>),
}

impl ClientStream {
    fn socket(&mut self) -> &mut Socket {
        match self {
            Self::Plain(socket) => socket,
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.get_mut().0,
        }
    }
}

/// Does the same with either.
macro_rules! each {
    ($stream:expr, $inner:ident => $call:expr) => {
        match $stream {
            ClientStream::Plain($inner) => $call,
            #[cfg(feature = "tls")]
            ClientStream::Tls($inner) => $call,
        }
    };
}

impl AsyncRead for ClientStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        each!(self.get_mut(), inner => Pin::new(inner).poll_read(cx, buf))
    }
}

/// The bytes of HTTP.
#[derive(Debug)]
pub(super) struct Watched {
    stream: ClientStream,
    /// Was read from it before.
    first: Bytes,
    /// On HTTP/2.
    frames: Option<Box<Frames>>,
    activity: Arc<Activity>,
}

impl Watched {
    /// Makes one of a connection's bytes; `first` is what was read from `stream` already; on HTTP/2
    /// the preface, and no more.
    pub(super) fn new(mut stream: ClientStream, first: Bytes, activity: Arc<Activity>) -> Self {
        let frames = activity.streams().map(|_| Box::default());
        stream.socket().activity = Some(Arc::clone(&activity));
        Self { stream, first, frames, activity }
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let first = self.first.len().min(buf.remaining());
        if first > 0 {
            buf.put_slice(self.first.get(..first).unwrap_or_default());
            self.first.advance(first);
        }
        // The rest of the head has most likely come with it.
        let mut poll = Pin::new(&mut self.stream).poll_read(cx, buf);
        if first > 0 {
            // An end or an error is there at the next call, too.
            poll = Poll::Ready(Ok(()));
        }
        let read = buf.filled().get(before + first..).unwrap_or_default();
        let watched = &mut *self;
        match (&mut watched.frames, watched.activity.streams()) {
            (Some(frames), Some(streams)) => {
                let seen = frames.read(read);
                streams.saw(&seen);
                watched.activity.unread_head.store(seen.in_head, Ordering::Relaxed);
            }
            _ if first + read.len() > 0 => {
                watched.activity.unread_head.store(true, Ordering::Relaxed);
            }
            _ => {}
        }
        poll
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        each!(&mut self.get_mut().stream, inner => Pin::new(inner).poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(&mut self.get_mut().stream, inner => Pin::new(inner).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(&mut self.get_mut().stream, inner => Pin::new(inner).poll_shutdown(cx))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(&mut self.get_mut().stream, inner => Pin::new(inner).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        each!(&self.stream, inner => inner.is_write_vectored())
    }
}

/// The bytes with which an HTTP/2 client begins (RFC 9113 section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Waits for a client's first bytes, for [`speaks_http2`].
///
/// # Errors
/// If the client leaves before there is one.
pub(super) async fn first_bytes(stream: &mut ClientStream) -> io::Result<Vec<u8>> {
    let mut said = Vec::with_capacity(PREFACE.len());
    read_more(stream, &mut said).await?;
    Ok(said)
}

/// Reads as many bytes as it takes to tell whether the client speaks HTTP/2, beside those that it
/// `said` first. They are to be given to [`Watched::new`].
///
/// # Errors
/// If the client leaves before that can be told.
pub(super) async fn speaks_http2(
    stream: &mut ClientStream,
    mut said: Vec<u8>,
) -> io::Result<(bool, Bytes)> {
    while PREFACE.starts_with(&said) {
        if said.len() == PREFACE.len() {
            return Ok((true, said.into()));
        }
        read_more(stream, &mut said).await?;
    }
    Ok((false, said.into()))
}

/// Reads no more than the preface has.
async fn read_more(stream: &mut ClientStream, said: &mut Vec<u8>) -> io::Result<()> {
    let missing = PREFACE.len() - said.len();
    if stream.take(missing as u64).read_buf(said).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}

/// Bytes that wait in the system for a client that takes no more at present.
///
/// Without a bound they are up to several megabytes, and nothing more is written before a third of
/// them is taken: a client that reads 20 kB a second all the time looks like one that doesn't read.
/// What is on its way to the client doesn't count, so the bound costs no throughput, but a
/// wake-up for every half of it at worst.
#[cfg(target_os = "linux")]
const MAX_UNSENT_BYTES: u32 = 64 * 1024;

/// How many connections may wait to be accepted, where the system doesn't allow fewer.
const BACKLOG: u32 = 65_535;

/// Takes an address, at which nobody can connect until it is [listened](listen) at. Fails where another
/// program listens.
pub(super) fn reserve(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // Connections of a gateway that has just ended don't keep another from its address. On Windows it
    // would take the address of one that runs.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// Listens, for connections of which little waits in the system.
pub(super) fn listen(socket: TcpSocket) -> io::Result<TcpListener> {
    let listener = socket.listen(BACKLOG)?;
    // Each connection has it from the listener. A system without it is as good as before.
    #[cfg(target_os = "linux")]
    let _ = socket2::SockRef::from(&listener).set_tcp_notsent_lowat(MAX_UNSENT_BYTES);
    Ok(listener)
}

/// Takes connections, at a slower pace while the system has no room for more.
pub(super) async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            // The client left before it was accepted.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
                ) => {}
            Err(error) => {
                tracing::error!(%error, "could not accept a connection; trying again");
                tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            }
        }
    }
}
