//! An HTTP/2 client that knew before that the gateway speaks it.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::task::JoinHandle;

use super::{PREFIX, Wire, soon, token};

pub(crate) struct Http2 {
    sender: SendRequest<Full<Bytes>>,
    address: SocketAddr,
    pub(crate) connection: JoinHandle<hyper::Result<()>>,
}

impl Http2 {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::on(address, &http2::Builder::new(TokioExecutor::new())).await
    }

    /// Makes a client that never stops to ask whether the gateway is there.
    pub(crate) async fn connect_pinging(address: SocketAddr, interval: Duration) -> Self {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.timer(TokioTimer::new()).keep_alive_interval(interval).keep_alive_while_idle(true);
        Self::on(address, &builder).await
    }

    async fn on(address: SocketAddr, builder: &http2::Builder<TokioExecutor>) -> Self {
        Self::with(address, Wire::connect(address).await, builder).await
    }

    /// Speaks over what is connected.
    pub(crate) async fn over(address: SocketAddr, wire: Wire) -> Self {
        Self::with(address, wire, &http2::Builder::new(TokioExecutor::new())).await
    }

    async fn with(
        address: SocketAddr,
        wire: Wire,
        builder: &http2::Builder<TokioExecutor>,
    ) -> Self {
        let (sender, connection) = soon(builder.handshake(TokioIo::new(wire))).await.unwrap();
        Self { sender, address, connection: tokio::spawn(connection) }
    }

    pub(crate) fn request(&self, method: &str, path: &str, user: &str) -> http::request::Builder {
        Request::builder()
            .method(method)
            .uri(format!("http://{}{PREFIX}{path}", self.address))
            .header("authorization", format!("Bearer {}", token(user)))
    }

    /// Sends a request; the head of its answer is yet to come.
    pub(crate) fn send(
        &self,
        request: Request<Full<Bytes>>,
    ) -> JoinHandle<hyper::Result<Response<Incoming>>> {
        tokio::spawn(self.sender.clone().send_request(request))
    }

    /// Sends a request with a JSON body; the head of its answer is yet to come.
    pub(crate) fn post(
        &self,
        user: &str,
        path: &str,
        body: &str,
    ) -> JoinHandle<hyper::Result<Response<Incoming>>> {
        let request = self.request("POST", path, user).header("content-type", "application/json");
        self.send(request.body(Full::from(body.to_owned())).unwrap())
    }

    /// Sends a message for the session's thread.
    pub(crate) fn say(
        &self,
        user: &str,
        session: &str,
    ) -> JoinHandle<hyper::Result<Response<Incoming>>> {
        let path = format!("/sessions/{session}/threads/{session}/runs");
        self.post(user, &path, "{\"message\":\"hi\"}")
    }
}

/// Gives all that comes of a body, and the error that it ends with, if it does.
pub(crate) async fn read(body: &mut Incoming) -> (Vec<u8>, Option<hyper::Error>) {
    let mut bytes = Vec::new();
    loop {
        match soon(body.frame()).await {
            None => return (bytes, None),
            Some(Ok(frame)) => bytes.extend_from_slice(&frame.into_data().expect("data")),
            Some(Err(error)) => return (bytes, Some(error)),
        }
    }
}
