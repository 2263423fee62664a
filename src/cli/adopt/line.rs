//! What one line says.

use std::fmt;
use std::num::NonZeroU64;

use chatkit_rest::chatkit::parse_time;
use chatkit_rest::principal::UserId;
use chatkit_rest::session::{
    AdoptedThread, Adoption, ConversationId, KnownBy, SessionId, ThreadId,
};
use jiff::Timestamp;
use jiff::tz::Offset;
use serde::de::{Deserialize as _, Deserializer as _, Error as _, MapAccess, Visitor};
use serde_json::Value;

use super::lines::MAX_LINE_BYTES;

/// The longest id, in bytes, that the gateway reads in an upstream's events.
const MAX_ID_BYTES: usize = 512;

/// The largest conversation id. Numbers that are given later are greater, and clients can read exactly
/// what is below 2^53: this leaves half of all that there are.
const MAX_NUMBER: u64 = 1 << 52;

/// What a conversation's id may be.
const CONVERSATION_IDS: &str = "must be a whole number from 1 to 4503599627370496 (2^52), conv_ and 8 \
    hexadecimal digits (lower case), or a UUID";

/// Why a line is refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LineFault {
    /// The member at fault, if it is one; cut where it is long.
    pub(super) field: Option<String>,
    pub(super) reason: String,
}

impl LineFault {
    fn of(field: &str, reason: impl Into<String>) -> Self {
        let field = Some(field.chars().take(64).collect());
        Self { field, reason: reason.into() }
    }

    fn line(reason: impl Into<String>) -> Self {
        Self { field: None, reason: reason.into() }
    }

    pub(super) fn too_long() -> Self {
        Self::line(format!("is longer than {MAX_LINE_BYTES} bytes"))
    }
}

impl fmt::Display for LineFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.field {
            Some(field) => write!(f, "{field:?} {}", self.reason),
            None => f.write_str(&self.reason),
        }
    }
}

/// What lines are read with.
#[derive(Clone, Copy, Debug)]
pub(super) struct LineContext {
    /// The time of the adoption.
    pub(super) now: Timestamp,
    /// Zone of times without one.
    pub(super) utc_offset: Offset,
}

/// The members of a line that say something. `null` says nothing.
#[derive(Default)]
struct LineMembers {
    attachment_id: Option<Value>,
    conversation_id: Option<Value>,
    created_at: Option<Value>,
    thread_id: Option<Value>,
    title: Option<Value>,
    updated_at: Option<Value>,
    user_id: Option<Value>,
}

impl LineContext {
    /// Gives the entry of a line; none if it is blank.
    pub(super) fn entry(&self, line: &[u8]) -> Result<Option<Adoption>, LineFault> {
        let line = line.trim_ascii();
        if line.is_empty() {
            return Ok(None);
        }
        let text = std::str::from_utf8(line).map_err(|_| LineFault::line("is not UTF-8"))?;
        let members = members(text)?;
        let user_id = text_of("user_id", members.user_id)?
            .ok_or_else(|| LineFault::of("user_id", "is missing"))?;
        exact("user_id", &user_id)?;
        let user_id = UserId::parse(&user_id).map_err(|error| {
            let reason = error.to_string();
            LineFault::of("user_id", reason.strip_prefix("a user id ").unwrap_or(&reason))
        })?;
        let thread_id = id("thread_id", members.thread_id)?;
        let attachment_id = id("attachment_id", members.attachment_id)?;
        let (thread_id, attachment_id) = match (thread_id, attachment_id) {
            (Some(_), Some(_)) => {
                let reason = "is beside thread_id; a line is about one thing";
                return Err(LineFault::of("attachment_id", reason));
            }
            (Some(thread_id), None) => (thread_id, None),
            (None, Some(attachment_id)) => (String::new(), Some(attachment_id)),
            (None, None) => {
                let reason = "is missing, and so is attachment_id";
                return Err(LineFault::of("thread_id", reason));
            }
        };
        if let Some(attachment_id) = attachment_id {
            for (name, value) in [
                ("title", &members.title),
                ("created_at", &members.created_at),
                ("updated_at", &members.updated_at),
                ("conversation_id", &members.conversation_id),
            ] {
                if value.is_some() {
                    return Err(LineFault::of(name, "is not for attachments"));
                }
            }
            return Ok(Some(Adoption::Attachment { attachment_id, user_id }));
        }
        let created_at = self.time("created_at", members.created_at)?;
        let updated_at = self.time("updated_at", members.updated_at)?;
        let created_at = created_at.unwrap_or(self.now);
        let mut thread = AdoptedThread::new(ThreadId::from(thread_id), user_id, created_at);
        thread.title = text_of("title", members.title)?.and_then(AdoptedThread::title);
        thread.updated_at = updated_at.unwrap_or(created_at);
        thread.known_by = members.conversation_id.map(known_by).transpose()?;
        Ok(Some(Adoption::Thread(thread)))
    }

