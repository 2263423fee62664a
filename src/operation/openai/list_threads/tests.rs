//! What is asked for, and pages in front of upstreams that have lost some threads, or can't tell.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::super::find::look_up;
use super::super::parsed::parsed;
use super::ListThreads;
use crate::chatkit::upstream::Upstream;
use crate::error::BoxError;
use crate::operation::Exchange;
use crate::principal::UserId;
use crate::rejection::{Code, Rejection};
use crate::session::{
    BeginRun, Bound, Created, Directory as _, MemoryStore, NewSession, RunId, Runs as _,
    Sessions as _, ThreadDirectory, ThreadsPage,
};

/// What the upstream answers to a request of a type, with parameters, of a user.
type AnswerFn = Result<Value, u16>;

/// The calls that the upstream was sent: user and type.
type Calls = Arc<Mutex<Vec<String>>>;

fn user(id: &str) -> UserId {
    UserId::parse(id).unwrap()
}

/// Makes a store of `owners`' threads, bound in that order: `thr_0`, `thr_1`, …
async fn store(owners: &[&str]) -> Arc<MemoryStore> {
    let store = Arc::new(MemoryStore::new());
    for (n, owner) in owners.iter().enumerate() {
        let now = Timestamp::UNIX_EPOCH + SignedDuration::from_secs(i64::try_from(n).unwrap());
        let (title, run) = (Some(format!("Number {n}")), RunId::random());
        let first_run = Some(BeginRun::new(run, now));
        let session = NewSession { title, first_run, ..NewSession::new(user(owner), now) };
        let id = session.id;
        assert!(matches!(store.create(session, None).await.unwrap(), Created::Session(_)));
        let bound = store.bind(id, &user(owner), run, format!("thr_{n}").into(), now).await;
        assert_eq!(bound.unwrap(), Bound::Done);
    }
    store
}

macro_rules! exchange {
    ($calls:ident, $answer:expr) => {{
        let (calls, answer) = ($calls.clone(), $answer);
        let service = tower::service_fn(move |request: Request<Full<Bytes>>| {
            let (calls, answer) = (calls.clone(), answer.clone());
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                let body: Value = serde_json::from_slice(&body).unwrap();
                let user = head.headers["x-user-id"].to_str().unwrap().to_owned();
                let kind = body["type"].as_str().unwrap();
                calls.lock().unwrap().push(format!("{user} {kind}"));
                let response = Response::builder().header(CONTENT_TYPE, "application/json");
                let response = match answer(kind, &body["params"], &user) {
                    Ok(json) => response.body(Full::from(json.to_string())),
                    Err(0) => return Err(BoxError::from("connection refused")),
                    Err(status) => response.status(status).body(Full::default()),
                };
                Ok::<_, BoxError>(response.unwrap())
            }
        });
        let detached = crate::operation::detached::DetachedTasks::new(1);
        let upstream = Upstream::of(service);
        Exchange { upstream, settings: Arc::default(), detached, record: None }
    }};
}

/// Follows the list's cursor as the official clients do; gives the ids of each page.
async fn pages(
    store: &Arc<MemoryStore>,
    limit: usize,
    calls: &Calls,
    answer: impl Fn(&str, &Value, &str) -> AnswerFn + Clone,
) -> Result<Vec<Vec<Value>>, Rejection> {
    let (mut pages, mut after) = (Vec::new(), None::<String>);
    loop {
        let place = match &after {
            Some(after) => store.place_of_thread(after).await.unwrap(),
            None => None,
        };
        let page =
            ThreadsPage { user_id: None, ascending: true, after: place, until: None, limit: 0 };
        let directory = ThreadDirectory::of(Arc::<MemoryStore>::clone(store), page);
        let mut exchange = exchange!(calls, answer.clone());
        let page = super::page(&mut exchange, directory, limit).await?;
        let page = serde_json::to_value(page).unwrap();
        let data = page["data"].as_array().unwrap().clone();
        assert!(!data.is_empty() || page["has_more"] == false, "{page}");
        pages.push(data);
        if page["has_more"] == false {
            return Ok(pages);
        }
        after = page["last_id"].as_str().map(str::to_owned);
    }
}

