//! HTTP/2 clients that open no window, or hardly any: each takes its answer in time or goes
//! without, and keeps nobody else out.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::support::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, Frame, GOAWAY, HEADERS, PRIORITY, RST_STREAM,
    RawHttp2, head,
};
use crate::support::{
    Gateway, MESSAGE_DELTA, MESSAGE_START, STREAM_HEAD, TestRequest, Upstream, chunk, data,
    json_answer, preamble, soon,
};

const QUICK: [(&str, &str); 2] = [("server.write_timeout", "300ms"), ("stream.hold_for", "0s")];

/// Sends `frame` again and again, and gives what comes until one of `kind` for `stream`, or the
/// end.
async fn dribble(client: &mut RawHttp2, frame: Frame, kind: u8, stream: u32) -> Vec<Frame> {
    let mut every = interval(Duration::from_millis(20));
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut seen = Vec::new();
    soon(async {
        loop {
            tokio::select! {
                next = client.next() => match next {
                    None => return seen,
                    Some(next) => {
                        let last = next.is(kind, stream);
                        seen.push(next);
                        if last {
                            return seen;
                        }
                    }
                },
                _ = every.tick() => drop(client.try_send(std::slice::from_ref(&frame)).await),
            }
        }
    })
    .await
}

#[track_caller]
fn assert_cut(frames: &[Frame], stream: u32) {
    let last = frames.last().expect("a frame");
    assert!(last.is(RST_STREAM, stream), "{frames:?}");
    let ended = |frame: &&Frame| frame.stream == stream && frame.flags & END_STREAM != 0;
    assert_eq!(frames.iter().find(ended), None);
}

#[tokio::test]
async fn who_opens_no_window_goes_without_and_its_connection_goes_on() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::with(&upstream, &QUICK).await;
    for user in [Some("ada"), None] {
        let mut client = RawHttp2::connect(gateway.address, 0).await;
        let begun = Instant::now();
        client.send(&[Frame::get(1, "/sessions", user)]).await;
        assert_cut(&client.until(RST_STREAM, 1).await, 1);
        assert!(begun.elapsed() >= Duration::from_millis(300));
        client.send(&[Frame::get(3, "/sessions", Some("ada")), Frame::window(3, 4096)]).await;
        assert!(client.ok(3).await.starts_with(b"{\"success\":true"));
    }
}

// The answers of those who ask for nothing but a page: they have no token either.
#[tokio::test]
async fn who_opens_no_window_for_a_page_goes_without() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::with(&upstream, &QUICK).await;
    let mut client = RawHttp2::connect(gateway.address, 0).await;
    let paths = ["//healthz", "//readyz", "//docs", "//openapi.json"];
    for (stream, path) in [1, 3, 5, 7].into_iter().zip(paths) {
        client.send(&[Frame::get(stream, path, None)]).await;
    }
    let mut cut = Vec::new();
    while cut.len() < paths.len() {
        let frame = client.frame().await.unwrap();
        assert_eq!(frame.flags & END_STREAM, 0, "{frame:?}");
        if frame.kind == RST_STREAM {
            cut.push(frame.stream);
        }
    }
    cut.sort_unstable();
    assert_eq!(cut, [1, 3, 5, 7]);
}

#[tokio::test]
async fn a_window_that_is_opened_by_the_byte_is_not_enough() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::with(&upstream, &QUICK).await;
    for user in [None, Some("ada")] {
        let mut client = RawHttp2::connect(gateway.address, 1).await;
        client.send(&[Frame::get(1, "/sessions", user)]).await;
        assert_cut(&dribble(&mut client, Frame::window(1, 1), RST_STREAM, 1).await, 1);
    }
    // All but the last byte is not all.
    let mut client = RawHttp2::connect(gateway.address, 4096).await;
    client.send(&[Frame::get(1, "/sessions", Some("ada"))]).await;
    let length = u32::try_from(client.ok(1).await.len()).unwrap();
    let mut client = RawHttp2::connect(gateway.address, length - 1).await;
    client.send(&[Frame::get(1, "/sessions", Some("ada"))]).await;
    assert_cut(&client.until(RST_STREAM, 1).await, 1);
    // And who takes the rest in time is done.
    client.send(&[Frame::get(3, "/sessions", Some("ada"))]).await;
    client.until(DATA, 3).await;
    client.send(&[Frame::window(3, 1)]).await;
    let rest = client.until(DATA, 3).await;
    assert_eq!(rest.last().unwrap().payload, b"}");
}

