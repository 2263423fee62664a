//! Asks something, and answers with what was said, or with the run's events.

use std::num::NonZeroU64;

use http::{HeaderName, HeaderValue, Method};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Number, Value};

use super::conversation::shown_id;
use super::turns;
use crate::chatkit::envelope::{self, NewMessage};
use crate::chatkit::{ChatKit, ChatKitBody, time};
use crate::operation::fields::defect;
use crate::operation::message::check_text;
use crate::operation::reply;
use crate::operation::{Exchange, Gives, Operation, Read, Reply, Row, Takes, run};
use crate::principal::Principal;
use crate::rejection::{Code, Rejection};
use crate::session::{ConversationId, ConversationName, Desk, RunClaim};
use crate::surface::Surface;
use crate::validate::negotiate::{self, RunFormat};

/// Tells the conversation's id where the body can't.
const X_CONVERSATION_ID: HeaderName = HeaderName::from_static("x-conversation-id");

pub(crate) struct Chat;

#[derive(Debug)]
pub(crate) struct Call {
    /// The conversation that the question belongs to; a new one if there is none.
    conversation: Option<ConversationName>,
    /// The message, and how it is to be answered.
    message: NewMessage,
    format: RunFormat,
}

#[derive(Deserialize)]
struct ChatBody<'a> {
    #[serde(borrow)]
    message: &'a RawValue,
    #[serde(default)]
    stream: Option<bool>,
}

#[derive(Serialize)]
struct ChatReply {
    conversation_id: Value,
    response: String,
    tool_calls: Vec<String>,
    timestamp: String,
}

impl Operation for Chat {
    const ROW: Row = Row {
        name: "chat",
        surface: Surface::Chat,
        method: Method::POST,
        path: "/chat",
        takes: Takes::Json,
        gives: Gives::Run,
        asks_upstream: true,
        may_be_foreign: true,
        refuses: &[Code::SessionNotFound, Code::EmptyMessage, Code::MessageTooLong],
        tag: "Chat",
        summary: "Ask something",
        description: "Without a `conversation_id` a conversation begins; the answer has its id. With \
             `Accept: text/event-stream` the answer is ChatKit's events.",
        links: &[("conversation_id", "/conversation_id")],
    };

    type Call = Call;
    /// `None`: the conversation has its session's own id.
    type Grant = (RunClaim, Option<ConversationId>);

    /// Reads a run; its message is forwarded as it was written.
    fn parse(read: &Read<'_>) -> Result<Call, Rejection> {
        let value = read.json()?;
        let text = value.get("message").and_then(Value::as_str);
        check_text(read.limits().max_chat_chars, text.into_iter(), 0, true)?;
        let conversation = match value.get("conversation_id") {
            Some(Value::Number(number)) => Some(ConversationName::Number(positive(number))),
            Some(Value::String(text)) => Some(ConversationName::Text(text.as_str().into())),
            // The schema lets nothing else pass but null.
            _ => None,
        };
        let raw: ChatBody<'_> = read.typed()?;
        let format = negotiate::chat_format(raw.stream, read.headers());
        let message = NewMessage::of_text(raw.message).map_err(|error| defect(&error))?;
        Ok(Call { conversation, message, format })
    }

    async fn admit(
        desk: &Desk,
        principal: &Principal,
        call: &Call,
    ) -> Result<Self::Grant, Rejection> {
        // An answer in JSON is one request among those in flight, however many a user has.
        let streams = call.format == RunFormat::Events;
        match &call.conversation {
            Some(name) => desk.go_on_with(principal, name, streams).await,
            None => desk.begin_conversation(principal, streams).await,
        }
    }

