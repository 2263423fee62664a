//! What fails before the status is fixed is a status, with the envelope, and the session can be
//! tried again at once.

use serde_json::json;
use tokio::io::AsyncWriteExt;

use crate::support::{
    Gateway, MESSAGE_DONE, MESSAGE_START, Place, STREAM_HEAD, Upstream, chunk, created,
    error_event, json_answer, options, preamble, stream_answer, user_done,
};

#[tokio::test]
async fn an_upstream_that_refuses_is_a_502_and_serves_again_when_it_is_back() {
    let place = Place::new();
    let gateway = Gateway::at(place.address(), &[]).await;
    let session = gateway.session("ada").await;
    let reply = gateway.say("ada", &session).await.reply().await;
    reply.refusal(502, "UPSTREAM_ERROR");

    let upstream = Upstream::at(&place);
    let mut client = gateway.say("ada", &session).await;
    let (mut peer, received) = upstream.request().await;
    assert_eq!(received.kind(), "threads.create");
    peer.send(stream_answer(&format!("{}{MESSAGE_DONE}", preamble("thr_1")))).await;
    assert_eq!(client.reply().await.status, 200);
}

#[tokio::test]
async fn a_close_or_a_reset_before_any_event_is_a_502() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    let session = gateway.session("ada").await;
    for said in ["", "HTTP/1.1 200 OK\r\ncontent-ty", STREAM_HEAD] {
        for reset in [false, true] {
            let mut client = gateway.say("ada", &session).await;
            let (mut peer, received) = upstream.request().await;
            assert_eq!(received.kind(), "threads.create");
            peer.send(said).await;
            if reset {
                peer.reset();
            } else {
                peer.close();
            }
            let error = client.reply().await.refusal(502, "UPSTREAM_ERROR");
            assert_eq!(error.get("details"), None, "{said:?}");
        }
    }
}

#[tokio::test]
async fn a_cut_inside_of_an_event_before_any_output_is_a_502_that_says_what_is_known() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    let session = gateway.session("ada").await;
    let mut client = gateway.say("ada", &session).await;
    let (mut peer, _) = upstream.request().await;
    peer.send(STREAM_HEAD).await;
    peer.send_chunk(created("thr_1")).await;
    peer.send_chunk(user_done("msg_u")).await;
    peer.send_chunk(options()).await;
    peer.send_chunk(&MESSAGE_START[..40]).await;
    peer.close();
    let error = client.reply().await.refusal(502, "UPSTREAM_ERROR");
    assert_eq!(error["details"], json!({ "thread_id": "thr_1", "user_message_id": "msg_u" }));
}

#[tokio::test]
async fn a_stream_that_ends_without_output_is_a_502() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    let session = gateway.session("ada").await;
    let mut client = gateway.say("ada", &session).await;
    let (mut peer, _) = upstream.request().await;
    peer.send(stream_answer(&preamble("thr_1"))).await;
    let error = client.reply().await.refusal(502, "UPSTREAM_ERROR");
    assert_eq!(error["details"]["thread_id"], "thr_1");
}

#[tokio::test]
async fn nonsense_is_a_502() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    let session = gateway.session("ada").await;
    for said in [
        "SSH-2.0-OpenSSH_9.9\r\n\r\n".to_owned(),
        "HTTP/1.1 200 OK\r\nx: a\r\n b\r\n\r\n".to_owned(),
        "HTTP/1.1 200 OK\r\nx: a\rset-cookie: b\r\n\r\n".to_owned(),
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n".to_owned(),
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n".to_owned(),
        format!("{STREAM_HEAD}zz\r\n{}\r\n", created("thr_1")),
        format!("{STREAM_HEAD}5\r\nabcdefgh\r\n"),
        format!("{STREAM_HEAD}ffffffffffffffffffff\r\nx\r\n"),
    ] {
        let mut client = gateway.say("ada", &session).await;
        let (mut peer, _) = upstream.request().await;
        peer.send(&said).await;
        let reply = client.reply().await;
        reply.refusal(502, "UPSTREAM_ERROR");
        assert_eq!(reply.field("set-cookie"), None);
        drop(peer);
    }
}

