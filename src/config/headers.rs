//! `upstream.headers`: headers that every request to the upstream has.

use std::path::PathBuf;

use http::HeaderName;

use super::file::{self, MAX_KEY_BYTES};
use super::meaning::Secret;
use super::reader::SettingsReader;
use super::value::Value;
use crate::forward::never_fixed;

pub(super) const NAME: &str = "upstream.headers";

/// The most of them.
pub(super) const MAX_HEADERS: usize = 16;

/// The most bytes of a value.
pub(super) const MAX_VALUE_BYTES: usize = 8192;

/// One header, with the value that it always has.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FixedHeader {
    /// Its name.
    pub name: HeaderName,
    /// Its value: visible ASCII characters, with blanks between them.
    pub value: Secret,
}

/// One that was read, and whose file wasn't.
pub(super) struct Entry {
    pub(super) name: HeaderName,
    value: Source,
}

enum Source {
    Inline(Secret),
    File(PathBuf),
}

/// Reads all of them. Only the files of the layer that counts are opened.
pub(super) fn read(read: &mut SettingsReader<'_>) -> Option<Vec<FixedHeader>> {
    let entries = read.headers(NAME)?;
    let mut headers = Vec::with_capacity(entries.len());
    for Entry { name, value } in entries {
        let value = match value {
            Source::Inline(value) => Ok(value),
            Source::File(path) => from_file(&path),
        };
        match value {
            Ok(value) => headers.push(FixedHeader { name, value }),
            Err(why) => {
                read.refuse(
                    NAME,
                    format!("the file with the value of {name} can't be used: {why}"),
                );
                return None;
            }
        }
    }
    Some(headers)
}

fn from_file(path: &std::path::Path) -> Result<Secret, String> {
    let text = file::read_text(path, MAX_KEY_BYTES)
        .map_err(|why| format!("{why}{}", file::relative_to(path)))?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    value(text.strip_suffix('\r').unwrap_or(text)).map_err(|why| format!("it {why}"))
}

/// Reads `{ name = "…", value = "…" }` or `{ name = "…", value_file = "…" }`; from a layer that knows
/// only text `NAME=VALUE` or `NAME@FILE`.
pub(super) fn entry(entry: &Value) -> Result<Entry, String> {
    let (mut name, mut inline, mut file) = (None, None, None);
    match entry {
        Value::Table(fields) => {
            for (field, value) in fields {
                let text = value.text();
                match field.as_str() {
                    "name" => name = text,
                    "value" => inline = text,
                    "value_file" => file = text,
                    _ => {
                        return Err("has a field that is neither name, value nor value_file".into());
                    }
                }
                if text.is_none() {
                    return Err(format!("has a {field} that is no text"));
                }
            }
        }
        Value::Word(word) => {
            // Neither is a part of a name.
            if let Some((before, after)) = word.split_once(['=', '@']) {
                name = Some(before.trim());
                let is_file = word.as_bytes().get(before.len()) == Some(&b'@');
                *(if is_file { &mut file } else { &mut inline }) = Some(after.trim());
            }
        }
        _ => return Err("is no table".into()),
    }
    let (name, value) = match (name, inline, file) {
        (Some(name), Some(text), None) => (name, Source::Inline(value(text)?)),
        (Some(_), None, Some("")) => return Err("has an empty value_file".into()),
        (Some(name), None, Some(path)) => (name, Source::File(PathBuf::from(path))),
        (Some(_), Some(_), Some(_)) => return Err("has both a value and a value_file".into()),
        _ => return Err("does not have both a name and a value or a value_file".into()),
    };
    let name: HeaderName = name.parse().map_err(|_| "has a name that is no header's".to_owned())?;
    match never_fixed(name.as_str()) {
        None => Ok(Entry { name, value }),
        Some(why) => Err(format!("has the name {name:?}, which {why}")),
    }
}

fn value(text: &str) -> Result<Secret, String> {
    let visible = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_graphic);
    let bytes = text.as_bytes();
    let plain = bytes.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ');
    if !plain || !visible(bytes.first()) || !visible(bytes.last()) {
        return Err(
            "has a value that is not of visible ASCII characters, with blanks only between \
                    them"
                .into(),
        );
    }
    if bytes.len() > MAX_VALUE_BYTES {
        return Err(format!("has a value of more than {MAX_VALUE_BYTES} bytes"));
    }
    Ok(Secret::new(text))
}
