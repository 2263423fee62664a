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
mod providers;
mod settings;
mod shells;
mod tables;
mod tls;
mod tour;

use book::PAGES;

/// Gives what is between `<!-- name -->` and `<!-- /name -->`, each time.
fn sections(name: &str) -> impl Iterator<Item = &'static str> {
    let (open, close) = (format!("<!-- {name} -->\n"), format!("\n<!-- /{name} -->"));
    PAGES.iter().flat_map(move |page| {
        let sections: Vec<_> = page.text.split(&open).skip(1).collect();
        let close = close.clone();
        sections
            .into_iter()
            .map(move |rest| rest.split_once(&close).expect("the section's end").0.trim())
    })
}

/// Gives what is between them on the one page that has it.
fn section(name: &str) -> &'static str {
    let mut all = sections(name);
    let section = all.next().expect("the section's start");
    assert_eq!(all.next(), None, "{name} is there twice");
    section
}
