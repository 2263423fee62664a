//! Two gateways on one store: what the one does, the other sees at once.

use std::sync::Arc;

use serde_json::json;
use tokio::task::JoinSet;

use crate::support::{
    Answering, Folder, Gateway, MESSAGE_DONE, Reply, TestRequest, Upstream, json_answer, options,
    preamble, stream_answer, user_done,
};

/// Gives an upstream that gives every new thread the same id.
fn forgetful(upstream: Upstream) -> Answering {
    upstream.answer(|received| match received.kind().as_str() {
        "threads.create" => stream_answer(&format!("{}{MESSAGE_DONE}", preamble("thr_1"))),
        "threads.add_user_message" => {
            stream_answer(&format!("{}{}{MESSAGE_DONE}", user_done("msg_u"), options()))
        }
        "threads.delete" => json_answer("{}"),
        _ => json_answer("{\"id\":\"thr_1\",\"title\":\"whose?\"}"),
    })
}

#[tokio::test]
async fn a_thread_that_is_anothers_now_is_nobody_elses_anywhere() {
    let folder = Folder::new();
    let settings = [("store.url", &*folder.store()), ("limits.max_messages", "0")];
    let upstream = Upstream::bind().await;
    let (here, there) =
        (Gateway::with(&upstream, &settings).await, Gateway::with(&upstream, &settings).await);
    let upstream = forgetful(upstream);
    let get = json!({"type": "threads.get_by_id", "params": {"thread_id": "thr_1"}}).to_string();
    let say = json!({"type": "threads.add_user_message", "params": {"thread_id": "thr_1", "input":
        {"content": [{"type": "input_text", "text": "hi"}], "attachments": [],
        "inference_options": {}}}})
    .to_string();

    let session = here.session("ada").await;
    assert_eq!(here.send(TestRequest::run(&session).user("ada")).await.status, 200);
    for (gateway, body) in [(&here, &get), (&here, &say), (&there, &get)] {
        assert_eq!(gateway.post("ada", "", body).await.status, 200);
    }
    let delete = TestRequest::new("DELETE", &format!("/sessions/{session}"));
    assert_eq!(there.send(delete.user("ada")).await.status, 200);
    for gateway in [&here, &there] {
        gateway.post("ada", "", &get).await.refusal(404, "THREAD_NOT_FOUND");
        let run = TestRequest::run(&session).user("ada");
        gateway.send(run).await.refusal(404, "SESSION_NOT_FOUND");
    }

    let bobs = there.session("bob").await;
    assert_eq!(there.send(TestRequest::run(&bobs).user("bob")).await.status, 200);
    let asked = upstream.types().len();
    let run = TestRequest::new("POST", &format!("/sessions/{session}/threads/thr_1/runs"))
        .json("{\"message\":\"hi\"}");
    for gateway in [&here, &there] {
        for body in [&get, &say] {
            gateway.post("ada", "", body).await.refusal(403, "FORBIDDEN");
        }
        gateway.send(run.clone().user("ada")).await.refusal(404, "SESSION_NOT_FOUND");
        let run = TestRequest::run(&bobs).user("ada");
        gateway.send(run).await.refusal(403, "FORBIDDEN");
    }
    assert_eq!(upstream.types().len(), asked, "nothing of it was passed on");
    for gateway in [&here, &there] {
        assert_eq!(gateway.post("bob", "", &get).await.status, 200);
        assert_eq!(gateway.post("bob", "", &say).await.status, 200);
    }
}

/// Lets each user make 30 requests a minute over all gateways on a store.
fn thirty_shared(store: &str) -> [(&'static str, &str); 3] {
    [("store.url", store), ("limits.shared", "true"), ("limits.requests_per_minute", "30")]
}

/// Gives the requests that are left, as the header fields say.
fn remaining(reply: &Reply) -> usize {
    assert_eq!(reply.field("ratelimit-policy"), Some("\"user\";q=30;w=60"));
    let field = reply.field("ratelimit").unwrap();
    let numbers = field.strip_prefix("\"user\";r=").unwrap();
    let (left, full_in) = numbers.split_once(";t=").unwrap();
    assert_eq!(full_in, "60");
    left.parse().unwrap()
}

#[tokio::test]
async fn a_users_requests_are_counted_over_both() {
    let folder = Folder::new();
    let store = folder.store();
    let settings = thirty_shared(&store);
    let upstream = Upstream::bind().await;
    let mut gateways = Vec::new();
    for _ in 0..2 {
        gateways.push(Arc::new(Gateway::with(&upstream, &settings).await));
    }
    let mut asked = JoinSet::new();
    for n in 0..80 {
        let gateway = Arc::clone(&gateways[n % 2]);
        asked.spawn(async move { (n % 2, gateway.get("ada", "/sessions").await) });
    }
    let mut replies = asked.join_all().await;
    // One after the other, until nothing is held by either.
    for _ in 0..30 {
        for (n, gateway) in gateways.iter().enumerate() {
            replies.push((n, gateway.get("ada", "/sessions").await));
        }
    }
    let (let_in, refused): (Vec<_>, Vec<_>) =
        replies.iter().partition(|(_, reply)| reply.status == 200);
    assert_eq!(let_in.len(), 30);
    for gateway in 0..2 {
        // What a gateway has let in itself, it never says to be left.
        let of_gateway = let_in.iter().filter(|(n, _)| *n == gateway);
        let mut said: Vec<_> = of_gateway.map(|(_, reply)| remaining(reply)).collect();
        said.sort_unstable();
        assert!(said.iter().rev().zip(1..).all(|(said, used)| said + used <= 30), "{said:?}");
    }
    for (_, reply) in refused {
        reply.refusal(429, "RATE_LIMITED");
        assert_eq!(remaining(reply), 0);
        let retry_after: u64 = reply.field("retry-after").unwrap().parse().unwrap();
        assert!((1..=66).contains(&retry_after), "{retry_after}");
    }
    assert_eq!(gateways[0].get("eve", "/sessions").await.status, 200);
}

#[tokio::test]
async fn a_gateway_that_is_stopped_leaves_what_it_did_not_use_to_the_next() {
    let folder = Folder::new();
    let store = folder.store();
    let settings = thirty_shared(&store);
    let upstream = Upstream::bind().await;
    for used in 1..=15 {
        let mut gateway = Gateway::with(&upstream, &settings).await;
        let reply = gateway.get("ada", "/sessions").await;
        assert_eq!((reply.status, remaining(&reply)), (200, 30 - used));
        gateway.stop();
        gateway.stopped().await;
    }
}
