//! The opaque error of start-up and of the session stores.
//!
//! A *request* never ends in this type: it ends in a [`Rejection`](crate::rejection::Rejection).
//! `Error` is for what happens before the first request (configuration, keys, a database that
//! doesn't open) and for a store that fails under one. It says what was attempted; the cause is
//! its [`source`](std::error::Error::source).

use std::error::Error as StdError;
use std::fmt;

/// A boxed error of any origin.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// Something outside of a request's own control failed.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    context: String,
    source: Option<BoxError>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ErrorKind {
    Config,
    Io,
    Lacking,
    Store,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, context: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, context: context.into(), source: None }))
    }

    pub(crate) fn with(mut self, source: impl Into<BoxError>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Makes the error of a setting, key or schema that is wrong: nothing will help but changing
    /// it.
    pub fn config(context: impl Into<String>) -> Self {
        Self::new(ErrorKind::Config, context)
    }

    /// Makes the error of a session store that did not do what it was asked to; it may later.
    pub fn store(context: impl Into<String>, source: impl Into<BoxError>) -> Self {
        Self::new(ErrorKind::Store, context).with(source)
    }

    /// Makes the error of a session store that does not implement that part of its contract, and never
    /// will have `what`.
    pub fn lacking(what: &str) -> Self {
        Self::new(ErrorKind::Lacking, format!("the session store has no {what}"))
    }

    /// Makes the error of an operating system that refused (a port in use, a file that can't be
    /// read).
    pub fn io(context: impl Into<String>, source: std::io::Error) -> Self {
        Self::new(ErrorKind::Io, context).with(source)
    }

    /// Tells whether a setting is at fault.
    pub fn is_config(&self) -> bool {
        self.0.kind == ErrorKind::Config
    }

    /// Tells whether the session store is at fault.
    pub fn is_store(&self) -> bool {
        self.0.kind == ErrorKind::Store
    }

    /// Tells whether the session store does not implement what it was asked for.
    pub fn is_lacking(&self) -> bool {
        self.0.kind == ErrorKind::Lacking
    }

    /// Tells whether the operating system refused.
    pub fn is_io(&self) -> bool {
        self.0.kind == ErrorKind::Io
    }

    /// Writes this error and its causes in one line, for a log or a terminal.
    pub fn chain(&self) -> String {
        chain(self)
    }
}

/// Gives an error and its causes in one line.
pub(crate) fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("context", &self.0.context)
            .field("source", &self.0.source)
            .finish()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.context)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_pointer_and_tells_its_causes() {
        assert_eq!(size_of::<Error>(), size_of::<usize>());
        let error = Error::store("could not open x.db", std::io::Error::other("disk full"));
        assert!(error.is_store() && !error.is_config());
        assert_eq!(error.to_string(), "could not open x.db");
        assert_eq!(error.chain(), "could not open x.db: disk full");
    }
}
