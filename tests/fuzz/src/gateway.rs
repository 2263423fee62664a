//! The whole gateway, in this process: every room around an upstream that follows a script.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use chatkit_rest::config::{Config, Sources};
use chatkit_rest::error::BoxError;
use chatkit_rest::principal::UserId;
use chatkit_rest::proxy::Rooms;
use chatkit_rest::health::HealthLayer;
use chatkit_rest::session::{
    AttachmentOwners as _, BeginRun, Bound, Created, Found, MemoryStore, NewSession, Owned, RunId,
    Runs as _, SessionId, SessionStore, Sessions as _, SessionsPage, Settlement, ThreadId,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use tower::util::BoxCloneService;
use tower::{Service, ServiceExt as _};

use crate::script::{self, Answer, Ask, Who};

const SECRET: &[u8] = b"a-planted-secret-that-is-long-enough-for-hs256";
/// What an upstream says when it fails, and no client may read.
const UPSTREAMS_OWN: &str = "UPSTREAMS-OWN-WORDS";
const PREFIX: &str = "/api/v1/chatkit";

/// Sessions that are there: Ada's bound one and her new one, and Bob's.
const SESSIONS: [(Who, &str, Option<&str>); 4] = [
    (Who::Ada, "00000000-0000-4000-8000-00000000000a", Some("thr_ada")),
    (Who::Ada, "00000000-0000-4000-8000-0000000000aa", None),
    (Who::Bob, "00000000-0000-4000-8000-00000000000b", Some("thr_bob")),
    (Who::Bob, "00000000-0000-4000-8000-0000000000bb", None),
];

/// Checks, whatever Ada, Bob or nobody asks and whatever the upstream answers, that nothing panics,
/// nothing hangs, nobody's request reaches the upstream without a verified user in it, nothing that
/// is forwarded names what is somebody else's, a failure is the gateway's own words, and the bytes
/// of a stream that passes are the upstream's.
///
/// The input is a [script](crate::script).
pub fn gateway(data: &[u8]) {
    let asks = script::parse(data);
    if !asks.is_empty() {
        in_house(async |house| {
            for ask in asks {
                house.ask(ask).await;
            }
        });
    }
}

/// Checks that whatever the body of a pass-through request of Ada's is, nothing that reaches the
/// upstream names Bob's thread or attachment, as the SDK's parser reads it.
pub fn ownership(data: &[u8]) {
    let answer = |body: &'static str| Answer {
        status: 200,
        content_type: Bytes::from_static(b"application/json"),
        frames: vec![Bytes::from_static(body.as_bytes())],
        is_cut: false,
    };
    in_house(async |house| {
        let ask = Ask {
            who: Who::Ada,
            method: Method::POST,
            path: PREFIX.to_owned(),
            fields: vec![("content-type".into(), "application/json".into())],
            body: Bytes::copy_from_slice(data),
            answers: vec![answer(r#"{"data":[],"has_more":false}"#)],
        };
        house.ask(ask).await;
    });
}

/// Checks that whatever somebody makes up for a cursor, the answer has nothing of anybody else's in
/// it, not in its own cursors either.
///
/// The first byte picks the list, the second how the upstream takes unknown cursors, the rest is
/// the cursor.
pub fn cursor(data: &[u8]) {
    let [list, manner, cursor @ ..] = data else { return };
    let Ok(cursor) = std::str::from_utf8(cursor) else { return };
    let written: String =
        cursor.bytes().map(|byte| format!("%{byte:02X}")).collect::<Vec<_>>().concat();
    let (method, path, body) = match list % 6 {
        0 => (Method::GET, format!("{PREFIX}/sessions?after={written}"), String::new()),
        1 => {
            let path = format!("{PREFIX}/sessions/{}/threads/thr_ada/items", SESSIONS[0].1);
            (Method::GET, format!("{path}?after={written}"), String::new())
        }
        2 => (Method::GET, format!("/api/conversations?after={written}"), String::new()),
        3 => {
            let path = format!("/api/conversations/{}", SESSIONS[0].1);
            (Method::GET, format!("{path}?after={written}"), String::new())
        }
        list => {
            let (kind, thread) = match list {
                4 => ("threads.list", serde_json::Value::Null),
                _ => ("items.list", "thr_ada".into()),
            };
            let mut params = serde_json::json!({"limit": 2, "order": "desc", "after": cursor});
            if !thread.is_null() {
                params["thread_id"] = thread;
            }
            let body = serde_json::json!({"type": kind, "params": params});
            (Method::POST, PREFIX.to_owned(), body.to_string())
        }
    };
    in_house(async |house| {
        house.upstream.state().lists = Some(*manner);
        let ask = Ask {
            who: Who::Ada,
            method,
            path,
            fields: vec![("content-type".into(), "application/json".into())],
            body: body.into(),
            answers: Vec::new(),
        };
        let (status, body) = house.ask(ask).await;
        assert!(
            matches!(status.as_u16(), 200 | 400 | 404 | 422 | 502),
            "{status} to a made-up cursor"
        );
        // None was given, and no other leads anywhere but the id of one's own thread.
        let leads = cursor.is_empty() || (list % 6 == 4 && cursor == "thr_ada");
        assert!(leads || status.is_client_error(), "{status} to a made-up cursor");
        let body = String::from_utf8_lossy(&body).replace(cursor, "");
        assert!(!body.contains("thr_bob"), "somebody else's thread: {body}");
    });
}

/// Runs `visit` in a gateway where everything is as [`SESSIONS`] says.
///
/// Making its rooms takes much longer than a request, so a gateway is used again once what was
/// made in it is taken away, and only so often.
fn in_house(visit: impl AsyncFnOnce(&House)) {
    thread_local! {
        static RUNTIME: tokio::runtime::Runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        static HOUSE: RefCell<Option<(House, u32)>> = const { RefCell::new(None) };
    }
    const VISITS: u32 = 500;
    RUNTIME.with(|runtime| {
        runtime.block_on(async {
            let last = HOUSE.take();
            let (house, visits) = match last {
                Some((house, visits)) if visits < VISITS && house.is_tidied().await => {
                    (house, visits)
                }
                _ => (House::new().await, 0),
            };
            // By the paused clock, which runs as soon as nothing else does.
            let day = Duration::from_secs(24 * 3600);
            tokio::time::timeout(day, visit(&house)).await.expect("it hangs");
            HOUSE.set(Some((house, visits + 1)));
        });
    });
}

static CONFIG: LazyLock<Config> = LazyLock::new(|| {
    let settings = format!(
        "auth.secret = \"{}\"\nlimits.requests_per_minute = 0\n",
        std::str::from_utf8(SECRET).expect("a text")
    );
    Sources::new().toml("settings", settings).load().expect("settings").config
});

type Gateway =
    BoxCloneService<Request<Full<Bytes>>, Response<UnsyncBoxBody<Bytes, BoxError>>, BoxError>;

/// A gateway with two users, who have what [`SESSIONS`] says and an attachment each.
struct House {
    gateway: Gateway,
    upstream: Upstream,
    store: Arc<MemoryStore>,
}

impl House {
    async fn new() -> Self {
        let store = Arc::new(MemoryStore::new());
        assert!(is_furnished(&store).await, "an empty store");
        let sessions: Arc<dyn SessionStore> = Arc::<MemoryStore>::clone(&store);
        let rooms = Rooms::from_config(&CONFIG, sessions, HealthLayer::elsewhere()).expect("rooms");
        let upstream = Upstream::default();
        let gateway = rooms
            .around(upstream.clone())
            .map_response(|response| response.map(http_body_util::BodyExt::boxed_unsync))
            .map_err(Into::into);
        Self { gateway: BoxCloneService::new(gateway), upstream, store }
    }

    /// Tells whether everything is as it was at first.
    async fn is_tidied(&self) -> bool {
        *self.upstream.state() = State::default();
        for who in [Who::Ada, Who::Bob] {
            let user = user(who).expect("a user");
            let Ok(sessions) = self.store.list(SessionsPage::new(user, 1000)).await else {
                return false;
            };
            for session in sessions {
                let id = session.id;
                let Ok(owned) = self.store.ownership(id.into()).await else { return false };
                let Some(owned) = owned.and_then(Found::open) else { continue };
                if self.store.delete(id, owned.thread_id.as_deref(), now()).await.is_err() {
                    return false;
                }
            }
        }
        is_furnished(&self.store).await
    }

    async fn ask(&self, ask: Ask) -> (StatusCode, Bytes) {
        let Ask { who, method, path, fields, body, answers } = ask;
        let is_run = path.ends_with("/runs") || path == PREFIX;
        let Ok(mut request) = Request::builder().method(method).uri(&path).body(Full::new(body))
        else {
            return (StatusCode::BAD_REQUEST, Bytes::new());
        };
        for (name, value) in fields {
            if let (Ok(name), Ok(value)) =
                (HeaderName::from_bytes(&name), HeaderValue::from_maybe_shared(value))
            {
                request.headers_mut().append(name, value);
            }
        }
        request.headers_mut().remove("authorization");
        if let Some(token) = token(who) {
            request.headers_mut().insert("authorization", token);
        }
        let asked_before = {
            let mut state = self.upstream.state();
            state.who = who;
            state.answers = answers.into();
            state.sent.clear();
            state.asked
        };
        let response = self.gateway.clone().oneshot(request).await.expect("the gateway answers");
        let (head, mut body) = response.into_parts();
        let mut bytes = Vec::new();
        let mut is_cut = false;
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => bytes.extend_from_slice(&frame.into_data().unwrap_or_default()),
                Err(_) => is_cut = true,
            }
        }
        drop(body);
        // What is done after the answer is asked for the same user.
        for _ in 0..32 {
            tokio::task::yield_now().await;
        }
        let state = self.upstream.state();
        if who == Who::Nobody {
            assert_eq!(state.asked, asked_before, "the upstream was asked by nobody");
            assert_ne!(head.status, StatusCode::CREATED, "made for nobody");
        }
        if head.status.is_server_error() {
            let text = String::from_utf8_lossy(&bytes);
            assert!(!text.contains(UPSTREAMS_OWN), "{}: {text}", head.status);
        }
        if !head.status.is_success() && !bytes.is_empty() {
            let refusal: Result<serde_json::Value, _> = serde_json::from_slice(&bytes);
            assert!(refusal.is_ok(), "{}: {}", head.status, String::from_utf8_lossy(&bytes));
            assert!(bytes.len() < 256 * 1024, "a refusal of {} bytes", bytes.len());
        }
        let is_stream = head
            .headers
            .get("content-type")
            .is_some_and(|value| value.as_bytes().starts_with(b"text/event-stream"));
        if is_stream && is_run && head.status == StatusCode::OK {
            let sent = state.sent.last().map(Vec::as_slice).unwrap_or_default();
            assert!(is_cut || bytes == sent, "other bytes than the upstream's");
            assert!(sent.starts_with(&bytes), "other bytes than the upstream's, and a cut");
        }
        (head.status, bytes.into())
    }
}

