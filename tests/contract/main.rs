//! All of `fixtures/`, in-process and over sockets; and the runner itself.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "what carries the tests may panic like them"
)]

mod base_url;
mod coverage;
mod faulty;
mod host;
mod mutations;

use std::path::Path;

use chatkit_rest::contract::{self, Target};

/// Tells where the fixtures are.
fn fixtures() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures"))
}

#[tokio::test(start_paused = true)]
async fn every_fixture_holds_in_process() {
    let report = contract::run_dir(fixtures(), &Target::in_process()).await.unwrap();
    assert!(report.is_success(), "{report}");
    assert!(report.passed() >= 60 && report.skipped() <= 5, "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fixture_holds_over_sockets() {
    let report = contract::run_dir(fixtures(), &Target::sockets()).await.unwrap();
    assert!(report.is_success(), "{report}");
    assert!(report.passed() >= 60 && report.skipped() == 0, "{report}");
}
