//! Where links lead: in the repository's view, and in rustdoc's.

use std::collections::BTreeMap;
use std::fs;

use crate::book::{PAGES, chapters, project};

/// A page without its code, in which nothing is a link.
fn prose(text: &str) -> String {
    let mut in_block = false;
    let mut prose = String::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
        } else if !in_block {
            prose.extend(line.split('`').step_by(2));
            prose.push('\n');
        }
    }
    prose
}

/// What follows each `open` up to `close`.
fn between<'a>(text: &'a str, open: &'a str, close: char) -> impl Iterator<Item = &'a str> {
    text.split(open).skip(1).filter_map(move |rest| Some(rest.split_once(close)?.0))
}

/// `[label]: target`, at the end of a page.
fn definitions(prose: &str) -> BTreeMap<&str, &str> {
    prose.lines().filter_map(|line| line.strip_prefix('[')?.split_once("]: ")).collect()
}

/// The anchors of a page's headings, which the repository's view and rustdoc make alike.
fn anchors(text: &str) -> Vec<String> {
    let mut in_block = false;
    let mut anchors = Vec::new();
    for line in text.lines() {
        in_block ^= line.trim_start().starts_with("```");
        let heading = line.trim_start_matches('#');
        if in_block || heading == line || !heading.starts_with(' ') {
            continue;
        }
        let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        anchors.push(kept.collect::<String>().to_lowercase().replace(' ', "-"));
    }
    anchors
}

/// Fails unless there is a file, and a heading, where a link on the page at `path` leads to.
/// Gives the file's path from the project's root.
fn follow(path: &str, target: &str) -> String {
    let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
    let mut found: Vec<_> = path.split('/').collect();
    if !file.is_empty() {
        found.pop();
    }
    for part in file.split('/').filter(|part| !part.is_empty()) {
        match part {
            ".." => assert!(found.pop().is_some(), "{path}: {target} leaves the project"),
            part => found.push(part),
        }
    }
    let found = found.join("/");
    let there = project().join(&found);
    assert!(there.exists(), "{path}: {target} is not there");
    if !anchor.is_empty() {
        let text = fs::read_to_string(there).unwrap();
        assert!(anchors(&text).iter().any(|known| known == anchor), "{path}: {target}");
    }
    found
}

fn is_elsewhere(target: &str) -> bool {
    target.starts_with("https://")
}

/// Whether `cargo package` takes a file along.
fn is_packaged(path: &str) -> bool {
    let manifest: toml::Table = include_str!("../../Cargo.toml").parse().unwrap();
    let include = manifest["package"]["include"].as_array().unwrap();
    include.iter().filter_map(toml::Value::as_str).any(|pattern| {
        let pattern = pattern.trim_start_matches('/');
        match pattern.strip_suffix('*') {
            Some(start) => path.starts_with(start),
            None => {
                path.strip_prefix(pattern).is_some_and(|it| it.is_empty() || it.starts_with('/'))
            }
        }
    })
}

#[test]
fn those_of_the_readme_lead_to_what_the_package_has() {
    let prose = prose(PAGES[0].text);
    let targets: Vec<_> = between(&prose, "](", ')').filter(|it| !is_elsewhere(it)).collect();
    assert!(targets.len() > 20, "{targets:?}");
    for target in targets {
        let path = follow("README.md", target);
        assert!(is_packaged(&path), "{path} is not in the package: see `include` in Cargo.toml");
    }
}

#[test]
fn those_of_the_manual_are_labels_that_lead_somewhere_in_the_repository() {
    for page in &PAGES[1..] {
        let prose = prose(page.text);
        let definitions = definitions(&prose);
        for target in between(&prose, "](", ')').filter(|it| !is_elsewhere(it)) {
            assert!(target.starts_with('#'), "{}: {target} would break in rustdoc", page.path);
            follow(page.path, target);
        }
        let mut used: Vec<_> = between(&prose, "][", ']').collect();
        used.sort_unstable();
        used.dedup();
        let known: Vec<_> = definitions.keys().copied().collect();
        assert_eq!(used, known, "{}: labels that are used, and that are defined", page.path);
        for target in definitions.values() {
            follow(page.path, target);
        }
    }
}

/// rustdoc checks the pages that these lead to, but not the headings.
#[test]
fn rustdocs_labels_lead_to_the_same_places() {
    let ours = definitions(include_str!("../../src/manual/links.md"));
    let mut needed = BTreeMap::new();
    for page in &PAGES[1..] {
        let prose = prose(page.text);
        for (label, target) in definitions(&prose) {
            let before = needed.insert(label.to_owned(), target.to_owned());
            assert!(before.is_none_or(|before| before == target), "{label} leads to two places");
        }
    }
    let known: Vec<_> = ours.keys().copied().collect();
    assert_eq!(needed.keys().collect::<Vec<_>>(), known, "src/manual/links.md");
    for (label, target) in &needed {
        let there = ours[label.as_str()];
        // A chapter is a module, with the same headings.
        if let Some((chapter, anchor)) = target.split_once(".md").filter(|_| !target.contains('/'))
        {
            assert_eq!(there, format!("crate::manual::{chapter}{anchor}"), "{label}");
            continue;
        }
        // And a room's file is in the room.
        let room = target.trim_start_matches("../").split(['/', '.']).next().unwrap();
        assert!(there.starts_with(&format!("crate::{room}")), "{label}: {there} and {target}");
    }
}

#[test]
fn those_of_all_that_is_to_be_read_lead_somewhere() {
    for path in [
        "BENCHMARKS.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "examples/gateway_proof/README.md",
        "examples/leaving_hosted/README.md",
        "examples/openai_chatkit_server/README.md",
        "examples/web/README.md",
        "fixtures/README.md",
        "tests/bench/README.md",
        "tests/fuzz/README.md",
    ] {
        let prose = prose(&fs::read_to_string(project().join(path)).unwrap());
        for target in between(&prose, "](", ')').filter(|it| !is_elsewhere(it)) {
            follow(path, target);
        }
    }
    assert!(chapters().iter().all(|page| is_packaged(page.path)));
}
