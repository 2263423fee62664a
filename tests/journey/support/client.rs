//! A client that sees HTTP/1.1 as it is on the wire: heads, chunks, and whether an end is one.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;

use super::{Wire, soon};

/// How a body, or a connection, ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// With its last chunk, or as many bytes as were announced.
    Clean,
    /// The connection was closed first (FIN).
    Cut,
    /// The connection was reset first (RST).
    Reset,
}

/// The head of a response.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) fields: Vec<(String, String)>,
}

impl Head {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// A response with all of its body.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: Head,
    pub(crate) body: Vec<u8>,
    pub(crate) end: End,
}

impl Reply {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.head.field(name)
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("UTF-8")
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.end, End::Clean, "{}", self.text());
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in {} {:?}", self.status, self.text()))
    }

    /// Gives `data` of a success.
    #[track_caller]
    pub(crate) fn data(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text());
        let mut value = self.json();
        assert_eq!(value["success"], true, "{value}");
        value["data"].take()
    }

    /// Gives `error` of a refusal, which must be the envelope with this status and code.
    #[track_caller]
    pub(crate) fn refusal(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        let mut value = self.json();
        assert_eq!(self.field("content-type"), Some("application/json"));
        assert_eq!(self.field("cache-control"), Some("no-store"));
        assert_eq!(value["success"], false, "{value}");
        assert_eq!(value["error"]["code"], code, "{value}");
        assert!(!value["error"]["message"].as_str().unwrap().is_empty(), "{value}");
        assert_eq!(value["error"]["request_id"], self.field("x-request-id").unwrap(), "{value}");
        value["error"].take()
    }
}

#[derive(Clone, Copy, Debug)]
enum Framing {
    Chunked,
    Length(usize),
    UntilClose,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Client {
    wire: Wire,
    buffer: Vec<u8>,
    framing: Framing,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::over(Wire::connect(address).await)
    }

    /// Connects with next to no room for what it doesn't read.
    pub(crate) async fn connect_small(address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        Self::over(soon(socket.connect(address)).await.unwrap().into())
    }

    /// Speaks over what is connected.
    pub(crate) fn over(wire: Wire) -> Self {
        wire.tcp().set_nodelay(true).unwrap();
        Self { wire, buffer: Vec::new(), framing: Framing::Length(0) }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        soon(self.write(bytes.as_ref())).await.unwrap();
    }

