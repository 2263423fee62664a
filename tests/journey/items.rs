//! What belongs to a thread's items and to a user, as REST.

use crate::support::{
    Folder, Gateway, STREAM_HEAD, TestRequest, Upstream, json_answer, last_chunk, line_of, soon,
    stream_answer,
};

const FILE: &str = r#"{"name":"plan.txt","size":3,"mime_type":"text/plain"}"#;

#[tokio::test]
async fn an_attachment_is_its_makers_though_they_left_before_it_was_made() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::with(&upstream, &[("limits.requests_per_minute", "0")]).await;
    let as_chatkit = format!(r#"{{"type":"attachments.create","params":{FILE}}}"#);
    for (path, body) in [("/attachments", FILE), ("", &*as_chatkit)] {
        let mut client = gateway.connect().await;
        let id = format!("left{}", path.len());
        let request = TestRequest::new("POST", path).user("ada").json(body);
        client.send(request.field("x-request-id", &id).bytes()).await;
        let (mut peer, received) = upstream.request().await;
        assert_eq!(received.kind(), "attachments.create");
        drop(client);
        assert_eq!(line_of(&id).await.get("outcome"), "cancelled");
        peer.send(json_answer(&format!("{{\"id\":\"{id}\"}}"))).await;
        // It is not there for eve until it is there for ada.
        let delete = async || {
            let path = format!("/attachments/{id}");
            gateway.send(TestRequest::new("DELETE", &path).user("eve")).await
        };
        soon(async { while delete().await.status == 404 {} }).await;
        delete().await.refusal(403, "FORBIDDEN");
        peer.close();
    }
}

#[tokio::test]
async fn what_is_finished_for_clients_that_left_is_bounded() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::with(&upstream, &[("limits.max_in_flight", "1")]).await;
    let create = |id: &str| {
        let request = TestRequest::new("POST", "/attachments").user("ada").json(FILE);
        request.field("x-request-id", id).bytes()
    };
    let mut client = gateway.connect().await;
    client.send(create("bounded-1")).await;
    let (mut peer, _) = upstream.request().await;
    drop(client);
    assert_eq!(line_of("bounded-1").await.get("outcome"), "cancelled");
    let mut client = gateway.connect().await;
    client.send(create("bounded-2")).await;
    client.reply().await.refusal(503, "SERVICE_UNAVAILABLE");
    upstream.expect_no_connection();
    // What needs no detached task is served meanwhile.
    gateway.session("ada").await;

    peer.send(json_answer("{\"id\":\"atc_1\"}")).await;
    let delete =
        async || gateway.send(TestRequest::new("DELETE", "/attachments/atc_1").user("eve")).await;
    soon(async { while delete().await.status == 404 {} }).await;
}

#[tokio::test]
async fn an_attachment_whose_owner_can_not_be_recorded_is_deleted_again() {
    let upstream = Upstream::bind().await;
    let folder = Folder::new();
    let url = folder.store();
    let gateway = Gateway::with(&upstream, &[("store.url", &url)]).await;
    let lock = rusqlite::Connection::open(url.strip_prefix("sqlite:").unwrap()).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut client = gateway.connect().await;
    let create = TestRequest::new("POST", "/attachments").user("ada").json(FILE);
    client.send(create.bytes()).await;
    let (mut peer, _) = upstream.request().await;
    peer.send(json_answer("{\"id\":\"atc_1\"}")).await;
    let deletion = peer.request().await.json();
    assert_eq!(deletion["type"], "attachments.delete");
    assert_eq!(deletion["params"]["attachment_id"], "atc_1");
    peer.send(json_answer("{}")).await;
    client.reply().await.refusal(503, "SERVICE_UNAVAILABLE");
}

#[tokio::test]
async fn an_attachment_that_is_being_deleted_is_forgotten_though_its_owner_left() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    let as_chatkit = r#"{"type":"attachments.delete","params":{"attachment_id":"atc_1"}}"#;
    let by_path = TestRequest::new("DELETE", "/attachments/atc_1");
    let by_type = TestRequest::new("POST", "").json(as_chatkit);
    for (n, request) in [by_path, by_type].into_iter().enumerate() {
        let mut client = gateway.connect().await;
        let create = TestRequest::new("POST", "/attachments").user("ada").json(FILE);
        client.send(create.bytes()).await;
        let (mut peer, _) = upstream.request().await;
        peer.send(json_answer("{\"id\":\"atc_1\"}")).await;
        assert_eq!(client.reply().await.status, 200);
        peer.close();

        let id = format!("deleted-{n}");
        client = gateway.connect().await;
        client.send(request.user("ada").field("x-request-id", &id).bytes()).await;
        let (mut peer, received) = upstream.request().await;
        assert_eq!(received.kind(), "attachments.delete");
        drop(client);
        assert_eq!(line_of(&id).await.get("outcome"), "cancelled");
        peer.send(json_answer("{}")).await;
        // It is eve's to be refused until it is nobody's.
        let delete = async || {
            gateway.send(TestRequest::new("DELETE", "/attachments/atc_1").user("eve")).await
        };
        soon(async { while delete().await.status == 403 {} }).await;
        delete().await.refusal(404, "ATTACHMENT_NOT_FOUND");
        peer.close();
    }
}

