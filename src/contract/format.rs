//! A fixture file as it is written; what it means is made of it in [`fixture`](super::fixture).
//!
//! `fixtures/README.md` documents every member. No type here is untagged around raw JSON: the
//! bytes of events are taken from the file as they stand there.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FixtureFile {
    pub(super) description: String,
    #[serde(default)]
    pub(super) given: Option<String>,
    #[serde(default)]
    pub(super) settings: BTreeMap<String, SettingValue>,
    #[serde(default)]
    pub(super) needs: Vec<Need>,
    pub(super) steps: Vec<StepFile>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum SettingValue {
    Flag(bool),
    Number(u64),
    Text(String),
    List(Vec<String>),
}

impl SettingValue {
    /// Writes it as an environment variable has it.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Flag(flag) => flag.to_string(),
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text.clone(),
            Self::List(texts) => texts.join(","),
        }
    }
}

/// What a fixture needs that not every target has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Need {
    /// The gateway's own listener: health, what HTTP itself refuses.
    Listener,
    /// A store in which the user has nothing yet.
    OwnStore,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StepFile {
    pub(super) request: RequestFile,
    #[serde(default)]
    pub(super) upstream: Vec<ExchangeFile>,
    #[serde(default)]
    pub(super) meanwhile: Vec<StepFile>,
    pub(super) expect: ExpectFile,
    #[serde(default)]
    pub(super) capture: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RequestFile {
    pub(super) method: String,
    #[serde(default)]
    pub(super) path: Option<String>,
    #[serde(default)]
    pub(super) url: Option<String>,
    #[serde(default, rename = "as")]
    pub(super) user: Option<String>,
    #[serde(default)]
    pub(super) token: TokenKind,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) json: Option<Box<RawValue>>,
    #[serde(default)]
    pub(super) text: Option<String>,
    #[serde(default)]
    pub(super) base64: Option<String>,
    #[serde(default)]
    pub(super) end: BodyEnd,
}

/// Which token a request carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum TokenKind {
    #[default]
    Valid,
    None,
    Expired,
    NotYetValid,
    NoExpiry,
    /// Good but for saying that it is a refresh token.
    Refresh,
    WrongKey,
    Unsigned,
    Malformed,
    /// No user's token but a service's key.
    Service,
}

/// How a request's body ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum BodyEnd {
    #[default]
    Clean,
    /// Nothing more comes.
    Stall,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExchangeFile {
    pub(super) request: Value,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, Option<String>>,
    pub(super) answer: AnswerFile,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AnswerFile {
    #[serde(default)]
    pub(super) status: Option<u16>,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, Option<String>>,
    #[serde(default)]
    pub(super) json: Option<Box<RawValue>>,
    #[serde(default)]
    pub(super) events: Option<Vec<Box<RawValue>>>,
    #[serde(default)]
    pub(super) chunks: Option<Vec<String>>,
    #[serde(default)]
    pub(super) sse: Option<String>,
    #[serde(default)]
    pub(super) text: Option<String>,
    #[serde(default)]
    pub(super) base64: Option<String>,
    #[serde(default)]
    pub(super) end: AnswerEnd,
    #[serde(default)]
    pub(super) fail: Option<Fail>,
}

/// How an upstream's answer ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum AnswerEnd {
    #[default]
    Clean,
    /// The connection is closed before the terminal chunk, or before the length is reached.
    Cut,
    /// The connection is reset.
    Reset,
    /// What comes next is no chunk.
    BadFraming,
    /// Nothing more comes, and the connection stays open.
    Stall,
}

/// How an upstream fails before the head of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Fail {
    /// No connection is accepted.
    Refused,
    /// The connection is closed.
    Closed,
    /// The connection is reset.
    Reset,
    /// Something comes that is not HTTP.
    Nonsense,
    /// Nothing comes.
    Stall,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExpectFile {
    pub(super) status: u16,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, Option<String>>,
    #[serde(default)]
    pub(super) json: Option<Value>,
    #[serde(default)]
    pub(super) error: Option<ErrorFile>,
    #[serde(default)]
    pub(super) body: Option<String>,
    #[serde(default)]
    pub(super) end: ReplyEnd,
    #[serde(default)]
    pub(super) leave_after_events: Option<usize>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ErrorFile {
    pub(super) code: String,
    #[serde(default)]
    pub(super) message: Option<String>,
    #[serde(default)]
    pub(super) details: Option<Value>,
}

/// How a reply's body ends for the client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ReplyEnd {
    #[default]
    Clean,
    Cut,
    /// The client left before the end.
    #[serde(skip)]
    Left,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_of_events_are_those_of_the_file() {
        let text = r#"{"request":"$sent","answer":{"events":[{"z":1.50,"a":"\u00f6"}]}}"#;
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let exchange: ExchangeFile = serde_path_to_error::deserialize(&mut deserializer).unwrap();
        let events = exchange.answer.events.unwrap();
        assert_eq!(events[0].get(), r#"{"z":1.50,"a":"\u00f6"}"#);
    }
}