    /// Sends what the other side may no longer want.
    pub(crate) async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        soon(self.write(bytes.as_ref())).await.is_ok()
    }

    async fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.wire.write_all(bytes).await?;
        self.wire.flush().await
    }

    /// Sends FIN, while it goes on reading.
    pub(crate) async fn finish_sending(&mut self) {
        soon(self.wire.shutdown()).await.unwrap();
    }

    /// Reads this many bytes at most, and forgets them.
    pub(crate) async fn take(&mut self, bytes: usize) {
        let _closed = soon(self.wire.read(&mut vec![0; bytes])).await;
    }

    /// Sends RST.
    pub(crate) fn reset(self) {
        self.wire.tcp().set_zero_linger().unwrap();
    }

    /// Expects that nothing has come so far, and the connection is open.
    #[track_caller]
    pub(crate) fn expect_silence(&mut self) {
        let mut bytes = [0; 256];
        match self.wire.tcp().try_read(&mut bytes) {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Ok(n) => panic!("{:?} instead of nothing", String::from_utf8_lossy(&bytes[..n])),
            Err(error) => panic!("{error} instead of nothing"),
        }
        assert!(self.buffer.is_empty(), "{:?}", String::from_utf8_lossy(&self.buffer));
    }

    /// Expects that the connection ends, and nothing else comes.
    pub(crate) async fn expect_end(&mut self) {
        assert!(self.buffer.is_empty(), "{:?}", String::from_utf8_lossy(&self.buffer));
        if let Ok(()) = self.fill().await {
            panic!("{:?} instead of an end", String::from_utf8_lossy(&self.buffer));
        }
    }

    /// Gives everything that comes until the end.
    pub(crate) async fn everything(&mut self) -> (Vec<u8>, End) {
        loop {
            if let Err(end) = self.fill().await {
                return (std::mem::take(&mut self.buffer), end);
            }
        }
    }

    /// Gives the next head; `Err` if the connection ends before one begins.
    pub(crate) async fn try_head(&mut self, method: &str) -> Result<Head, End> {
        let length = loop {
            if let Some(at) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            self.fill().await?;
        };
        let head: Vec<u8> = self.buffer.drain(..length).collect();
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let first = lines.next().unwrap();
        assert!(first.starts_with("HTTP/1."), "{first}");
        let status: u16 = first[9..12].parse().unwrap();
        let fields: Vec<_> = lines
            .map(|line| line.split_once(':').expect("a field"))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let head = Head { status, fields };
        self.framing = if method == "HEAD" || status < 200 || matches!(status, 204 | 304) {
            Framing::Length(0)
        } else if let Some(coding) = head.field("transfer-encoding") {
            assert_eq!(coding, "chunked");
            assert_eq!(head.field("content-length"), None, "two lengths");
            Framing::Chunked
        } else if let Some(length) = head.field("content-length") {
            Framing::Length(length.parse().unwrap())
        } else {
            Framing::UntilClose
        };
        Ok(head)
    }

    pub(crate) async fn head(&mut self) -> Head {
        self.try_head("GET").await.expect("a head")
    }

    /// Gives the next piece of the body as it was framed, or how the body ended. A chunk that is
    /// cut is given as far as it came; the end comes after it.
    pub(crate) async fn chunk(&mut self) -> Result<Vec<u8>, End> {
        match self.framing {
            Framing::Length(0) => Err(End::Clean),
            Framing::Length(length) => {
                let piece = self.some_of(length).await?;
                self.framing = Framing::Length(length - piece.len());
                Ok(piece)
            }
            Framing::UntilClose => {
                let piece = self.some_of(usize::MAX).await;
                piece.map_err(|end| if end == End::Cut { End::Clean } else { end })
            }
            Framing::Chunked => {
                let at = loop {
                    if let Some(at) = self.buffer.windows(2).position(|window| window == b"\r\n") {
                        break at;
                    }
                    self.fill().await?;
                };
                let line: Vec<u8> = self.buffer.drain(..at + 2).collect();
                let size = std::str::from_utf8(&line[..at]).unwrap();
                let size = usize::from_str_radix(size, 16).expect("a chunk's size");
                while self.buffer.len() < size + 2 {
                    if let Err(end) = self.fill().await {
                        if size == 0 || self.buffer.is_empty() {
                            return Err(end);
                        }
                        let piece = std::mem::take(&mut self.buffer);
                        return Ok(piece[..piece.len().min(size)].to_vec());
                    }
                }
                let mut chunk: Vec<u8> = self.buffer.drain(..size + 2).collect();
                assert!(chunk.ends_with(b"\r\n"), "a chunk ends with an empty line");
                chunk.truncate(size);
                if size == 0 { Err(End::Clean) } else { Ok(chunk) }
            }
        }
    }

    /// Reads on until `expected` has come, and nothing else.
    pub(crate) async fn expect_body(&mut self, expected: &str) {
        let mut seen = Vec::new();
        while seen.len() < expected.len() {
            let piece = self.chunk().await;
            seen.extend(piece.unwrap_or_else(|end| {
                panic!("{end:?} after {:?}", String::from_utf8_lossy(&seen))
            }));
        }
        assert_eq!(String::from_utf8_lossy(&seen), expected);
    }

    /// Gives what is left of the body, as it was framed.
    pub(crate) async fn chunks(&mut self) -> (Vec<Vec<u8>>, End) {
        let mut chunks = Vec::new();
        loop {
            match self.chunk().await {
                Ok(chunk) => chunks.push(chunk),
                Err(end) => return (chunks, end),
            }
        }
    }

    /// Gives what is left of the body.
    pub(crate) async fn body(&mut self) -> (Vec<u8>, End) {
        let (chunks, end) = self.chunks().await;
        (chunks.concat(), end)
    }

    /// Gives the whole next response.
    pub(crate) async fn reply(&mut self) -> Reply {
        self.reply_to("GET").await
    }

    pub(crate) async fn reply_to(&mut self, method: &str) -> Reply {
        let head = self.try_head(method).await.expect("a head");
        let (body, end) = self.body().await;
        Reply { status: head.status, head, body, end }
    }

    async fn some_of(&mut self, length: usize) -> Result<Vec<u8>, End> {
        if self.buffer.is_empty() {
            self.fill().await?;
        }
        let length = length.min(self.buffer.len());
        Ok(self.buffer.drain(..length).collect())
    }

    async fn fill(&mut self) -> Result<(), End> {
        let mut bytes = vec![0; 65_536];
        match soon(self.wire.read(&mut bytes)).await {
            Ok(0) => Err(End::Cut),
            Ok(n) => {
                self.buffer.extend_from_slice(&bytes[..n]);
                Ok(())
            }
            Err(_) => Err(End::Reset),
        }
    }
}