#[tokio::test]
async fn a_run_that_is_not_taken_is_closed_upstream() {
    let upstream = Upstream::bind().await;
    let settings = [QUICK.as_slice(), &[("limits.max_streams_per_user", "1")]].concat();
    let gateway = Gateway::with(&upstream, &settings).await;
    let session = gateway.session("ada").await;
    for (window, dribbles) in [(0, false), (100, false), (1, true)] {
        let mut client = RawHttp2::connect(gateway.address, window).await;
        client.say(1, "ada", &session).await;
        let (mut peer, _) = upstream.request().await;
        peer.send(STREAM_HEAD).await;
        peer.send_chunk(format!("{}{MESSAGE_START}", preamble("thr_1"))).await;
        let frames = if dribbles {
            dribble(&mut client, Frame::window(1, 1), RST_STREAM, 1).await
        } else {
            client.until(RST_STREAM, 1).await
        };
        assert_cut(&frames, 1);
        peer.expect_closed().await;
    }
    // The user's stream came back as well.
    let _client = gateway.say("ada", &session).await;
    upstream.request().await;
}

#[tokio::test]
async fn a_run_that_has_ended_is_not_ended_for_who_did_not_take_it() {
    let upstream = Upstream::bind().await;
    let settings = [QUICK.as_slice(), &[("limits.max_in_flight", "1")]].concat();
    let gateway = Gateway::with(&upstream, &settings).await;
    let session = gateway.session("ada").await;
    let first = format!("{}{MESSAGE_START}", preamble("thr_1"));
    let window = u32::try_from(first.len() + 100).unwrap();
    let mut client = RawHttp2::connect(gateway.address, window).await;
    client.say(1, "ada", &session).await;
    let (mut peer, _) = upstream.request().await;
    peer.send(STREAM_HEAD).await;
    peer.send_chunk(first).await;
    client.until(DATA, 1).await;
    peer.send_chunk(MESSAGE_DELTA.repeat(3)).await;
    client.until(DATA, 1).await;
    peer.send_end().await;
    assert_cut(&client.until(RST_STREAM, 1).await, 1);
    // Nothing of it is left.
    assert_eq!(gateway.get("ada", "/sessions").await.status, 200);
}

// What has gone to the server's memory is not taken, whatever the windows were.
#[tokio::test]
async fn a_window_that_is_taken_back_frees_nobody_from_the_clock() {
    let upstream = Upstream::bind().await;
    let settings = [("server.write_timeout", "1s"), ("limits.max_in_flight", "1")];
    let gateway = Gateway::with(&upstream, &settings).await;
    let session = gateway.bound(&upstream, "ada", "thr_1").await;
    let mut client = RawHttp2::connect(gateway.address, (1 << 31) - 1).await;
    let path = format!("/sessions/{session}/threads/{session}/items");
    client.send(&[Frame::window(0, 1 << 30), Frame::get(1, &path, Some("ada"))]).await;
    let (mut peer, _) = upstream.request().await;
    let item = serde_json::json!({
        "id": "msg_1",
        "thread_id": "thr_1",
        "created_at": "2026-11-21T03:43:12.5",
        "type": "user_message",
        "content": [{"type": "input_text", "text": "x".repeat(7 << 20)}],
        "attachments": [],
        "inference_options": {},
    });
    let items = serde_json::json!({"data": [item], "has_more": false, "after": null});
    peer.send(json_answer(&items.to_string())).await;
    let answer = client.until(HEADERS, 1).await.pop().unwrap();
    // `:status: 200` of the static table.
    assert_eq!(answer.payload[0], 0x88);
    // It has its place for as long as it isn't taken.
    assert_eq!(gateway.get("eve", "/sessions").await.status, 503);
    client.send(&[Frame::settings(0)]).await;
    assert_cut(&client.until(RST_STREAM, 1).await, 1);
    assert_eq!(gateway.get("eve", "/sessions").await.status, 200);
}

