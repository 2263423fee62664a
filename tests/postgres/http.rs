//! A client that has a connection for each request, and tells a body's end from a cut.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// No answer takes longer; whoever waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) const PREFIX: &str = "/api/v1/chatkit";
pub(crate) const SECRET: &str = "a-planted-secret-that-is-long-enough-for-hs256";

/// Gives a token for `user` that lasts an hour.
pub(crate) fn token(user: &str) -> String {
    let claims = json!({ "sub": user, "exp": jiff::Timestamp::now().as_second() + 3600 });
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    jsonwebtoken::encode(&Header::default(), &claims, &key).unwrap()
}

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Gives the code of a refusal.
    pub(crate) fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
    }
}

/// Sends a request as a user, and reads all of its answer. One that is cut is an error.
pub(crate) async fn send(
    gateway: SocketAddr,
    user: &str,
    method: &str,
    path: &str,
    body: Option<&Value>,
) -> io::Result<Reply> {
    let asked = ask(gateway, user, method, path, body);
    let answered = tokio::time::timeout(PATIENCE, asked).await;
    answered.unwrap_or_else(|_| panic!("{method} {path} was not answered for {PATIENCE:?}"))
}

async fn ask(
    gateway: SocketAddr,
    user: &str,
    method: &str,
    path: &str,
    body: Option<&Value>,
) -> io::Result<Reply> {
    let token = token(user);
    let body = body.map(Value::to_string).unwrap_or_default();
    let kind = if body.is_empty() { "" } else { "content-type: application/json\r\n" };
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {gateway}\r\nconnection: close\r\n\
        authorization: Bearer {token}\r\n{kind}content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(gateway).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await?;
    let text = String::from_utf8(bytes).unwrap();
    let cut = || io::Error::from(io::ErrorKind::UnexpectedEof);
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(cut)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap();
    let mut reply = Reply { status, head: head.to_owned(), body: String::new() };
    reply.body = match reply.field("content-length") {
        Some(length) if length.parse() == Ok(body.len()) => body.to_owned(),
        Some(_) => return Err(cut()),
        None => of_chunks(body).ok_or_else(cut)?,
    };
    Ok(reply)
}

/// Gives a body without its chunks' lengths; `None` if it is cut.
fn of_chunks(mut body: &str) -> Option<String> {
    let mut whole = String::new();
    loop {
        let (length, rest) = body.split_once("\r\n")?;
        let length = usize::from_str_radix(length, 16).unwrap();
        if length == 0 {
            return Some(whole);
        }
        whole.push_str(rest.get(..length)?);
        body = rest.get(length..)?.strip_prefix("\r\n")?;
    }
}
