//! An upstream that fails, or has enough to do: who is served, who is told to come back, and what the
//! upstream gets to see of it.

use std::time::Duration;

use crate::support::{
    Gateway, MESSAGE_DONE, Place, Received, Reply, SECRET, STREAM_HEAD, TestRequest, Upstream,
    error_event, preamble, soon, stream_answer,
};

const USERS: [&str; 4] = ["ada", "bob", "cat", "dan"];
const FAILS: &str = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";
const BARE: &str = "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n";

fn answered(received: &Received) -> Vec<u8> {
    let thread = format!("thr_{}", received.field("x-request-id").unwrap_or("none"));
    stream_answer(&format!("{}{MESSAGE_DONE}", preamble(&thread)))
}

async fn run(gateway: &Gateway, user: &str) -> Reply {
    let session = gateway.session(user).await;
    let mut client = gateway.say(user, &session).await;
    client.reply().await
}

/// Has four users send messages at once, six each, and waits for the answers.
async fn load(gateway: &Gateway) -> Vec<u16> {
    let mut clients = Vec::new();
    for _ in 0..6 {
        for user in USERS {
            let session = gateway.session(user).await;
            clients.push(gateway.say(user, &session).await);
        }
    }
    let mut statuses = Vec::new();
    for client in &mut clients {
        statuses.push(client.reply().await.status);
    }
    statuses
}

#[track_caller]
fn expect_peace(reply: &Reply) {
    reply.refusal(503, "SERVICE_UNAVAILABLE");
    assert!(reply.field("retry-after").is_some_and(|it| it.parse::<u8>().is_ok_and(|it| it > 0)));
    let why = Some("chatkit-rest; error=destination_unavailable");
    assert_eq!(reply.field("proxy-status"), why, "{reply:?}");
}

/// Sends messages of `user` until one is refused: those before may be what the upstream is tried with,
/// which after one that fails is nothing of theirs for ten seconds. Gives the session of the last.
async fn until_refused(gateway: &Gateway, user: &str, asked: impl Fn() -> usize) -> String {
    for _ in 0..3 {
        let session = gateway.session(user).await;
        let before = asked();
        let reply = gateway.say(user, &session).await.reply().await;
        if reply.status == 503 && asked() == before {
            expect_peace(&reply);
            return session;
        }
    }
    panic!("nothing is refused");
}

/// Sends messages until one is answered; gives how many were refused before.
async fn until_answered(gateway: &Gateway) -> usize {
    let mut every = tokio::time::interval(Duration::from_millis(50));
    soon(async {
        for refused in 0.. {
            every.tick().await;
            let reply = run(gateway, &format!("u{refused}")).await;
            if reply.status == 200 {
                return refused;
            }
            expect_peace(&reply);
        }
        0
    })
    .await
}

#[tokio::test]
async fn an_upstream_that_is_gone_is_left_in_peace_and_found_when_it_is_back() {
    let place = Place::new();
    let gateway = Gateway::at(place.address(), &[]).await;
    let statuses = load(&gateway).await;
    assert!(statuses.iter().all(|it| [502, 503].contains(it)), "{statuses:?}");
    until_refused(&gateway, "ada", || 0).await;

    let upstream = Upstream::at(&place);
    let upstream = upstream.answer(answered);
    until_answered(&gateway).await;
    // Nothing else came by, and the first that did was answered.
    assert_eq!(upstream.types(), ["threads.create"]);
    assert_eq!(run(&gateway, "ada").await.status, 200);
}

#[tokio::test]
async fn a_status_counts_and_whoever_asks_is_told() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::with(&upstream, &[]).await;
    let upstream = upstream.answer(|_| FAILS.into());
    load(&gateway).await;
    until_refused(&gateway, "ada", || upstream.asked()).await;
    let ready = gateway.send(TestRequest::new("GET", "//readyz")).await;
    assert_eq!(ready.status, 200);
    assert!(ready.json()["upstream"].as_str().unwrap().contains("left in peace"), "{ready:?}");
}

#[tokio::test]
async fn without_a_breaker_it_is_asked_every_time() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::with(&upstream, &[("upstream.breaker", "false")]).await;
    let upstream = upstream.answer(|_| FAILS.into());
    assert!(load(&gateway).await.iter().all(|status| *status == 502));
    run(&gateway, "ada").await.refusal(502, "UPSTREAM_ERROR");
    assert_eq!(upstream.types().len(), 25);
}

