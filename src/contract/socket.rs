//! The scripted upstream behind a socket: it can cut, reset, stall, and break framing.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use super::fixture::UpstreamAnswer;
use super::format::{AnswerEnd, Fail};
use super::script::{Script, ScriptedTurn};

/// The largest head of a request, in bytes.
const MAX_HEAD_BYTES: usize = 65_536;

/// The largest body of a request, in bytes.
const MAX_BODY_BYTES: usize = 64 * 1024 * 1024;

/// How many connections may wait to be accepted.
const BACKLOG: u32 = 1024;

/// A task that ends with whoever holds this.
#[derive(Debug)]
pub(super) struct AbortOnDrop(JoinHandle<()>);

impl AbortOnDrop {
    pub(super) fn spawn(work: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(work))
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Listens on a free port of the loopback address.
#[derive(Debug)]
pub(super) struct SocketUpstream {
    /// Bound, and never listening: it holds the port while nobody listens, when it might be given
    /// to somebody else, another upstream or a connection.
    held: TcpSocket,
    url: String,
    script: Script,
    listening: Mutex<Option<AbortOnDrop>>,
}

impl SocketUpstream {
    pub(super) fn start(script: Script) -> io::Result<Self> {
        let held = bound((Ipv4Addr::LOCALHOST, 0).into())?;
        let url = format!("http://{}/chatkit", held.local_addr()?);
        let upstream = Self { held, url, script, listening: Mutex::new(None) };
        upstream.accept()?;
        Ok(upstream)
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Refuses connections from now on, and closes those there are.
    pub(super) async fn refuse(&self) {
        let task = self.listening.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut task) = task {
            task.0.abort();
            // Only when it has ended is its listener closed.
            let _ = (&mut task.0).await;
        }
    }

    /// Accepts connections, again if it refused them.
    pub(super) fn accept(&self) -> io::Result<()> {
        let mut listening = self.listening.lock().unwrap_or_else(PoisonError::into_inner);
        if listening.is_none() {
            let listener = bound(self.held.local_addr()?)?.listen(BACKLOG)?;
            *listening = Some(AbortOnDrop::spawn(listen(listener, self.script.clone())));
        }
        Ok(())
    }
}

/// A socket at `address` beside which others may be bound there, of which one may listen.
fn bound(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    // Where `SO_REUSEADDR` alone is for connections that linger.
    #[cfg(all(unix, not(any(target_os = "illumos", target_os = "solaris"))))]
    socket.set_reuseport(true)?;
    socket.bind(address)?;
    Ok(socket)
}

async fn listen(listener: TcpListener, script: Script) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let script = script.clone();
        connections.spawn(async move {
            // An error is the gateway's leaving, which the turn's end tells.
            let _ = serve(stream, script).await;
        });
    }
}

/// Serves one connection to its end.
async fn serve(mut stream: TcpStream, script: Script) -> io::Result<()> {
    stream.set_nodelay(true)?;
    while let Some((headers, body)) = read_request(&mut stream).await? {
        let turn = script.arrive(headers, body);
        turn.open().await;
        match perform(&mut stream, &turn).await? {
            AfterAnswer::Request => {}
            AfterAnswer::Close => break,
            AfterAnswer::Reset => {
                stream.set_zero_linger()?;
                break;
            }
        }
    }
    Ok(())
}

/// What becomes of a connection after an answer.
enum AfterAnswer {
    Close,
    Request,
    Reset,
}

