//! A whole gateway in this process: every room, sessions in memory, and an upstream that costs
//! next to nothing, so that what is counted is the rooms'.

#![allow(dead_code, reason = "each of its users needs a part of it")]

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use chatkit_rest::config::Sources;
use chatkit_rest::error::BoxError;
use chatkit_rest::health::HealthLayer;
use chatkit_rest::principal::UserId;
use chatkit_rest::proxy::Rooms;
use chatkit_rest::session::{
    BeginRun, Bound, MemoryStore, NewSession, RunId, Runs as _, SessionId, SessionStore,
    Sessions as _, Settlement,
};
use chatkit_rest::surface::Surface;
use http::{Method, Request, Response};
use http_body::{Body, Frame};
use http_body_util::Full;
use jiff::Timestamp;
use tower::{Service, ServiceExt as _, service_fn};

pub(crate) const SECRET: &str = "0123456789abcdef0123456789abcdef";
/// A message as a client of some ambition writes it.
pub(crate) const RUN: &[u8] = br#"{"message":{"content":[{"type":"input_text","text":"Hello, what is the weather like?"}],"attachments":[],"quoted_text":null,"inference_options":{"model":"m","tool_choice":{"id":"t"}}},"metadata":{"a":1}}"#;

/// What signs requests to the upstream, as settings, with what it is called.
pub(crate) const PROOFS: [(&str, &str); 2] = [
    ("hs256", "proof_secret = \"0123456789abcdef0123456789abcdef\""),
    (
        "ed25519",
        concat!(
            "proof_key_file = '",
            env!("CARGO_MANIFEST_DIR"),
            "/fixtures/keys/ed25519.private.pem'"
        ),
    ),
];

/// A service's key, and its digest.
const KEY: &str = "abc";
const KEY_SHA256: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

const PREFIX: &str = "/api/v1/chatkit";
pub(crate) const THREAD: &str = "thr_0123456789";

/// What a run begins with, and what it is long because of.
const PREAMBLE: &[u8] = b"data: {\"type\":\"thread.item.done\",\"item\":{\"id\":\"msg_1\",\
    \"thread_id\":\"thr_0123456789\",\"created_at\":\"2026-01-01T00:00:00\",\"content\":[{\"type\":\
    \"input_text\",\"text\":\"Hello\"}],\"attachments\":[],\"inference_options\":{},\"type\":\
    \"user_message\"}}\n\ndata: {\"type\":\"stream_options\",\"stream_options\":{\"allow_cancel\":\
    true}}\n\n";
const DELTA: &[u8] = b"data: {\"type\":\"thread.item.updated\",\"item_id\":\"msg_2\",\"update\":\
    {\"type\":\"assistant_message.content_part.text_delta\",\"content_index\":0,\"delta\":\
    \"forty bytes of text, more or less, here\"}}\n\n";

const THREAD_JSON: &[u8] = b"{\"id\":\"thr_0123456789\",\"created_at\":\"2026-01-01T00:00:00\",\
    \"status\":{\"type\":\"active\"},\"metadata\":{},\"title\":\"A title\",\"items\":{\"data\":[],\
    \"has_more\":false}}";

/// A body of frames that were there before.
#[derive(Debug)]
pub(crate) struct Canned {
    first: Option<&'static [u8]>,
    deltas: usize,
}

impl Body for Canned {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let data = match self.first.take() {
            Some(first) => Bytes::from_static(first),
            None if self.deltas > 0 => {
                self.deltas -= 1;
                Bytes::from_static(DELTA)
            }
            None => return Poll::Ready(None),
        };
        Poll::Ready(Some(Ok(Frame::data(data))))
    }
}

fn upstream(deltas: usize, request: &Request<Full<Bytes>>) -> Response<Canned> {
    let stream = request.headers()["accept"] == "text/event-stream";
    let (content_type, body) = if stream {
        ("text/event-stream", Canned { first: Some(PREAMBLE), deltas })
    } else {
        ("application/json", Canned { first: Some(THREAD_JSON), deltas: 0 })
    };
    let mut response = Response::new(body);
    let content_type = http::HeaderValue::from_static(content_type);
    response.headers_mut().insert(http::header::CONTENT_TYPE, content_type);
    response
}

type Answer = Ready<Result<Response<Canned>, Infallible>>;

/// Gives the rooms around an upstream whose runs have `deltas` deltas.
pub(crate) fn gateway(
    rooms: &Rooms,
    deltas: usize,
) -> impl Service<
    Request<Full<Bytes>>,
    Response = Response<impl Body<Data = Bytes, Error = BoxError> + Send + use<>>,
    Error: Into<BoxError>,
    Future: Send,
> + Clone
+ Send
+ use<> {
    rooms.around(service_fn(move |request: Request<Full<Bytes>>| -> Answer {
        ready(Ok(upstream(deltas, &request)))
    }))
}

/// Gives a token of ada's, good for long.
pub(crate) fn token() -> String {
    let claims = serde_json::json!({ "sub": "ada", "exp": 4_000_000_000_u64 });
    let key = jsonwebtoken::EncodingKey::from_secret(SECRET.as_bytes());
    jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap()
}

/// Rooms without limits, and a session in them that has a thread.
pub(crate) struct Furnished {
    pub(crate) rooms: Rooms,
    session: SessionId,
    token: String,
}