#[tokio::test]
async fn a_connection_whose_window_stays_shut_is_closed() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::with(&upstream, &QUICK).await;
    let session = gateway.session("ada").await;
    for dribbles in [false, true] {
        let mut client = RawHttp2::connect(gateway.address, 1 << 30).await;
        client.say(1, "ada", &session).await;
        let (peer, _) = upstream.request().await;
        let (mut read, mut write) = peer.into_split();
        let sending = tokio::spawn(async move {
            use tokio::io::AsyncWriteExt as _;
            let first = chunk(format!("{}{MESSAGE_START}", preamble("thr_1")));
            write.write_all(&[STREAM_HEAD.as_bytes(), &first].concat()).await.unwrap();
            let piece = chunk(data(&"x".repeat(16_000)));
            while write.write_all(&piece).await.is_ok() {}
        });
        let frames = if dribbles {
            dribble(&mut client, Frame::window(0, 1), GOAWAY, 1).await
        } else {
            client.everything().await
        };
        let taken: usize =
            frames.iter().filter(|frame| frame.is(DATA, 1)).map(|frame| frame.payload.len()).sum();
        assert!((65_535..66_535).contains(&taken), "{taken}");
        assert!(!frames.iter().any(|frame| frame.flags & END_STREAM != 0));
        soon(sending).await.unwrap();
        let mut bytes = [0; 16];
        let ended = soon(tokio::io::AsyncReadExt::read(&mut read, &mut bytes)).await;
        assert!(matches!(ended, Ok(0) | Err(_)));
    }
}

#[tokio::test]
async fn who_has_taken_all_there_is_may_wait_for_more() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::with(&upstream, &QUICK).await;
    let session = gateway.session("ada").await;
    let mut client = RawHttp2::connect(gateway.address, 65_535).await;
    client.say(1, "ada", &session).await;
    let (mut peer, _) = upstream.request().await;
    peer.send(STREAM_HEAD).await;
    peer.send_chunk(format!("{}{MESSAGE_START}", preamble("thr_1"))).await;
    client.until(DATA, 1).await;
    // For as long as it takes to cut two others, one after the other, on the same connection and
    // on another.
    let mut other = RawHttp2::connect(gateway.address, 0).await;
    client.send(&[Frame::settings(0), Frame::get(3, "/sessions", Some("ada"))]).await;
    assert_cut(&client.until(RST_STREAM, 3).await, 3);
    other.send(&[Frame::get(1, "/sessions", None)]).await;
    assert_cut(&other.until(RST_STREAM, 1).await, 1);

    client.send(&[Frame::settings(65_535)]).await;
    peer.send_chunk(MESSAGE_DELTA).await;
    assert_eq!(client.until(DATA, 1).await.pop().unwrap().payload, MESSAGE_DELTA.as_bytes());
    peer.send_end().await;
    let end = client.until(DATA, 1).await.pop().unwrap();
    assert_eq!((end.payload, end.flags), (vec![], END_STREAM));
}

// No tunnel is made, and nothing is kept for one.
#[tokio::test]
async fn who_asks_for_a_tunnel_gets_an_answer() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::with(&upstream, &QUICK).await;
    let mut client = RawHttp2::connect(gateway.address, 0).await;
    // `:method: CONNECT` and `:authority: a`, with names of the static table.
    let block = [&[2, 7][..], b"CONNECT", &[1, 1], b"a"].concat();
    client.send(&[Frame::new(HEADERS, END_HEADERS, 1, block)]).await;
    assert_cut(&client.until(RST_STREAM, 1).await, 1);
    client.send(&[Frame::get(3, "/sessions", Some("ada")), Frame::window(3, 4096)]).await;
    client.ok(3).await;
}

/// Places are for those who have a token, and who has none can't take them.
#[tokio::test]
async fn refusals_that_nobody_takes_keep_nobody_out() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::with(&upstream, &[("limits.max_in_flight", "100")]).await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = RawHttp2::connect(gateway.address, 0).await;
        for n in 0..250 {
            client.send(&[Frame::get(2 * n + 1, "/sessions", None)]).await;
            client.until(HEADERS, 2 * n + 1).await;
        }
        clients.push(client);
    }
    assert_eq!(gateway.get("ada", "/sessions").await.status, 200);
    assert_eq!(gateway.send(TestRequest::new("GET", "//readyz")).await.status, 200);
    // Neither does a refusal further in.
    let mut client = RawHttp2::connect(gateway.address, 0).await;
    for n in 0..200 {
        client.send(&[Frame::get(2 * n + 1, "/nothing", Some("eve"))]).await;
        client.until(HEADERS, 2 * n + 1).await;
    }
    assert_eq!(gateway.get("ada", "/sessions").await.status, 200);
    clients.into_iter().for_each(RawHttp2::reset);
}

