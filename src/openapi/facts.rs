//! [`Facts`].

use std::num::NonZeroU32;

use crate::authenticate::ProtectedResource;
use crate::session::{ChatSettings, SessionLimits};
use crate::surface::Surfaces;
use crate::validate::{BodyLimits, UnknownRequests};

/// What the document tells of a gateway: what its rooms are made with, as far as clients see
/// it. A configuration [has them](crate::config::Config::facts).
#[derive(Clone, Debug)]
#[non_exhaustive]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Facts {
    /// The surfaces that are served, and where.
    pub surfaces: Surfaces,
    /// Whether the document is on another listener than the operations.
    pub is_elsewhere: bool,
    /// Where clients find out whose tokens are taken, if that is told.
    pub resource: Option<ProtectedResource>,
    /// How callers prove who they are.
    pub callers: Callers,
    /// Whether the keys are published by which the upstream verifies that it is the gateway that calls.
    pub has_key_set: bool,
    /// Whether a good token may lack something that is required of it.
    pub requires_more: bool,
    /// Whether services can give client secrets to users, who prove who they are with them.
    pub has_client_secrets: bool,
    /// The bounds of bodies.
    pub bodies: BodyLimits,
    /// What the pass-through does with a request type that it doesn't know.
    pub unknown_requests: UnknownRequests,
    /// The limits of sessions.
    pub sessions: SessionLimits,
    /// The rules of one-shot chat.
    pub chat: ChatSettings,
    /// Requests of a user in a minute; `None`: no limit.
    pub requests_per_minute: Option<NonZeroU32>,
    /// Open streams of a user.
    pub max_streams_per_user: usize,
}

/// How those who call for themselves prove who they are.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Callers {
    /// They are believed.
    Believed {
        /// If they show the secret that they have in common.
        by_shared_secret: bool,
    },
    /// By a token.
    Tokens {
        /// The name of the cookie that may carry it.
        cookie: Option<String>,
    },
}
