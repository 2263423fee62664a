//! The pages: the README, which is short, and the chapters of the manual.

use std::path::Path;

/// A page of Markdown.
pub(crate) struct Page {
    /// Its path from the project's root.
    pub(crate) path: &'static str,
    pub(crate) text: &'static str,
}

macro_rules! pages {
    ($($path:literal,)*) => {
        &[$(Page { path: $path, text: include_str!(concat!("../../", $path)) },)*]
    };
}

/// The README, then the manual's contents and its chapters.
pub(crate) const PAGES: &[Page] = pages![
    "README.md",
    "src/manual/README.md",
    "src/manual/chat.md",
    "src/manual/configuration.md",
    "src/manual/deployment.md",
    "src/manual/embedding.md",
    "src/manual/errors.md",
    "src/manual/existing_server.md",
    "src/manual/identity_providers.md",
    "src/manual/leaving_hosted.md",
    "src/manual/model.md",
    "src/manual/operations.md",
    "src/manual/security.md",
    "src/manual/several_machines.md",
    "src/manual/tour.md",
    "src/manual/troubleshooting.md",
];

/// The chapters alone.
pub(crate) fn chapters() -> &'static [Page] {
    &PAGES[2..]
}

pub(crate) fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A block of code: its language and its lines, without the indentation of a list around it.
pub(crate) struct Block {
    pub(crate) language: String,
    pub(crate) code: String,
}

/// The blocks of code of a page.
pub(crate) fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(language) = line.trim_start().strip_prefix("```") else { continue };
        let indent = line.len() - line.trim_start().len();
        let code = lines.by_ref().take_while(|line| line.trim() != "```");
        let code = code.map(|line| line.get(indent..).unwrap_or_default().to_owned() + "\n");
        blocks.push(Block { language: language.to_owned(), code: code.collect() });
    }
    blocks
}

#[test]
fn the_readme_is_a_page() {
    let size = PAGES[0].text.len();
    assert!(size <= 10_240, "{size} bytes: the rest belongs into src/manual");
}

#[test]
fn every_chapter_is_in_the_manual_and_says_what_it_is_for() {
    let folder = project().join("src/manual");
    let names = folder.read_dir().unwrap().map(|entry| entry.unwrap().file_name());
    let names = names.map(|name| name.into_string().unwrap());
    let mut names: Vec<_> =
        names.filter_map(|name| Some(name.strip_suffix(".md")?.to_owned())).collect();
    names.retain(|name| name != "README" && name != "links");
    names.sort();
    let known = chapters().iter().map(|page| {
        page.path.strip_prefix("src/manual/").and_then(|name| name.strip_suffix(".md")).unwrap()
    });
    assert_eq!(names, known.collect::<Vec<_>>());

    let (contents, module) = (PAGES[1].text, include_str!("../../src/manual/mod.rs"));
    for (page, name) in chapters().iter().zip(&names) {
        assert!(contents.contains(&format!("]: {name}.md\n")), "{name} is not in the contents");
        assert!(module.contains(&format!("\"{name}.md\"")), "{name} is not in the documentation");
        let mut paragraphs = page.text.split("\n\n");
        assert!(paragraphs.next().unwrap().starts_with("# "), "{name}");
        assert!(paragraphs.next().unwrap().starts_with("At its end "), "{name}");
    }
}

/// rustdoc would take a block that says nothing for Rust.
#[test]
fn every_block_has_a_language() {
    for page in PAGES {
        for block in blocks(page.text) {
            assert!(!block.language.is_empty(), "{}: {}", page.path, block.code);
        }
    }
}
