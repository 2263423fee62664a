//! What the upstream sends reaches the client byte for byte, however it is cut into pieces.

use crate::support::{
    End, Gateway, MESSAGE_DELTA, MESSAGE_DONE, MESSAGE_START, STREAM_HEAD, TestRequest, Upstream,
    chunk, created, data, last_chunk, options, preamble, user_done,
};

/// Gives everything that is legal in a stream of events, and some that isn't.
fn odd(thread_id: &str) -> Vec<u8> {
    let crlf = |event: String| event.replace('\n', "\r\n");
    let cr = |event: String| event.replace('\n', "\r");
    let mut bytes = "\u{feff}".as_bytes().to_vec();
    bytes.extend(b": a comment\r\n\r\n:\n");
    bytes.extend(crlf(created(thread_id)).into_bytes());
    bytes.extend(b"event: message\nid: 7\nretry: 100\nunknown: field\n");
    bytes.extend(cr(user_done("msg_u")).into_bytes());
    bytes.extend(options().into_bytes());
    bytes.extend(b"data\ndata:\ndata: \n\n\n\n\r\r\n");
    bytes.extend(MESSAGE_START.as_bytes());
    bytes
        .extend(data("{\"type\":\"x\",\"t\":\"\u{2028}\u{2029}\u{85} 👩‍👩‍👧 e\u{301}\"}").into_bytes());
    bytes.extend(b"data: \0 \xff\xfe \xc3 not UTF-8 \x80\n\n");
    bytes.extend(b"data: {\"type\":\ndata: \"in.two.lines\"}\n\n");
    bytes.extend(MESSAGE_DELTA.as_bytes());
    bytes.extend(MESSAGE_DONE.as_bytes());
    bytes.extend(b"data: an event without an end");
    bytes
}

/// Gives the lengths of the pieces: all alike, and a few drawn.
fn cuttings(length: usize) -> Vec<Vec<usize>> {
    let mut cuttings: Vec<Vec<usize>> =
        [1, 2, 3, 7, 64, length].iter().map(|size| vec![*size; length / size + 1]).collect();
    // Knuth's multiplier: the pieces are the same in every run.
    let mut state = 1_u64;
    for _ in 0..6 {
        let mut draw = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            usize::try_from(state >> 60).unwrap() + 1
        };
        cuttings.push((0..length).map(|_| draw()).collect());
    }
    cuttings
}

fn pieces<'a>(bytes: &'a [u8], cutting: &[usize]) -> Vec<&'a [u8]> {
    let mut rest = bytes;
    let mut pieces = Vec::new();
    for length in cutting {
        let (piece, after) = rest.split_at((*length).min(rest.len()));
        if piece.is_empty() {
            break;
        }
        pieces.push(piece);
        rest = after;
    }
    assert!(rest.is_empty());
    pieces
}

#[tokio::test]
async fn streams_are_the_same_bytes_however_they_are_cut_into_chunks_and_segments() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::with(&upstream, &[("limits.max_sessions", "0")]).await;
    let count = cuttings(odd("thr_00").len()).len();
    for n in 0..count {
        for passthrough in [false, true] {
            let thread = format!("thr_{n:02}{}", if passthrough { "p" } else { "r" });
            let bytes = odd(&thread);
            let cutting = &cuttings(bytes.len())[n];
            let mut client = if passthrough {
                gateway.chatkit("ada", CREATE).await
            } else {
                let session = gateway.session("ada").await;
                gateway.say("ada", &session).await
            };
            let (mut peer, _) = upstream.request().await;
            peer.send(STREAM_HEAD).await;
            let chunks: Vec<u8> = pieces(&bytes, cutting).into_iter().flat_map(chunk).collect();
            // The segments are cut otherwise than the chunks.
            for segment in chunks.chunks(cutting[0] + 1) {
                peer.send(segment).await;
                if n > 2 {
                    tokio::task::yield_now().await;
                }
            }
            peer.send_end().await;
            let reply = client.reply().await;
            assert_eq!((reply.status, reply.end), (200, End::Clean));
            assert!(
                reply.body == bytes,
                "{n}: {} is not {}",
                String::from_utf8_lossy(&reply.body),
                String::from_utf8_lossy(&bytes)
            );
            drop(peer);
            // And it was understood: the session has the thread.
            let body = format!(
                r#"{{"type":"threads.custom_action","params":{{"thread_id":"{thread}","item_id":null,"action":{{"type":"x"}}}}}}"#
            );
            let _client = gateway.chatkit("ada", &body).await;
            assert_eq!(upstream.request().await.1.json()["params"]["thread_id"], thread);
        }
    }
}

