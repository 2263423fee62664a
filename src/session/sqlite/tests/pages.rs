//! What lists cost, and whom.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use tower::{ServiceExt as _, service_fn};

use super::*;
use crate::config::Sources;
use crate::health::HealthLayer;
use crate::proxy::Rooms;
use crate::session::adoption::{AdoptedThread, Adoption};
use crate::session::pages::{SessionPlace, SessionsPage, ThreadsPage};
use crate::session::record::ConversationIds;
use crate::session::store::{Directory as _, Uncounted};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
/// A service's key, and its digest.
const KEY: &str = "abc";
const KEY_SHA256: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

/// So many threads of a user's, `thr_0` and so on, that are conversations too.
async fn adopt(store: &SqliteStore, user_id: &str, threads: u64, title: Option<&str>) {
    let thread = |n: u64| {
        let at = Timestamp::from_second(1_000_000 + i64::try_from(n).unwrap()).unwrap();
        Adoption::Thread(AdoptedThread {
            thread_id: format!("thr_{user_id}_{n}").into(),
            user_id: UserId::parse(user_id).unwrap(),
            title: title.map(str::to_owned),
            created_at: at,
            updated_at: at,
            known_by: None,
        })
    };
    store.adopt((0..threads).map(thread).collect()).await.unwrap();
}

fn page(user_id: &str, limit: usize, after: Option<SessionPlace>) -> SessionsPage {
    let (user_id, ids) = (UserId::parse(user_id).unwrap(), ConversationIds::Uuid);
    SessionsPage { user_id, ids, after, limit }
}

/// Waits until nothing is left to be written.
async fn written(store: &SqliteStore) {
    while store.queue().tallies(|tallies| tallies.len()) > 0 {
        tokio::task::yield_now().await;
    }
}

/// An upstream with one thread, which is every thread it is asked for.
async fn upstream(_: Request<Full<Bytes>>) -> Result<Response<Full<Bytes>>, Infallible> {
    let thread = json!({
        "id": "thr_ada_2", "created_at": "2026-01-01T00:00:00", "title": "A title",
        "status": {"type": "active"}, "metadata": {}, "items": {"data": [], "has_more": false},
        "data": [{"id": "thr_ada_2", "created_at": "2026-01-01T00:00:00"}], "has_more": false,
    });
    let response = Response::builder().header("content-type", "application/json");
    Ok(response.body(Full::from(thread.to_string())).unwrap())
}

#[tokio::test]
async fn no_statement_of_a_list_runs_on_the_writer() {
    let directory = Directory::new();
    let store = Arc::new(directory.store());
    adopt(&store, "ada", 3, Some("A title")).await;
    // The first one who needs it makes it.
    store.signing_key([7; 32]).await.unwrap();
    let config = format!(
        "[auth]\nsecret = \"{SECRET}\"\n[upstream]\nurl = \"embedded\"\n[store]\nurl = \"memory:\"\n\
         [openai]\napi_keys = [{{ name = \"test\", sha256 = \"{KEY_SHA256}\" }}]\n"
    );
    let config = Sources::new().toml("test.toml", config).load().unwrap().config;
    let rooms =
        Rooms::from_config(&config, Arc::<SqliteStore>::clone(&store), HealthLayer::elsewhere());
    let gateway = rooms.unwrap().around(service_fn(upstream));
    let claims = json!({ "sub": "ada", "exp": 4_000_000_000_u64 });
    let key = jsonwebtoken::EncodingKey::from_secret(SECRET.as_bytes());
    let token = jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap();
    let ask = async |method: Method, path: &str, body: String| -> Value {
        let token = if path.starts_with("/v1") { KEY } else { &token };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "127.0.0.1:8080")
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json")
            .body(Full::from(body))
            .unwrap();
        let response = gateway.clone().oneshot(request).await.map_err(Into::into).unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(status, StatusCode::OK, "{path}: {}", String::from_utf8_lossy(&body));
        serde_json::from_slice(&body).unwrap()
    };
    let get = async |path: &str| ask(Method::GET, path, String::new()).await;

    written(&store).await;
    let statements = || (store.queue().statements.so_far(), store.readers().statements.so_far());
    let mut before = statements();
    // Each list is read, and by others.
    let mut check = |list: &str| {
        let after = statements();
        assert_eq!(after.0, before.0, "{list}");
        assert!(after.1 > before.1, "{list}");
        before = after;
    };
    for (path, cursor) in [
        ("/api/v1/chatkit/sessions", "/meta/after"),
        ("/api/conversations", "/next"),
        ("/v1/chatkit/threads", "/last_id"),
    ] {
        let first = get(&format!("{path}?limit=1")).await;
        check(path);
        let after = first.pointer(cursor).and_then(Value::as_str).unwrap();
        get(&format!("{path}?limit=1&after={after}")).await;
        check(path);
    }
    let list = async |after: Option<&str>| {
        let body = json!({"type": "threads.list", "params": {"limit": 1, "after": after}});
        ask(Method::POST, "/api/v1/chatkit", body.to_string()).await
    };
    list(None).await;
    check("threads.list");
    list(Some("thr_ada_2")).await;
    check("threads.list");
    for (sessions, threads) in super::lists::lists() {
        store.list(sessions).await.unwrap();
        check("sessions");
        store.threads(threads).await.unwrap();
        check("threads");
    }
    store.quarantined(None, 9).await.unwrap();
    check("quarantine");
    // It would have been noticed.
    let on_writer = statements().0;
    store.ping().await.unwrap();
    assert!(statements().0 > on_writer);
}

#[tokio::test]
async fn a_page_reads_nothing_for_what_others_left_to_be_written() {
    let directory = Directory::new();
    let store = directory.store();
    adopt(&store, "ada", 30, None).await;
    adopt(&store, "bob", 300, None).await;
    let run = async |user_id: &str, n: u64| {
        let found =
            store.get(SessionKey::Thread(&format!("thr_{user_id}_{n}"))).await.unwrap().unwrap();
        let id = found.open().unwrap().id;
        let run = RunId::random();
        let begin = BeginRun { uncounted: Uncounted::Begin, ..begins(run) };
        let user = UserId::parse(user_id).unwrap();
        let start = store.begin_run(id.into(), OnThread::Any, &user, begin).await.unwrap();
        assert!(matches!(start, RunStart::Next { .. }));
        let touched_at = Some(Timestamp::from_second(2_000_000).unwrap());
        settle(&store, id, run, Settlement { touched_at, ..messages(2) });
        id
    };
    let cost = async || {
        let read = || store.readers().statements.so_far();
        let before = read();
        let sessions = store.list(page("ada", 10, None)).await.unwrap();
        let user_id = Some(UserId::parse("ada").unwrap());
        let threads = ThreadsPage { user_id, ascending: true, after: None, until: None, limit: 10 };
        let threads = store.threads(threads).await.unwrap();
        assert_eq!((sessions.len(), threads.len()), (10, 10));
        (read() - before, sessions)
    };
    let release = hold_writer(&store).await;
    let own = run("ada", 7).await;
    let (before, sessions) = cost().await;
    assert_eq!(sessions[0].id, own);
    for n in 0..300 {
        run("bob", n).await;
    }
    let (after, sessions) = cost().await;
    assert_eq!((after, sessions[0].id), (before, own));
    drop(release);
}
