//! A plain HTTP/1.1 client: one connection an exchange, and the end of a body is told from a cut.

use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use super::PATIENCE;

/// How a body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// With its terminal chunk, or after as many bytes as were announced.
    Clean,
    /// The connection ended first.
    Cut,
}

/// Sends requests to one server, each with the same header fields.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    address: SocketAddr,
    fields: Vec<(String, String)>,
}

impl Client {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address, fields: Vec::new() }
    }

    #[must_use]
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.into(), value.into()));
        self
    }

    /// Sends a request and reads the head of its response.
    pub(crate) fn send(&self, method: &str, path: &str, body: Option<&[u8]>) -> Exchange {
        let exchange = self.try_send(method, path, body);
        exchange.expect("a response; the connection was closed before its first byte")
    }

    /// Gives the same; `None` if the connection ends before the first byte of a response.
    pub(crate) fn try_send(
        &self,
        method: &str,
        path: &str,
        body: Option<&[u8]>,
    ) -> Option<Exchange> {
        let mut request = Vec::new();
        write!(request, "{method} {path} HTTP/1.1\r\nhost: {}\r\n", self.address).unwrap();
        for (name, value) in &self.fields {
            write!(request, "{name}: {value}\r\n").unwrap();
        }
        if let Some(body) = body {
            write!(request, "content-length: {}\r\n", body.len()).unwrap();
        }
        request.extend(b"\r\n");
        request.extend(body.unwrap_or_default());

        let mut stream = TcpStream::connect(self.address)
            .unwrap_or_else(|error| panic!("no connection to {}: {error}", self.address));
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.write_all(&request).unwrap();
        let mut stream = BufReader::new(stream);
        match stream.fill_buf().map_err(|error| cut(&error)) {
            Ok(bytes) if !bytes.is_empty() => Some(Exchange::head(stream, method)),
            Ok(_) | Err(_) => None,
        }
    }

    /// Sends JSON and reads the whole response.
    pub(crate) fn json(&self, method: &str, path: &str, body: &Value) -> Reply {
        self.clone()
            .with("content-type", "application/json")
            .send(method, path, Some(body.to_string().as_bytes()))
            .finish()
    }

    /// Sends a request without a body and reads the whole response.
    pub(crate) fn call(&self, method: &str, path: &str) -> Reply {
        self.send(method, path, None).finish()
    }
}

#[derive(Debug)]
enum Framing {
    Chunked,
    /// So many bytes are still to come.
    Length(usize),
}

/// A response whose body is still being read. Dropping it closes the connection.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) status: u16,
    fields: Vec<(String, String)>,
    framing: Framing,
    stream: BufReader<TcpStream>,
}

impl Exchange {
    fn head(mut stream: BufReader<TcpStream>, method: &str) -> Self {
        let mut line = || {
            let mut line = String::new();
            let read = stream.read_line(&mut line).expect("the head of a response");
            assert_ne!(read, 0, "the connection was closed before the head of the response");
            line.trim_end().to_owned()
        };
        let first = line();
        let status = first
            .strip_prefix("HTTP/1.1 ")
            .and_then(|rest| rest.get(..3)?.parse().ok())
            .unwrap_or_else(|| panic!("not a status line: {first:?}"));
        let mut fields = Vec::new();
        loop {
            let field = line();
            let Some((name, value)) = field.split_once(':') else { break };
            fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let value = |wanted: &str| {
            fields.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str())
        };
        let framing = if value("transfer-encoding") == Some("chunked") {
            Framing::Chunked
        } else if method == "HEAD" || status == 204 {
            Framing::Length(0)
        } else {
            let length = value("content-length").expect("a body needs a length or chunks");
            Framing::Length(length.parse().unwrap())
        };
        Self { status, fields, framing, stream }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        find(&self.fields, name)
    }

    /// Gives the next piece of the body as it was framed: a chunk, or all of a body with a length.
    pub(crate) fn chunk(&mut self) -> Result<Vec<u8>, End> {
        match self.framing {
            Framing::Length(0) => Err(End::Clean),
            Framing::Length(length) => {
                let body = self.exactly(length)?;
                self.framing = Framing::Length(0);
                Ok(body)
            }
            Framing::Chunked => {
                let mut line = Vec::new();
                match self.stream.read_until(b'\n', &mut line) {
                    Ok(_) if line.ends_with(b"\r\n") => {}
                    Ok(_) => return Err(End::Cut),
                    Err(error) => return Err(cut(&error)),
                }
                let size = std::str::from_utf8(&line).unwrap().trim_end();
                let size = usize::from_str_radix(size, 16).expect("a chunk's size");
                let mut chunk = self.exactly(size + 2)?;
                assert!(chunk.ends_with(b"\r\n"), "a chunk ends with an empty line");
                chunk.truncate(size);
                if size == 0 { Err(End::Clean) } else { Ok(chunk) }
            }
        }
    }

    /// Reads on until `wanted` has been seen, and gives back everything read by this call.
    pub(crate) fn until(&mut self, wanted: &str) -> String {
        let mut seen = String::new();
        while !seen.contains(wanted) {
            let chunk = self.chunk().unwrap_or_else(|end| {
                panic!("the body ended ({end:?}) without {wanted:?}: {seen}")
            });
            seen.push_str(std::str::from_utf8(&chunk).unwrap());
        }
        seen
    }

    /// Reads the rest of the body.
    pub(crate) fn finish(mut self) -> Reply {
        let mut body = Vec::new();
        let end = loop {
            match self.chunk() {
                Ok(chunk) => body.extend(chunk),
                Err(end) => break end,
            }
        };
        Reply { status: self.status, fields: self.fields, body, end }
    }

    fn exactly(&mut self, length: usize) -> Result<Vec<u8>, End> {
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes).map_err(|error| cut(&error))?;
        Ok(bytes)
    }
}

/// Takes an error for an end. A closed or reset connection is a cut; silence is a failed test.
fn cut(error: &std::io::Error) -> End {
    assert!(
        !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        "nothing came for {PATIENCE:?}"
    );
    End::Cut
}

fn find<'a>(fields: &'a [(String, String)], wanted: &str) -> Option<&'a str> {
    fields.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str())
}

/// A response with all of its body.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) end: End,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        find(&self.fields, name)
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("UTF-8")
    }

    pub(crate) fn value(&self) -> Value {
        assert_eq!(self.end, End::Clean, "{}", self.text());
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in {} {:?}", self.status, self.text()))
    }

    /// Gives `data` of a successful envelope.
    #[track_caller]
    pub(crate) fn data(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text());
        let mut value = self.value();
        assert_eq!(value["success"], true, "{value}");
        value["data"].take()
    }

    /// Gives `error` of a refusal, which must have this status and code.
    #[track_caller]
    pub(crate) fn refusal(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        let mut value = self.value();
        assert_eq!(value["success"], false, "{value}");
        assert_eq!(value["error"]["code"], code, "{value}");
        assert!(!value["error"]["request_id"].as_str().unwrap_or_default().is_empty(), "{value}");
        value["error"].take()
    }
}

/// Gives the events of an SSE body, the way ChatKit writes them: one `data:` line each.
pub(crate) fn events(body: &[u8]) -> Vec<Value> {
    let body = std::str::from_utf8(body).expect("UTF-8");
    body.split_terminator("\n\n")
        .map(|event| {
            let data = event.strip_prefix("data: ").unwrap_or_else(|| panic!("{event:?}"));
            serde_json::from_str(data).unwrap_or_else(|error| panic!("{error} in {data:?}"))
        })
        .collect()
}
