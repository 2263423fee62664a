//! The OpenAPI document against the program: is it one, is it true, and does it leave nothing out?
//!
//! `document` looks at it, `fixtures` holds every exchange of `fixtures/` against it, and
//! `conversation` has Schemathesis send the binary what it allows and what it doesn't. The latter
//! and one of the former need Python packages, which `setup.sh` installs; where they can't be
//! installed these tests fail, which `tests/run.sh` counts as skipped.
//!
//! `page` looks at `/docs` as it is served, and `browser` has Chromium read it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends by panicking, and its support is not inside of #[test] functions"
)]

mod browser;
mod conversation;
mod document;
mod exchange;
mod fixtures;
mod gateway;
mod page;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use chatkit_rest::config::{Config, Sources};

/// Gives the interpreter that has the packages.
fn python() -> &'static Path {
    end_without("openapi");
    &PYTHON
}

/// Ends a test that needs `what` where `tests/run.sh` could not install it, and counts the test as
/// skipped.
fn end_without(what: &str) {
    let missing = std::env::var("CHATKIT_REST_TESTS_WITHOUT").unwrap_or_default();
    let of_it = |line: &&str| line.split(": ").next() == Some(what);
    if let Some(line) = missing.lines().find(of_it) {
        panic!("skipped: {line}");
    }
}

static PYTHON: LazyLock<PathBuf> = LazyLock::new(|| {
    let output = Command::new("bash")
        .arg(folder().join("setup.sh"))
        .stderr(Stdio::inherit())
        .output()
        .expect("bash, to run tests/openapi/setup.sh");
    assert!(output.status.success(), "tests/openapi/setup.sh failed: {}", output.status);
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
});

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/openapi")
}

/// Gives a configuration with these lines of TOML.
fn config(settings: &str) -> Config {
    let settings = format!("auth.secret = \"0123456789abcdef0123456789abcdef\"\n{settings}");
    Sources::new().toml("settings", settings).load().unwrap().config
}
