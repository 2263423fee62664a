//! The gateway, on a port of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use chatkit_rest::config::Sources;
use chatkit_rest::error::Error;
use chatkit_rest::server::Server;
use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::client::{Client, Reply};
#[cfg(feature = "tls")]
use super::tls::{Authority, Files, TlsClient};
use super::{Upstream, Wire, soon};

pub(crate) const PREFIX: &str = "/api/v1/chatkit";
pub(crate) const SECRET: &str = "a-planted-secret-that-is-long-enough-for-hs256";

/// Gives a token for `user` that lasts an hour.
pub(crate) fn token(user: &str) -> String {
    token_with(&json!({ "sub": user, "exp": jiff::Timestamp::now().as_second() + 3600 }))
}

pub(crate) fn token_with(claims: &Value) -> String {
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    jsonwebtoken::encode(&Header::default(), claims, &key).unwrap()
}

/// A gateway in a task of this runtime. Dropping it ends it without any grace.
pub(crate) struct Gateway {
    pub(crate) address: SocketAddr,
    pub(crate) admin: Option<SocketAddr>,
    shutdown: Option<oneshot::Sender<()>>,
    serving: Option<JoinHandle<Result<(), Error>>>,
    /// Who calls it, if it speaks TLS.
    #[cfg(feature = "tls")]
    caller: Option<(TlsClient, Files)>,
}

impl Gateway {
    /// Starts in front of `upstream`, with a store in memory and no limit of requests.
    pub(crate) async fn start(upstream: &Upstream) -> Self {
        Self::with(upstream, &[]).await
    }

