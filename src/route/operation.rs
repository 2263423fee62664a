//! The operations: one variant, one wire name, one schema, one fixture folder each.

use std::fmt;

use http::Method;

/// One row of the REST table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Operation {
    /// `POST {prefix}/sessions`
    CreateSession,
    /// `GET {prefix}/sessions`
    ListSessions,
    /// `GET {prefix}/sessions/{session_id}`
    GetSession,
    /// `PATCH {prefix}/sessions/{session_id}`
    UpdateSession,
    /// `DELETE {prefix}/sessions/{session_id}`
    DeleteSession,
    /// `POST {prefix}/sessions/{session_id}/threads`
    CreateThread,
    /// `GET {prefix}/sessions/{session_id}/threads`
    ListThreads,
    /// `POST {prefix}/sessions/{session_id}/threads/{thread_id}/runs`
    CreateRun,
    /// `POST {prefix}`: a ChatKit request as it is.
    Passthrough,
}

impl Operation {
    /// All operations, in the order of the API's tables.
    pub const ALL: [Self; 9] = [
        Self::CreateSession,
        Self::ListSessions,
        Self::GetSession,
        Self::UpdateSession,
        Self::DeleteSession,
        Self::CreateThread,
        Self::ListThreads,
        Self::CreateRun,
        Self::Passthrough,
    ];

    /// The name that threads through schemas, fixtures, logs and tests.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CreateSession => "create_session",
            Self::ListSessions => "list_sessions",
            Self::GetSession => "get_session",
            Self::UpdateSession => "update_session",
            Self::DeleteSession => "delete_session",
            Self::CreateThread => "create_thread",
            Self::ListThreads => "list_threads",
            Self::CreateRun => "create_run",
            Self::Passthrough => "passthrough",
        }
    }

    /// The method and the path below the prefix.
    pub const fn route(self) -> (Method, &'static str) {
        match self {
            Self::CreateSession => (Method::POST, "/sessions"),
            Self::ListSessions => (Method::GET, "/sessions"),
            Self::GetSession => (Method::GET, "/sessions/{session_id}"),
            Self::UpdateSession => (Method::PATCH, "/sessions/{session_id}"),
            Self::DeleteSession => (Method::DELETE, "/sessions/{session_id}"),
            Self::CreateThread => (Method::POST, "/sessions/{session_id}/threads"),
            Self::ListThreads => (Method::GET, "/sessions/{session_id}/threads"),
            Self::CreateRun => (Method::POST, "/sessions/{session_id}/threads/{thread_id}/runs"),
            Self::Passthrough => (Method::POST, ""),
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
