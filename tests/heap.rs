//! What an event costs in allocations: none of ours.
//!
//! Through every room, from the upstream service's body to the body that the server writes from,
//! a run of eleven thousand events allocates exactly as often as one of a thousand. Over a
//! socket hyper allocates its read buffers, one for many events; forwarding adds nothing.
//!
//! And what a page costs in memory: what it shows, not what there is.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends where an expectation fails"
)]

#[path = "bench/gateway.rs"]
mod gateway;

use std::path::Path;
use std::pin::pin;
use std::sync::Arc;

use allocation_counter::measure;
use bytes::Bytes;
use chatkit_rest::forward::{HttpUpstream, UpstreamUrl};
use chatkit_rest::principal::UserId;
use chatkit_rest::session::{AdoptedThread, Adoption, Directory as _, Sessions as _, SqliteStore};
use chatkit_rest::surface::Surface;
use gateway::{Furnished, call, drain};
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tower::ServiceExt as _;

/// Allocations and frames of a run's body, from the commit to the end.
fn of_run(furnished: &Furnished, deltas: usize) -> (u64, usize) {
    let service = gateway::gateway(&furnished.rooms, deltas);
    let response = call(&service, furnished.run());
    assert_eq!(response.status(), 200);
    let mut body = pin!(response.into_body());
    let mut frames = 0;
    let counted = measure(|| frames = drain(&mut body).1);
    (counted.count_total, frames)
}

#[test]
fn an_event_of_a_run_allocates_nothing() {
    // hold's and the upstream's timers need one, though nothing here waits.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _entered = runtime.enter();
    let furnished = Furnished::new();
    // What is made once per process, such as a thread's locals, is made here.
    of_run(&furnished, 10);
    let (short, short_frames) = of_run(&furnished, 1_000);
    let (long, long_frames) = of_run(&furnished, 11_000);
    assert_eq!((short_frames, long_frames), (1_001, 11_001));
    assert_eq!(long, short, "allocations of 11,000 and of 1,000 events");
    assert!(short <= 4, "{short} allocations after the commit");
}

/// Serves one answer: `events` events, a chunk each, as fast as they are taken.
async fn serve_stream(listener: TcpListener, events: usize) {
    const EVENT: &str = "data: {\"type\":\"thread.item.updated\",\"delta\":\"012\"}\n\n";
    let (mut socket, _) = listener.accept().await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"{}") {
        assert_ne!(socket.read_buf(&mut head).await.unwrap(), 0);
    }
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
        transfer-encoding: chunked\r\n\r\n";
    socket.write_all(head.as_bytes()).await.unwrap();
    let burst = format!("{:x}\r\n{EVENT}\r\n", EVENT.len()).repeat(100);
    for _ in 0..events / 100 {
        socket.write_all(burst.as_bytes()).await.unwrap();
    }
    socket.write_all(b"0\r\n\r\n").await.unwrap();
}

/// Allocations while `events` events come by a socket.
fn over_a_socket(events: usize) -> u64 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    // On a thread of its own, because allocations are counted by thread.
    let server = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            serve_stream(TcpListener::from_std(listener).unwrap(), events).await;
        });
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let url = UpstreamUrl::parse(&format!("http://{address}/chatkit")).unwrap();
    let upstream = HttpUpstream::builder(url).build().unwrap();
    let request = Request::post("/").body(Full::new(Bytes::from_static(b"{}"))).unwrap();
    let mut body = runtime.block_on(upstream.oneshot(request)).unwrap().into_body();
    let mut frames = 0;
    let counted = measure(|| {
        runtime.block_on(async {
            while let Some(frame) = body.frame().await {
                frames += usize::from(frame.unwrap().is_data());
            }
        });
    });
    // A chunk that came in two packets is two frames.
    assert!(frames >= events, "{frames}");
    server.join().unwrap();
    counted.count_total
}

#[test]
fn forwarding_an_event_allocates_less_than_once() {
    over_a_socket(100);
    let (short, long) = (over_a_socket(1_000), over_a_socket(11_000));
    // What there is are hyper's read buffers, at least some thirty events each; how many depends
    // on how the kernel cuts the packets.
    assert!(long.saturating_sub(short) < 10_000 / 10, "{short} and {long} allocations");
}

/// Makes a store at `path` in which ada has so many conversations, whose titles are as long as they
/// may be.
fn with_conversations(path: &Path, conversations: usize) -> SqliteStore {
    let store = SqliteStore::open(path).unwrap();
    let thread = |n: usize| {
        let at = jiff::Timestamp::from_second(n.try_into().unwrap()).unwrap();
        let user_id = UserId::parse("ada").unwrap();
        let mut thread = AdoptedThread::new(format!("thr_{n}").into(), user_id, at);
        thread.title = Some("\u{1f31e}".repeat(255));
        Adoption::Thread(thread)
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        store.adopt((0..conversations).map(thread).collect()).await.unwrap();
        store.signing_key([7; 32]).await.unwrap();
    });
    store
}

/// Gives the most that is allocated at once for a page of each list of a user's, in bytes.
fn of_pages(conversations: usize) -> Vec<u64> {
    let name = format!("chatkit-rest-heap-{}-{conversations}", std::process::id());
    let directory = std::env::temp_dir().join(name);
    std::fs::create_dir(&directory).unwrap();
    let store = with_conversations(&directory.join("sessions.db"), conversations);
    // Outside of a runtime, so a list is read on this thread, whose allocations are counted.
    let furnished = Furnished::on(Arc::new(store));
    let service = gateway::gateway(&furnished.rooms, 0);
    let page = |surface, path: &str| {
        let request = furnished.of_surface(surface, &Method::GET, path, String::new());
        let mut bytes = 0;
        let counted = measure(|| {
            let response = call(&service, request);
            assert_eq!(response.status(), 200, "{path}");
            bytes = drain(&mut pin!(response.into_body())).0;
        });
        // All of the titles are in it.
        assert!(bytes > 20 * 255 * 4, "{path}: {bytes} bytes");
        counted.bytes_max
    };
    let lists = || {
        [(Surface::Rest, "/sessions?limit=20"), (Surface::Chat, "/conversations?limit=20")]
            .map(|(surface, path)| page(surface, path))
    };
    // What is made once, such as a connection and its statements, is made here.
    lists();
    let peaks = lists().to_vec();
    drop((service, furnished));
    std::fs::remove_dir_all(&directory).unwrap();
    peaks
}

#[test]
fn a_page_of_many_conversations_costs_the_memory_of_a_page() {
    let (few, many) = (of_pages(30), of_pages(5_000));
    for (few, many) in few.into_iter().zip(many) {
        // The ids and times are as long as they are.
        assert!(many.abs_diff(few) < 1024, "{many} bytes, and {few} of thirty");
        assert!(many < 8 * 20 * 255 * 4, "{many} bytes");
    }
}
