//! What is public and may get another field or variant says so, so that it can without breaking whoever
//! uses it. An application makes such a struct by its constructors and `with_…`.

#![allow(clippy::panic, reason = "a test ends where an expectation fails")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What is all there ever is of it.
const CLOSED: [(&str, &str); 23] = [
    ("Json", "JSON has no other values"),
    ("Miss", "a path is not there, or hasn't the method"),
    // What a store is told: one that left some of it out would do the wrong thing.
    ("Adoption", TOLD),
    ("AllowanceKey", TOLD),
    ("ConversationIds", TOLD),
    ("KnownBy", TOLD),
    ("NewConversation", TOLD),
    ("OnThread", TOLD),
    ("SessionKey", TOLD),
    ("SliceReport", TOLD),
    ("Uncounted", TOLD),
    ("UsedAt", TOLD),
    // What a store says, and whoever asked must not misread.
    ("Adopted", SAID),
    ("AdoptionConflict", SAID),
    ("Blocked", SAID),
    ("ConversationId", SAID),
    ("Found", SAID),
    ("MessageCount", SAID),
    ("Released", SAID),
    ("Slice", SAID),
    ("SliceId", "a number, which its store alone reads"),
    ("SessionPlace", "a place in an order is what it is ordered by"),
    ("ThreadPlace", "a place in an order is what it is ordered by"),
];

/// What may grow, and is made here alone. So is all of `config`, out of its sources.
const MADE_HERE: [(&str, &str); 9] = [
    ("CopiedTable", "of a copy of a store"),
    ("CopyProgress", "of a copy of a store"),
    ("Difference", "of a contract's report"),
    ("Facts", "read from a configuration"),
    ("Migrated", "of a database, by its store"),
    ("Outcome", "of a contract's report"),
    ("Promise", "of a store's contract"),
    ("UnusedKey", "of a key set, by its reader"),
    ("UserMessage", "deserialized"),
];

const TOLD: &str = "a store does all of it";
const SAID: &str = "whoever asks a store goes by all of it";

#[test]
fn what_may_grow_is_not_exhaustive() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut files = Vec::new();
    collect(&src, &mut files);
    assert!(files.len() > 100, "{files:?}");
    for file in files {
        let path = file.strip_prefix(&src).unwrap_or(&file);
        let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{error}"));
        let names = exhaustive(&text).into_iter();
        found.extend(names.map(|name| (name, path.display().to_string())));
    }
    found.sort();
    let (closed, others): (Vec<_>, Vec<_>) =
        found.iter().partition(|(name, _)| CLOSED.iter().any(|(known, _)| known == name));
    assert!(others.is_empty(), "#[non_exhaustive], or a reason in tests/growth.rs: {others:#?}");
    assert_eq!(closed.len(), CLOSED.len(), "no longer there, or no longer so: {CLOSED:?}");
}

#[test]
fn what_may_grow_can_be_made() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&src, &mut files);
    files.retain(|file| !file.starts_with(src.join("config")));
    let read = |file: &PathBuf| fs::read_to_string(file).unwrap_or_else(|error| panic!("{error}"));
    // By room: a constructor may be in another file of it.
    let mut rooms = BTreeMap::<_, String>::new();
    for file in &files {
        let room = file.strip_prefix(&src).ok().and_then(|path| path.iter().next());
        rooms.entry(room).or_default().push_str(&read(file));
    }
    let mut found: Vec<_> = rooms.values().flat_map(|text| unmakable(text)).collect();
    found.sort();
    assert_eq!(found, MADE_HERE.map(|(name, _)| name), "a constructor, or a reason here");
}

/// The public structs of a room that may grow, of which all is public, and that have neither a
/// constructor nor a default in it.
fn unmakable(text: &str) -> Vec<String> {
    let grown = text.replace("#[non_exhaustive]\n", "");
    let before = exhaustive(text);
    let mut names = exhaustive(&grown);
    names.retain(|name| !before.contains(name) && !is_makable(text, name));
    names
}

fn is_makable(text: &str, name: &str) -> bool {
    // Enums have their variants; the attributes of a struct end before an empty line.
    let is_of = |line: &str, start: &str| {
        let rest = line.strip_prefix(start);
        rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric()))
    };
    let mut item = "";
    let mut has_default = false;
    let mut signature = String::new();
    for line in text.lines() {
        if !line.starts_with(' ') {
            item = line;
        }
        if line.is_empty() || line == "}" {
            has_default = false;
        }
        has_default |= line.starts_with("#[derive(") && line.contains("Default");
        let own = is_of(line.trim_start(), &format!("pub enum {name}"))
            || is_of(line, &format!("impl Default for {name}"))
            || (has_default && is_of(line, &format!("pub struct {name}")));
        let in_impl =
            is_of(item, &format!("impl {name}")) || is_of(item, &format!("impl<'a> {name}"));
        if line.starts_with("    pub ") {
            signature.clear();
        }
        // Over more than one line, if need be.
        signature += line.trim_start();
        let makes = signature.starts_with("pub ")
            && signature.contains("fn ")
            && signature.ends_with("-> Self {")
            && !signature.contains("(self")
            && !signature.contains("(mut self");
        if line.ends_with(['{', '}']) || !line.starts_with(' ') {
            signature.clear();
        }
        let own =
            own || (line.starts_with("impl From<") && line.ends_with(&format!("> for {name} {{")));
        if own || (in_impl && makes) {
            return true;
        }
    }
    false
}

