//! An upstream that speaks raw TCP, played by the test itself: every step of both sides is in one
//! function, in order.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::{Gateway, Place, chunk, last_chunk, soon};

/// The most that may be on its way to one client that doesn't read, in the gateway and in the
/// system's buffers.
const MAX_BYTES: usize = 48 << 20;

pub(crate) struct Upstream {
    listener: TcpListener,
}

impl Upstream {
    pub(crate) async fn bind() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.unwrap() }
    }

    /// One that others may follow at the same address.
    pub(crate) fn at(place: &Place) -> Self {
        Self { listener: place.listen() }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    pub(crate) async fn accept(&self) -> Peer {
        let (tcp, _) = soon(self.listener.accept()).await.unwrap();
        tcp.set_nodelay(true).unwrap();
        Peer { tcp }
    }

    /// Gives a connection and the first request on it.
    pub(crate) async fn request(&self) -> (Peer, Received) {
        let mut peer = self.accept().await;
        let received = peer.request().await;
        (peer, received)
    }

    /// Expects that nobody has connected.
    #[track_caller]
    pub(crate) fn expect_no_connection(&self) {
        let accepted = pin!(self.listener.accept());
        let mut cx = Context::from_waker(Waker::noop());
        assert!(accepted.poll(&mut cx).is_pending(), "there is a connection");
    }

    /// Answers every request by itself from here on, each on its own connection.
    pub(crate) fn answer(
        self,
        answer: impl Fn(&Received) -> Vec<u8> + Send + Sync + 'static,
    ) -> Answering {
        let requests = Arc::<Mutex<Vec<Received>>>::default();
        let seen = Arc::clone(&requests);
        let answer = Arc::new(answer);
        let task = tokio::spawn(async move {
            loop {
                let (tcp, _) = self.listener.accept().await.unwrap();
                let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
                tokio::spawn(async move {
                    let mut peer = Peer { tcp };
                    while let Some(received) = peer.try_request().await {
                        let bytes = answer(&received);
                        seen.lock().unwrap().push(received);
                        if peer.tcp.write_all(&bytes).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Answering { requests, task }
    }
}

/// An upstream that answers by itself.
pub(crate) struct Answering {
    requests: Arc<Mutex<Vec<Received>>>,
    task: JoinHandle<()>,
}

impl Answering {
    /// Tells how many requests there were so far.
    pub(crate) fn asked(&self) -> usize {
        self.requests.lock().unwrap().len()
    }

    /// Gives the types of all requests so far.
    pub(crate) fn types(&self) -> Vec<String> {
        self.requests.lock().unwrap().iter().map(Received::kind).collect()
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The upstream's end of one connection.
pub(crate) struct Peer {
    tcp: TcpStream,
}

#[derive(Clone, Debug)]
pub(crate) struct Received {
    /// The request line and the fields, as they came.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Received {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("a JSON body")
    }

    /// Gives the ChatKit request's type.
    pub(crate) fn kind(&self) -> String {
        self.json()["type"].as_str().expect("a type").to_owned()
    }
}

impl Peer {
    pub(crate) async fn request(&mut self) -> Received {
        soon(self.try_request()).await.expect("a request")
    }

    /// Gives the next request, which must have a `content-length` or no body; `None` at the end.
    pub(crate) async fn try_request(&mut self) -> Option<Received> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.tcp.read_u8().await.ok()?);
        }
        let mut received = Received { head: String::from_utf8(head).unwrap(), body: Vec::new() };
        let length = received.field("content-length").map_or(0, |length| length.parse().unwrap());
        received.body.resize(length, 0);
        self.tcp.read_exact(&mut received.body).await.ok()?;
        Some(received)
    }

    /// Sends in one write.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        soon(self.tcp.write_all(bytes.as_ref())).await.unwrap();
    }

    /// Sends as one chunk, in one write.
    pub(crate) async fn send_chunk(&mut self, data: impl AsRef<[u8]>) {
        self.send(chunk(data)).await;
    }

    /// Sends the last chunk.
    pub(crate) async fn send_end(&mut self) {
        self.send(last_chunk()).await;
    }

    /// Sends `piece` again and again for as long as it is taken; gives the bytes of that. It is
    /// the next thing that the gateway expects, so a whole chunk.
    pub(crate) async fn fill(&self, gateway: &Gateway, piece: &[u8]) -> usize {
        let mut sent = 0;
        let mut refused = 0;
        while refused < 20 {
            if let Some(n) = self.try_send(&piece[sent % piece.len()..]) {
                sent += n;
                refused = 0;
                assert!(sent < MAX_BYTES, "{sent} bytes were taken");
            } else {
                gateway.settle().await;
                refused += 1;
            }
        }
        sent
    }

    /// Gives what the system takes at once; `None` if nothing.
    pub(crate) fn try_send(&self, bytes: &[u8]) -> Option<usize> {
        match self.tcp.try_write(bytes) {
            Ok(n) => Some(n),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            Err(error) => panic!("{error}"),
        }
    }

    pub(crate) fn into_split(self) -> (OwnedReadHalf, OwnedWriteHalf) {
        self.tcp.into_split()
    }

    /// Sends FIN.
    pub(crate) fn close(self) {
        drop(self.tcp);
    }

    /// Sends RST.
    pub(crate) fn reset(self) {
        self.tcp.set_zero_linger().unwrap();
    }

    /// Waits for the gateway to close, and expects it to have said nothing more.
    pub(crate) async fn expect_closed(&mut self) {
        match soon(self.tcp.read(&mut [0; 64])).await {
            Ok(0) | Err(_) => {}
            Ok(n) => panic!("{n} bytes instead of an end"),
        }
    }
}
