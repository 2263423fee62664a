//! One-shot chat: a question, and what was said in answer.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response};
use http_body::Body;
use http_body_util::Full;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use tower_service::Service;

use super::service::{Exchange, Reply};
use super::{envelope, reply, runs, time};
use crate::error::BoxError;
use crate::rejection::Rejection;
use crate::session::{ConversationId, RunClaim};
use crate::validate::{Answer, RunCall};

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
pub(super) async fn ask<S, R>(
    mut exchange: Exchange<S>,
    claim: RunClaim,
    id: Option<ConversationId>,
    run: RunCall,
) -> Reply<R>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: Into<BoxError>>,
    R: Body<Data = Bytes, Error: Into<BoxError>>,
{
    let (header, id) = match id {
        Some(ConversationId::Integer(number)) => (number.to_string(), Value::from(number.get())),
        Some(id @ ConversationId::Conv(_)) => (id.to_string(), Value::from(id.to_string())),
        None => (claim.session_id().to_string(), Value::from(claim.session_id().to_string())),
    };
    let request = envelope::user_message(claim.thread_id(), &run);
    let started = runs::start(&mut exchange, claim, request).await?;
    let answered = match run.answer {
        Answer::Events => started.events(&mut exchange).await,
        Answer::Json => match started.transcript(&mut exchange).await {
            Ok(done) => reply::json(&answer(id.clone(), &done.items)),
            Err(rejection) => Err(rejection),
        },
    };
    let mut response = answered.map_err(|rejection| known_by(rejection, id))?;
    if let Ok(header) = HeaderValue::try_from(header) {
        response.headers_mut().insert(X_CONVERSATION_ID, header);
    }
    Ok(response)
}

/// A run that failed when its thread was there already has left a conversation that can go on.
fn known_by(rejection: Rejection, id: Value) -> Rejection {
    if rejection.has_detail("thread_id") {
        return rejection.detail("conversation_id", id);
    }
    rejection
}

fn answer(conversation_id: Value, items: &[Box<RawValue>]) -> ChatReply {
    let (response, tool_calls) = said(items);
    let timestamp = time::whole_microseconds(Timestamp::now()).to_string();
    ChatReply { conversation_id, response, tool_calls, timestamp }
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Item {
    AssistantMessage {
        content: Vec<Part>,
    },
    ClientToolCall {
        name: String,
    },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Part {
    #[serde(default)]
    text: String,
}

/// The text of the assistant's messages, a blank line between two of them, and the names of the
/// tools that the client is asked to call. An item that can't be read is left out.
fn said(items: &[Box<RawValue>]) -> (String, Vec<String>) {
    let (mut messages, mut tools) = (Vec::new(), Vec::new());
    for item in items {
        match serde_json::from_str(item.get()) {
            Ok(Item::AssistantMessage { content }) => {
                let text: String = content.into_iter().map(|part| part.text).collect();
                if !text.is_empty() {
                    messages.push(text);
                }
            }
            Ok(Item::ClientToolCall { name }) => tools.push(name),
            Ok(Item::Other) | Err(_) => {}
        }
    }
    (messages.join("\n\n"), tools)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_said_and_called_is_told() {
        let items: Vec<Box<RawValue>> = [
            r#"{"id":"m1","type":"user_message","content":[{"type":"input_text","text":"hi"}]}"#,
            r#"{"id":"m2","type":"assistant_message","content":[{"type":"output_text","text":"Let me ","annotations":[]},{"type":"output_text","text":"see."}]}"#,
            r#"{"id":"t1","type":"client_tool_call","name":"look_up","arguments":{},"call_id":"c"}"#,
            r#"{"id":"m3","type":"assistant_message","content":[]}"#,
            r#"{"id":"w1","type":"workflow","workflow":{"type":"custom","tasks":[{"type":"web_search","title":"x"}]}}"#,
            r#"{"id":"t2","type":"client_tool_call","name":"look_up","arguments":{},"call_id":"d"}"#,
            r#"{"id":"m4","type":"assistant_message","content":[{"type":"output_text","text":" \u00dc👋\n"}]}"#,
            r#"{"id":"m5","type":"assistant_message","content":"broken"}"#,
            r#"{"broken":1}"#,
        ]
        .map(|json| RawValue::from_string(json.to_owned()).unwrap())
        .into();
        let expected = vec!["look_up".to_owned(), "look_up".to_owned()];
        assert_eq!(said(&items), ("Let me see.\n\n Ü👋\n".to_owned(), expected));
        assert_eq!(said(&[]), (String::new(), vec![]));
    }
}