/// Puts in what [`SESSIONS`] says; `false` if something is in the way.
async fn is_furnished(store: &MemoryStore) -> bool {
    for (who, id, thread) in SESSIONS {
        let id = SessionId::parse(id).expect("an id");
        let user_id = user(who).expect("a user");
        let now = now();
        let run = RunId::random();
        let mut session = NewSession::new(user_id.clone(), now);
        session.id = id;
        session.first_run = thread.map(|_| BeginRun::new(run, now));
        let Ok(Created::Session(_)) = store.create(session, None).await else { return false };
        let Some(thread) = thread else { continue };
        let bound = store.bind(id, &user_id, run, ThreadId::from(thread), now).await;
        let Ok(Bound::Done) = bound else { return false };
        if store.settle(id, run, Settlement::default()).await.is_err() {
            return false;
        }
        let attachment = thread.replace("thr_", "atc_");
        let Ok(Owned::Done) = store.own_attachment(&user_id, &attachment).await else {
            return false;
        };
    }
    true
}

fn now() -> jiff::Timestamp {
    "2026-11-01T00:00:00Z".parse().expect("a time")
}

fn user(who: Who) -> Option<UserId> {
    let name = match who {
        Who::Ada => "ada",
        Who::Bob => "bob",
        Who::Nobody => return None,
    };
    UserId::parse(name).ok()
}

