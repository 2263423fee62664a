//! HTTP/2 clients that cost more than they ask for, with TLS and without: they are cut off or refused,
//! what they make the gateway do and keep is bounded, and others are served meanwhile.

use crate::support::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, Frame, GOAWAY, HEADERS, PRIORITY, RST_STREAM,
    RawHttp2, SETTINGS, head,
};
use crate::support::{Gateway, TestRequest, Upstream, soon};

/// How the gateway is asked whether it is there for others.
async fn serves_others(gateway: &Gateway) {
    let reply = gateway.send(TestRequest::new("GET", "/sessions").user("bob")).await;
    assert_eq!(reply.status, 200);
}

async fn connect(gateway: &Gateway) -> RawHttp2 {
    let mut client = RawHttp2::over(gateway.connect_http2().await).await;
    client.send(&[Frame::settings(65_535)]).await;
    client
}

/// Sends a flood until the connection is closed, at most so many times `frames`.
async fn flood(
    gateway: &Gateway,
    client: &mut RawHttp2,
    most: usize,
    mut frames: impl FnMut() -> Vec<Frame>,
) {
    for n in 0..most {
        if !client.try_send(&frames()).await {
            return;
        }
        if n % 16 == 0 {
            serves_others(gateway).await;
        }
    }
    panic!("the connection is still open");
}

const ENHANCE_YOUR_CALM: [u8; 4] = [0, 0, 0, 11];
const REFUSED_STREAM: [u8; 4] = [0, 0, 0, 7];

/// Gives the code that the connection was closed with, if it was told.
fn code(frames: &[Frame]) -> Option<&[u8]> {
    let last = frames.iter().rfind(|frame| frame.kind == GOAWAY)?;
    last.payload.get(4..8)
}

// CVE-2023-44487.
#[tokio::test]
async fn streams_that_are_reset_at_once_end_the_connection() {
    let upstream = Upstream::bind().await;
    let settings = [("limits.max_in_flight", "50"), ("limits.max_streams_per_user", "1000")];
    let gateways = Gateway::of_each_kind(&upstream, &settings).await;
    let upstream = upstream.answer(|_| Vec::new());
    for gateway in &gateways {
        let session = gateway.session("ada").await;
        let path = format!("/sessions/{session}/threads/{session}/runs");
        let post = head("POST", &path, Some("ada"));
        let mut client = connect(gateway).await;
        let mut stream = 1;
        let before = upstream.types().len();
        flood(gateway, &mut client, 200, || {
            let mut frames = Vec::new();
            for _ in 0..100 {
                frames.push(Frame::new(HEADERS, END_HEADERS, stream, post.clone()));
                frames.push(Frame::new(DATA, END_STREAM, stream, "{\"message\":\"hi\"}"));
                frames.push(Frame::new(RST_STREAM, 0, stream, [0, 0, 0, 8]));
                stream += 2;
            }
            frames
        })
        .await;
        // It is told why, unless the system had no more time for it.
        let frames = client.everything().await;
        assert!(code(&frames).is_none_or(|code| code == ENHANCE_YOUR_CALM), "{frames:?}");
        gateway.settle().await;
        serves_others(gateway).await;
        let asked = upstream.types().len() - before;
        assert!(asked <= 250, "{asked} calls of the upstream");
    }
}

#[tokio::test]
async fn a_head_without_an_end_is_not_read_for_ever() {
    let upstream = Upstream::bind().await;
    for gateway in Gateway::of_each_kind(&upstream, &[("server.header_timeout", "1h")]).await {
        // Fields that are not known, in pieces of any size; the empty ones cost the least to send.
        let field = [&[0, 1][..], b"x", &[100], &[b'y'; 100]].concat();
        for piece in [Vec::new(), field.clone(), field.repeat(100)] {
            let mut client = connect(&gateway).await;
            let block = head("GET", "/sessions", Some("ada"));
            client.send(&[Frame::new(HEADERS, END_STREAM, 1, block)]).await;
            flood(&gateway, &mut client, 1000, || {
                vec![Frame::new(CONTINUATION, 0, 1, piece.clone()); 10]
            })
            .await;
        }
    }
    upstream.expect_no_connection();
}

