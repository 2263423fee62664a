//! Just enough HTTP/1.1 for a server whose clients are proxies on the loopback.

use std::io;
use std::ops::Range;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// One connection and what was read from it but not used yet.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// Bytes of the request in hand; dropped when the next is read.
    used: usize,
}

/// A request as ranges and copies that outlive the borrow of the buffer.
pub struct Request {
    pub is_post: bool,
    pub path: String,
    pub body: Body,
}

/// Where the body is.
pub enum Body {
    InBuffer(Range<usize>),
    Decoded(Vec<u8>),
}

impl Connection {
    pub fn new(stream: TcpStream) -> Self {
        Self { stream, buffer: Vec::with_capacity(2048), used: 0 }
    }

    /// Gives the next request, or `None` when the client has closed.
    pub async fn next_request(&mut self) -> io::Result<Option<Request>> {
        self.buffer.drain(..self.used);
        self.used = 0;
        loop {
            if let Some(head) = parse_head(&self.buffer)? {
                return self.read_body(head).await.map(Some);
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
    }

    pub fn body<'a>(&'a self, request: &'a Request) -> &'a [u8] {
        match &request.body {
            Body::InBuffer(range) => self.buffer.get(range.clone()).unwrap_or_default(),
            Body::Decoded(bytes) => bytes,
        }
    }

    pub async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    async fn read_body(&mut self, head: Head) -> io::Result<Request> {
        let Head { length, is_post, path, framing } = head;
        let body = match framing {
            Framing::Length(body) => {
                let end = length + body;
                while self.buffer.len() < end {
                    self.more().await?;
                }
                self.used = end;
                Body::InBuffer(length..end)
            }
            Framing::Chunked => {
                let mut at = length;
                let mut decoded = Vec::new();
                loop {
                    let (next, bytes) = loop {
                        match chunk(&self.buffer, at)? {
                            Some(found) => break found,
                            None => self.more().await?,
                        }
                    };
                    at = next;
                    if bytes.is_empty() {
                        break;
                    }
                    decoded.extend_from_slice(self.buffer.get(bytes).unwrap_or_default());
                }
                self.used = at;
                Body::Decoded(decoded)
            }
        };
        Ok(Request { is_post, path, body })
    }

    async fn more(&mut self) -> io::Result<()> {
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

struct Head {
    length: usize,
    is_post: bool,
    path: String,
    framing: Framing,
}

enum Framing {
    Length(usize),
    Chunked,
}

fn parse_head(buffer: &[u8]) -> io::Result<Option<Head>> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut headers);
    let length = match request.parse(buffer) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
    };
    let mut framing = Framing::Length(0);
    for header in request.headers.iter() {
        if header.name.eq_ignore_ascii_case("content-length") {
            framing = Framing::Length(number(header.value, 10)?);
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            framing = Framing::Chunked;
            break;
        }
    }
    let is_post = request.method == Some("POST");
    let path = if is_post { String::new() } else { request.path.unwrap_or_default().to_owned() };
    Ok(Some(Head { length, is_post, path, framing }))
}

/// Gives the chunk at `at`: where the next begins, and its bytes; an empty range is the last one.
fn chunk(buffer: &[u8], at: usize) -> io::Result<Option<(usize, Range<usize>)>> {
    let rest = buffer.get(at..).unwrap_or_default();
    let Some(line) = memchr::memchr(b'\n', rest) else { return Ok(None) };
    let size: usize = number(rest.get(..line).unwrap_or_default().trim_ascii(), 16)?;
    let start = at + line + 1;
    let next = start + size + 2;
    Ok((buffer.len() >= next).then_some((next, start..start + size)))
}

fn number(text: &[u8], radix: u32) -> io::Result<usize> {
    std::str::from_utf8(text)
        .ok()
        .and_then(|text| usize::from_str_radix(text, radix).ok())
        .ok_or_else(|| io::ErrorKind::InvalidData.into())
}
