//! After the commit: every byte from before the break, and then a break that can be seen.

use crate::support::{
    Client, End, Gateway, JSON_HEAD, MESSAGE_DELTA, MESSAGE_START, Peer, STREAM_HEAD, TestRequest,
    Upstream, chunk, line_of, preamble,
};

async fn open_run(upstream: &Upstream, gateway: &Gateway) -> (Client, Peer, String) {
    let session = gateway.session("ada").await;
    let mut client = gateway.say("ada", &session).await;
    let (mut peer, _) = upstream.request().await;
    peer.send(STREAM_HEAD).await;
    let first = format!("{}{MESSAGE_START}", preamble(&format!("thr_{session}")));
    peer.send_chunk(&first).await;
    let head = client.head().await;
    assert_eq!(head.status, 200);
    client.expect_body(&first).await;
    (client, peer, head.field("x-request-id").unwrap().to_owned())
}

#[tokio::test]
async fn whatever_came_before_a_break_reaches_the_client_and_then_a_break() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::with(&upstream, &[("limits.max_sessions", "0")]).await;
    let piece = MESSAGE_DELTA.as_bytes();
    for (last, expected) in [
        (Vec::new(), &b""[..]),
        // A whole chunk; the last one is missing.
        (chunk(piece), piece),
        // Inside of an event, of a character and of a chunk.
        (chunk(piece)[..130].to_vec(), &piece[..126]),
        // A chunk's size that is none.
        ([&chunk(piece)[..], b"xyz\r\n"].concat(), piece),
        // A chunk that is longer than it said.
        ([&chunk(piece)[..], b"1\r\nabc\r\n"].concat(), &[piece, b"a"].concat()),
        // The last chunk begins and doesn't end.
        ([&chunk(piece)[..], b"0\r\n"].concat(), piece),
    ] {
        let (mut client, mut peer, request_id) = open_run(&upstream, &gateway).await;
        peer.send(&last).await;
        peer.close();
        let (body, end) = client.body().await;
        assert_eq!(String::from_utf8_lossy(&body), String::from_utf8_lossy(expected));
        assert_ne!(end, End::Clean);
        assert_eq!(line_of(&request_id).await.get("outcome"), "truncated");
    }
}

#[tokio::test]
async fn a_reset_is_a_break_too() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    let (mut client, mut peer, _) = open_run(&upstream, &gateway).await;
    peer.send_chunk(MESSAGE_DELTA).await;
    client.expect_body(MESSAGE_DELTA).await;
    peer.reset();
    let (body, end) = client.body().await;
    assert!(body.is_empty());
    assert_ne!(end, End::Clean);
}

#[tokio::test]
async fn an_answer_that_comes_with_its_break_in_one_piece_is_given_whole() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    let session = gateway.session("ada").await;
    let mut client = gateway.say("ada", &session).await;
    let (mut peer, _) = upstream.request().await;
    let body = format!("{}{MESSAGE_START}{MESSAGE_DELTA}", preamble("thr_1"));
    let mut answer = STREAM_HEAD.as_bytes().to_vec();
    for line in body.split_inclusive('\n') {
        answer.extend(chunk(line));
    }
    answer.extend(b"zz\r\n");
    peer.send(&answer).await;
    let reply = client.reply().await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.text(), body);
    assert_ne!(reply.end, End::Clean);
}

/// Sizes from what the system takes at once to more than it and the server buffer together, so
/// that at some of them the break comes while the server has something left to write.
#[tokio::test]
async fn a_slow_reader_too_gets_every_byte_from_before_the_break() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::with(&upstream, &[("limits.max_sessions", "0")]).await;
    let event = crate::support::data(&"x".repeat(40_000));
    for n in 1..=30 {
        let session = gateway.session("ada").await;
        let mut client = Client::connect_small(gateway.address).await;
        client.send(TestRequest::run(&session).user("ada").bytes()).await;
        let (mut peer, _) = upstream.request().await;
        peer.send(STREAM_HEAD).await;
        let first = format!("{}{MESSAGE_START}", preamble(&format!("thr_{n}")));
        peer.send_chunk(&first).await;
        let events = n * 4;
        let chunks = chunk(&event).repeat(events);
        let sending = tokio::spawn(async move {
            peer.send(chunks).await;
            peer.close();
        });
        // The gateway has all the time it needs to see the break, if it reads that far.
        for _ in 0..5 {
            gateway.settle().await;
        }
        assert_eq!(client.head().await.status, 200);
        let (body, end) = client.body().await;
        assert_ne!(end, End::Clean);
        assert_eq!(body.len(), first.len() + events * event.len(), "{n}");
        sending.await.unwrap();
    }
}

#[tokio::test]
async fn a_json_answer_passed_on_is_cut_where_the_upstreams_was() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    gateway.bound(&upstream, "ada", "thr_1").await;
    let body = r#"{"data":[{"id":"#;
    for answer in [
        format!("{JSON_HEAD}content-length: 100\r\n\r\n{body}").into_bytes(),
        [
            format!("{JSON_HEAD}transfer-encoding: chunked\r\n\r\n").as_bytes(),
            &chunk(body),
            b"zz\r\n",
        ]
        .concat(),
    ] {
        let about = r#""params":{"thread_id":"thr_1","item_ids":["msg_1"],"kind":"positive"}"#;
        let feedback = format!(r#"{{"type":"items.feedback",{about}}}"#);
        let mut client = gateway.chatkit("ada", &feedback).await;
        let (mut peer, _) = upstream.request().await;
        peer.send(&answer).await;
        peer.close();
        let reply = client.reply().await;
        assert_eq!(reply.status, 200);
        assert_eq!(reply.text(), body);
        assert_ne!(reply.end, End::Clean);
        let id = reply.field("x-request-id").unwrap();
        assert_eq!(line_of(id).await.get("outcome"), "truncated");

        // One in which a cursor is looked for is read to its end first.
        for kind in ["items.list", "threads.get_by_id"] {
            let request = format!(r#"{{"type":"{kind}","params":{{"thread_id":"thr_1"}}}}"#);
            let mut client = gateway.chatkit("ada", &request).await;
            let (mut peer, _) = upstream.request().await;
            peer.send(&answer).await;
            peer.close();
            client.reply().await.refusal(502, "UPSTREAM_ERROR");
        }
    }
}

// An HTTP/1.0 body ends with its connection, so only a reset can tell a cut from an end.
#[tokio::test]
async fn a_client_that_knows_no_chunks_sees_the_break_as_a_reset() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    for cut in [true, false] {
        let session = gateway.session("ada").await;
        let mut client = gateway.connect().await;
        let request = String::from_utf8(TestRequest::run(&session).user("ada").bytes()).unwrap();
        client.send(request.replacen("HTTP/1.1", "HTTP/1.0", 1)).await;
        let (mut peer, _) = upstream.request().await;
        peer.send(STREAM_HEAD).await;
        let body = format!("{}{MESSAGE_START}", preamble(&format!("thr_{session}")));
        peer.send_chunk(&body).await;
        let head = client.head().await;
        assert_eq!((head.status, head.field("transfer-encoding")), (200, None));
        client.expect_body(&body).await;
        if cut {
            peer.close();
            assert_eq!(client.body().await, (Vec::new(), End::Reset));
        } else {
            peer.send_end().await;
            assert_eq!(client.body().await, (Vec::new(), End::Clean));
        }
    }
}