#[tokio::test]
async fn a_gateway_that_is_stopped_finishes_what_it_began_for_clients_that_left() {
    let upstream = Upstream::bind().await;
    let folder = Folder::new();
    let store = folder.store();
    let mut gateway = Gateway::with(&upstream, &[("store.url", &store)]).await;
    let mut client = gateway.connect().await;
    let create = TestRequest::new("POST", "/attachments").user("ada").json(FILE);
    client.send(create.field("x-request-id", "stopped-1").bytes()).await;
    let (mut peer, _) = upstream.request().await;
    drop(client);
    assert_eq!(line_of("stopped-1").await.get("outcome"), "cancelled");
    let mut idle = gateway.connect().await;
    gateway.stop();
    idle.expect_end().await;
    assert!(!gateway.has_stopped());
    peer.send(json_answer("{\"id\":\"atc_1\"}")).await;
    gateway.stopped().await;

    let gateway = Gateway::with(&upstream, &[("store.url", &store)]).await;
    let delete = TestRequest::new("DELETE", "/attachments/atc_1").user("eve");
    gateway.send(delete).await.refusal(403, "FORBIDDEN");
}

#[tokio::test]
async fn a_follow_up_whose_client_leaves_is_given_up() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    let session = gateway.bound(&upstream, "ada", "thr_1").await;
    for path in ["items/msg_u/retry", "tool_outputs"] {
        let mut client = gateway.connect().await;
        let path = format!("/sessions/{session}/threads/{session}/{path}");
        let body = if path.ends_with("retry") { "{}" } else { "{\"result\":null}" };
        client.send(TestRequest::new("POST", &path).user("ada").json(body).bytes()).await;
        let (mut peer, _) = upstream.request().await;
        peer.send(STREAM_HEAD).await;
        client.reset();
        peer.expect_closed().await;
    }
}

#[tokio::test]
async fn follow_ups_are_among_a_users_streams_and_actions_in_one_go_are_not() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::with(&upstream, &[("limits.max_streams_per_user", "1")]).await;
    let session = gateway.bound(&upstream, "ada", "thr_1").await;
    let actions = format!("/sessions/{session}/threads/{session}/actions");
    let post =
        |path: &str| TestRequest::new("POST", path).user("ada").json(r#"{"action":{"type":"x"}}"#);
    let mut first = gateway.connect().await;
    first.send(post(&actions).bytes()).await;
    let (mut peer, _) = upstream.request().await;
    peer.send(STREAM_HEAD).await;
    gateway.send(post(&actions)).await.refusal(429, "RATE_LIMITED");

    let mut second = gateway.connect().await;
    second.send(post(&format!("{actions}?sync=true")).bytes()).await;
    let (mut other, received) = upstream.request().await;
    assert_eq!(received.kind(), "threads.sync_custom_action");
    other.send(json_answer("{}")).await;
    assert!(second.reply().await.data()["updated_item"].is_null());
    other.close();

    let options = crate::support::options();
    peer.send_chunk(&options).await;
    peer.send(last_chunk()).await;
    assert_eq!(first.reply().await.text(), options);
    let mut third = gateway.connect().await;
    third.send(post(&actions).bytes()).await;
    // On the connection of the first one.
    peer.request().await;
    peer.send(stream_answer(&options)).await;
    assert_eq!(third.reply().await.status, 200);
}

#[tokio::test]
async fn audio_of_many_megabytes_arrives_whole() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    let audio: Vec<u8> = (0..5_000_002_u32).map(|n| (n % 251) as u8).collect();
    let mut client = gateway.connect().await;
    let request = TestRequest::new("POST", "/transcriptions").user("ada");
    let request = request.field("content-type", "audio/wav").body(&audio);
    let sending = tokio::spawn(async move {
        client.send(request.bytes()).await;
        client
    });
    let (mut peer, received) = upstream.request().await;
    let mut client = sending.await.unwrap();
    let params = received.json()["params"].take();
    assert_eq!(params["mime_type"], "audio/wav");
    let base64 = params["audio_base64"].as_str().unwrap();
    assert_eq!(base64.len(), 5_000_002_usize.div_ceil(3) * 4);
    assert!(base64.starts_with("AAECAwQFBgcICQoL") && base64.ends_with("=="));
    peer.send(json_answer(r#"{"text":"hm"}"#)).await;
    assert_eq!(client.reply().await.data()["text"], "hm");
}
