//! The first message makes the thread, once; what was shown is stored; limits hold under load.

use crate::support::{
    End, Folder, Gateway, MESSAGE_DONE, MESSAGE_START, STREAM_HEAD, TestRequest, Upstream, chunk,
    created, json_answer, options, preamble, stream_answer, user_done,
};

#[tokio::test]
async fn a_run_cut_before_its_thread_was_made_makes_it_next_time() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    let session = gateway.session("ada").await;
    for _ in 0..3 {
        let mut client = gateway.say("ada", &session).await;
        let (mut peer, received) = upstream.request().await;
        assert_eq!(received.kind(), "threads.create");
        peer.send(STREAM_HEAD).await;
        peer.send_chunk(&created("thr_1")[..48]).await;
        peer.close();
        client.reply().await.refusal(502, "UPSTREAM_ERROR");
    }
}

#[tokio::test]
async fn a_run_cut_after_its_thread_was_made_goes_on_with_it() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    let session = gateway.session("ada").await;
    let mut client = gateway.say("ada", &session).await;
    let (mut peer, received) = upstream.request().await;
    assert_eq!(received.kind(), "threads.create");
    peer.send(STREAM_HEAD).await;
    peer.send_chunk(created("thr_1")).await;
    peer.close();
    let error = client.reply().await.refusal(502, "UPSTREAM_ERROR");
    assert_eq!(error["details"]["thread_id"], "thr_1");

    let _client = gateway.say("ada", &session).await;
    let (_peer, received) = upstream.request().await;
    assert_eq!(received.kind(), "threads.add_user_message");
    assert_eq!(received.json()["params"]["thread_id"], "thr_1");
}

#[tokio::test]
async fn a_thread_that_was_shown_survives_the_gateway() {
    let folder = Folder::new();
    let store = folder.store();
    let upstream = Upstream::bind().await;
    let settings = [("store.url", store.as_str()), ("stream.hold_bytes", "0")];
    for n in 0..5 {
        let gateway = Gateway::with(&upstream, &settings).await;
        let session = gateway.session("ada").await;
        let thread = format!("thr_{n}");
        let mut client = gateway.say("ada", &session).await;
        let (mut peer, _) = upstream.request().await;
        peer.send(STREAM_HEAD).await;
        peer.send_chunk(created(&thread)).await;
        client.head().await;
        client.expect_body(&created(&thread)).await;
        gateway.kill().await;
        assert_ne!(client.body().await.1, End::Clean);

        let gateway = Gateway::with(&upstream, &settings).await;
        let _client = gateway.say("ada", &session).await;
        let (_peer, received) = upstream.request().await;
        assert_eq!(received.kind(), "threads.add_user_message");
        assert_eq!(received.json()["params"]["thread_id"], thread.as_str());
    }
}

#[tokio::test]
async fn fifty_creations_at_once_make_as_many_sessions_as_are_allowed() {
    let upstream = Upstream::bind().await;
    let folder = Folder::new();
    let sqlite = folder.store();
    for store in ["memory:", &sqlite] {
        let gateway = Gateway::with(&upstream, &[("store.url", store)]).await;
        let mut clients = Vec::new();
        for _ in 0..50 {
            let mut client = gateway.connect().await;
            client.send(TestRequest::new("POST", "/sessions").user("ada").json("{}").bytes()).await;
            clients.push(client);
        }
        let mut made = 0;
        for mut client in clients {
            let reply = client.reply().await;
            if reply.status == 200 {
                made += 1;
            } else {
                let error = reply.refusal(429, "SESSION_LIMIT");
                assert_eq!(error["details"]["max_sessions"], 10);
            }
        }
        assert_eq!(made, 10, "{store}");
        let listed = gateway.get("ada", "/sessions").await.json();
        assert_eq!(listed["meta"]["total"], 10);
        // Somebody else's are counted by themselves.
        gateway.session("eve").await;
    }
    upstream.expect_no_connection();
}

#[tokio::test]
async fn twenty_first_messages_at_once_make_one_thread() {
    let folder = Folder::new();
    let sqlite = folder.store();
    for store in ["memory:", &sqlite] {
        let upstream = Upstream::bind().await;
        let settings = [("store.url", store), ("limits.max_streams_per_user", "100")];
        let gateway = Gateway::with(&upstream, &settings).await;
        let session = gateway.session("ada").await;
        let upstream = upstream.answer(|received| {
            let thread = match received.kind().as_str() {
                "threads.create" => created("thr_1"),
                _ => String::new(),
            };
            stream_answer(&format!("{thread}{}{}{MESSAGE_DONE}", user_done("msg_u"), options()))
        });
        let mut clients = Vec::new();
        for _ in 0..20 {
            clients.push(gateway.say("ada", &session).await);
        }
        let mut answered = 0;
        for mut client in clients {
            let reply = client.reply().await;
            if reply.status == 200 {
                answered += 1;
            } else {
                reply.refusal(409, "CONFLICT");
                assert_eq!(reply.field("retry-after"), Some("1"));
            }
        }
        let types = upstream.types();
        assert_eq!(types.len(), answered, "{types:?}");
        let creations = types.iter().filter(|kind| *kind == "threads.create").count();
        assert_eq!(creations, 1, "{types:?}");
    }
}

