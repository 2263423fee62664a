//! A client session as it is shown.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::operation::Reply;
use crate::operation::reply;
use crate::rejection::{Code, Rejection};
use crate::session::SignedSession;

#[derive(Serialize)]
struct ShownClientSession<'a> {
    id: &'a str,
    object: &'static str,
    client_secret: &'a str,
    expires_at: i64,
    status: &'static str,
    user: &'a str,
    max_requests_per_1_minute: u32,
    rate_limits: RateLimits,
    #[serde(flatten)]
    details: Details<'a>,
}

#[derive(Serialize)]
struct RateLimits {
    max_requests_per_1_minute: u32,
}

/// What was kept of the request that made it.
#[derive(Deserialize, Serialize)]
struct Details<'a> {
    #[serde(borrow)]
    workflow: &'a RawValue,
    #[serde(borrow)]
    chatkit_configuration: &'a RawValue,
}

/// Shows a client session and its secret. That of one that is over is shown all the same, as the
/// hosted API does: it is no use.
pub(super) fn show<R>(signed: &SignedSession) -> Reply<R> {
    let session = signed.session();
    let details = serde_json::from_str(&session.details).map_err(|error| {
        let category = error.classify();
        Rejection::new(Code::Internal).because(format!("a client session's row: {category:?}"))
    })?;
    let max_requests_per_1_minute = session.requests_per_minute.get();
    reply::json(&ShownClientSession {
        id: &session.id,
        object: "chatkit.session",
        client_secret: signed.secret().expose(),
        expires_at: session.expires_at.as_second(),
        status: session.status(Timestamp::now()).as_str(),
        user: session.user_id.as_str(),
        max_requests_per_1_minute,
        rate_limits: RateLimits { max_requests_per_1_minute },
        details,
    })
}