#[tokio::test]
async fn only_requests_keep_a_connection() {
    let upstream = Upstream::bind().await;
    let settings = [("server.idle_timeout", "300ms"), ("server.header_timeout", "1h")];
    let gateway = Gateway::with(&upstream, &settings).await;
    // Nothing after the preface, nor after the settings, but answers to pings.
    let mut client = RawHttp2::connect_silent(gateway.address).await;
    client.everything().await;
    let mut client = RawHttp2::connect(gateway.address, 65_535).await;
    client.everything().await;
    // Not even those.
    let mut client = RawHttp2::connect_silent(gateway.address).await;
    client.expect_end().await;
    for frame in [
        Frame::ping(),
        Frame::settings(65_535),
        Frame::window(0, 1),
        Frame::new(PRIORITY, 0, 1, [0, 0, 0, 0, 1]),
        // No frame that anybody knows.
        Frame::new(0xbe, 0, 0, [0; 8]),
    ] {
        let mut client = RawHttp2::connect(gateway.address, 65_535).await;
        dribble(&mut client, frame, HEADERS, 0).await;
    }
}

#[tokio::test]
async fn a_head_that_trickles_is_closed_in_time_beside_other_requests() {
    let upstream = Upstream::bind().await;
    let settings = [("server.header_timeout", "300ms"), ("server.idle_timeout", "1h")];
    let gateway = Gateway::with(&upstream, &settings).await;
    let session = gateway.session("ada").await;
    for beside in [false, true] {
        let mut client = RawHttp2::connect(gateway.address, 65_535).await;
        if beside {
            client.say(1, "ada", &session).await;
            upstream.request().await;
        }
        let block = head("GET", "/sessions", Some("ada"));
        client.send(&[Frame::new(HEADERS, END_STREAM, 3, block)]).await;
        // The last of it, byte by byte.
        let rest = Frame::new(CONTINUATION, END_HEADERS, 3, [0; 10_000]).bytes();
        let mut every = interval(Duration::from_millis(20));
        soon(async {
            for byte in rest {
                every.tick().await;
                if !client.try_send_bytes(&[byte]).await {
                    return;
                }
            }
        })
        .await;
    }
    // A head that comes whole is a request, after any number of those.
    let mut client = RawHttp2::connect(gateway.address, 65_535).await;
    let block = head("GET", "/sessions", Some("ada"));
    let (first, last) = block.split_at(20);
    client
        .send(&[
            Frame::new(HEADERS, END_STREAM, 1, first),
            Frame::new(CONTINUATION, END_HEADERS, 1, last),
        ])
        .await;
    client.ok(1).await;
}

#[tokio::test]
async fn a_body_that_never_ends_is_not_waited_for() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::with(&upstream, &[("server.body_timeout", "300ms")]).await;
    for user in [Some("ada"), None] {
        let mut client = RawHttp2::connect(gateway.address, 65_535).await;
        let post = head("POST", "/sessions", user);
        client.send(&[Frame::new(HEADERS, END_HEADERS, 1, post)]).await;
        let dribbled = Frame::new(DATA, 0, 1, " ");
        // The answer, and that no more of the body is wanted.
        let frames = dribble(&mut client, dribbled, RST_STREAM, 1).await;
        assert!(frames.iter().any(|frame| frame.is(DATA, 1) && frame.flags & END_STREAM != 0));
        assert_eq!(frames.last().unwrap().payload, [0; 4]);
    }
}

#[tokio::test]
async fn who_asks_and_never_reads_is_closed() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::with(&upstream, &QUICK).await;
    for frame in [Frame::ping(), Frame::settings(1)] {
        let mut client = RawHttp2::connect(gateway.address, 65_535).await;
        let many = vec![frame; 1000];
        soon(async { while client.try_send(&many).await {} }).await;
    }
}
