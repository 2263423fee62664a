//! What is wrong with a configuration, and where it says so.

use std::error::Error as StdError;
use std::fmt;
use std::path::PathBuf;

use crate::error::Error;

/// Where a setting's value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// The environment variable of this name.
    Environment(String),
    /// A TOML file.
    File {
        /// The file's path, as it was given.
        path: PathBuf,
        /// The line, counted from 1, if it is known.
        line: Option<usize>,
    },
    /// The command-line flag of this name.
    Flag(&'static str),
    /// The program itself, for the reason named (`demo`).
    Program(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::File { path, line: Some(line) } => {
                write!(f, "file {}, line {line}", path.display())
            }
            Self::File { path, line: None } => write!(f, "file {}", path.display()),
            Self::Flag(name) => write!(f, "flag {name}"),
            Self::Program(why) => write!(f, "set by {why}"),
        }
    }
}

/// One fault of a configuration: which setting, which layer, and what was expected.
///
/// Never says what a secret or a key was, nor a URL or a path that may be one or have one in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub(super) key: Option<String>,
    pub(super) origin: Origin,
    pub(super) problem: String,
    pub(super) hint: Option<String>,
}

impl Fault {
    /// Gives the setting, `section.key`; `None` where a whole file is at fault.
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// Gives the layer that the value came from.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Gives what was probably meant, in the notation of the layer.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            Some(key) => write!(f, "{key} ({}): {}", self.origin, self.problem)?,
            None => write!(f, "{}: {}", self.origin, self.problem)?,
        }
        match &self.hint {
            Some(hint) => write!(f, "; did you mean {hint}?"),
            None => Ok(()),
        }
    }
}

/// Every fault of a configuration; there is at least one. Displayed one a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults(pub(super) Vec<Fault>);

impl Faults {
    /// Gives the faults: those of the file first, then the environment's and the flags', then
    /// values and contradictions in the order of the reference.
    pub fn iter(&self) -> std::slice::Iter<'_, Fault> {
        self.0.iter()
    }

    /// Tells how many there are.
    #[expect(clippy::len_without_is_empty, reason = "there is always one")]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl<'a> IntoIterator for &'a Faults {
    type Item = &'a Fault;
    type IntoIter = std::slice::Iter<'a, Fault>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            fault.fmt(f)?;
        }
        Ok(())
    }
}

impl StdError for Faults {}

impl From<Faults> for Error {
    fn from(faults: Faults) -> Self {
        Self::config(faults.to_string())
    }
}

/// Something that is allowed but probably not what was meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    pub(super) key: &'static str,
    pub(super) origin: Origin,
    pub(super) text: String,
}

impl Note {
    /// Gives the setting.
    pub fn key(&self) -> &str {
        self.key
    }

    /// Gives the layer that its value came from.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.key, self.origin, self.text)
    }
}
