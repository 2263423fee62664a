//! Client sessions as the OpenAI-compatible API shows them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::rejection::{Code, Rejection};
use crate::session::{ClientSecret, ClientSession};
use crate::translate::reply;
use crate::translate::service::Reply;

#[derive(Serialize)]
struct Shown<'a> {
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

/// What the validation wrote.
#[derive(Deserialize, Serialize)]
struct Details<'a> {
    #[serde(borrow)]
    workflow: &'a RawValue,
    #[serde(borrow)]
    chatkit_configuration: &'a RawValue,
}

/// The secret of one that is over is shown all the same, as the hosted API does: it is no use.
pub(crate) fn show<R>(session: &ClientSession, secret: &ClientSecret) -> Reply<R> {
    let details = serde_json::from_str(&session.details).map_err(|error| {
        let category = error.classify();
        Rejection::new(Code::Internal).because(format!("a client session's row: {category:?}"))
    })?;
    let max_requests_per_1_minute = session.requests_per_minute.get();
    reply::json(&Shown {
        id: &session.id,
        object: "chatkit.session",
        client_secret: secret.expose(),
        expires_at: session.expires_at.as_second(),
        status: session.status(Timestamp::now()).as_str(),
        user: session.user_id.as_str(),
        max_requests_per_1_minute,
        rate_limits: RateLimits { max_requests_per_1_minute },
        details,
    })
}
