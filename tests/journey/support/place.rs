//! An address that stays a test's own while nobody listens on it.

use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket};

/// A port of the loopback interface. Connections to it are refused while nobody listens there, and
/// until it is dropped the port is given to nobody who asks for any: one that was let go of may be
/// somebody else's at once, a listener's or a connection's.
///
/// A socket that is bound and doesn't listen holds it. On Linux others can listen there beside it
/// with `SO_REUSEADDR`, which every server sets.
#[derive(Debug)]
pub(crate) struct Place(TcpSocket);

impl Place {
    pub(crate) fn new() -> Self {
        Self(bound("127.0.0.1:0".parse().unwrap()))
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    /// Listens there, until the listener is dropped; as often as it is asked to, one at a time.
    #[allow(dead_code, reason = "tests/live leaves it to other processes")]
    pub(crate) fn listen(&self) -> TcpListener {
        bound(self.address()).listen(1024).unwrap()
    }
}

fn bound(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    // What lets the two share a port where `SO_REUSEADDR` alone doesn't.
    #[cfg(all(unix, not(any(target_os = "illumos", target_os = "solaris"))))]
    socket.set_reuseport(true).unwrap();
    socket.bind(address).unwrap();
    socket
}