fn token(who: Who) -> Option<HeaderValue> {
    let user = user(who)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs();
    let claims = serde_json::json!({"sub": user.as_str(), "exp": now + 3600});
    let signed = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256"}"#),
        URL_SAFE_NO_PAD.encode(claims.to_string())
    );
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET), signed.as_bytes());
    let token = format!("Bearer {signed}.{}", URL_SAFE_NO_PAD.encode(tag.as_ref()));
    HeaderValue::try_from(token).ok()
}

/// An upstream that answers what it is told to, and looks at what reaches it.
#[derive(Clone, Default)]
struct Upstream(Arc<Mutex<State>>);

struct State {
    who: Who,
    answers: VecDeque<Answer>,
    /// How often it was asked.
    asked: usize,
    /// The whole bodies that it answered with.
    sent: Vec<Vec<u8>>,
    /// Lists are answered as a server's would be that has two users' threads and treats unknown
    /// cursors so.
    lists: Option<u8>,
}

impl Default for State {
    fn default() -> Self {
        Self { who: Who::Nobody, answers: VecDeque::new(), asked: 0, sent: Vec::new(), lists: None }
    }
}

impl Upstream {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no panic before")
    }
}

impl Service<Request<Full<Bytes>>> for Upstream {
    type Response = Response<Frames>;
    type Error = BoxError;
    type Future = std::future::Ready<Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        let (head, body) = request.into_parts();
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let body = match Pin::new(&mut { body }).poll_frame(&mut cx) {
            Poll::Ready(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
            _ => Bytes::new(),
        };
        let mut state = self.state();
        state.asked += 1;
        look_at(state.who, &head.headers, &body);
        let answer = match state.lists {
            Some(manner) => lists(manner, &body),
            None => state.answers.pop_front().unwrap_or_else(|| Answer {
                status: 500,
                content_type: Bytes::from_static(b"text/plain"),
                frames: vec![Bytes::from_static(UPSTREAMS_OWN.as_bytes())],
                is_cut: false,
            }),
        };
        state.sent.push(answer.frames.concat());
        let mut response =
            Response::new(Frames { frames: answer.frames.into(), is_cut: answer.is_cut });
        *response.status_mut() = StatusCode::from_u16(answer.status)
            .ok()
            .filter(|status| !status.is_informational())
            .unwrap_or(StatusCode::OK);
        if let Ok(value) = HeaderValue::from_maybe_shared(answer.content_type) {
            response.headers_mut().insert("content-type", value);
        }
        std::future::ready(Ok(response))
    }
}

