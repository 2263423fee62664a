//! Secrets, each of which is one setting in two forms: itself, and a file that holds it.

use std::path::{Path, PathBuf};

use super::file::{self, BYTE_ORDER_MARK};
use super::key::ValueShape;
use super::meaning::Secret;
use super::reader::SettingsReader;

/// The settings of which each may be in a file, and the setting that names that.
pub(super) const PAIRS: [(&str, &str); 4] = [
    ("auth.secret", "auth.secret_file"),
    ("auth.shared_secret", "auth.shared_secret_file"),
    ("embedded.api_key", "embedded.api_key_file"),
    ("store.url", "store.url_file"),
];

/// Gives the secret, from the setting or the file, whichever is of the later layer, and which it
/// was; empty if neither is set.
pub(super) fn read(
    read: &mut SettingsReader<'_>,
    setting: &'static str,
    file_setting: &'static str,
) -> Option<Vec<(&'static str, Secret)>> {
    let inline = read.optional(setting, |text| {
        if text.starts_with(BYTE_ORDER_MARK) {
            return Err("begins with a byte order mark, which is no part of a secret".into());
        }
        Ok((setting, Secret::new(text)))
    });
    let is_set = inline.as_ref().is_some_and(|inline| !inline.is_empty());
    match (inline, in_file(read, setting, file_setting, is_set)?) {
        (Some(inline), secrets) => match secrets.into_iter().next() {
            Some(secret) => Some(vec![(file_setting, Secret::new(secret))]),
            None => Some(inline),
        },
        (None, _) => None,
    }
}

/// Gives the text of the file that holds a setting, without the newline at its end; empty if there is
/// none, or the setting itself, which `is_set`, is of a later layer.
pub(super) fn in_file(
    read: &mut SettingsReader<'_>,
    setting: &'static str,
    file_setting: &'static str,
    is_set: bool,
) -> Option<Vec<String>> {
    let path = read.optional(file_setting, |text| Ok(PathBuf::from(text)))?;
    let Some(path) = path.first() else { return Some(Vec::new()) };
    let (inline_rank, file_rank) = (read.layers.rank(setting), read.layers.rank(file_setting));
    if is_set && inline_rank == file_rank {
        let problem =
            format!("set beside {setting} in the same layer; expected only one of the two");
        read.refuse(file_setting, problem);
        return None;
    }
    if is_set && inline_rank > file_rank {
        return Some(Vec::new());
    }
    let mut text = key_file(read, file_setting, path)?;
    for end in ['\n', '\r'] {
        text.truncate(text.strip_suffix(end).unwrap_or(&text).len());
    }
    if text.is_empty() {
        read.refuse(file_setting, "the file is empty; expected a secret".into());
        return None;
    }
    Some(vec![text])
}

/// Gives a key's file. What doesn't look like its path is not shown: a secret is easily put in the
/// place of it.
pub(super) fn key_file(
    read: &mut SettingsReader<'_>,
    name: &'static str,
    path: &Path,
) -> Option<String> {
    file_meant(read, name, path, file::MAX_KEY_BYTES, file::decode)
}

/// Gives what `meaning` makes of a file's bytes.
pub(super) fn file_meant<T>(
    read: &mut SettingsReader<'_>,
    name: &'static str,
    path: &Path,
    max: u64,
    meaning: impl FnOnce(Vec<u8>) -> Result<T, String>,
) -> Option<T> {
    match file::read(path, max).and_then(meaning) {
        Ok(meant) => Some(meant),
        Err(problem) => {
            refuse_file(read, name, path, &problem);
            None
        }
    }
}

/// Records that a file can't be used.
pub(super) fn refuse_file(
    read: &mut SettingsReader<'_>,
    name: &'static str,
    path: &Path,
    problem: &str,
) {
    let top = read.layers.top(name).map(|top| &top.value);
    // A bare name may be a secret in the place of one, unless there is such a file.
    let shown = top.filter(|value| ValueShape::KeyFile.shows(value) || path.exists());
    let file = shown.map_or_else(
        || "the file (whose path is not shown, as it may be a secret)".to_owned(),
        |path| format!("the file {}", path.shown(true)),
    );
    let from = file::relative_to(path);
    read.refuse(name, format!("{file} can't be used: {problem}{from}"));
}