#[tokio::test]
async fn the_limit_of_messages_is_exact_under_load() {
    let upstream = Upstream::bind().await;
    let settings = [("limits.max_messages", "5"), ("limits.max_streams_per_user", "100")];
    let gateway = Gateway::with(&upstream, &settings).await;
    // Two messages, the user's and the answer.
    let session = gateway.bound(&upstream, "ada", "thr_1").await;
    // Runs that stay open after their first output.
    let upstream = upstream.answer(|_| {
        let events = format!("{}{}{MESSAGE_START}", user_done("msg_u"), options());
        [STREAM_HEAD.as_bytes(), &chunk(events)].concat()
    });
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(gateway.say("ada", &session).await);
    }
    let mut open = Vec::new();
    for mut client in clients {
        let head = client.head().await;
        if head.status == 200 {
            open.push(client);
        } else {
            assert_eq!(head.status, 429);
            let (body, _) = client.body().await;
            assert!(String::from_utf8_lossy(&body).contains("\"MESSAGE_LIMIT\""));
        }
    }
    assert_eq!(open.len(), 3);
    assert_eq!(upstream.types(), ["threads.add_user_message"; 3]);
}

#[tokio::test]
async fn a_request_that_was_sent_is_never_sent_again() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    let session = gateway.session("ada").await;
    let mut client = gateway.say("ada", &session).await;
    let (mut peer, _) = upstream.request().await;
    peer.send(stream_answer(&format!("{}{MESSAGE_DONE}", preamble("thr_1")))).await;
    assert_eq!(client.reply().await.end, End::Clean);

    // The kept connection takes the request and is closed, or reset, without an answer.
    for reset in [false, true] {
        let mut client = gateway.say("ada", &session).await;
        assert_eq!(peer.request().await.kind(), "threads.add_user_message");
        if reset {
            peer.reset();
        } else {
            peer.close();
        }
        // Whether a bare cut means that the thread is lost is asked with requests of no effect.
        let mut refused = std::pin::pin!(client.reply());
        let (mut probe, received) = tokio::select! {
            reply = &mut refused => {
                reply.refusal(502, "UPSTREAM_ERROR");
                gateway.settle().await;
                upstream.expect_no_connection();
                peer = again(&upstream, &gateway, &session).await;
                continue;
            }
            probe = upstream.request() => probe,
        };
        assert_eq!(received.kind(), "threads.get_by_id");
        probe.send(json_answer("{}")).await;
        refused.await.refusal(502, "UPSTREAM_ERROR");
        probe.close();
        peer = again(&upstream, &gateway, &session).await;
    }
}

async fn again(upstream: &Upstream, gateway: &Gateway, session: &str) -> crate::support::Peer {
    let mut client = gateway.say("ada", session).await;
    let (mut peer, received) = upstream.request().await;
    assert_eq!(received.kind(), "threads.add_user_message");
    let events = format!("{}{}{MESSAGE_DONE}", user_done("msg_u"), options());
    peer.send(stream_answer(&events)).await;
    assert_eq!(client.reply().await.end, End::Clean);
    peer
}

#[tokio::test]
async fn an_idle_connection_that_was_closed_is_nobodys_problem() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    let session = gateway.bound(&upstream, "ada", "thr_1").await;
    for _ in 0..3 {
        again(&upstream, &gateway, &session).await.close();
        gateway.settle().await;
    }
}

#[tokio::test]
async fn an_answer_that_nobody_asked_for_reaches_nobody() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    let session = gateway.session("ada").await;
    let stray = stream_answer("data: {\"type\":\"stray\"}\n\n");

    let mut client = gateway.say("ada", &session).await;
    let (mut peer, _) = upstream.request().await;
    let answer = stream_answer(&format!("{}{MESSAGE_DONE}", preamble("thr_1")));
    peer.send([&answer[..], &stray].concat()).await;
    assert!(!client.reply().await.text().contains("stray"));

    // And one that comes later, while the connection is idle.
    for _ in 0..2 {
        let mut client = gateway.say("ada", &session).await;
        let (mut next, _) = upstream.request().await;
        let events = format!("{}{}{MESSAGE_DONE}", user_done("msg_u"), options());
        next.send(stream_answer(&events)).await;
        assert_eq!(client.reply().await.text(), events);
        let _unless_closed = next.try_send(&stray);
        gateway.settle().await;
        peer = next;
    }
    drop(peer);
}

#[tokio::test]
async fn a_thread_id_that_another_session_has_is_refused() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    gateway.bound(&upstream, "ada", "thr_1").await;
    let session = gateway.session("eve").await;
    let mut client = gateway.say("eve", &session).await;
    let (mut peer, _) = upstream.request().await;
    peer.send(stream_answer(&format!("{}{MESSAGE_DONE}", preamble("thr_1")))).await;
    let reply = client.reply().await;
    reply.refusal(502, "THREAD_ID_REUSED");
    assert!(!reply.text().contains("msg_a"), "{}", reply.text());
}

#[tokio::test]
async fn a_store_that_is_locked_is_a_503_and_nothing_is_half_done() {
    let folder = Folder::new();
    let store = folder.store();
    let upstream = Upstream::bind().await;
    let gateway = Gateway::with(&upstream, &[("store.url", &store)]).await;
    let session = gateway.session("ada").await;
    let lock = rusqlite::Connection::open(store.strip_prefix("sqlite:").unwrap()).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let run = TestRequest::run(&session).user("ada");
    let create = TestRequest::new("POST", "/sessions").user("ada").json("{}");
    let ready = TestRequest::new("GET", "//readyz");
    let (run, create, ready) =
        tokio::join!(gateway.send(run), gateway.send(create), gateway.send(ready));
    for reply in [run, create, ready] {
        reply.refusal(503, "SERVICE_UNAVAILABLE");
        assert_eq!(reply.field("retry-after"), Some("1"));
        assert!(!reply.text().to_lowercase().contains("sql"), "{}", reply.text());
    }
    upstream.expect_no_connection();
    lock.execute_batch("ROLLBACK").unwrap();
    assert_eq!(gateway.get("ada", "/sessions").await.json()["meta"]["total"], 1);
    let _client = gateway.say("ada", &session).await;
    assert_eq!(upstream.request().await.1.kind(), "threads.create");
}
