//! The README is true: its tour runs as it is written, and its tables are the program's.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends by panicking, and its support is not inside of #[test] functions"
)]

mod demo;
mod tables;
mod tour;

const README: &str = include_str!("../../README.md");

/// Gives what is between `<!-- name -->` and `<!-- /name -->`.
fn section(name: &str) -> &'static str {
    let (_, rest) = README.split_once(&format!("<!-- {name} -->\n")).expect("the section's start");
    rest.split_once(&format!("\n<!-- /{name} -->")).expect("the section's end").0.trim()
}