#[tokio::test]
async fn one_user_shuts_out_nobody() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::with(&upstream, &[("limits.max_sessions", "0")]).await;
    let upstream = upstream.answer(|received| match received.field("x-user-id") {
        Some("eve" | "bob" | "cat") => BARE.into(),
        Some("mal") => stream_answer(&error_event("stream.error", None, true)),
        _ => answered(received),
    });
    for _ in 0..50 {
        run(&gateway, "eve").await.refusal(502, "UPSTREAM_ERROR");
        run(&gateway, "mal").await.refusal(502, "UPSTREAM_ERROR");
    }
    for user in ["bob", "cat"] {
        run(&gateway, user).await.refusal(502, "UPSTREAM_ERROR");
    }
    assert_eq!(run(&gateway, "ada").await.status, 200);
    run(&gateway, "eve").await.refusal(502, "UPSTREAM_ERROR");
    assert_eq!(upstream.types().len(), 104);
}

#[tokio::test]
async fn what_is_over_waits_for_a_while_and_is_told_to_come_back() {
    let upstream = Upstream::bind().await;
    let settings = [
        ("upstream.max_concurrent", "1"),
        ("upstream.max_queued", "1"),
        ("upstream.queue_timeout", "1h"),
    ];
    let gateway = Gateway::with(&upstream, &settings).await;
    let [ada, bob, cat] =
        [gateway.session("ada").await, gateway.session("bob").await, gateway.session("cat").await];
    let _first = gateway.say("ada", &ada).await;
    let (mut peer, _) = upstream.request().await;
    peer.send(STREAM_HEAD).await;
    peer.send_chunk(preamble("thr_1")).await;
    let mut second = gateway.say("bob", &bob).await;
    gateway.settle().await;
    let reply = gateway.send(TestRequest::run(&cat).user("cat")).await;
    reply.refusal(503, "SERVICE_UNAVAILABLE");
    assert_eq!(reply.field("retry-after"), Some("1"));
    let why = Some("chatkit-rest; error=connection_limit_reached");
    assert_eq!(reply.field("proxy-status"), why);
    upstream.expect_no_connection();

    // The first is cut by its server: whoever waited is served, and then whoever comes.
    peer.close();
    let (mut peer, received) = upstream.request().await;
    assert_eq!(received.field("x-user-id"), Some("bob"));
    peer.send(answered(&received)).await;
    assert_eq!(second.reply().await.status, 200);
    peer.close();
    let mut third = gateway.say("cat", &cat).await;
    let (mut peer, received) = upstream.request().await;
    peer.send(answered(&received)).await;
    assert_eq!(third.reply().await.status, 200);
}

#[tokio::test]
async fn where_everyone_is_one_user_they_have_all_of_the_queue() {
    let upstream = Upstream::bind().await;
    let settings = [
        ("upstream.url", &*format!("http://{}/chatkit", upstream.address())),
        ("store.url", "memory:"),
        ("auth.mode", "none"),
        ("upstream.max_concurrent", "1"),
        ("upstream.max_queued", "2"),
        ("upstream.queue_timeout", "1h"),
    ];
    let gateway = Gateway::configured(&settings).await;
    let session = async || {
        let reply = gateway.send(TestRequest::new("POST", "/sessions").json("{}")).await;
        reply.data()["id"].as_str().unwrap().to_owned()
    };
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = gateway.connect().await;
        client.send(TestRequest::run(&session().await).bytes()).await;
        clients.push(client);
        gateway.settle().await;
    }
    let over = gateway.send(TestRequest::run(&session().await)).await;
    over.refusal(503, "SERVICE_UNAVAILABLE");
    let _upstream = upstream.answer(answered);
    for client in &mut clients {
        assert_eq!(client.reply().await.status, 200);
    }
}

#[tokio::test]
async fn a_model_that_fails_is_left_in_peace_and_nothing_is_stored_for_it() {
    let api = Upstream::bind().await;
    let base_url = format!("http://{}/v1", api.address());
    let settings = [
        ("upstream.url", "embedded"),
        ("embedded.responder", "openai"),
        ("embedded.base_url", &base_url),
        ("embedded.model", "a-model"),
        ("store.url", "memory:"),
        ("auth.secret", SECRET),
        ("limits.requests_per_minute", "0"),
    ];
    let gateway = Gateway::configured(&settings).await;
    let api = api.answer(|_| FAILS.into());
    load(&gateway).await;
    let session = until_refused(&gateway, "ada", || api.asked()).await;
    let kept = gateway.get("ada", &format!("/sessions/{session}")).await.data();
    assert_eq!(kept["message_count"], 0, "{kept}");
    let ready = gateway.send(TestRequest::new("GET", "//readyz")).await;
    assert!(ready.json()["upstream"].as_str().unwrap().contains("left in peace"), "{ready:?}");
}