    pub(crate) async fn with(upstream: &Upstream, settings: &[(&'static str, &str)]) -> Self {
        Self::at(upstream.address(), settings).await
    }

    pub(crate) async fn at(upstream: SocketAddr, settings: &[(&'static str, &str)]) -> Self {
        let url = format!("http://{upstream}/chatkit");
        let mut all: Vec<(&'static str, &str)> = vec![
            ("upstream.url", &url),
            ("auth.secret", SECRET),
            ("store.url", "memory:"),
            ("limits.requests_per_minute", "0"),
        ];
        all.extend(settings);
        Self::configured(&all).await
    }

    pub(crate) async fn configured(settings: &[(&'static str, &str)]) -> Self {
        super::listen();
        let mut sources = Sources::new().set("test", "listen", "127.0.0.1:0");
        for (key, value) in settings {
            sources = sources.set("test", key, *value);
        }
        let config = sources.load().expect("a configuration").config;
        let server = Server::bind(config).await.expect("a gateway");
        let (shutdown, asked) = oneshot::channel::<()>();
        Self {
            address: server.local_addr(),
            admin: server.admin_addr(),
            shutdown: Some(shutdown),
            serving: Some(tokio::spawn(server.serve(async move {
                // A dropped sender is no wish to end.
                if asked.await.is_err() {
                    std::future::pending::<()>().await;
                }
            }))),
            #[cfg(feature = "tls")]
            caller: None,
        }
    }

    /// Starts one that speaks TLS, and is called in it.
    #[cfg(feature = "tls")]
    pub(crate) async fn secure(upstream: &Upstream, settings: &[(&'static str, &str)]) -> Self {
        let authority = Authority::new("tests");
        let files = Files::of(&authority.sign(&["localhost"]));
        let mut gateway = files.gateway(upstream, settings).await;
        gateway.caller = Some((authority.client(), files));
        gateway
    }

    /// Starts one of each kind: what is the same with TLS and without.
    pub(crate) async fn of_each_kind(
        upstream: &Upstream,
        settings: &[(&'static str, &str)],
    ) -> Vec<Self> {
        vec![
            Self::with(upstream, settings).await,
            #[cfg(feature = "tls")]
            Self::secure(upstream, settings).await,
        ]
    }

    /// Asks it to drain.
    pub(crate) fn stop(&mut self) {
        self.shutdown.take().expect("stopped once").send(()).expect("it serves");
    }

    /// Waits for it to end after [`stop`](Self::stop).
    pub(crate) async fn stopped(mut self) {
        soon(self.serving.take().expect("it serves")).await.unwrap().unwrap();
    }

    /// Tells whether it has ended.
    pub(crate) fn has_stopped(&self) -> bool {
        self.serving.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Ends it without any grace, as far as that is possible inside of a process.
    pub(crate) async fn kill(mut self) {
        let serving = self.serving.take().expect("it serves");
        serving.abort();
        let _cancelled = soon(serving).await;
    }

    pub(crate) async fn connect(&self) -> Client {
        #[cfg(feature = "tls")]
        if let Some((caller, _)) = &self.caller {
            return caller.http1(self.address).await;
        }
        Client::connect(self.address).await
    }

    /// Connects for HTTP/2.
    pub(crate) async fn connect_http2(&self) -> Wire {
        #[cfg(feature = "tls")]
        if let Some((caller, _)) = &self.caller {
            return caller.clone().speaking(&["h2"]).connect(self.address).await.unwrap();
        }
        Wire::connect(self.address).await
    }

    /// Waits until everything that the gateway was sent before this call has been looked at when it
    /// returns.
    pub(crate) async fn settle(&self) {
        let mut client = self.connect().await;
        for _ in 0..3 {
            client.send("GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await;
            assert_eq!(client.reply().await.status, 200);
        }
    }

    /// Sends a request without a body, on a connection of its own.
    pub(crate) async fn get(&self, user: &str, path: &str) -> Reply {
        self.send(TestRequest::new("GET", path).user(user)).await
    }

    /// Sends a request with a JSON body, on a connection of its own.
    pub(crate) async fn post(&self, user: &str, path: &str, body: &str) -> Reply {
        self.send(TestRequest::new("POST", path).user(user).json(body)).await
    }

    /// Sends any request, on a connection of its own.
    pub(crate) async fn send(&self, request: TestRequest) -> Reply {
        let mut client = self.connect().await;
        client.send(request.bytes()).await;
        client.reply_to(&request.method).await
    }

    /// Gives a new session's id.
    pub(crate) async fn session(&self, user: &str) -> String {
        let data = self.post(user, "/sessions", "{}").await.data();
        data["id"].as_str().unwrap().to_owned()
    }

    /// Sends a message on a connection of its own; the answer is yet to come.
    pub(crate) async fn say(&self, user: &str, session: &str) -> Client {
        let mut client = self.connect().await;
        client.send(TestRequest::run(session).user(user).bytes()).await;
        client
    }

    /// Sends a ChatKit request on a connection of its own; the answer is yet to come.
    pub(crate) async fn chatkit(&self, user: &str, body: &str) -> Client {
        let mut client = self.connect().await;
        client.send(TestRequest::new("POST", "").user(user).json(body).bytes()).await;
        client
    }

    /// Gives a session that is bound to `thread_id`.
    pub(crate) async fn bound(&self, upstream: &Upstream, user: &str, thread_id: &str) -> String {
        let session = self.session(user).await;
        let mut client = self.say(user, &session).await;
        let (mut peer, _) = upstream.request().await;
        let body = format!("{}{}", super::preamble(thread_id), super::MESSAGE_DONE);
        peer.send(super::stream_answer(&body)).await;
        let reply = client.reply().await;
        assert_eq!(reply.text(), body);
        peer.close();
        session
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if let Some(serving) = &self.serving {
            serving.abort();
        }
    }
}

/// A request as it goes over the wire.
#[derive(Clone, Debug)]
pub(crate) struct TestRequest {
    pub(crate) method: String,
    path: String,
    host: String,
    fields: String,
    body: Option<Vec<u8>>,
}

impl TestRequest {
    /// Makes a request; `path` is below the prefix, unless it begins with two slashes.
    pub(crate) fn new(method: &str, path: &str) -> Self {
        let path = match path.strip_prefix('/') {
            Some(rest) if rest.starts_with('/') => rest.to_owned(),
            _ => format!("{PREFIX}{path}"),
        };
        let (method, host) = (method.to_owned(), "localhost".to_owned());
        Self { method, path, host, fields: String::new(), body: None }
    }

    /// Makes a message for the session's thread.
    pub(crate) fn run(session: &str) -> Self {
        Self::new("POST", &format!("/sessions/{session}/threads/{session}/runs"))
            .json("{\"message\":\"hi\"}")
    }

    /// Makes the same with another method.
    pub(crate) fn method(mut self, method: &str) -> Self {
        method.clone_into(&mut self.method);
        self
    }

    pub(crate) fn user(self, user: &str) -> Self {
        let token = token(user);
        self.field("authorization", &format!("Bearer {token}"))
    }

    pub(crate) fn host(self, host: &str) -> Self {
        Self { host: host.to_owned(), ..self }
    }

    pub(crate) fn field(mut self, name: &str, value: &str) -> Self {
        self.fields.extend([name, ": ", value, "\r\n"]);
        self
    }

    pub(crate) fn json(self, body: &str) -> Self {
        self.field("content-type", "application/json").body(body)
    }

    pub(crate) fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = Some(body.as_ref().to_vec());
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let length = match &self.body {
            Some(body) => format!("content-length: {}\r\n", body.len()),
            None => String::new(),
        };
        let Self { method, path, host, fields, .. } = self;
        let mut bytes = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\n{fields}{length}\r\n")
            .into_bytes();
        bytes.extend_from_slice(self.body.as_deref().unwrap_or_default());
        bytes
    }
}

/// A folder for a store; removed with its owner.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("journey-{}-{n}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn store(&self) -> String {
        format!("sqlite:{}", self.path("sessions.db").display())
    }

    /// Gives the path of a file in it.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.0);
    }
}
