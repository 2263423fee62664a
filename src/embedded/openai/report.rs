//! What an API says of a failure, in whichever words it has for it.
//!
//! OpenAI's are `{"error": {"message", "type", "code"}}`, as a body or in the middle of a stream.
//! Others have `{"error": "…"}` (Ollama), `{"object": "error", …}` (vLLM, Mistral),
//! `{"type": "error", "error": {…}}` (Anthropic), `[{"error": {…}}]` (Gemini), `{"detail": …}`
//! (FastAPI) or a bare `{"code", "message"}`; and numbers where others have words.

use serde_json::{Map, Value};

use crate::stream::{Object, text};

/// How deep a failure is wrapped, and how many of a list are looked at.
const MAX_DEPTH: usize = 4;

/// A failure in an API's words, as far as anybody here needs to know it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ApiReport {
    /// The API's word for it.
    pub(super) label: Option<Label>,
    /// Whether the same question may be answered later; `None` if that isn't said.
    pub(super) may_pass: Option<bool>,
    pub(super) about: About,
}

/// What a failure that lasts is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum About {
    /// The key, the money, the model or the address.
    Access,
    /// What was said is too long for the model.
    Length,
    /// Any of these: it isn't known.
    #[default]
    Perhaps,
    /// What was said isn't allowed.
    Said,
}

impl ApiReport {
    /// Reads `value`; `None` if it doesn't speak of a failure.
    pub(super) fn find(value: &Value) -> Option<Self> {
        speaks_of_failure(value, 0).then(|| Self::of(None, value))
    }

    /// Reads `value`, which is of a failure, in an answer of that status unless it was 200.
    pub(super) fn of(status: Option<u16>, value: &Value) -> Self {
        let mut said = ReportTexts { status, ..ReportTexts::default() };
        said.gather(value, 0);
        Self { may_pass: said.may_pass(), about: said.about(), label: said.label }
    }

    /// Reads the data of an event whose name says that it is a failure.
    pub(super) fn read(data: &[u8]) -> Self {
        Self::of(None, &value(&String::from_utf8_lossy(data)))
    }

    /// Makes a failure with one word for it, in a place where it can only mean that.
    pub(super) fn named(word: &str) -> Self {
        Self { label: Label::new(word), ..Self::default() }
    }
}

/// The API's word for an error, such as `context_length_exceeded`: short and plain, since it is
/// written to the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Label(String);

impl Label {
    /// The longest that is believed to be one.
    const MAX_LENGTH: usize = 64;

