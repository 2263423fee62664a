//! One-shot chat: target and body → [`ChatCall`].

use std::num::NonZeroU64;

use bytes::Bytes;
use http::HeaderMap;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Number, Value};

use super::reader::Reader;
use super::{negotiate, parse};
use crate::operation::message::{RunCall, check_text};
use crate::rejection::Rejection;
use crate::route::Target;

/// A question.
#[derive(Debug)]
#[non_exhaustive]
pub struct ChatCall {
    /// The user that the path names, who is the caller.
    pub user: Option<Box<str>>,
    /// The conversation that it belongs to; a new one if there is none.
    pub conversation: Option<ConversationName>,
    /// The message, and how it is to be answered.
    pub run: RunCall,
}

/// A conversation's id, as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConversationName {
    /// A whole number; `None` for one that no conversation can have.
    Number(Option<NonZeroU64>),
    /// A text.
    Text(Box<str>),
}

#[derive(Deserialize)]
struct ChatBody<'a> {
    #[serde(borrow)]
    message: &'a RawValue,
    #[serde(default)]
    stream: Option<bool>,
}

/// The message is forwarded as it was written.
pub(crate) fn parse(
    rules: &Reader,
    target: &Target,
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<ChatCall, Rejection> {
    let value = parse::checked(rules, target.operation(), body)?;
    let text = value.get("message").and_then(Value::as_str);
    check_text(rules.limits.max_chat_chars, text.into_iter(), 0, true)?;
    let conversation = match value.get("conversation_id") {
        Some(Value::Number(number)) => Some(ConversationName::Number(positive(number))),
        Some(Value::String(text)) => Some(ConversationName::Text(text.as_str().into())),
        // The schema lets nothing else pass but null.
        _ => None,
    };
    let raw: ChatBody<'_> = serde_json::from_slice(body).map_err(|error| parse::defect(&error))?;
    let answer = negotiate::chat_answer(raw.stream, headers);
    let part = format!(r#"{{"type":"input_text","text":{}}}"#, raw.message.get());
    let part = RawValue::from_string(part).map_err(|error| parse::defect(&error))?;
    Ok(ChatCall {
        user: target.other().map(Box::from),
        conversation,
        run: RunCall::new(vec![part], answer),
    })
}

/// The number that a conversation can have. 1.0 is the integer 1 in JSON Schema, and so it is here.
fn positive(number: &Number) -> Option<NonZeroU64> {
    let text = match number.as_u64() {
        Some(integer) => return NonZeroU64::new(integer),
        None => format!("{:.0}", number.as_f64()?),
    };
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::rejection::Code;
    use crate::route::{Operation, Router};
    use crate::surface::Surfaces;
    use crate::validate::{Answer, BodyLimits, SOURCES, Schemas, UnknownRequests};

    fn target(path: &str) -> Target {
        let surfaces = Surfaces::rest("/v1").with_chat("/api");
        Router::new(Operation::ALL, &surfaces).unwrap().route(&http::Method::POST, path).unwrap()
    }

    fn call(body: &str) -> Result<ChatCall, (u16, Code)> {
        let limits =
            BodyLimits { max_message_chars: 1, max_chat_chars: 5, ..BodyLimits::default() };
        let rules = Reader {
            schemas: Schemas::compile().unwrap().into(),
            limits,
            unknown: UnknownRequests::Refuse,
            buffered: None,
        };
        let body = Bytes::copy_from_slice(body.as_bytes());
        parse(&rules, &target("/api/chat"), &HeaderMap::new(), &body)
            .map_err(|rejection| (rejection.status().as_u16(), rejection.code()))
    }

    #[test]
    fn a_message_is_passed_on_as_it_was_written() {
        let call = call(r#"{ "message" : " h\u0069\/👋", "conversation_id": null }"#).unwrap();
        let parts: Vec<_> = call.run.content.iter().map(|part| part.get()).collect();
        assert_eq!(parts, [r#"{"type":"input_text","text":" h\u0069\/👋"}"#]);
        assert_eq!((call.conversation, call.run.answer), (None, Answer::Json));
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

    #[test]
    fn an_operation_and_its_form_for_a_user_have_the_same_schemas() {
        let schema = |name: &str| {
            let source = SOURCES.iter().find(|(known, _)| *known == name).unwrap().1;
            let mut schema: Value = serde_json::from_str(source).unwrap();
            for member in ["$id", "title", "description"] {
                schema.as_object_mut().unwrap().remove(member).unwrap();
            }
            schema
        };
        for (operation, kinds) in [
            ("chat", ["request", "reply"]),
            ("list_conversations", ["query", "reply"]),
            ("get_conversation", ["query", "reply"]),
        ] {
            for kind in kinds {
                let of_user = format!("{operation}_for_user.{kind}");
                assert_eq!(schema(&format!("{operation}.{kind}")), schema(&of_user));
            }
        }
        assert_eq!(schema("chat.request")["additionalProperties"], json!(false));
    }
}