#[tokio::test]
async fn an_answer_to_a_run_that_is_no_plain_stream_of_events_is_a_502() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    let session = gateway.session("ada").await;
    let body = chunk(format!("{}{MESSAGE_DONE}", preamble("thr_1")));
    for fields in [
        "content-type: application/json",
        "content-type: text/html",
        "x-no-type: 1",
        "content-type: text/event-stream\r\ncontent-encoding: gzip",
    ] {
        let mut client = gateway.say("ada", &session).await;
        let (mut peer, _) = upstream.request().await;
        peer.send(format!("HTTP/1.1 200 OK\r\n{fields}\r\ntransfer-encoding: chunked\r\n\r\n"))
            .await;
        // It may have closed by now.
        let _refused = peer.try_send(&body);
        client.reply().await.refusal(502, "UPSTREAM_ERROR");
    }
}

#[tokio::test]
async fn the_upstreams_own_statuses_are_mapped_and_nothing_of_them_leaks() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    let session = gateway.session("ada").await;
    let bodies = [
        ("application/json", r#"{"detail":"planted-in-upstream"}"#),
        ("text/html", "<h1>planted-in-upstream</h1>"),
        ("text/plain", ""),
    ];
    for (status, mapped, code) in [
        (400, 400, "UPSTREAM_REJECTED"),
        (404, 404, "UPSTREAM_REJECTED"),
        (409, 409, "UPSTREAM_REJECTED"),
        (413, 413, "UPSTREAM_REJECTED"),
        (422, 422, "UPSTREAM_REJECTED"),
        (429, 429, "UPSTREAM_REJECTED"),
        (401, 502, "UPSTREAM_ERROR"),
        (403, 502, "UPSTREAM_ERROR"),
        (418, 502, "UPSTREAM_ERROR"),
        (500, 502, "UPSTREAM_ERROR"),
        (503, 502, "UPSTREAM_ERROR"),
        (201, 502, "UPSTREAM_ERROR"),
        (206, 502, "UPSTREAM_ERROR"),
    ] {
        for (kind, body) in bodies {
            let mut client = gateway.say("ada", &session).await;
            let (mut peer, _) = upstream.request().await;
            let length = body.len();
            peer.send(format!(
                "HTTP/1.1 {status} Planted-In-Upstream\r\ncontent-type: {kind}\r\n\
                 content-length: {length}\r\nretry-after: 7\r\nwww-authenticate: Basic\r\n\
                 set-cookie: a=planted-in-upstream\r\nx-debug: planted-in-upstream\r\n\
                 connection: close\r\n\r\n{body}"
            ))
            .await;
            let reply = client.reply().await;
            reply.refusal(mapped, code);
            assert!(!reply.text().to_lowercase().contains("planted"), "{}", reply.text());
            assert!(!format!("{:?}", reply.head).contains("planted"), "{:?}", reply.head);
            assert_eq!(reply.field("www-authenticate"), None);
            let retry_after = (status == 429).then_some("7");
            assert_eq!(reply.field("retry-after"), retry_after, "{status}");
        }
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_an_answer_without_a_body_is_none() {
    let upstream = Upstream::bind().await;
    let elsewhere = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    let session = gateway.session("ada").await;
    for status in [204, 301, 302, 303, 304, 307, 308] {
        let mut client = gateway.say("ada", &session).await;
        let (mut peer, _) = upstream.request().await;
        let length = if matches!(status, 204 | 304) { "" } else { "content-length: 0\r\n" };
        peer.send(format!(
            "HTTP/1.1 {status} X\r\nlocation: http://{}/chatkit\r\n{length}\
             connection: close\r\n\r\n",
            elsewhere.address()
        ))
        .await;
        let reply = client.reply().await;
        reply.refusal(502, "UPSTREAM_ERROR");
        assert_eq!(reply.field("location"), None);
    }
    gateway.settle().await;
    elsewhere.expect_no_connection();
    upstream.expect_no_connection();
}

#[tokio::test]
async fn an_error_event_before_any_output_is_a_status() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    for (event, status, code, message, allow_retry) in [
        (error_event("stream.error", None, true), 502, "UPSTREAM_ERROR", None, true),
        (error_event("planted.code", Some("planted"), false), 502, "UPSTREAM_ERROR", None, false),
        (
            error_event("custom", Some("Your trial is over."), false),
            422,
            "UPSTREAM_REJECTED",
            Some("Your trial is over."),
            false,
        ),
    ] {
        let session = gateway.session("ada").await;
        let mut client = gateway.say("ada", &session).await;
        let (mut peer, _) = upstream.request().await;
        let thread = format!("thr_{session}");
        peer.send(stream_answer(&format!("{}{event}", preamble(&thread)))).await;
        let reply = client.reply().await;
        let error = reply.refusal(status, code);
        assert_eq!(error["details"]["allow_retry"], allow_retry);
        assert_eq!(error["details"]["thread_id"], thread);
        assert_eq!(error["details"]["user_message_id"], "msg_u");
        match message {
            Some(message) => assert_eq!(error["message"], message),
            None => assert!(!reply.text().contains("planted"), "{}", reply.text()),
        }
    }
}

#[tokio::test]
async fn an_error_event_after_output_is_part_of_the_stream() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    let session = gateway.session("ada").await;
    let mut client = gateway.say("ada", &session).await;
    let (mut peer, _) = upstream.request().await;
    let error = error_event("stream.error", None, true);
    let body = format!("{}{MESSAGE_START}{error}", preamble("thr_1"));
    peer.send(stream_answer(&body)).await;
    let reply = client.reply().await;
    assert_eq!((reply.status, reply.end), (200, crate::support::End::Clean));
    assert_eq!(reply.text(), body);
}

