//! Rooms, the modules at the top of `src/`, don't import each other, nor in a circle of several.
//!
//! A room that knows who knows it can't be understood, tested or left out alone. What two rooms
//! need belongs to the one that means it, or below both. That holds for the configuration, too: it
//! knows the rooms that it makes, and none of them knows it.

#![allow(
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends where an expectation fails"
)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};

/// For each room, the rooms that it names, and where.
type Imports = BTreeMap<String, BTreeMap<String, Vec<String>>>;

#[test]
fn no_rooms_import_each_other_in_a_circle() {
    let imports = imports();
    let circles = imports.keys().filter_map(|room| circle(&imports, room));
    let Some(shortest) = circles.min_by_key(Vec::len) else { return };
    let steps = shortest.windows(2).map(|step| {
        let places = imports[step[0]][step[1]].join("\n  ");
        format!("{} imports {}:\n  {places}\n", step[0], step[1])
    });
    panic!("rooms import each other in a circle\n{}", steps.collect::<String>());
}

/// Gives the shortest way from a room by what it imports back to itself, with it at both ends.
fn circle<'a>(imports: &'a Imports, room: &'a str) -> Option<Vec<&'a str>> {
    let mut seen = BTreeSet::new();
    let mut ways = VecDeque::from([vec![room]]);
    while let Some(way) = ways.pop_front() {
        for other in imports.get(*way.last()?).into_iter().flat_map(BTreeMap::keys) {
            if seen.insert(other) {
                let longer = [way.as_slice(), &[other]].concat();
                if other == room {
                    return Some(longer);
                }
                ways.push_back(longer);
            }
        }
    }
    None
}

/// Reads all of `src/`.
fn imports() -> Imports {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&src, &mut files);
    let mut found: Vec<(String, String, String)> = Vec::new();
    let mut rooms = BTreeSet::new();
    for file in files {
        let path = file.strip_prefix(&src).unwrap_or(&file);
        let module = module(path);
        // The roots of the library and of the program are no rooms.
        let Some(room) = module.first() else { continue };
        rooms.insert(room.clone());
        // By convention here: a module of tests in a file or folder of its own.
        if module.iter().any(|name| name == "tests") {
            continue;
        }
        let text =
            fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        for (line, other) in named_rooms(&text, module.len()) {
            let place = format!("src/{}:{line}", path.display());
            found.push((room.clone(), other, place));
        }
    }
    let mut imports = Imports::new();
    for (room, other, place) in found {
        // What the root names itself, by `pub use` or `macro_rules!`, is no room either.
        if other != room && rooms.contains(&other) {
            imports.entry(room).or_default().entry(other).or_default().push(place);
        }
    }
    imports
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let entries =
        fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Gives the module that a file of `src/` is: `session/sqlite/mod.rs` is `session`, `sqlite`.
fn module(path: &Path) -> Vec<String> {
    let path = path.with_extension("");
    let names = path.iter().map(|name| name.to_string_lossy().into_owned());
    names.filter(|name| !matches!(name.as_str(), "lib" | "main" | "mod")).collect()
}

/// Gives the rooms that a file's code names by a path from the crate's root, with the line. `depth`
/// is how many modules the file is below the root.
fn named_rooms(text: &str, depth: usize) -> Vec<(usize, String)> {
    let tokens = without_tests(&tokens(text));
    let token = |at: usize| tokens.get(at).map_or("", |(_, token)| token.as_str());
    let mut named = Vec::new();
    // For each brace that is open, whether it is a module's.
    let mut open: Vec<bool> = Vec::new();
    let mut at = 0;
    while let Some((line, word)) = tokens.get(at) {
        match word.as_str() {
            "{" => open.push(at >= 2 && token(at - 2) == "mod"),
            "}" => drop(open.pop()),
            _ => {}
        }
        // Where `::` follows, a path goes on; where it precedes, it began earlier.
        let begins = token(at + 1) == "::" && (at == 0 || token(at - 1) != "::");
        let after = match word.as_str() {
            // The program's rooms know the library by its name.
            "crate" | "chatkit_rest" if begins => Some(at + 2),
            "super" if begins => {
                let depth = depth + open.iter().filter(|module| **module).count();
                let path = (at..).step_by(2);
                let up = path.take_while(|at| token(*at) == "super" && token(*at + 1) == "::");
                let up = up.count();
                (up >= depth).then_some(at + 2 * up)
            }
            _ => None,
        };
        if let Some(after) = after {
            named.extend(first_names(&tokens, after).into_iter().map(|name| (*line, name)));
        }
        at += 1;
    }
    named
}