#[tokio::test]
async fn frames_that_ask_for_nothing_are_not_taken_for_ever() {
    let upstream = Upstream::bind().await;
    let settings = [
        ("server.write_timeout", "1s"),
        ("server.idle_timeout", "1s"),
        // Others' TLS handshakes are to fit in, even on a machine that has much to do.
        ("server.header_timeout", "10s"),
    ];
    for gateway in Gateway::of_each_kind(&upstream, &settings).await {
        for frame in [
            // Each is to be answered, and no answer is read.
            Frame::ping(),
            Frame::settings(65_535),
            Frame::new(SETTINGS, 0, 0, []),
            // These aren't.
            Frame::new(PRIORITY, 0, 1, [0, 0, 0, 0, 1]),
            Frame::new(0xbe, 0, 0, [0; 8]),
        ] {
            let mut client = connect(&gateway).await;
            soon(async {
                let many = vec![frame; 1000];
                while client.try_send(&many).await {
                    serves_others(&gateway).await;
                }
            })
            .await;
        }
    }
}

/// Gives the bytes that this process has in memory.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok());
    kilobytes.unwrap_or_default() * 1024
}

// One field of 4 KB goes into the table, and is then named by one byte, as often as a frame has bytes.
#[tokio::test]
async fn a_head_that_is_small_on_the_wire_alone_is_refused() {
    let upstream = Upstream::bind().await;
    // RFC 7541 section 6.2.1: it is added to the table; 4000 as an integer of seven bits and more.
    let entry = [&[0x40, 1][..], b"x", &[0x7f, 0xa1, 0x1e], &[b'y'; 4000]].concat();
    let get = |stream, named: &[u8]| {
        let block = [&head("GET", "/sessions", Some("ada")), named].concat();
        Frame::new(HEADERS, END_HEADERS | END_STREAM, stream, block)
    };
    for gateway in Gateway::of_each_kind(&upstream, &[]).await {
        let before = resident();
        let mut clients = Vec::new();
        for _ in 0..200 {
            let mut client = connect(&gateway).await;
            client.send(&[get(1, &[&*entry, &[0xbe; 3]].concat())]).await;
            client.ok(1).await;
            // 48 MB.
            client.send(&[get(3, &[0xbe; 12_000])]).await;
            while let Some(frame) = client.frame().await {
                if frame.kind == GOAWAY || frame.is(RST_STREAM, 3) {
                    break;
                }
                if frame.is(HEADERS, 3) {
                    assert_ne!(frame.payload.first(), Some(&0x88), "it was served");
                    break;
                }
            }
            clients.push(client);
        }
        serves_others(&gateway).await;
        // All of them unfolded are ten gigabytes.
        let grown = resident().saturating_sub(before);
        assert!(grown < 1 << 30, "{grown} bytes more");
    }
    upstream.expect_no_connection();
}

#[tokio::test]
async fn streams_beyond_as_many_as_there_may_be_are_refused() {
    let upstream = Upstream::bind().await;
    for gateway in Gateway::of_each_kind(&upstream, &[("server.body_timeout", "1h")]).await {
        let mut client = connect(&gateway).await;
        // Bodies that don't end.
        let post = head("POST", "/sessions", Some("ada"));
        for n in 0..300 {
            client.send(&[Frame::new(HEADERS, END_HEADERS, 2 * n + 1, post.clone())]).await;
        }
        let mut refused = 0;
        while refused < 50 {
            let frame = client.frame().await.expect("an answer");
            if frame.kind == RST_STREAM {
                assert_eq!(frame.payload, REFUSED_STREAM);
                assert!(frame.stream > 2 * 249, "{frame:?}");
                refused += 1;
            }
        }
        serves_others(&gateway).await;
        // Those that are open go on.
        client.send(&[Frame::new(DATA, END_STREAM, 1, "{}")]).await;
        client.ok(1).await;
        client.reset();
        gateway.settle().await;
    }
    upstream.expect_no_connection();
}
