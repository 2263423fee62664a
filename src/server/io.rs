//! A client's socket, watched.
//!
//! Time-outs by request would cost a timer for each; instead the socket keeps three plain facts
//! that one slow timer per connection looks at.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// What is known of a connection without asking it.
#[derive(Debug, Default)]
pub(super) struct Activity {
    /// Requests that are being served.
    requests: AtomicU32,
    /// Goes up whenever a request begins or ends.
    turns: AtomicU64,
    /// Bytes have come since the last request began or ended: a head is on its way.
    unread_head: AtomicBool,
    /// Bytes are waiting for the client to take them.
    blocked: AtomicBool,
    /// Goes up with everything the client takes.
    writes: AtomicU64,
}

/// One look at an [`Activity`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    pub(super) busy: bool,
    pub(super) turns: u64,
    pub(super) head_begun: bool,
    pub(super) blocked: bool,
    pub(super) writes: u64,
}

impl Activity {
    pub(super) fn look(&self) -> Look {
        Look {
            busy: self.requests.load(Ordering::Relaxed) > 0,
            turns: self.turns.load(Ordering::Relaxed),
            head_begun: self.unread_head.load(Ordering::Relaxed),
            blocked: self.blocked.load(Ordering::Relaxed),
            writes: self.writes.load(Ordering::Relaxed),
        }
    }

    /// A request begins; it ends when the guard is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> InRequest {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.turn();
        InRequest(Arc::clone(self))
    }

    fn turn(&self) {
        self.turns.fetch_add(1, Ordering::Relaxed);
        self.unread_head.store(false, Ordering::Relaxed);
    }
}

/// A request that is being served, its response's body included.
#[derive(Debug)]
pub(super) struct InRequest(Arc<Activity>);

impl Drop for InRequest {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
        self.0.turn();
    }
}

/// The socket.
#[derive(Debug)]
pub(super) struct Watched {
    stream: TcpStream,
    activity: Arc<Activity>,
}

impl Watched {
    pub(super) fn new(stream: TcpStream, activity: Arc<Activity>) -> Self {
        Self { stream, activity }
    }

    fn wrote(&self, poll: &Poll<io::Result<usize>>) {
        self.activity.blocked.store(poll.is_pending(), Ordering::Relaxed);
        if poll.is_ready() {
            self.activity.writes.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let poll = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.activity.unread_head.store(true, Ordering::Relaxed);
        }
        poll
    }
}

impl AsyncWrite for Watched {
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

/// The bytes with which an HTTP/2 client begins (RFC 9113 section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Whether the client speaks HTTP/2, told by its first bytes, which stay unread.
///
/// # Errors
/// If the client leaves before it says anything.
pub(super) async fn speaks_http2(stream: &TcpStream) -> io::Result<bool> {
    let mut bytes = [0_u8; PREFACE.len()];
    loop {
        let seen = stream.peek(&mut bytes).await?;
        let said = bytes.get(..seen).unwrap_or_default();
        if said.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if !PREFACE.starts_with(said) {
            return Ok(false);
        }
        if seen == PREFACE.len() {
            return Ok(true);
        }
        // Peeking leaves the socket readable, so waiting for more means looking again.
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

/// Takes connections, at a slower pace while the system has no room for more.
pub(super) async fn accept(listener: &tokio::net::TcpListener) -> (TcpStream, SocketAddr) {
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