#[tokio::test]
async fn a_json_answer_that_is_cut_or_none_is_a_502() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    let session = gateway.bound(&upstream, "ada", "thr_1").await;
    let page = json_answer(r#"{"data":[],"has_more":false}"#);
    let (short, _) = page.split_at(page.len() - 3);
    for (answer, close) in [
        (short.to_vec(), true),
        (json_answer("[1"), false),
        (json_answer("\"a page\""), false),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}".to_vec(), false),
    ] {
        let path = format!("/sessions/{session}");
        let mut client = gateway.connect().await;
        let request = crate::support::TestRequest::new("GET", &path).user("ada");
        client.send(request.bytes()).await;
        // In whichever order it asks for the thread and for its items.
        let reply = async {
            let reply = client.reply().await;
            reply.refusal(502, "UPSTREAM_ERROR");
        };
        let serving = async {
            loop {
                let mut peer = upstream.accept().await;
                while let Some(received) = peer.try_request().await {
                    let answer = match received.kind().as_str() {
                        "items.list" => &answer,
                        _ => &json_answer("{}"),
                    };
                    peer.send(answer).await;
                    if close {
                        break;
                    }
                }
            }
        };
        tokio::select! { () = reply => {}, () = serving => {} }
    }
}

#[tokio::test]
async fn endless_interim_answers_are_a_504() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::with(&upstream, &[("upstream.first_byte_timeout", "300ms")]).await;
    let session = gateway.session("ada").await;
    let mut client = gateway.say("ada", &session).await;
    let (peer, _) = upstream.request().await;
    let (_read, mut write) = peer.into_split();
    let talking = tokio::spawn(async move {
        while write.write_all(b"HTTP/1.1 103 Early Hints\r\n\r\n").await.is_ok() {
            tokio::task::yield_now().await;
        }
    });
    client.reply().await.refusal(504, "UPSTREAM_TIMEOUT");
    crate::support::soon(talking).await.unwrap();
}
