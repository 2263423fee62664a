//! What is wrong with a fixture, told by file and place.

use std::fmt;
use std::path::{Path, PathBuf};

/// A fixture, or a directory of them, can't be used.
///
/// It says which file and, by JSON Pointer (RFC 6901), which place in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FixtureError {
    file: PathBuf,
    pointer: String,
    problem: String,
}

impl FixtureError {
    pub(super) fn new(file: &Path, pointer: impl Into<String>, problem: impl fmt::Display) -> Self {
        Self { file: file.to_owned(), pointer: pointer.into(), problem: problem.to_string() }
    }

    /// Gives the file or directory.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Gives the place in the file; empty for the whole of it.
    pub fn pointer(&self) -> &str {
        &self.pointer
    }
}

impl fmt::Display for FixtureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.file.display())?;
        if !self.pointer.is_empty() {
            write!(f, "{}: ", self.pointer)?;
        }
        f.write_str(&self.problem)
    }
}

impl std::error::Error for FixtureError {}

/// Appends a segment to a JSON Pointer.
pub(super) fn segment(pointer: &str, name: impl fmt::Display) -> String {
    let name = name.to_string().replace('~', "~0").replace('/', "~1");
    format!("{pointer}/{name}")
}