fn ids(page: &[Value]) -> Vec<&str> {
    page.iter().map(|thread| thread["id"].as_str().unwrap()).collect()
}

fn told(n: usize) -> Value {
    json!({"id": format!("thr_{n}"), "created_at": "2026-11-21T03:35:00Z", "title": "Theirs"})
}

/// Gives an upstream with more threads than are looked through, none of which is asked for.
fn endless(params: &Value) -> Value {
    let after = params["after"].as_str().unwrap_or_default();
    json!({"data": [], "has_more": true, "after": format!("{after}x")})
}

#[test]
fn whose_threads_are_listed_is_read_from_the_query() {
    for query in ["limit=-1", "limit=x", "order=up", "after=", "limit=1&limit=2", "before=%ff"] {
        let fault = parsed::<ListThreads>(&format!("/threads?{query}"), "").unwrap_err();
        assert_eq!(fault.code(), Code::InvalidInput, "{query}");
    }
    let call = parsed::<ListThreads>("/threads?user=u+1", "").unwrap();
    assert_eq!(call.user.unwrap().as_str(), "u 1");
    assert!(parsed::<ListThreads>("/threads?user=%0a", "").is_err());
}

#[tokio::test]
async fn one_thread_of_which_nobody_can_tell_is_shown_as_the_store_has_it() {
    let store = store(&["ada"; 3]).await;
    let answer = |kind: &str, params: &Value, _: &str| match kind {
        "threads.list" => Ok(endless(params)),
        "items.list" => Ok(json!({"data": [], "has_more": false})),
        _ if params["thread_id"] == "thr_1" => Err(500),
        _ => Ok(told(params["thread_id"].as_str().unwrap()[4..].parse().unwrap())),
    };
    let calls = Calls::default();
    let pages = pages(&store, 10, &calls, answer).await.unwrap();
    assert_eq!(ids(&pages[0]), ["thr_0", "thr_1", "thr_2"]);
    assert_eq!(pages[0][0]["title"], "Theirs");
    assert_eq!(
        pages[0][1],
        json!({"id": "thr_1", "object": "chatkit.thread", "created_at": 1,
            "status": {"type": "active"}, "title": "Number 1", "user": "ada"})
    );

    // By itself it is no answer.
    let mut upstream = exchange!(calls, answer).upstream_for(&user("ada"));
    let failure = look_up(&mut upstream, "thr_1").await.err().unwrap();
    assert!(failure.is_bare_500());
}

#[tokio::test]
async fn a_thread_with_items_is_there_whoever_fails_to_show_it() {
    let answer = |kind: &str, params: &Value, _: &str| match kind {
        "threads.list" => Ok(endless(params)),
        "items.list" => Ok(json!({"data": [{"id": "msg_1"}], "has_more": false})),
        _ => Err(500),
    };
    let calls = Calls::default();
    let mut upstream = exchange!(calls, answer).upstream_for(&user("ada"));
    assert_eq!(look_up(&mut upstream, "thr_1").await.unwrap().unwrap().id(), "thr_1");
}

#[tokio::test]
async fn more_lost_threads_than_are_passed_over_end_no_list() {
    let store = store(&["ada"; 125]).await;
    let answer = |kind: &str, params: &Value, _: &str| match kind {
        "threads.list" => Ok(json!({"data": [told(120), told(124)], "has_more": false})),
        _ => panic!("{params}"),
    };
    // The whole list is there, and says that the others aren't, once getting one has failed too.
    let answer = move |kind: &str, params: &Value, user: &str| match kind {
        "threads.get_by_id" => Err(500),
        _ => answer(kind, params, user),
    };
    let calls = Calls::default();
    let pages = pages(&store, 2, &calls, answer).await.unwrap();
    // What is shown of a page of which all are lost is the last, as the store has it.
    let seen: Vec<_> = pages.iter().map(|page| ids(page)).collect();
    assert_eq!(seen, [vec!["thr_49"], vec!["thr_99"], vec!["thr_120", "thr_124"]]);
}

