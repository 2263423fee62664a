//! The client's end of one keep-alive connection: raw bytes out, the least parsing in.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use memchr::{memchr, memmem};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// Takes the body of an answer, chunk framing removed.
pub trait Sink {
    fn data(&mut self, bytes: &[u8]);
}

/// What is known of an answer besides its body.
#[derive(Debug, Clone, Copy)]
pub struct Answer {
    pub status: u16,
    /// From the request's first byte to the first byte of the answer's body, or to the head of an
    /// answer without one.
    pub first_byte: Duration,
    /// The server closes the connection after this answer.
    pub close: bool,
}

/// One connection.
pub struct Wire {
    stream: TcpStream,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Wire {
    /// Connects; `capacity` bytes are read at once at most, and a head must fit in.
    pub async fn connect(address: SocketAddr, capacity: usize) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: vec![0; capacity].into_boxed_slice(), start: 0, end: 0 })
    }

    /// Sends a request and reads its answer to the end.
    ///
    /// # Errors
    ///
    /// Whatever the socket says, and `InvalidData` for what is no HTTP/1.1 answer. A body that ends
    /// before its framing says so is `UnexpectedEof`.
    pub async fn exchange(&mut self, request: &[u8], sink: &mut impl Sink) -> io::Result<Answer> {
        let sent = Instant::now();
        self.stream.write_all(request).await?;
        let head = self.head().await?;
        let mut body_at = None;
        match head.framing {
            Framing::Length(length) => self.sized(length, sink, &mut body_at).await?,
            Framing::Chunked => self.chunked(sink, &mut body_at).await?,
        }
        let first_byte = body_at.unwrap_or_else(Instant::now) - sent;
        Ok(Answer { status: head.status, first_byte, close: head.close })
    }

    async fn head(&mut self) -> io::Result<Head> {
        loop {
            let unread = self.unread();
            if let Some(length) = memmem::find(unread, b"\r\n\r\n") {
                let head = Head::parse(unread.get(..length).unwrap_or_default())?;
                self.start += length + 4;
                return Ok(head);
            }
            self.fill().await?;
        }
    }

    async fn sized(
        &mut self,
        mut left: u64,
        sink: &mut impl Sink,
        at: &mut Option<Instant>,
    ) -> io::Result<()> {
        while left > 0 {
            left -= self.data(left, sink, at).await?;
        }
        Ok(())
    }

    async fn chunked(&mut self, sink: &mut impl Sink, at: &mut Option<Instant>) -> io::Result<()> {
        loop {
            let size = self.line_as_size().await?;
            let mut left = size;
            while left > 0 {
                left -= self.data(left, sink, at).await?;
            }
            // After the last chunk: no trailers here, so the same CRLF.
            while self.unread().len() < 2 {
                self.fill().await?;
            }
            if !self.unread().starts_with(b"\r\n") {
                return Err(invalid("chunk without its end, or trailers"));
            }
            self.start += 2;
            if size == 0 {
                return Ok(());
            }
        }
    }

    /// Hands over at most `left` bytes of what is there, and says how many.
    async fn data(
        &mut self,
        left: u64,
        sink: &mut impl Sink,
        at: &mut Option<Instant>,
    ) -> io::Result<u64> {
        if self.unread().is_empty() {
            self.fill().await?;
        }
        at.get_or_insert_with(Instant::now);
        let unread = self.unread();
        let taken = usize::try_from(left).map_or(unread.len(), |left| left.min(unread.len()));
        sink.data(unread.get(..taken).unwrap_or_default());
        self.start += taken;
        Ok(taken as u64)
    }

    async fn line_as_size(&mut self) -> io::Result<u64> {
        loop {
            let unread = self.unread();
            if let Some(line) = memchr(b'\n', unread) {
                let digits = unread.get(..line).unwrap_or_default().trim_ascii_end();
                let size = std::str::from_utf8(digits)
                    .ok()
                    .and_then(|digits| u64::from_str_radix(digits, 16).ok())
                    .ok_or_else(|| invalid("chunk size"))?;
                self.start += line + 1;
                return Ok(size);
            }
            self.fill().await?;
        }
    }

    fn unread(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    async fn fill(&mut self) -> io::Result<()> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.end == self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        let room = self.buffer.get_mut(self.end..).filter(|room| !room.is_empty());
        let room = room.ok_or_else(|| invalid("head or line too long"))?;
        match self.stream.read(room).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            read => {
                self.end += read;
                Ok(())
            }
        }
    }
}

struct Head {
    status: u16,
    framing: Framing,
    close: bool,
}

enum Framing {
    Length(u64),
    Chunked,
}

impl Head {
    fn parse(head: &[u8]) -> io::Result<Self> {
        let status = head.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok());
        let status = status.and_then(|digits| digits.parse().ok());
        let status = status.filter(|_| head.starts_with(b"HTTP/1.1 "));
        let mut parsed = Self {
            status: status.ok_or_else(|| invalid("status line"))?,
            framing: Framing::Length(0),
            close: false,
        };
        for line in head.split(|byte| *byte == b'\n').skip(1) {
            let Some(colon) = memchr(b':', line) else { continue };
            let (name, value) = line.split_at(colon);
            let value = value.get(1..).unwrap_or_default().trim_ascii();
            if name.eq_ignore_ascii_case(b"content-length") {
                let length = std::str::from_utf8(value).ok().and_then(|value| value.parse().ok());
                parsed.framing = Framing::Length(length.ok_or_else(|| invalid("content-length"))?);
            } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
                parsed.framing = Framing::Chunked;
            } else if name.eq_ignore_ascii_case(b"connection") {
                parsed.close = value.eq_ignore_ascii_case(b"close");
            }
        }
        Ok(parsed)
    }
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    struct Keep(Vec<u8>);

    impl Sink for Keep {
        fn data(&mut self, bytes: &[u8]) {
            self.0.extend_from_slice(bytes);
        }
    }

    async fn answered(reply: &'static [u8], step: usize) -> io::Result<(u16, Vec<u8>)> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let server = async {
            let (mut stream, _) = listener.accept().await?;
            let mut request = [0; 3];
            stream.read_exact(&mut request).await?;
            stream.set_nodelay(true)?;
            for part in reply.chunks(step) {
                stream.write_all(part).await?;
                tokio::task::yield_now().await;
            }
            io::Result::Ok(())
        };
        let client = async {
            let mut wire = Wire::connect(address, 256).await?;
            let mut body = Keep(Vec::new());
            let answer = wire.exchange(b"GET", &mut body).await?;
            Ok((answer.status, body.0))
        };
        let (written, answer) = tokio::join!(server, client);
        written?;
        answer
    }

    #[tokio::test]
    async fn both_framings_however_they_are_cut() {
        for step in 1..40 {
            let sized = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
            assert_eq!(answered(sized, step).await.unwrap(), (200, b"hello".to_vec()));
            let chunked = b"HTTP/1.1 502 No\r\ntransfer-encoding: chunked\r\n\r\n\
                3\r\nhel\r\nA\r\nlo, world!\r\n0\r\n\r\n";
            assert_eq!(answered(chunked, step).await.unwrap(), (502, b"hello, world!".to_vec()));
        }
    }

    #[tokio::test]
    async fn a_cut_body_is_an_error() {
        let cut = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nhel\r\n";
        let error = answered(cut, 100).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