    fn time(&self, field: &str, value: Option<Value>) -> Result<Option<Timestamp>, LineFault> {
        let instant = match value {
            None => return Ok(None),
            Some(Value::String(text)) => parse_time(&text, self.utc_offset),
            Some(Value::Number(number)) => parse_time(&number.to_string(), self.utc_offset),
            Some(Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_)) => None,
        };
        let expected = "must be a time such as \"2026-11-21T09:30:00Z\", or Unix seconds";
        instant.map(Some).ok_or_else(|| LineFault::of(field, expected))
    }
}

/// Gives the members of an object. None twice, and none that isn't known: it may have been meant to
/// say whose the thread is.
fn members(text: &str) -> Result<LineMembers, LineFault> {
    struct LineVisitor<'a>(&'a mut Option<LineFault>);

    impl<'de> Visitor<'de> for LineVisitor<'_> {
        type Value = LineMembers;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<LineMembers, A::Error> {
            let mut members = LineMembers::default();
            let mut seen = [false; 7];
            while let Some(name) = map.next_key::<String>()? {
                let (number, member) = match &*name {
                    "attachment_id" => (0, &mut members.attachment_id),
                    "conversation_id" => (1, &mut members.conversation_id),
                    "created_at" => (2, &mut members.created_at),
                    "thread_id" => (3, &mut members.thread_id),
                    "title" => (4, &mut members.title),
                    "updated_at" => (5, &mut members.updated_at),
                    "user_id" => (6, &mut members.user_id),
                    _ => {
                        *self.0 = Some(LineFault::of(&name, "is not a member that is known"));
                        return Err(A::Error::custom("unknown"));
                    }
                };
                if seen.get_mut(number).is_none_or(|seen| std::mem::replace(seen, true)) {
                    *self.0 = Some(LineFault::of(&name, "is there twice"));
                    return Err(A::Error::custom("twice"));
                }
                *member = Some(map.next_value::<Value>()?).filter(|value| !value.is_null());
            }
            Ok(members)
        }
    }

    let mut fault = None;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let members = deserializer
        .deserialize_map(LineVisitor(&mut fault))
        .and_then(|members| deserializer.end().map(|()| members));
    members.map_err(|error| {
        fault.unwrap_or_else(|| {
            // Its own words would quote what is there.
            let is_json = Value::deserialize(&mut serde_json::Deserializer::from_str(text)).is_ok();
            let what = if is_json && !text.starts_with('{') { "an object" } else { "JSON" };
            match error.column() {
                0 => LineFault::line(format!("is not {what}")),
                column => LineFault::line(format!("is not {what} (column {column})")),
            }
        })
    })
}

fn text_of(field: &str, value: Option<Value>) -> Result<Option<String>, LineFault> {
    match value {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(Value::Number(number)) => {
            Err(LineFault::of(field, format!("must be a string: write \"{number}\"")))
        }
        Some(Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_)) => {
            Err(LineFault::of(field, "must be a string"))
        }
    }
}

/// Refuses ids that look like others, by what whoever wrote them has left at their ends: they are
/// compared exactly.
fn exact(field: &str, id: &str) -> Result<(), LineFault> {
    if id.chars().any(char::is_control) {
        return Err(LineFault::of(field, "must not have control characters"));
    }
    let is_blank = |char: char| {
        char.is_whitespace() || matches!(char, '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}')
    };
    if id.starts_with(is_blank) || id.ends_with(is_blank) {
        return Err(LineFault::of(field, "must not begin or end with a blank"));
    }
    Ok(())
}

fn id(field: &str, value: Option<Value>) -> Result<Option<String>, LineFault> {
    let Some(id) = text_of(field, value)? else { return Ok(None) };
    exact(field, &id)?;
    match id.len() {
        0 => Err(LineFault::of(field, "must not be empty")),
        1..=MAX_ID_BYTES => Ok(Some(id)),
        _ => Err(LineFault::of(field, format!("must have at most {MAX_ID_BYTES} bytes"))),
    }
}

fn known_by(value: Value) -> Result<KnownBy, LineFault> {
    let known = match value {
        Value::Number(number) => number.as_u64().and_then(NonZeroU64::new).and_then(integer),
        Value::String(text) => match ConversationId::parse(&text) {
            Some(ConversationId::Integer(number)) => integer(number),
            Some(id @ ConversationId::Conv(_)) => Some(KnownBy::Conversation(id)),
            None => SessionId::parse(&text).map(KnownBy::Session),
        },
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    known.ok_or_else(|| LineFault::of("conversation_id", CONVERSATION_IDS))
}

fn integer(number: NonZeroU64) -> Option<KnownBy> {
    let known = KnownBy::Conversation(ConversationId::Integer(number));
    (number.get() <= MAX_NUMBER).then_some(known)
}