    async fn answer<S: ChatKit<R>, R: ChatKitBody>(
        mut exchange: Exchange<S>,
        (claim, id): Self::Grant,
        Call { message, format, .. }: Call,
    ) -> Reply<R> {
        let id = shown_id(id, claim.session_id());
        let header = id.as_str().map_or_else(|| id.to_string(), str::to_owned);
        let request = envelope::user_message(claim.thread_id(), &message);
        let started = run::start(&mut exchange, claim, request).await?;
        let answered = match format {
            RunFormat::Events => started.events(&mut exchange).await,
            RunFormat::Json => match Box::pin(started.transcript(&mut exchange)).await {
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
}

/// Gives the number that a conversation can have. 1.0 is the integer 1 in JSON Schema, and so it is here.
fn positive(number: &Number) -> Option<NonZeroU64> {
    let text = match number.as_u64() {
        Some(integer) => return NonZeroU64::new(integer),
        None => format!("{:.0}", number.as_f64()?),
    };
    text.parse().ok()
}

/// Adds the conversation's id to the refusal of a run whose thread was there already: that failed,
/// and has left a conversation that can go on.
fn known_by(rejection: Rejection, id: Value) -> Rejection {
    if rejection.has_detail("thread_id") {
        return rejection.detail("conversation_id", id);
    }
    rejection
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::HeaderMap;

    use super::*;
    use crate::operation::Name;
    use crate::route::{Router, Target};
    use crate::surface::Surfaces;
    use crate::validate::{BodyLimits, Reader, Schemas};

    fn target(path: &str) -> Target<Name> {
        let surfaces = Surfaces::rest("/v1").with_chat("/api");
        Router::new(Name::ALL, &surfaces).unwrap().route(&http::Method::POST, path).unwrap()
    }

    fn call(body: &str) -> Result<Call, (u16, Code)> {
        let limits =
            BodyLimits { max_message_chars: 1, max_chat_chars: 5, ..BodyLimits::default() };
        let reader = Reader::new(Schemas::compile().unwrap(), limits);
        let (target, headers) = (target("/api/chat"), HeaderMap::new());
        let body = Bytes::copy_from_slice(body.as_bytes());
        Chat::parse(&Read::new(&reader, &target, None, &headers, &body))
            .map_err(|rejection| (rejection.status().as_u16(), rejection.code()))
    }

    #[test]
    fn a_message_is_passed_on_as_it_was_written() {
        let call = call(r#"{ "message" : " h\u0069\/👋", "conversation_id": null }"#).unwrap();
        let parts: Vec<_> = call.message.content.iter().map(|part| part.get()).collect();
        assert_eq!(parts, [r#"{"type":"input_text","text":" h\u0069\/👋"}"#]);
        assert_eq!((call.conversation, call.format), (None, RunFormat::Json));
    }

    #[test]
    fn an_id_is_a_text_or_a_whole_number() {
        let name = |id: &str| {
            let body = format!(r#"{{"message":"hi","conversation_id":{id}}}"#);
            call(&body).map(|call| call.conversation)
        };
        let number = |number| Ok(Some(ConversationName::Number(NonZeroU64::new(number))));
        assert_eq!(name("\"conv_1\""), Ok(Some(ConversationName::Text("conv_1".into()))));
        assert_eq!(name("\"\""), Ok(Some(ConversationName::Text("".into()))));
        for (id, expected) in [
            ("7", 7),
            ("7.0", 7),
            ("7e0", 7),
            ("18446744073709551615", u64::MAX),
            ("0", 0),
            ("-7", 0),
            ("-0.0", 0),
            ("18446744073709551616", 0),
            ("1e300", 0),
        ] {
            assert_eq!(name(id), number(expected), "{id}");
        }
        for id in ["1.5", "true", "[]", "{}"] {
            assert_eq!(name(id), Err((400, Code::InvalidInput)), "{id}");
        }
    }

    #[test]
    fn whatever_else_is_refused() {
        for (body, code) in [
            ("", Code::InvalidJson),
            ("{\"message\":", Code::InvalidJson),
            (r#"{"message":"a","message":"b"}"#, Code::InvalidJson),
            ("[]", Code::InvalidInput),
            ("{}", Code::InvalidInput),
            (r#"{"message":7}"#, Code::InvalidInput),
            (r#"{"message":"hi","stream":"yes"}"#, Code::InvalidInput),
            (r#"{"message":"hi","user_id":"eve"}"#, Code::InvalidInput),
            (r#"{"message":""}"#, Code::EmptyMessage),
            (r#"{"message":" \n\u3000"}"#, Code::EmptyMessage),
            (r#"{"message":"123456"}"#, Code::MessageTooLong),
        ] {
            assert_eq!(call(body).map_err(|(_, code)| code).unwrap_err(), code, "{body}");
        }
        assert!(call(r#"{"message":"ÄÖÜ👋ß"}"#).is_ok());
    }
}
