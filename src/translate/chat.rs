//! One-shot chat: a question, and what was said in answer.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response};
use http_body::Body;
use http_body_util::Full;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use tower_service::Service;

use super::service::{Exchange, Reply};
use super::{envelope, reply, time, turns};
use crate::error::BoxError;
use crate::operation::message::RunCall;
use crate::operation::run;
use crate::rejection::Rejection;
use crate::session::{ConversationId, RunClaim, SessionId};
use crate::validate::Answer;

/// Tells the conversation's id where the body can't.
const X_CONVERSATION_ID: HeaderName = HeaderName::from_static("x-conversation-id");

#[derive(Serialize)]
struct ChatReply {
    conversation_id: Value,
    response: String,
    tool_calls: Vec<String>,
    timestamp: String,
}

/// Sends the message, and answers with the events or with what was said.
pub(crate) async fn ask<S, R>(
    mut exchange: Exchange<S>,
    claim: RunClaim,
    id: Option<ConversationId>,
    asked: RunCall,
) -> Reply<R>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: Into<BoxError>>,
    R: Body<Data = Bytes, Error: Into<BoxError>>,
{
    let id = shown_id(id, claim.session_id());
    let header = id.as_str().map_or_else(|| id.to_string(), str::to_owned);
    let request = envelope::user_message(claim.thread_id(), &asked);
    let started = run::start(&mut exchange, claim, request).await?;
    let answered = match asked.answer {
        Answer::Events => started.events(&mut exchange).await,
        Answer::Json => match Box::pin(started.transcript(&mut exchange)).await {
            Ok(done) => {
                let acted = &exchange.settings.acted;
                match turns::answer(&done.items, done.has_effects, acted) {
                    Ok((response, tool_calls)) => reply::json(&ChatReply {
                        conversation_id: id.clone(),
                        response,
                        tool_calls,
                        timestamp: time::whole_microseconds(Timestamp::now()).to_string(),
                    }),
                    Err(garbled) => Err(done.failed(garbled)),
                }
            }
            Err(rejection) => Err(rejection),
        },
    };
    let mut response = answered.map_err(|rejection| known_by(rejection, id))?;
    if let Ok(header) = HeaderValue::try_from(header) {
        response.headers_mut().insert(X_CONVERSATION_ID, header);
    }
    Ok(response)
}

/// The id of a conversation, in JSON.
pub(crate) fn shown_id(id: Option<ConversationId>, session: SessionId) -> Value {
    match id {
        Some(ConversationId::Integer(number)) => number.get().into(),
        Some(id @ ConversationId::Conv(_)) => id.to_string().into(),
        None => session.to_string().into(),
    }
}

/// A run that failed when its thread was there already has left a conversation that can go on.
fn known_by(rejection: Rejection, id: Value) -> Rejection {
    if rejection.has_detail("thread_id") {
        return rejection.detail("conversation_id", id);
    }
    rejection
}
