//! Slowness, on a clock that stands still until everything waits.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::client::{create, create_body, kind, next, send, server};

#[tokio::test(start_paused = true)]
async fn deltas_are_as_far_apart_as_was_asked() {
    let server = server();
    let mut body = send(&server, &create_body("/slow 50 three more words")).await.into_body();
    let start = Instant::now();
    let mut times = Vec::new();
    while times.len() < 7 {
        if kind(&next(&mut body).await).ends_with("text_delta") {
            times.push(start.elapsed());
        }
    }
    // You said: /slow 50 three more words
    let expected: Vec<_> = (0..7).map(|n| Duration::from_millis(50) * n).collect();
    for (time, expected) in times.iter().zip(&expected) {
        let late = time.checked_sub(*expected).unwrap();
        assert!(late < Duration::from_millis(10), "{times:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_demos_delay_applies_to_every_answer() {
    let server = server().with_token_delay(Duration::from_secs(1));
    let start = Instant::now();
    create(&server, "a b c").await;
    assert_eq!(start.elapsed().as_secs(), 4);
    let start = Instant::now();
    create(&server, "/long 11").await;
    assert_eq!(start.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_stalled_stream_shows_its_preamble_and_nothing_more() {
    let mut body = send(&server(), &create_body("/stall")).await.into_body();
    for expected in ["thread.created", "thread.item.done", "stream_options"] {
        assert_eq!(kind(&next(&mut body).await), expected);
    }
    let next = timeout(Duration::from_secs(86_400), next(&mut body));
    next.await.expect_err("it should have stalled");
}
