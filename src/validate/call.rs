//! What a request asks for, once it is known to be well-formed.

/// The thread that a path names, by its session's id and its own.
#[derive(Debug)]
#[non_exhaustive]
pub struct ThreadPath {
    /// The session's id.
    pub session: Box<str>,
    /// The thread's: the session's own id, or the upstream's.
    pub thread: Box<str>,
}

/// How a run is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The stream of events, byte for byte.
    Events,
    /// One JSON object, at the end.
    Json,
}

/// What a list request asks for. The names and the default order are the protocol's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Page {
    /// `params.limit`: absent and 0 mean the server's default of 20.
    pub limit: Option<i64>,
    /// `params.order` is `asc`.
    pub ascending: bool,
    /// `params.after`, an opaque cursor.
    pub after: Option<String>,
}