/// Checks what must hold of everything that reaches the upstream.
fn look_at(who: Who, fields: &HeaderMap, body: &[u8]) {
    let user = user(who).expect("the upstream was asked by nobody");
    let named: Vec<_> = fields.get_all("x-user-id").iter().collect();
    assert_eq!(named, [user.as_str()], "who it is for");
    for name in ["authorization", "cookie", "x_user_id", "x-forwarded-for", "remote-user"] {
        assert!(!fields.contains_key(name), "{name} was forwarded");
    }
    let value = jiter::JsonValue::parse(body, true).expect("the SDK can read what is forwarded");
    let foreign = if who == Who::Ada { ["thr_bob", "atc_bob"] } else { ["thr_ada", "atc_ada"] };
    look_for(&value, None, foreign);
}

/// Panics where an id's place has one of `foreign`. Keys that come twice are both looked at.
fn look_for(value: &jiter::JsonValue<'_>, place: Option<&str>, foreign: [&str; 2]) {
    match value {
        jiter::JsonValue::Str(text) => {
            let names = matches!(place, Some("thread_id" | "attachment_id" | "attachments"));
            assert!(!names || !foreign.contains(&&**text), "{text} was forwarded");
        }
        jiter::JsonValue::Array(values) => {
            values.iter().for_each(|value| look_for(value, place, foreign));
        }
        jiter::JsonValue::Object(members) => {
            for (key, value) in members.iter() {
                // What is told to the server's own code is not the gateway's to read.
                if !matches!(&**key, "payload" | "result" | "data" | "metadata") {
                    look_for(value, Some(key), foreign);
                }
            }
        }
        _ => {}
    }
}

/// Gives the lists of a server that has a thread of Ada's and two of Bob's, whose cursors are the
/// ids of the rows that they stand behind.
fn lists(manner: u8, body: &[u8]) -> Answer {
    let request: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let rows: &[&str] = match request["type"].as_str() {
        Some("threads.list") => &["thr_bob", "thr_ada", "thr_bob2"],
        Some("items.list") => &["msg_1", "msg_2", "msg_3"],
        _ => &[],
    };
    let after = request["params"]["after"].as_str();
    let at = after.and_then(|after| rows.iter().position(|row| *row == after));
    let from = match (after, at) {
        (None, _) => 0,
        (Some(_), Some(at)) => at + 1,
        (Some(_), None) if manner & 1 == 0 => 0,
        (Some(_), None) => rows.len(),
    };
    if after.is_some() && at.is_none() && manner & 2 == 2 {
        return Answer { status: 500, ..Answer::default() };
    }
    let to = (from + 1).min(rows.len());
    let row = |id: &&str| {
        serde_json::json!({
            "id": id, "created_at": "2026-11-01T00:00:00", "status": {"type": "active"},
            "metadata": {}, "items": {"data": [], "has_more": false},
            "thread_id": "thr_ada", "type": "user_message", "content": [], "attachments": [],
            "inference_options": {},
        })
    };
    let has_more = to < rows.len();
    let page = serde_json::json!({
        "data": rows[from..to].iter().map(row).collect::<Vec<_>>(),
        "has_more": has_more,
        "after": if has_more { rows[from..to].last() } else { None },
    });
    let mut answer = page;
    if request["type"] == "threads.get_by_id" {
        answer = row(&"thr_ada");
    }
    Answer {
        status: 200,
        content_type: Bytes::from_static(b"application/json"),
        frames: vec![answer.to_string().into()],
        is_cut: false,
    }
}

/// A body in the frames that a script says, whole or cut off.
struct Frames {
    frames: VecDeque<Bytes>,
    is_cut: bool,
}

impl Body for Frames {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Poll::Ready(match self.frames.pop_front() {
            Some(frame) => Some(Ok(Frame::data(frame))),
            None if std::mem::take(&mut self.is_cut) => Some(Err("cut off".into())),
            None => None,
        })
    }
}
