//! An HTTP/2 client that does what no library would: it sees and sends frames.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{PREFIX, Wire, soon, token};

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    pub(crate) fn new(kind: u8, flags: u8, stream: u32, payload: impl Into<Vec<u8>>) -> Self {
        Self { kind, flags, stream, payload: payload.into() }
    }

    /// Makes a frame of settings: the initial window of streams.
    pub(crate) fn settings(window: u32) -> Self {
        Self::new(SETTINGS, 0, 0, [&[0, 4][..], &window.to_be_bytes()].concat())
    }

    /// Widens the window of a stream, or of the connection as stream 0.
    pub(crate) fn window(stream: u32, bytes: u32) -> Self {
        Self::new(WINDOW_UPDATE, 0, stream, bytes.to_be_bytes())
    }

    pub(crate) fn ping() -> Self {
        Self::new(PING, 0, 0, [7; 8])
    }

    /// Makes a whole request's head without a body.
    pub(crate) fn get(stream: u32, path: &str, user: Option<&str>) -> Self {
        Self::new(HEADERS, END_HEADERS | END_STREAM, stream, head("GET", path, user))
    }

    pub(crate) fn is(&self, kind: u8, stream: u32) -> bool {
        (self.kind, self.stream) == (kind, stream)
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let length = u32::try_from(self.payload.len()).unwrap().to_be_bytes();
        let head = [&length[1..], &[self.kind, self.flags], &self.stream.to_be_bytes()].concat();
        [head, self.payload.clone()].concat()
    }
}

/// Gives a request's fields, none of them compressed. `path` is below the prefix, unless it begins
/// with two slashes.
pub(crate) fn head(method: &str, path: &str, user: Option<&str>) -> Vec<u8> {
    let path = match path.strip_prefix('/') {
        Some(rest) if rest.starts_with('/') => rest.to_owned(),
        _ => format!("{PREFIX}{path}"),
    };
    let authorization = user.map(|user| format!("Bearer {}", token(user)));
    let mut block = Vec::new();
    let fields = [
        (":method", Some(method)),
        (":scheme", Some("http")),
        (":path", Some(&path)),
        (":authority", Some("localhost")),
        ("content-type", (method == "POST").then_some("application/json")),
        ("authorization", authorization.as_deref()),
    ];
    for (name, value) in fields {
        let Some(value) = value else { continue };
        block.push(0);
        for text in [name, value] {
            // RFC 7541 section 5.1; the lengths of these need two more bytes at most.
            match text.len() {
                length @ 0..127 => block.push(u8::try_from(length).unwrap()),
                length => {
                    let left = u8::try_from(length - 127).unwrap();
                    block.push(127);
                    block.extend(if left < 128 { vec![left] } else { vec![left, 1] });
                }
            }
            block.extend(text.as_bytes());
        }
    }
    block
}

/// The connection. It acknowledges settings and answers pings, always.
pub(crate) struct RawHttp2 {
    wire: Wire,
    buffer: Vec<u8>,
}

impl RawHttp2 {
    /// Connects with a window of `window` bytes for each stream.
    pub(crate) async fn connect(address: SocketAddr, window: u32) -> Self {
        let mut client = Self::connect_silent(address).await;
        client.send(&[Frame::settings(window)]).await;
        client
    }

    /// Connects with nothing but the preface.
    pub(crate) async fn connect_silent(address: SocketAddr) -> Self {
        Self::over(Wire::connect(address).await).await
    }

    /// Says the preface over what is connected.
    pub(crate) async fn over(wire: Wire) -> Self {
        wire.tcp().set_nodelay(true).unwrap();
        let mut client = Self { wire, buffer: Vec::new() };
        assert!(client.try_send_bytes(PREFACE).await);
        client
    }

    pub(crate) async fn send(&mut self, frames: &[Frame]) {
        assert!(self.try_send(frames).await, "the connection is closed");
    }

    /// Sends what the other side may no longer want.
    pub(crate) async fn try_send(&mut self, frames: &[Frame]) -> bool {
        let bytes: Vec<u8> = frames.iter().flat_map(Frame::bytes).collect();
        self.try_send_bytes(&bytes).await
    }

    /// Sends part of a frame.
    pub(crate) async fn try_send_bytes(&mut self, bytes: &[u8]) -> bool {
        soon(async {
            self.wire.write_all(bytes).await?;
            self.wire.flush().await
        })
        .await
        .is_ok()
    }

    /// Sends a message for the session's thread.
    pub(crate) async fn say(&mut self, stream: u32, user: &str, session: &str) {
        let path = format!("/sessions/{session}/threads/{session}/runs");
        let head = Frame::new(HEADERS, END_HEADERS, stream, head("POST", &path, Some(user)));
        self.send(&[head, Frame::new(DATA, END_STREAM, stream, "{\"message\":\"hi\"}")]).await;
    }

    /// Gives the next frame but settings and pings; `None` at the end.
    pub(crate) async fn frame(&mut self) -> Option<Frame> {
        soon(self.next()).await
    }

    /// Gives the same, for as long as it takes.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.buffered() {
                match frame.kind {
                    SETTINGS | PING if frame.flags & ACK != 0 => {}
                    SETTINGS => {
                        let known = Frame::new(SETTINGS, ACK, 0, []);
                        let _closed = self.wire.write_all(&known.bytes()).await;
                    }
                    PING => {
                        let pong = Frame { flags: ACK, ..frame };
                        let _closed = self.wire.write_all(&pong.bytes()).await;
                    }
                    _ => return Some(frame),
                }
                continue;
            }
            if !matches!(self.wire.read_buf(&mut self.buffer).await, Ok(1..)) {
                return None;
            }
        }
    }

    /// Gives what comes until one of `kind` for `stream`, which is the last.
    pub(crate) async fn until(&mut self, kind: u8, stream: u32) -> Vec<Frame> {
        let mut frames = Vec::new();
        loop {
            let frame = self.frame().await;
            frames.push(frame.unwrap_or_else(|| panic!("an end after {frames:?}")));
            if frames.last().is_some_and(|frame| frame.is(kind, stream)) {
                return frames;
            }
        }
    }

    /// Gives everything until the connection is closed.
    pub(crate) async fn everything(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        while let Some(frame) = self.frame().await {
            frames.push(frame);
        }
        frames
    }

    /// Reads on until the connection is closed, and says nothing to whatever comes.
    pub(crate) async fn expect_end(&mut self) {
        while matches!(soon(self.wire.read_buf(&mut self.buffer)).await, Ok(1..)) {}
    }

    /// Gives the head of a 200, and its body.
    pub(crate) async fn ok(&mut self, stream: u32) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let frame = self.frame().await.expect("an answer");
            assert!(!frame.is(RST_STREAM, stream), "{frame:?}");
            match frame.kind {
                // `:status: 200` of the static table.
                HEADERS if frame.stream == stream => assert_eq!(frame.payload[0], 0x88),
                DATA if frame.stream == stream => body.extend(&frame.payload),
                _ => {}
            }
            if frame.stream == stream && frame.flags & END_STREAM != 0 {
                return body;
            }
        }
    }

    /// Sends RST.
    pub(crate) fn reset(self) {
        self.wire.tcp().set_zero_linger().unwrap();
    }

    fn buffered(&mut self) -> Option<Frame> {
        let head: [u8; 9] = self.buffer.get(..9)?.try_into().unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let payload = self.buffer.get(9..9 + length)?.to_vec();
        self.buffer.drain(..9 + length);
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        Some(Frame { kind: head[3], flags: head[4], stream, payload })
    }
}