    fn new(word: &str) -> Option<Self> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let is_label = (1..=Self::MAX_LENGTH).contains(&word.len()) && word.bytes().all(plain);
        is_label.then(|| Self(word.to_owned()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// What trying again can't help, whatever the status: relays have one of their own.
const LASTING: [&str; 13] = [
    "accountdeactivated",
    "arrearage",
    "billing",
    "contextlength",
    "contextsize",
    "contextwindow",
    "incorrectapikey",
    "insufficientbalance",
    "insufficientcredit",
    "insufficientquota",
    "invalidapikey",
    "modelnotfound",
    "paymentrequired",
];

/// What says that a conversation is too long for the model, whatever else does.
const LONG: [&str; 11] = [
    "contextlength",
    "contextsize",
    "contextwindow",
    "maximumcontext",
    "numberoftokens",
    "promptlength",
    "reducethelength",
    "tokencount",
    "toolarge",
    "toolong",
    "toomanytokens",
];

/// Words for what has nothing to do with what was said, beside those that last.
const ACCESS: [&str; 6] =
    ["accessdenied", "authentication", "notfound", "permission", "unauthenticated", "unauthorized"];

/// Words for what an API lets nobody say.
const NOT_ALLOWED: [&str; 11] = [
    "contentfilter",
    "contentmanagement",
    "contentpolicy",
    "datainspection",
    "flagged",
    "inappropriate",
    "invalidprompt",
    "moderation",
    "responsibleai",
    "safety",
    "sensitive",
];

/// Words for a mistake in the request, where no status says what it was.
const MISTAKES: [&str; 23] = [
    "accessdenied",
    "authentication",
    "badrequest",
    "contentfilter",
    "contentpolicy",
    "datainspection",
    "failedprecondition",
    "forbidden",
    "invalidargument",
    "invalidinput",
    "invalidparameter",
    "invalidprompt",
    "invalidrequest",
    "moderation",
    "notfound",
    "permission",
    "toolarge",
    "toolong",
    "unauthenticated",
    "unauthorized",
    "unprocessable",
    "unsupported",
    "validation",
];

/// Words for what passes.
const PASSING: [&str; 17] = [
    "apierror",
    "badgateway",
    "busy",
    "capacity",
    "conflict",
    "deadline",
    "exhausted",
    "internal",
    "overload",
    "ratelimit",
    "servererror",
    "throttl",
    "timeout",
    "toomanyrequests",
    "tryagain",
    "unavailable",
    "upstream",
];

/// Reads JSON of which not every member need be fit to be read: those that aren't are `null`.
pub(super) fn value(json: &str) -> Value {
    lenient(json, 0)
}

fn lenient(json: &str, depth: usize) -> Value {
    serde_json::from_str(json).unwrap_or_else(|_| match Object::read(json) {
        Some(object) if depth < MAX_DEPTH => {
            let members = object.members();
            members.map(|(name, it)| (name.to_owned(), lenient(it.get(), depth + 1))).collect()
        }
        _ => {
            let string = serde_json::from_str(json).ok().and_then(text);
            string.map_or(Value::Null, |string| Value::String(string.into_owned()))
        }
    })
}

/// Gives what keeps a connection alive, by its name.
pub(super) fn is_keep_alive(word: &str) -> bool {
    matches!(&*squeezed(word), "ping" | "pong" | "keepalive" | "heartbeat")
}

/// Letters and digits alone, in lower case: `InvalidApiKey` is `invalid_api_key`.
fn squeezed(text: &str) -> String {
    let letters = text.chars().filter(char::is_ascii_alphanumeric);
    letters.map(|letter| letter.to_ascii_lowercase()).collect()
}

/// What was gathered of one failure.
#[derive(Default)]
struct ReportTexts {
    label: Option<Label>,
    status: Option<u16>,
    words: Vec<String>,
    texts: Vec<String>,
}

impl ReportTexts {
    /// Takes what `value` says, and what it wraps. The innermost has the first word.
    fn gather(&mut self, value: &Value, depth: usize) {
        if depth > MAX_DEPTH {
            return;
        }
        match value {
            Value::Array(values) => {
                values.iter().take(MAX_DEPTH).for_each(|value| self.gather(value, depth + 1));
            }
            Value::Object(object) => {
                for (name, value) in object {
                    if value.is_object() || value.is_array() {
                        let wraps = ["base_resp", "detail", "message"].contains(&name.as_str());
                        if wraps || name.starts_with("error") {
                            self.gather(value, depth + 1);
                        }
                    }
                }
                // A list of what was wrong with each field (FastAPI).
                if object.contains_key("loc") {
                    self.words.push("validation".to_owned());
                }
                for name in ["code", "type", "status", "status_code", "statusCode"]
                    .into_iter()
                    .chain(["error_code", "errorCode", "error_type"])
                {
                    if let Some(value) = object.get(name) {
                        self.word(value);
                    }
                }
                for name in ["message", "msg", "detail", "error"] {
                    if let Some(Value::String(text)) = object.get(name) {
                        self.texts.push(squeezed(text));
                    }
                }
            }
            Value::String(text) => self.texts.push(squeezed(text)),
            _ => {}
        }
    }

    /// Takes a code: a status, or a word.
    fn word(&mut self, code: &Value) {
        let word = match code {
            Value::Number(number) => number.to_string(),
            Value::String(word) => word.clone(),
            _ => return,
        };
        match word.parse() {
            Ok(status @ 400..=599) => self.status = self.status.or(Some(status)),
            Ok(_) => {}
            Err(_) => self.words.push(squeezed(&word)),
        }
        self.label = self.label.take().or_else(|| Label::new(&word));
    }

    fn about(&self) -> About {
        if self.status == Some(413) || has(&LONG, &self.words) || has(&LONG, &self.texts) {
            return About::Length;
        }
        if has(&LASTING, &self.words) || has(&LASTING, &self.texts) || has(&ACCESS, &self.words) {
            return About::Access;
        }
        match self.status {
            Some(..=399 | 401 | 402 | 404 | 405) => About::Access,
            _ if has(&NOT_ALLOWED, &self.words) || has(&NOT_ALLOWED, &self.texts) => About::Said,
            None | Some(_) => About::Perhaps,
        }
    }

    fn may_pass(&self) -> Option<bool> {
        if has(&LASTING, &self.words) || has(&LASTING, &self.texts) {
            return Some(false);
        }
        if let Some(status) = self.status {
            return Some(status >= 500 || matches!(status, 408 | 409 | 425 | 429));
        }
        if has(&MISTAKES, &self.words) {
            return Some(false);
        }
        has(&PASSING, &self.words).then_some(true)
    }
}

fn has(known: &[&str], said: &[String]) -> bool {
    said.iter().any(|said| known.iter().any(|known| said.contains(known)))
}

/// Tells whether `value` is a failure, and not one of the things that a stream has beside an
/// answer.
fn speaks_of_failure(value: &Value, depth: usize) -> bool {
    match value {
        Value::Array(values) => {
            depth < MAX_DEPTH
                && values.iter().take(MAX_DEPTH).any(|value| speaks_of_failure(value, depth + 1))
        }
        Value::Object(object) => {
            has_error_member(object)
                || calls_itself_an_error(object)
                || has_code_of_failure(object)
                || (!is_harmless(object) && has_message(object))
                || object
                    .get("base_resp")
                    .is_some_and(|status| depth < MAX_DEPTH && speaks_of_failure(status, depth + 1))
        }
        _ => false,
    }
}

/// Tells whether a member is there and says something: relays have empty ones in every chunk.
pub(super) fn is_telling(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Bool(true) => true,
        Value::Array(values) => values.iter().any(is_telling),
        Value::Object(object) => object.values().any(is_telling),
    }
}

fn has_error_member(object: &Map<String, Value>) -> bool {
    let is_error = |name: &str| {
        let name = squeezed(name);
        name.contains("error") || name.starts_with("err")
    };
    let is_bare = |value: &Value| value.as_object().is_some_and(Map::is_empty);
    object.iter().any(|(name, value)| is_error(name) && (is_telling(value) || is_bare(value)))
}

fn calls_itself_an_error(object: &Map<String, Value>) -> bool {
    let called = ["object", "type", "event", "status", "state"].into_iter();
    let failed = called.filter_map(|name| object.get(name)?.as_str()).map(squeezed);
    let is_failure = |word: &str| ["error", "exception", "fail"].iter().any(|it| word.contains(it));
    let failed = failed.into_iter().any(|word| is_failure(&word));
    let refused = ["success", "ok"].into_iter().filter_map(|name| object.get(name)?.as_bool());
    failed || refused.into_iter().any(|done| !done)
}

/// Gives the number in a member; APIs have it as a text, too.
fn codes(object: &Map<String, Value>) -> impl Iterator<Item = u64> {
    let names = ["code", "status", "status_code", "statusCode"].into_iter();
    names.filter_map(|name| match object.get(name)? {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    })
}

fn has_code_of_failure(object: &Map<String, Value>) -> bool {
    codes(object).any(|code| (400..=599).contains(&code))
}

fn has_message(object: &Map<String, Value>) -> bool {
    let texts = ["message", "msg", "reason", "status_msg"].into_iter();
    let texts = texts.filter_map(|name| object.get(name)?.as_str());
    texts.into_iter().any(|text| !text.is_empty()) || object.get("detail").is_some_and(is_telling)
}

/// Tells whether a message in it is none of a failure: what it calls itself, its code or the
/// message says so.
fn is_harmless(object: &Map<String, Value>) -> bool {
    let names = ["type", "event", "object", "status", "state"].into_iter();
    let mut names = names.filter_map(|name| object.get(name)?.as_str()).peekable();
    let has_name = names.peek().is_some();
    let texts = ["message", "msg", "status_msg"].into_iter();
    let mut texts = texts.filter_map(|name| object.get(name)?.as_str()).map(squeezed);
    let (mut codes, mut has_code) = (codes(object), false);
    names.any(is_keep_alive)
        || texts.any(|text| ["ok", "success", "succeeded"].contains(&&*text))
        || codes.any(|code| {
            has_code = true;
            is_success(code)
        })
        || (has_name
            && !has_code
            && ApiReport::of(None, &Value::Object(object.clone())).may_pass.is_none())
}

/// Tells whether a code means that all went well; some APIs have the statuses with zeros after
/// them.
fn is_success(mut code: u64) -> bool {
    while code >= 1000 && code.is_multiple_of(10) {
        code /= 10;
    }
    code == 0 || (200..300).contains(&code)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_label_is_a_short_plain_word() {
        let long = "x".repeat(65);
        for (error, label) in [
            (
                json!({"code": "context_length_exceeded", "type": "t"}),
                Some("context_length_exceeded"),
            ),
            (json!({"code": null, "type": "invalid_request_error"}), Some("invalid_request_error")),
            (json!({"code": 429}), Some("429")),
            (json!({"code": "what you said", "type": "other"}), Some("other")),
            (json!({"code": long}), None),
            (json!({"code": ""}), None),
            (json!({"code": "line\nbreak"}), None),
            (json!({"code": {"a": 1}, "message": "secret"}), None),
            (json!("a text"), None),
            (json!(null), None),
        ] {
            let expected = label.map(|word| Label(word.to_owned()));
            assert_eq!(ApiReport::of(None, &error).label, expected, "{error}");
            let wrapped = json!([{"type": "error", "error": error}]);
            let outermost = expected.or(Some(Label("error".to_owned())));
            assert_eq!(ApiReport::of(None, &wrapped).label, outermost, "{wrapped}");
        }
    }

    #[test]
    fn a_failure_is_known_in_other_words_and_keeps_its_meaning() {
        for (said, may_pass) in [
            (json!({"error": "planted"}), None),
            (json!({"error": {}}), None),
            (json!({"error": {"code": 400, "type": "BadRequestError"}}), Some(false)),
            (json!({"error": {"code": "401"}}), Some(false)),
            (json!({"error": {"code": 402}}), Some(false)),
            (json!({"error": {"code": 429}}), Some(true)),
            (json!({"error": {"code": 429, "type": "insufficient_quota"}}), Some(false)),
            (json!({"error": {"code": 502, "metadata": {"provider_name": "p"}}}), Some(true)),
            (json!({"error": {"type": "server_error", "code": null}}), Some(true)),
            (json!({"error": {"code": "overloaded"}}), Some(true)),
            (json!({"error": {"code": "context_length_exceeded"}}), Some(false)),
            (json!({"error": {"code": "invalid_api_key"}}), Some(false)),
            (json!({"error": {"type": "not_found_error"}}), Some(false)),
            (json!({"error": {"code": 500, "type": "exceed_context_size_error"}}), Some(false)),
            (
                json!({"error": {"code": 500, "message": "Context size has been exceeded."}}),
                Some(false),
            ),
            (json!({"object": "error", "message": "planted", "code": 400}), Some(false)),
            (json!({"object": "error", "message": {"detail": []}, "code": "3505"}), None),
            (json!({"type": "error", "error": {"type": "overloaded_error"}}), Some(true)),
            (json!({"type": "error", "error": {"type": "authentication_error"}}), Some(false)),
            (json!([{"error": {"code": 503, "status": "UNAVAILABLE"}}]), Some(true)),
            (json!([{"error": {"status": "INVALID_ARGUMENT"}}]), Some(false)),
            (json!({"detail": "planted"}), None),
            (json!({"detail": [{"loc": ["body"], "msg": "m", "type": "missing"}]}), Some(false)),
            (json!({"message": "planted"}), None),
            (json!({"message": "planted", "status": 429}), Some(true)),
            (json!({"code": "InvalidParameter", "message": "planted"}), Some(false)),
            (json!({"statusCode": 503}), Some(true)),
            (json!({"error_code": 336_003, "error_msg": "planted"}), None),
            (json!({"success": false, "error": {"status": 500}}), Some(true)),
            (json!({"status": "failed"}), None),
            (json!({"type": "overloaded", "message": "planted"}), Some(true)),
            (json!({"type": "bad_request", "message": "planted"}), Some(false)),
            (json!({"event": "exception", "message": "planted"}), None),
            (json!({"type": "status", "code": 1008, "message": "planted"}), None),
            (json!({"base_resp": {"status_code": 1008, "status_msg": "planted"}}), None),
        ] {
            let found = ApiReport::find(&said).map(|report| report.may_pass);
            assert_eq!(found, Some(may_pass), "{said}");
        }
    }

    #[test]
    fn what_it_is_about_is_known_by_its_words() {
        use About::{Access, Length, Perhaps, Said};
        for (status, said, about) in [
            (400, json!({"error": {"code": "context_length_exceeded"}}), Length),
            (
                400,
                json!({"error": {"message": "prompt is too long: 9 tokens > 8 maximum"}}),
                Length,
            ),
            (400, json!([{"error": {"message": "The input token count (9) exceeds 8"}}]), Length),
            (500, json!({"error": {"message": "Context size has been exceeded."}}), Length),
            (413, Value::Null, Length),
            (400, json!({"error": {"code": "content_filter"}}), Said),
            (403, json!({"error": {"message": "your input was flagged"}}), Said),
            (400, json!({"code": "DataInspectionFailed"}), Said),
            (400, Value::Null, Perhaps),
            (403, Value::Null, Perhaps),
            (401, Value::Null, Access),
            (204, Value::Null, Access),
            (400, json!({"error": {"code": "invalid_api_key"}}), Access),
            (200, json!({"error": {"code": 404}}), Access),
        ] {
            let status = Some(status).filter(|status| *status != 200);
            assert_eq!(ApiReport::of(status, &said).about, about, "{said}");
        }
    }

    #[test]
    fn what_stands_beside_an_answer_is_no_failure() {
        for said in [
            json!({}),
            json!([]),
            json!("planted"),
            json!({"type": "ping", "cost": "0.1"}),
            json!({"event": "keep-alive", "message": "still here"}),
            json!({"id": "c", "object": "chat.completion.chunk", "choices": [], "error": null}),
            json!({"choices": [], "usage": {"total_tokens": 3}, "error": ""}),
            json!({"choices": [], "errors": [], "error": {"message": "", "code": null}}),
            json!({"choices": [], "prompt_filter_results": [{"prompt_index": 0}]}),
            json!({"base_resp": {"status_code": 0, "status_msg": "success"}}),
            json!({"status": "processing", "position": 3}),
            json!({"code": 200, "message": "ok"}),
            json!({"choices": [], "code": 20000, "message": "queued"}),
            json!({"choices": [], "code": 1, "message": "Ok"}),
            json!({"type": "status", "message": "the model is loading"}),
            json!({"object": "chat.completion.chunk", "choices": [], "message": "queued"}),
            json!({"status": "queued", "detail": "third in line"}),
            json!({"code": 1000}),
        ] {
            assert_eq!(ApiReport::find(&said), None, "{said}");
        }
    }

    #[test]
    fn a_status_says_more_than_a_word_and_less_than_what_lasts() {
        let of = |status, body: Value| ApiReport::of(Some(status), &body).may_pass;
        for code in [408, 409, 425, 429, 500, 502, 503, 529] {
            assert_eq!(of(code, Value::Null), Some(true), "{code}");
        }
        for code in [204, 301, 400, 401, 402, 403, 404, 413, 422] {
            assert_eq!(of(code, Value::Null), Some(false), "{code}");
        }
        let invalid = json!({"object": "error", "type": "invalid_request_error", "code": "3505"});
        assert_eq!(of(429, invalid), Some(true));
        assert_eq!(of(429, json!({"error": {"code": "insufficient_quota"}})), Some(false));
        assert_eq!(of(500, json!([{"error": {"code": "invalid_api_key"}}])), Some(false));
        assert_eq!(of(400, json!({"error": {"code": 429}})), Some(false));
    }
}