/// Gives the first segments of what follows a path's `::`: one, or those of a list in braces.
fn first_names(tokens: &[(usize, String)], at: usize) -> Vec<String> {
    let token = |at: usize| tokens.get(at).map_or("", |(_, token)| token.as_str());
    if token(at) != "{" {
        return vec![token(at).to_owned()];
    }
    let mut names = Vec::new();
    let mut depth = 0_usize;
    for at in at..tokens.len() {
        match token(at) {
            "{" => depth += 1,
            "}" => depth -= 1,
            name if depth == 1 && matches!(token(at - 1), "{" | ",") => names.push(name.to_owned()),
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    names
}

/// Leaves out what is compiled for tests alone.
fn without_tests(tokens: &[(usize, String)]) -> Vec<(usize, String)> {
    let starts = |at: usize, with: &[&str]| {
        with.iter()
            .enumerate()
            .all(|(n, word)| tokens.get(at + n).is_some_and(|(_, token)| token == word))
    };
    let mut kept = Vec::new();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        if starts(at, &["#", "[", "cfg", "(", "test", ")", "]"])
            || starts(at, &["#", "[", "cfg", "(", "all", "(", "test", ","])
        {
            at = end_of_item(tokens, at);
        } else {
            kept.push(token.clone());
            at += 1;
        }
    }
    kept
}

/// Tells where the item whose attributes begin `at` has ended: behind its `;`, its body, or, of a
/// member, its `,`.
fn end_of_item(tokens: &[(usize, String)], at: usize) -> usize {
    let mut depth = 0_usize;
    let mut attribute = false;
    for (n, (_, token)) in tokens.iter().enumerate().skip(at) {
        match token.as_str() {
            "#" if depth == 0 => attribute = true,
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => {
                // The braces around it, which are not its own.
                let Some(outer) = depth.checked_sub(1) else { return n };
                depth = outer;
                if depth == 0 && token == "}" {
                    return n + 1;
                }
                attribute &= depth > 0;
            }
            ";" | "," if depth == 0 && !attribute => return n + 1,
            _ => {}
        }
    }
    tokens.len()
}

/// Gives the words and signs of Rust code with their lines, without comments, strings and
/// characters.
fn tokens(text: &str) -> Vec<(usize, String)> {
    let mut tokens = Vec::new();
    let mut line = 1;
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            _ if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            _ if rest.starts_with("/*") => comment(rest),
            '"' => string(rest),
            '\'' => character(rest),
            _ if is_word(first) => {
                let word = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
                let (name, after) = rest.split_at(word);
                let raw = after.trim_start_matches('#');
                match name {
                    "r" | "br" | "cr" if raw.starts_with('"') => {
                        let hashes = after.len() - raw.len();
                        word + hashes + raw_string(raw, hashes)
                    }
                    _ => {
                        tokens.push((line, name.to_owned()));
                        word
                    }
                }
            }
            _ => {
                let length = if rest.starts_with("::") { 2 } else { first.len_utf8() };
                if !first.is_whitespace() {
                    tokens.push((line, rest.chars().take(length).collect()));
                }
                length
            }
        };
        let (read, unread) = rest.split_at(length);
        line += read.matches('\n').count();
        rest = unread;
    }
    tokens
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Gives the length of a comment, which may have others in it.
fn comment(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                break;
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    at
}