impl Furnished {
    pub(crate) fn new() -> Self {
        let store = Arc::new(MemoryStore::new());
        let session = SessionId::random();
        poll_once(bound_session(&store, session));
        Self { session, ..Self::on(store) }
    }

    /// Makes the same, whose requests to the upstream say who calls.
    pub(crate) fn proving(setting: &str) -> Self {
        let store = Arc::new(MemoryStore::new());
        let session = SessionId::random();
        poll_once(bound_session(&store, session));
        let upstream = format!("url = \"http://127.0.0.1:8000/chatkit\"\n{setting}");
        Self { session, ..Self::configured(store, &upstream) }
    }

    /// Makes the same around a store with whatever it has.
    pub(crate) fn on(store: Arc<dyn SessionStore>) -> Self {
        Self::configured(store, "url = \"embedded\"")
    }

    fn configured(store: Arc<dyn SessionStore>, upstream: &str) -> Self {
        let config = Sources::new()
            .toml(
                "bench.toml",
                format!(
                    "[auth]\nsecret = \"{SECRET}\"\n[upstream]\n{upstream}\n[store]\n\
                     url = \"memory:\"\n[limits]\nrequests_per_minute = 4000000000\n\
                     max_messages = 0\n\
                     [openai]\napi_keys = [{{ name = \"bench\", sha256 = \"{KEY_SHA256}\" }}]\n"
                ),
            )
            .load()
            .unwrap()
            .config;
        let rooms = Rooms::from_config(&config, store, HealthLayer::elsewhere()).unwrap();
        Self { rooms, session: SessionId::random(), token: token() }
    }

    fn request(&self, method: Method, path: &str, body: String) -> Request<Full<Bytes>> {
        Self::request_of(&self.token, method, format!("{PREFIX}{path}"), body)
    }

    /// Makes a request for a path of a surface's, with the session's and the thread's ids in it.
    pub(crate) fn of_surface(
        &self,
        surface: Surface,
        method: &Method,
        path: &str,
        body: String,
    ) -> Request<Full<Bytes>> {
        let session = self.session.to_string();
        let path = path
            .replace("{session_id}", &session)
            .replace("{thread_id}", &session)
            .replace("{item_id}", "msg_1")
            .replace("{user_id}", "ada");
        let (prefix, token) = match surface {
            Surface::Rest => (PREFIX, &*self.token),
            Surface::Chat => ("/api", &*self.token),
            Surface::OpenAi => ("/v1/chatkit", KEY),
            other => panic!("where is {other:?}?"),
        };
        Self::request_of(token, method.clone(), format!("{prefix}{path}"), body)
    }

    fn request_of(token: &str, method: Method, uri: String, body: String) -> Request<Full<Bytes>> {
        Request::builder()
            .method(method)
            .uri(uri)
            .header("host", "127.0.0.1:8080")
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json")
            .header("accept", "*/*")
            .header("user-agent", "bench")
            .body(Full::from(body))
            .unwrap()
    }

    /// Gives a thread by the pass-through: the smallest operation that asks the upstream.
    pub(crate) fn get_thread(&self) -> Request<Full<Bytes>> {
        let body = format!(r#"{{"type":"threads.get_by_id","params":{{"thread_id":"{THREAD}"}}}}"#);
        self.request(Method::POST, "", body)
    }

    pub(crate) fn run(&self) -> Request<Full<Bytes>> {
        let path = format!("/sessions/{0}/threads/{0}/runs", self.session);
        let body = r#"{"message":"Hello there, what is the weather like?","stream":true}"#;
        self.request(Method::POST, &path, body.to_owned())
    }
}

async fn bound_session(store: &MemoryStore, id: SessionId) {
    let now = Timestamp::now();
    let user_id = UserId::parse("ada").unwrap();
    let run = RunId::random();
    let mut session = NewSession::new(user_id.clone(), now);
    (session.id, session.first_run) = (id, Some(BeginRun::new(run, now)));
    let _ = store.create(session, None).await.unwrap();
    let bound = store.bind(id, &user_id, run, THREAD.into(), now).await.unwrap();
    assert_eq!(bound, Bound::Done);
    store.settle(id, run, Settlement::default()).await.unwrap();
}

/// Gives the answer to `request`, which nothing here keeps waiting.
pub(crate) fn call<S, R>(service: &S, request: Request<Full<Bytes>>) -> Response<R>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: Into<BoxError>> + Clone,
{
    match poll_once(service.clone().oneshot(request)) {
        Ok(response) => response,
        Err(error) => panic!("{}", error.into()),
    }
}

/// Reads a body to its end; how many bytes and frames it had.
pub(crate) fn drain<B>(body: &mut Pin<&mut B>) -> (usize, usize)
where
    B: Body<Data = Bytes, Error = BoxError>,
{
    let mut cx = Context::from_waker(Waker::noop());
    let (mut bytes, mut frames) = (0, 0);
    loop {
        match body.as_mut().poll_frame(&mut cx) {
            Poll::Ready(Some(Ok(frame))) => {
                bytes += frame.data_ref().map_or(0, Bytes::len);
                frames += 1;
            }
            Poll::Ready(Some(Err(error))) => panic!("{error}"),
            Poll::Ready(None) => return (bytes, frames),
            Poll::Pending => panic!("the body stalls"),
        }
    }
}

fn poll_once<F: Future>(future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it waits"),
    }
}
