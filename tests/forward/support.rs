//! An upstream that speaks raw TCP, played by the test itself: every step of both sides is in
//! one function, in order, and a failed expectation fails that test.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use chatkit_rest::forward::{
    ForwardError, ForwardErrorKind, HttpUpstream, HttpUpstreamBuilder, UpstreamBody, UpstreamUrl,
};
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tower::ServiceExt;

/// A stream's head, and that of an answer with a length.
pub(crate) const STREAM: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
pub(crate) const JSON: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";

pub(crate) type Answer = Result<Response<UpstreamBody>, ForwardError>;

/// Waits for what must come at once, or not at all.
pub(crate) async fn soon<F: Future>(future: F) -> F::Output {
    let patience = Duration::from_secs(20);
    tokio::time::timeout(patience, future).await.expect("nothing happened for 20 seconds")
}

/// Lets the runtime look at its sockets.
pub(crate) async fn notice() {
    for _ in 0..3 {
        tokio::task::yield_now().await;
    }
}

/// Lets the clock jump.
pub(crate) async fn pass(duration: Duration) {
    tokio::time::pause();
    tokio::time::advance(duration).await;
    tokio::time::resume();
}

pub(crate) struct Upstream {
    listener: TcpListener,
}

impl Upstream {
    pub(crate) async fn bind() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.unwrap() }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    pub(crate) fn url(&self) -> UpstreamUrl {
        UpstreamUrl::parse(&format!("http://{}/chatkit", self.address())).unwrap()
    }

    pub(crate) fn builder(&self) -> HttpUpstreamBuilder {
        HttpUpstream::builder(self.url())
    }

    pub(crate) fn client(&self) -> HttpUpstream {
        self.builder().build().unwrap()
    }

    pub(crate) async fn accept(&self) -> Peer {
        let (tcp, _) = soon(self.listener.accept()).await.unwrap();
        tcp.set_nodelay(true).unwrap();
        Peer { tcp }
    }

    /// Expects that nobody else has connected.
    pub(crate) async fn expect_no_more_connections(&self) {
        notice().await;
        let accepted = pin!(self.listener.accept());
        let mut cx = Context::from_waker(Waker::noop());
        assert!(accepted.poll(&mut cx).is_pending(), "there is another connection");
    }
}

/// The upstream's end of one connection.
pub(crate) struct Peer {
    tcp: TcpStream,
}

#[derive(Debug)]
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
}

impl Peer {
    /// Makes it of a connection that was accepted elsewhere.
    pub(crate) fn of(tcp: TcpStream) -> Self {
        Self { tcp }
    }