async fn perform(stream: &mut TcpStream, turn: &ScriptedTurn) -> io::Result<AfterAnswer> {
    let Some(exchange) = &turn.exchange else {
        let unexpected = b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n";
        stream.write_all(unexpected).await?;
        turn.answered();
        return Ok(AfterAnswer::Close);
    };
    let answer = &exchange.answer;
    match answer.fail {
        None => {}
        Some(Fail::Stall) => return silence(stream).await,
        Some(Fail::Closed | Fail::Refused) => {
            turn.answered();
            return Ok(AfterAnswer::Close);
        }
        Some(Fail::Reset) => {
            turn.answered();
            return Ok(AfterAnswer::Reset);
        }
        Some(Fail::Nonsense) => {
            stream.write_all(b"220 mail.example ESMTP\r\n").await?;
            turn.answered();
            return Ok(AfterAnswer::Close);
        }
    }
    // In one write: no clock of the gateway's can tell a busy machine's pause between two events
    // from an upstream's.
    let mut bytes = head(answer);
    for chunk in answer.chunks.iter().filter(|chunk| !chunk.is_empty()) {
        if answer.chunked {
            bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            bytes.extend_from_slice(chunk);
            bytes.extend_from_slice(b"\r\n");
        } else {
            bytes.extend_from_slice(chunk);
        }
    }
    stream.write_all(&bytes).await?;
    let next = match answer.end {
        AnswerEnd::Stall => return silence(stream).await,
        AnswerEnd::Clean => {
            if answer.chunked {
                stream.write_all(b"0\r\n\r\n").await?;
            }
            // After an unhandled exception uvicorn closes the connection without saying so.
            if answer.status.is_server_error() { AfterAnswer::Close } else { AfterAnswer::Request }
        }
        AnswerEnd::Cut => AfterAnswer::Close,
        AnswerEnd::Reset => AfterAnswer::Reset,
        AnswerEnd::BadFraming => {
            stream.write_all(b"not a length\r\n").await?;
            AfterAnswer::Close
        }
    };
    turn.answered();
    Ok(next)
}

/// Says nothing until the other side leaves.
async fn silence(stream: &mut TcpStream) -> io::Result<AfterAnswer> {
    while stream.read(&mut [0; 64]).await? > 0 {}
    Ok(AfterAnswer::Close)
}

fn head(answer: &UpstreamAnswer) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {}\r\n", answer.status).into_bytes();
    for (name, value) in &answer.headers {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    if answer.chunked {
        head.extend_from_slice(b"transfer-encoding: chunked\r\n\r\n");
    } else {
        let sent: usize = answer.chunks.iter().map(Bytes::len).sum();
        // What is cut short has promised more.
        let length = if answer.end == AnswerEnd::Clean { sent } else { sent + 1 };
        head.extend_from_slice(format!("content-length: {length}\r\n\r\n").as_bytes());
    }
    head
}

/// Gives the next request, or `None` if the connection ends before one begins.
async fn read_request(stream: &mut TcpStream) -> io::Result<Option<(HeaderMap, Bytes)>> {
    let bad = |what: &'static str| io::Error::new(io::ErrorKind::InvalidData, what);
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if bytes.len() > MAX_HEAD_BYTES {
            return Err(bad("the request's head is too large"));
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return if bytes.is_empty() { Ok(None) } else { Err(bad("the request was cut")) };
        }
    };
    let mut body = bytes.split_off(end);
    let head = String::from_utf8(bytes).map_err(|_| bad("the request's head is not text"))?;
    let mut headers = HeaderMap::new();
    for line in head.lines().skip(1).filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').ok_or_else(|| bad("a field has no colon"))?;
        let name = name.parse::<HeaderName>().map_err(|_| bad("a field's name is bad"))?;
        let value = HeaderValue::from_str(value.trim()).map_err(|_| bad("a field is bad"))?;
        headers.append(name, value);
    }
    let length = headers.get(http::header::CONTENT_LENGTH);
    let length = length.and_then(|value| value.to_str().ok()?.parse::<usize>().ok()).unwrap_or(0);
    if length > MAX_BODY_BYTES {
        return Err(bad("the request's body is too large"));
    }
    while body.len() < length {
        if stream.read_buf(&mut body).await? == 0 {
            return Err(bad("the request's body was cut"));
        }
    }
    Ok(Some((headers, Bytes::from(body))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn its_port_is_given_to_nobody_else_while_it_refuses() {
        let upstream = SocketUpstream::start(Script::new()).unwrap();
        let address = upstream.url().split('/').nth(2).unwrap().parse().unwrap();
        for _ in 0..2 {
            TcpStream::connect(address).await.unwrap();
            upstream.refuse().await;
            let refused = TcpStream::connect(address).await.unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
            let taken = TcpSocket::new_v4().unwrap().bind(address).unwrap_err();
            assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
            upstream.accept().unwrap();
        }
    }
}
