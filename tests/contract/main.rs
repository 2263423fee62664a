//! All of `fixtures/`, in-process and over sockets.

use chatkit_rest::contract::{self, Target};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures");

#[tokio::test(start_paused = true)]
async fn every_fixture_holds_in_process() {
    let report = contract::run_dir(FIXTURES, &Target::in_process()).await.unwrap();
    assert!(report.is_success(), "{report}");
    println!("{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fixture_holds_over_sockets() {
    let report = contract::run_dir(FIXTURES, &Target::sockets()).await.unwrap();
    assert!(report.is_success(), "{report}");
    println!("{report}");
}
