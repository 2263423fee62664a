//! The README and the manual are true: what they show runs as it is written, their tables are the
//! program's, and their links lead somewhere.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends by panicking, and its support is not inside of #[test] functions"
)]

mod book;
mod demo;
mod links;
mod settings;
mod tables;
mod tour;

use book::PAGES;

/// Gives what is between `<!-- name -->` and `<!-- /name -->` on the one page that has it.
fn section(name: &str) -> &'static str {
    let (open, close) = (format!("<!-- {name} -->\n"), format!("\n<!-- /{name} -->"));
    let mut all = PAGES.iter().filter_map(|page| Some(page.text.split_once(&open)?.1));
    let rest = all.next().expect("the section's start");
    assert_eq!(all.next(), None, "{name} is there twice");
    rest.split_once(&close).expect("the section's end").0.trim()
}
