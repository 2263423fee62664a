//! Secrets, each of which is one setting in two forms: itself, and a file that holds it.

use std::path::{Path, PathBuf};

use super::file::{self, BYTE_ORDER_MARK};
use super::key::ValueShape;
use super::meaning::Secret;
use super::reader::SettingsReader;

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
    let path = read.optional(file_setting, |text| Ok(PathBuf::from(text)));
    let (inline, path) = (inline?, path?);
    let Some(path) = path.first() else { return Some(inline) };
    let (inline_rank, file_rank) = (read.layers.rank(setting), read.layers.rank(file_setting));
    if !inline.is_empty() && inline_rank == file_rank {
        let problem =
            format!("set beside {setting} in the same layer; expected only one of the two");
        read.refuse(file_setting, problem);
        return None;
    }
    if !inline.is_empty() && inline_rank > file_rank {
        return Some(inline);
    }
    let secret = key_file(read, file_setting, path)?;
    let secret = secret.strip_suffix('\n').unwrap_or(&secret);
    let secret = secret.strip_suffix('\r').unwrap_or(secret);
    if secret.is_empty() {
        read.refuse(file_setting, "the file is empty; expected a secret".into());
        return None;
    }
    Some(vec![(file_setting, Secret::new(secret))])
}

/// Gives a key's file. What doesn't look like its path is not shown: a secret is easily put in the
/// place of it.
pub(super) fn key_file(
    read: &mut SettingsReader<'_>,
    name: &'static str,
    path: &Path,
) -> Option<String> {
    match file::read(path, file::MAX_KEY_BYTES) {
        Ok(text) => Some(text),
        Err(problem) => {
            let top = read.layers.top(name).map(|top| &top.value);
            // A bare name may be a secret in the place of one, unless there is such a file.
            let shown = top.filter(|value| ValueShape::KeyFile.shows(value) || path.exists());
            let file = shown.map_or_else(
                || "the file (whose path is not shown, as it may be a secret)".to_owned(),
                |path| format!("the file {}", path.shown(true)),
            );
            let from = file::relative_to(path);
            read.refuse(name, format!("{file} can't be used: {problem}{from}"));
            None
        }
    }
}