    /// Gives the next request, which must have a `content-length` or no body.
    pub(crate) async fn request(&mut self) -> Received {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(soon(self.tcp.read_u8()).await.expect("a request's head"));
        }
        let mut received = Received { head: String::from_utf8(head).unwrap(), body: Vec::new() };
        let length = received.field("content-length").map_or(0, |length| length.parse().unwrap());
        received.body.resize(length, 0);
        soon(self.tcp.read_exact(&mut received.body)).await.expect("a request's body");
        received
    }

    /// Tells whether another request begins, rather than the connection ending.
    pub(crate) async fn has_request(&mut self) -> bool {
        matches!(self.tcp.peek(&mut [0]).await, Ok(1))
    }

    pub(crate) async fn expect_bytes(&mut self, expected: &[u8]) {
        let mut got = vec![0; expected.len()];
        soon(self.tcp.read_exact(&mut got)).await.unwrap();
        assert_eq!(got, expected);
    }

    /// Sends in one write.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        soon(self.tcp.write_all(bytes.as_ref())).await.unwrap();
    }

    pub(crate) async fn send_chunk(&mut self, data: impl AsRef<[u8]>) {
        self.send(chunk(data)).await;
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

    /// Waits for the other side to close, and expects it to have said nothing more.
    pub(crate) async fn expect_closed(&mut self) {
        match soon(self.tcp.read(&mut [0; 64])).await {
            Ok(0) | Err(_) => {}
            Ok(n) => panic!("{n} bytes instead of an end"),
        }
    }

    /// Expects that the other side has sent nothing and is still there.
    pub(crate) fn expect_open(&self) {
        let read = self.tcp.try_read(&mut [0; 64]);
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}

pub(crate) fn chunk(data: impl AsRef<[u8]>) -> Vec<u8> {
    let data = data.as_ref();
    let mut chunk = format!("{:x}\r\n", data.len()).into_bytes();
    chunk.extend_from_slice(data);
    chunk.extend_from_slice(b"\r\n");
    chunk
}

pub(crate) fn request() -> Request<Full<Bytes>> {
    Request::post("/ignored?q=1").body(Full::from("{\"type\":\"x\"}")).unwrap()
}

/// Sends a request from a task of its own.
pub(crate) fn call(client: &HttpUpstream, request: Request<Full<Bytes>>) -> JoinHandle<Answer> {
    tokio::spawn(client.clone().oneshot(request))
}

/// Does one whole exchange on `peer`, or on a new connection.
pub(crate) async fn exchange(
    upstream: &Upstream,
    client: &HttpUpstream,
    peer: Option<Peer>,
    answer: &str,
) -> (Peer, Response<Bytes>) {
    let call = call(client, request());
    let mut peer = match peer {
        Some(peer) => peer,
        None => upstream.accept().await,
    };
    peer.request().await;
    peer.send(answer).await;
    let (parts, body) = soon(call).await.unwrap().unwrap().into_parts();
    let body = soon(body.collect()).await.unwrap().to_bytes();
    (peer, Response::from_parts(parts, body))
}

/// Gives an open stream: the head and a first event have been handed over.
pub(crate) async fn open_stream(
    upstream: &Upstream,
    client: &HttpUpstream,
) -> (Peer, UpstreamBody) {
    let call = call(client, request());
    let mut peer = upstream.accept().await;
    peer.request().await;
    peer.send(STREAM).await;
    let mut body = soon(call).await.unwrap().unwrap().into_body();
    peer.send_chunk("first").await;
    assert_eq!(next(&mut body).await.unwrap(), "first");
    (peer, body)
}

/// Gives the next piece of a body that isn't at its end.
pub(crate) async fn next(body: &mut UpstreamBody) -> Result<Bytes, ForwardError> {
    let frame = soon(body.frame()).await.expect("not the end");
    frame.map(|frame| frame.into_data().expect("data"))
}

/// Gives all that comes, and how it ends.
pub(crate) async fn drain(body: &mut UpstreamBody) -> (Vec<u8>, Option<ForwardErrorKind>) {
    soon(collect(body)).await
}

/// Gives the same, for as long as it takes.
pub(crate) async fn collect(body: &mut UpstreamBody) -> (Vec<u8>, Option<ForwardErrorKind>) {
    let mut bytes = Vec::new();
    loop {
        match body.frame().await {
            None => return (bytes, None),
            Some(Ok(frame)) => bytes.extend_from_slice(&frame.into_data().expect("data")),
            Some(Err(error)) => {
                assert!(body.frame().await.is_none(), "an error is the last");
                return (bytes, Some(error.kind()));
            }
        }
    }
}

pub(crate) fn kind(answer: Answer) -> ForwardErrorKind {
    answer.expect_err("an answer instead of an error").kind()
}

/// A body of unknown length that is fed by the test.
pub(crate) struct Piped(mpsc::UnboundedReceiver<io::Result<Bytes>>);

impl Piped {
    pub(crate) fn new() -> (mpsc::UnboundedSender<io::Result<Bytes>>, Self) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (sender, Self(receiver))
    }
}

impl Body for Piped {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0.poll_recv(cx).map(|data| data.map(|data| data.map(Frame::data)))
    }
}