#[tokio::test]
async fn a_page_that_is_cut_short_goes_on_behind_what_was_left_out() {
    let store = store(&["ada"; 60]).await;
    let answer = |kind: &str, _: &Value, _: &str| match kind {
        "threads.list" => Ok(json!({"data": [told(3), told(57)], "has_more": false})),
        _ => Err(500),
    };
    let calls = Calls::default();
    let pages = pages(&store, 20, &calls, answer).await.unwrap();
    let seen: Vec<_> = pages.iter().map(|page| ids(page)).collect();
    assert_eq!(seen, [["thr_3"], ["thr_57"]]);
    let gets = calls.lock().unwrap().iter().filter(|call| call.ends_with("get_by_id")).count();
    assert_eq!(gets, 58);
}

#[tokio::test]
async fn an_upstream_that_answers_nothing_of_use_fails_the_page() {
    let store = store(&["ada"; 3]).await;
    for (status, code, most) in
        [(500, Code::UpstreamError, 4), (503, Code::UpstreamError, 1), (0, Code::UpstreamError, 1)]
    {
        let calls = Calls::default();
        let answer = move |_: &str, _: &Value, _: &str| Err(status);
        let rejection = pages(&store, 10, &calls, answer).await.unwrap_err();
        assert_eq!(rejection.code(), code);
        assert!(calls.lock().unwrap().len() <= most, "{calls:?}");
    }
}

#[tokio::test]
async fn each_owner_is_asked_once_where_the_upstream_knows_users() {
    let owners: Vec<_> = (0..10).map(|n| format!("user{n}")).collect();
    let owners: Vec<_> = (0..100).map(|n| &*owners[n % 10]).collect();
    let store = store(&owners).await;
    let of = |user: &str| -> Vec<_> {
        (0..100).filter(|n| user.ends_with(&format!("r{}", n % 10))).map(told).collect()
    };
    let scoped = move |kind: &str, _: &Value, user: &str| match kind {
        "threads.list" => Ok(json!({"data": of(user),
            "has_more": false})),
        _ => panic!("{kind}"),
    };
    let calls = Calls::default();
    let shown = pages(&store, 100, &calls, scoped).await.unwrap();
    assert_eq!(shown[0].len(), 100);
    assert_eq!(calls.lock().unwrap().len(), 10, "{calls:?}");

    // Where it knows none, the first owner's list has all of them.
    let open = |_: &str, _: &Value, _: &str| {
        Ok(json!({"data": (0..100).map(told).collect::<Vec<_>>(), "has_more": false}))
    };
    let calls = Calls::default();
    let shown = pages(&store, 100, &calls, open).await.unwrap();
    assert_eq!(shown[0].len(), 100);
    assert_eq!(calls.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_single_thread_of_an_owner_is_asked_for_by_its_id() {
    let store = store(&["ada", "bob", "eve"]).await;
    let answer = |kind: &str, params: &Value, _: &str| match kind {
        "threads.list" => Ok(json!({"data": [told(0)], "has_more": false})),
        _ => Ok(told(params["thread_id"].as_str().unwrap()[4..].parse().unwrap())),
    };
    let calls = Calls::default();
    let shown = pages(&store, 10, &calls, answer).await.unwrap();
    assert_eq!(ids(&shown[0]), ["thr_0", "thr_1", "thr_2"]);
    assert_eq!(
        *calls.lock().unwrap(),
        ["ada threads.list", "bob threads.get_by_id", "eve threads.get_by_id"]
    );
}
