use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout_at};

use super::error::NameError;
use super::timeouts::after;
use super::{ForwardError, ForwardErrorKind, UpstreamUrl};

/// Makes connections to the one upstream.
pub(super) struct Connector {
    host: Host,
    port: u16,
    timeout: Duration,
    #[cfg(feature = "tls")]
    tls: Option<super::tls::Tls>,
}

enum Host {
    Address(IpAddr),
    Name(Box<str>),
}

impl Connector {
    pub(super) fn new(
        url: &UpstreamUrl,
        timeout: Duration,
        #[cfg(feature = "tls")] tls: Option<super::tls::Tls>,
    ) -> Self {
        let host = url.host().parse().map_or_else(|_| Host::Name(url.host().into()), Host::Address);
        Self {
            host,
            port: url.port(),
            timeout,
            #[cfg(feature = "tls")]
            tls,
        }
    }

    /// Tells when a connection that is wanted now must be there.
    pub(super) fn deadline(&self) -> Instant {
        after(Instant::now(), self.timeout)
    }

    /// Gives a new connection, ready for HTTP.
    ///
    /// # Errors
    /// [`Connect`](ForwardErrorKind::Connect), or
    /// [`ConnectTimeout`](ForwardErrorKind::ConnectTimeout) if name look-up, TCP and TLS aren't all
    /// done by `deadline`.
    pub(super) async fn connect(&self, deadline: Instant) -> Result<MaybeTlsStream, ForwardError> {
        match timeout_at(deadline, self.establish(deadline)).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) if error.kind() == io::ErrorKind::TimedOut => {
                Err(ForwardError::new(ForwardErrorKind::ConnectTimeout).with(error))
            }
            Ok(Err(error)) => Err(ForwardError::new(ForwardErrorKind::Connect).with(error)),
            Err(elapsed) => Err(ForwardError::new(ForwardErrorKind::ConnectTimeout).with(elapsed)),
        }
    }

    async fn establish(&self, deadline: Instant) -> io::Result<MaybeTlsStream> {
        let tcp = match &self.host {
            Host::Address(ip) => TcpStream::connect(SocketAddr::new(*ip, self.port)).await?,
            Host::Name(name) => {
                let found = lookup_host((&**name, self.port)).await.map_err(unnamed)?;
                let addresses: Vec<_> = found.collect();
                connect_any(&addresses, deadline).await?
            }
        };
        // An event is one small write and must not wait for the one before to be acknowledged.
        tcp.set_nodelay(true)?;
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            return Ok(MaybeTlsStream::Tls(Box::new(tls.handshake(tcp).await?)));
        }
        Ok(MaybeTlsStream::Plain(tcp))
    }
}

/// Tries one address after the other. Each gets an equal share of what time is left, so one that
/// doesn't answer leaves some for the next.
async fn connect_any(addresses: &[SocketAddr], deadline: Instant) -> io::Result<TcpStream> {
    let mut error = unnamed(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
    let mut left = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
    for address in addresses {
        let now = Instant::now();
        let share = deadline.saturating_duration_since(now) / left.max(1);
        left = left.saturating_sub(1);
        match timeout_at(now + share, TcpStream::connect(address)).await {
            Ok(Ok(tcp)) => return Ok(tcp),
            Ok(Err(refused)) => error = refused,
            Err(elapsed) => error = elapsed.into(),
        }
    }
    Err(error)
}

/// Marks an error as one about the name.
fn unnamed(error: io::Error) -> io::Error {
    io::Error::new(error.kind(), NameError(error))
}

/// A connection's bytes, encrypted or not.
pub(super) enum MaybeTlsStream {
    Plain(TcpStream),
    #[cfg(feature = "tls")]
    Tls(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

macro_rules! each {
    ($stream:expr, $inner:ident => $call:expr) => {
        match $stream {
            MaybeTlsStream::Plain($inner) => $call,
            #[cfg(feature = "tls")]
            MaybeTlsStream::Tls($inner) => $call,
        }
    };
}

impl AsyncRead for MaybeTlsStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        each!(self.get_mut(), inner => Pin::new(inner).poll_read(cx, buf))
    }
}

impl AsyncWrite for MaybeTlsStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        each!(self.get_mut(), inner => Pin::new(inner).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(self.get_mut(), inner => Pin::new(inner).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        each!(self, inner => inner.is_write_vectored())
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut(), inner => Pin::new(inner).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut(), inner => Pin::new(inner).poll_shutdown(cx))
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpSocket};

    use super::*;

    #[tokio::test]
    async fn the_next_address_is_tried_when_one_refuses() {
        // Nobody listens there, and nobody else is given it meanwhile.
        let closed = TcpSocket::new_v4().unwrap();
        closed.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let closed_at = closed.local_addr().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let open = listener.local_addr().unwrap();
        let deadline = after(Instant::now(), Duration::from_secs(60));
        let tcp = connect_any(&[closed_at, open], deadline).await.unwrap();
        assert_eq!(tcp.peer_addr().unwrap(), open);
        let refused = connect_any(&[closed_at], deadline).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        let none = connect_any(&[], deadline).await.unwrap_err();
        assert_eq!(none.kind(), io::ErrorKind::NotFound);
    }
}