const CREATE: &str = r#"{"type":"threads.create","params":{"input":{"content":[{"type":"input_text","text":"hi"}],"attachments":[],"inference_options":{}}}}"#;

#[tokio::test]
async fn an_event_of_ten_megabytes_passes() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    let session = gateway.session("ada").await;
    let mut client = gateway.say("ada", &session).await;
    let (mut peer, _) = upstream.request().await;
    let large = data(&format!("{{\"type\":\"x\",\"text\":\"{}\"}}", "x".repeat(10 << 20)));
    let body = format!("{}{large}{MESSAGE_DONE}", preamble("thr_1"));
    let sending = {
        let chunks: Vec<u8> = body.as_bytes().chunks(60_000).flat_map(chunk).collect();
        tokio::spawn(async move {
            peer.send(STREAM_HEAD).await;
            peer.send(&chunks).await;
            peer.send_end().await;
            peer
        })
    };
    let reply = client.reply().await;
    assert_eq!((reply.status, reply.end), (200, End::Clean));
    assert!(reply.body == body.as_bytes(), "{} of {} bytes", reply.body.len(), body.len());
    sending.await.unwrap();
}

#[tokio::test]
async fn a_hundred_thousand_events_pass() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    let session = gateway.session("ada").await;
    let mut client = gateway.say("ada", &session).await;
    let (mut peer, _) = upstream.request().await;
    let body = format!("{}{}", preamble("thr_1"), MESSAGE_DELTA.repeat(100_000));
    let sending = {
        let chunks: Vec<u8> = body.as_bytes().chunks(MESSAGE_DELTA.len()).flat_map(chunk).collect();
        tokio::spawn(async move {
            peer.send(STREAM_HEAD).await;
            peer.send(&chunks).await;
            peer.send_end().await;
            peer
        })
    };
    let reply = client.reply().await;
    assert_eq!((reply.status, reply.end), (200, End::Clean));
    assert!(reply.body == body.as_bytes(), "{} of {} bytes", reply.body.len(), body.len());
    sending.await.unwrap();
}

#[tokio::test]
async fn other_framings_of_the_upstream_are_fine() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    let kind = "content-type: text/event-stream";
    for (n, close) in [true, true, false, false, false].into_iter().enumerate() {
        let session = gateway.session("ada").await;
        let body = format!("{}{MESSAGE_DONE}", preamble(&format!("thr_{n}")));
        let length = body.len();
        let chunks = String::from_utf8(chunk(&body)).unwrap();
        let answer = match n {
            0 => format!("HTTP/1.0 200 OK\r\n{kind}\r\n\r\n{body}"),
            1 => format!("HTTP/1.1 200 OK\r\n{kind}\r\nconnection: close\r\n\r\n{body}"),
            2 => format!("HTTP/1.1 200 OK\r\n{kind}\r\ncontent-length: {length}\r\n\r\n{body}"),
            3 => format!("{STREAM_HEAD}{chunks}0\r\nx-trailer: 1\r\n\r\n"),
            _ => format!(
                "HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n{STREAM_HEAD}{chunks}{}",
                last_chunk()
            ),
        };
        let mut client = gateway.say("ada", &session).await;
        let (mut peer, _) = upstream.request().await;
        peer.send(&answer).await;
        if close {
            peer.close();
        }
        let reply = client.reply().await;
        assert_eq!((reply.status, reply.end), (200, End::Clean), "{answer}");
        assert_eq!(reply.text(), body, "{answer}");
        assert_eq!(reply.field("x-trailer"), None);
        assert_eq!(reply.field("link"), None);
    }
}

#[tokio::test]
async fn what_a_person_wrote_reaches_the_upstream_as_it_was() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    let session = gateway.session("ada").await;
    let text = r#"  \u00e4ö 👋 \"quoted\" \\ \/ <b> \ud83d\ude00 \n\t "#;
    let path = format!("/sessions/{session}/threads/{session}/runs");
    let mut client = gateway.connect().await;
    let body = format!("{{\"message\":\"{text}\"}}");
    client.send(TestRequest::new("POST", &path).user("ada").json(&body).bytes()).await;
    let (_peer, received) = upstream.request().await;
    let sent = String::from_utf8(received.body.clone()).unwrap();
    assert!(sent.contains(text), "{sent}");
    let input = &received.json()["params"]["input"];
    assert_eq!(input["attachments"], serde_json::json!([]));
    assert_eq!(input["inference_options"], serde_json::json!({}));
}