#[test]
fn what_can_be_made_is_told_from_what_cannot() {
    let grows = "#[non_exhaustive]\npub struct One {\n    pub one: u8,\n}\n";
    assert_eq!(unmakable(grows), ["One"]);
    let with = |methods: &str| format!("{grows}\nimpl One {{\n    {methods} {{\n    }}\n}}\n");
    assert_eq!(unmakable(&with("pub fn with_one(self, one: u8) -> Self")), ["One"]);
    assert_eq!(unmakable(&with("pub(crate) fn new(one: u8) -> Self")), ["One"]);
    assert_eq!(unmakable(&with("pub fn new(one: u8) -> Self")), [""; 0]);
    assert_eq!(unmakable(&with("pub fn new(\n        one: u8,\n    ) -> Self")), [""; 0]);
    assert_eq!(unmakable(&with("pub fn with_one(\n        self,\n    ) -> Self")), ["One"]);
    assert_eq!(unmakable(&format!("{grows}\nimpl From<u8> for One {{\n}}\n")), [""; 0]);
    assert_eq!(unmakable(&format!("#[derive(Debug, Default)]\n{grows}")), [""; 0]);
    assert_eq!(unmakable(&format!("{grows}\nimpl Default for One {{\n}}\n")), [""; 0]);
    assert_eq!(unmakable(&format!("{grows}\nimpl Default for OneMore {{\n}}\n")), ["One"]);
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{error}"));
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The public enums of a file, and the structs of which all is public, that promise to stay as they
/// are. A private member keeps others from making one, so that a struct with one can grow. Goes by the
/// lines that rustfmt makes.
fn exhaustive(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let mut names = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let item = line.trim_start();
        let indent = line.len() - item.len();
        let (is_enum, name) = match item.strip_prefix("pub ").and_then(|it| it.split_once(' ')) {
            Some(("enum", name)) => (true, name),
            Some(("struct", name)) => (false, name),
            _ => continue,
        };
        let (before, after) = lines.split_at(at);
        let attributes = before.iter().rev().map(|line| line.trim_start());
        let mut attributes = attributes.take_while(|line| !line.is_empty() && *line != "}");
        if attributes.any(|line| line == "#[non_exhaustive]") {
            continue;
        }
        let members = after.iter().skip(1).map(|line| line.split_at(indent.min(line.len())).1);
        let members = members.take_while(|line| line.starts_with(' ') || line.is_empty());
        let mut members = members
            .filter_map(|line| line.strip_prefix("    "))
            .filter(|line| !line.starts_with([' ', '/', '#', '}', ')']));
        let is_open = match item.split_once('(') {
            _ if is_enum => true,
            // A tuple's, on the line of the name.
            Some((_, tuple)) => tuple.split(',').all(|member| member.trim().starts_with("pub ")),
            None if item.ends_with('{') => members.all(|member| member.starts_with("pub ")),
            None => false,
        };
        if is_open {
            names.push(name.chars().take_while(|c| c.is_alphanumeric()).collect());
        }
    }
    names
}

#[test]
fn what_others_can_make_or_match_is_told_from_the_rest() {
    let text = "
/// Docs.
#[derive(Debug)]
pub enum Open {
    One,
}

/// Docs.
#[derive(Debug)]
#[non_exhaustive]
pub enum Grows {
    One,
}

pub struct Settings {
    /// Docs.
    #[serde(default)]
    pub one: u8,
    pub two: fn(
        u8,
    ),
}

pub struct Kept {
    pub one: u8,
    two: u8,
}

pub struct Marker;

pub struct Wrapped(pub u8);

pub struct Sealed(u8);

pin_project! {
    #[non_exhaustive]
    pub enum Pinned<F> {
        One { #[pin] future: F },
    }
}

pin_project! {
    pub struct Shown<F> {
        #[pin]
        pub future: F,
    }
}

mod inner {
    pub(crate) enum Inner {
        One,
    }
}
";
    assert_eq!(exhaustive(text), ["Open", "Settings", "Wrapped", "Shown"]);
}