fn string(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Gives the length of a raw string from its quote on.
fn raw_string(text: &str, hashes: usize) -> usize {
    let end = format!("\"{}", "#".repeat(hashes));
    text.match_indices(&end)
        .map(|(at, _)| at)
        .find(|at| *at > 0)
        .map_or(text.len(), |at| at + end.len())
}

/// Gives the length of a character, or of a lifetime's sign.
fn character(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match (chars.next(), chars.next()) {
        (Some((_, '\\')), Some(_)) => {
            chars.find(|(_, c)| *c == '\'').map_or(text.len(), |(at, _)| at + 1)
        }
        (Some(_), Some((at, '\''))) => at + 1,
        _ => 1,
    }
}

#[test]
fn code_is_told_from_what_looks_like_it() {
    let text = r##"
        //! crate::comment
        use crate::{one::A, two::{B, crate_like}, three};
        /* crate::comment /* crate::comment */ crate::comment */
        fn f<'a>(x: &'a str) -> char {
            let quote = ('"', '\'', b'"', "crate::string \" crate::string");
            let raw = r#"crate::string " crate::string"#;
            chatkit_rest::four::g::<'a'>(x, super::sibling::h, self::super_::i)
        }
        pub(crate) fn g() -> super::super::five::C { $crate::six!() }
        mod inner { use super::super::sibling; use super::super::super::seven; }
        #[cfg(test)]
        use crate::test_only;
        #[cfg(all(test, feature = "x"))]
        #[expect(dead_code, reason = "one; two")]
        pub(crate) fn test() { crate::test_only::f() }
        struct S { #[cfg(test)] a: crate::test_only::A, b: crate::eight::B }
        #[cfg(test)]
        mod tests { use crate::test_only; mod deep { use crate::test_only; } }
        #[cfg(not(test))] use crate::nine;
    "##;
    let found = named_rooms(text, 2);
    let names: Vec<_> = found.iter().map(|(_, name)| name.as_str()).collect();
    assert_eq!(names, ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]);
    let lines: Vec<_> = found.iter().map(|(line, _)| *line).collect();
    assert_eq!(lines, [3, 3, 3, 8, 10, 10, 11, 17, 20]);
}

#[test]
fn files_are_modules() {
    let module = |path: &str| module(Path::new(path)).join("::");
    assert_eq!(module("lib.rs"), "");
    assert_eq!(module("main.rs"), "");
    assert_eq!(module("surface.rs"), "surface");
    assert_eq!(module("session/sqlite/mod.rs"), "session::sqlite");
    assert_eq!(module("session/desk/chat.rs"), "session::desk::chat");
}

#[test]
fn a_rooms_page_says_which_features_it_needs() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let read = |path: &str| fs::read_to_string(src.join(path));
    let library = read("lib.rs").unwrap_or_else(|error| panic!("{error}"));
    let mut seen = 0;
    for item in library.split("\n\n") {
        let Some(room) = item.lines().last().and_then(|line| line.strip_prefix("pub mod ")) else {
            continue;
        };
        let room = room.trim_end_matches(';');
        let page = read(&format!("{room}.rs")).or_else(|_| read(&format!("{room}/mod.rs")));
        let page = page.unwrap_or_else(|error| panic!("{room}: {error}"));
        let page: Vec<_> = page.lines().map_while(|line| line.strip_prefix("//!")).collect();
        let page = page.join("\n");
        let Some(needs) = item.lines().find(|line| line.starts_with("#[cfg(")) else { continue };
        seen += 1;
        for feature in needs.split("feature = \"").skip(1) {
            let feature = feature.split('"').next().unwrap_or_default();
            let told = page.contains("feature") && page.contains(&format!("`{feature}`"));
            assert!(told, "the page of {room} doesn't say that it needs {feature}");
        }
    }
    assert!(seen > 10, "{seen}");
}
