//! ChatKit requests, checked as strictly and as leniently as the SDK's models check them.

use super::item::Answers;
use super::json::{InvalidJson, Json};
use crate::bounds::{
    MAX_ANSWER_CHARS, MAX_CURSOR_CHARS, MAX_ENTRIES, MAX_ID_CHARS, MAX_IDS, MAX_NAME_CHARS,
    is_longer, names_too_many,
};

/// A page's length where the request doesn't say.
const DEFAULT_LIMIT: i64 = 20;

/// The request is not one that the SDK's models accept: the SDK answers a bare 500.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

impl From<InvalidJson> for Malformed {
    fn from(_: InvalidJson) -> Self {
        Self
    }
}

#[derive(Debug)]
pub(super) enum Request {
    /// Answered with JSON.
    Reply(ReplyRequest),
    /// Answered with events.
    Stream(StreamRequest),
}

#[derive(Debug)]
pub(super) enum ReplyRequest {
    AttachmentsCreate { name: String, mime_type: String },
    AttachmentsDelete { attachment_id: String },
    InputTranscribe { audio_base64: String, mime_type: String },
    ItemsFeedback,
    ItemsList { thread_id: String, page: PageRequest },
    ThreadsDelete { thread_id: String },
    ThreadsGetById { thread_id: String },
    ThreadsList { page: PageRequest },
    ThreadsSyncCustomAction { thread_id: String, item_id: Option<String>, action: Action },
    ThreadsUpdate { thread_id: String, title: String },
}

#[derive(Debug)]
pub(super) enum StreamRequest {
    AddClientToolOutput { thread_id: String, result: Json },
    AddStructuredInput { thread_id: String, item_id: String, submission: Submission },
    AddUserMessage { thread_id: String, input: MessageInput },
    Create { input: MessageInput },
    CustomAction { thread_id: String, item_id: Option<String>, action: Action },
    RetryAfterItem { thread_id: String, item_id: String },
}

/// Which rows of a list.
#[derive(Clone, Debug)]
pub(super) struct PageRequest {
    /// At most so many; a negative number is no limit.
    pub(super) limit: i64,
    pub(super) descending: bool,
    pub(super) after: Option<String>,
}

impl PageRequest {
    /// Asks for what `threads.get_by_id` shows of the items.
    pub(super) fn oldest() -> Self {
        Self { limit: DEFAULT_LIMIT, descending: false, after: None }
    }
}

/// A user's message, its parts and options already in the form in which they are stored.
#[derive(Debug)]
pub(super) struct MessageInput {
    pub(super) content: Vec<Json>,
    pub(super) attachments: Vec<String>,
    pub(super) quoted_text: Option<String>,
    pub(super) inference_options: Json,
}

/// Answers to a structured input.
#[derive(Debug)]
pub(super) struct Submission {
    pub(super) skipped: bool,
    pub(super) answers: Vec<(String, Answers)>,
}

/// What a widget, or the page around the chat, asks the server to do.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Action {
    /// The action's name.
    pub kind: String,
    /// Its argument; `null` if it has none.
    pub payload: Json,
}

impl Action {
    /// Makes an action of this name, without an argument.
    pub fn new(kind: impl Into<String>) -> Self {
        Self { kind: kind.into(), payload: Json::Null }
    }

    /// Sets its argument.
    #[must_use]
    pub fn with_payload(self, payload: impl Into<Json>) -> Self {
        Self { payload: payload.into(), ..self }
    }
}

impl Request {
    pub(super) fn parse(body: &[u8]) -> Result<Self, Malformed> {
        use ReplyRequest as R;
        use StreamRequest as S;

        let body = Json::parse(std::str::from_utf8(body).map_err(|_| Malformed)?)?;
        if body.get("metadata").is_some_and(|metadata| !metadata.is_object()) {
            return Err(Malformed);
        }
        let params =
            RequestParams(body.get("params").filter(|params| params.is_object()).ok_or(Malformed)?);
        let thread_id = || params.string("thread_id");

        Ok(match body.get("type").and_then(Json::as_str).ok_or(Malformed)? {
            "attachments.create" => Self::Reply(R::AttachmentsCreate {
                name: params.bounded("name", MAX_NAME_CHARS)?,
                mime_type: {
                    params.get("size")?.as_lax_integer().ok_or(Malformed)?;
                    params.bounded("mime_type", MAX_NAME_CHARS)?
                },
            }),
            "attachments.delete" => {
                Self::Reply(R::AttachmentsDelete { attachment_id: params.string("attachment_id")? })
            }
            "input.transcribe" => Self::Reply(R::InputTranscribe {
                audio_base64: params.text("audio_base64")?,
                mime_type: params.bounded("mime_type", MAX_NAME_CHARS)?,
            }),
            "items.feedback" => {
                thread_id()?;
                params.ids("item_ids")?;
                match params.string("kind")?.as_str() {
                    "positive" | "negative" => Self::Reply(R::ItemsFeedback),
                    _ => return Err(Malformed),
                }
            }
            "items.list" => {
                Self::Reply(R::ItemsList { thread_id: thread_id()?, page: params.page()? })
            }
            "threads.add_client_tool_output" => Self::Stream(S::AddClientToolOutput {
                thread_id: thread_id()?,
                result: params.get("result")?.clone(),
            }),
            "threads.add_structured_input" => Self::Stream(S::AddStructuredInput {
                thread_id: thread_id()?,
                item_id: params.string("item_id")?,
                submission: Submission::read(params.object("input")?)?,
            }),
            "threads.add_user_message" => Self::Stream(S::AddUserMessage {
                thread_id: thread_id()?,
                input: MessageInput::read(params.object("input")?)?,
            }),
            "threads.create" => {
                Self::Stream(S::Create { input: MessageInput::read(params.object("input")?)? })
            }
            "threads.custom_action" => Self::Stream(S::CustomAction {
                thread_id: thread_id()?,
                item_id: params.sender()?,
                action: Action::read(params.object("action")?)?,
            }),
            "threads.delete" => Self::Reply(R::ThreadsDelete { thread_id: thread_id()? }),
            "threads.get_by_id" => Self::Reply(R::ThreadsGetById { thread_id: thread_id()? }),
            "threads.list" => Self::Reply(R::ThreadsList { page: params.page()? }),
            "threads.retry_after_item" => Self::Stream(S::RetryAfterItem {
                thread_id: thread_id()?,
                item_id: params.string("item_id")?,
            }),
            "threads.sync_custom_action" => Self::Reply(R::ThreadsSyncCustomAction {
                thread_id: thread_id()?,
                item_id: params.sender()?,
                action: Action::read(params.object("action")?)?,
            }),
            "threads.update" => Self::Reply(R::ThreadsUpdate {
                thread_id: thread_id()?,
                title: params.bounded("title", MAX_NAME_CHARS)?,
            }),
            _ => return Err(Malformed),
        })
    }
}

/// An object whose fields are asked for by name.
#[derive(Clone, Copy)]
struct RequestParams<'a>(&'a Json);

impl<'a> RequestParams<'a> {
    fn new(json: &'a Json) -> Result<Self, Malformed> {
        if json.is_object() { Ok(Self(json)) } else { Err(Malformed) }
    }

    fn get(self, key: &str) -> Result<&'a Json, Malformed> {
        self.0.get(key).ok_or(Malformed)
    }

    fn present(self, key: &str) -> Option<&'a Json> {
        self.0.get(key).filter(|value| **value != Json::Null)
    }

    /// Gives a text that is an id, or a name that stands for one.
    fn string(self, key: &str) -> Result<String, Malformed> {
        self.bounded(key, MAX_ID_CHARS)
    }

    /// Gives a text that somebody wrote. The SDK has no bounds; who writes to this server directly
    /// is held to those of the gateway all the same, as all of it is kept.
    fn text(self, key: &str) -> Result<String, Malformed> {
        Ok(self.get(key)?.as_str().ok_or(Malformed)?.to_owned())
    }

    fn bounded(self, key: &str, max: usize) -> Result<String, Malformed> {
        let text = self.get(key)?.as_str().ok_or(Malformed)?;
        if is_longer(text, max) { Err(Malformed) } else { Ok(text.to_owned()) }
    }

    fn optional_string(self, key: &str) -> Result<Option<String>, Malformed> {
        self.present(key).map(|_| self.string(key)).transpose()
    }

    fn ids(self, key: &str) -> Result<Vec<String>, Malformed> {
        let ids = strings(self.get(key)?, MAX_IDS, MAX_ID_CHARS)?;
        if names_too_many(&ids) { Err(Malformed) } else { Ok(ids) }
    }

    fn object(self, key: &str) -> Result<Self, Malformed> {
        Self::new(self.get(key)?)
    }

    fn flag(self, key: &str) -> Result<bool, Malformed> {
        match self.0.get(key) {
            None => Ok(false),
            Some(Json::Bool(yes)) => Ok(*yes),
            Some(_) => Err(Malformed),
        }
    }

    fn page(self) -> Result<PageRequest, Malformed> {
        let limit = match self.present("limit") {
            None => 0,
            Some(limit) => limit.as_lax_integer().ok_or(Malformed)?,
        };
        let descending = match self.0.get("order").map(Json::as_str) {
            None | Some(Some("desc")) => true,
            Some(Some("asc")) => false,
            Some(_) => return Err(Malformed),
        };
        Ok(PageRequest {
            limit: if limit == 0 { DEFAULT_LIMIT } else { limit },
            descending,
            after: match self.present("after") {
                Some(_) => Some(self.bounded("after", MAX_CURSOR_CHARS)?),
                None => None,
            },
        })
    }

    /// Gives the widget that an action comes from; the SDK takes an empty id for none.
    fn sender(self) -> Result<Option<String>, Malformed> {
        Ok(self.optional_string("item_id")?.filter(|id| !id.is_empty()))
    }
}

fn strings(json: &Json, max: usize, max_chars: usize) -> Result<Vec<String>, Malformed> {
    let Json::Array(values) = json else { return Err(Malformed) };
    if values.len() > max {
        return Err(Malformed);
    }
    let texts = values.iter().map(|value| value.as_str().filter(|t| !is_longer(t, max_chars)));
    texts.map(|text| text.map(str::to_owned).ok_or(Malformed)).collect()
}

impl Action {
    fn read(params: RequestParams<'_>) -> Result<Self, Malformed> {
        let kind = match params.0.get("type") {
            // The SDK's default is, by mistake, a Python type variable. This is how it prints.
            None => "~TType".to_owned(),
            Some(_) => params.string("type")?,
        };
        Ok(Self { kind, payload: params.0.get("payload").cloned().unwrap_or(Json::Null) })
    }
}

impl MessageInput {
    fn read(params: RequestParams<'_>) -> Result<Self, Malformed> {
        let Json::Array(parts) = params.get("content")? else { return Err(Malformed) };
        if parts.len() > MAX_ENTRIES {
            return Err(Malformed);
        }
        Ok(Self {
            content: parts.iter().map(part).collect::<Result<_, _>>()?,
            attachments: params.ids("attachments")?,
            quoted_text: match params.present("quoted_text") {
                Some(_) => Some(params.text("quoted_text")?),
                None => None,
            },
            inference_options: inference_options(params.object("inference_options")?)?,
        })
    }
}

fn part(part: &Json) -> Result<Json, Malformed> {
    let part = RequestParams::new(part)?;
    let text = part.text("text")?;
    match part.get("type")?.as_str() {
        Some("input_text") => {
            Ok(Json::from([("type", "input_text".into()), ("text", text.into())]))
        }
        Some("input_tag") => {
            let mut entries = vec![
                ("type", Json::from("input_tag")),
                ("id", part.string("id")?.into()),
                ("text", text.into()),
                ("data", part.object("data")?.0.clone()),
            ];
            if let Some(group) = part.optional_string("group")? {
                entries.push(("group", group.into()));
            }
            entries.push(("interactive", part.flag("interactive")?.into()));
            Ok(object(entries))
        }
        _ => Err(Malformed),
    }
}

fn inference_options(options: RequestParams<'_>) -> Result<Json, Malformed> {
    let mut entries = Vec::new();
    if let Some(choice) = options.present("tool_choice") {
        let id = RequestParams::new(choice)?.string("id")?;
        entries.push(("tool_choice", Json::from([("id", id.into())])));
    }
    if let Some(model) = options.optional_string("model")? {
        entries.push(("model", model.into()));
    }
    Ok(object(entries))
}

fn object(entries: Vec<(&str, Json)>) -> Json {
    Json::Object(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

impl Submission {
    fn read(params: RequestParams<'_>) -> Result<Self, Malformed> {
        let skipped = match params.0.get("status").map(Json::as_str) {
            None | Some(Some("answered")) => false,
            Some(Some("skipped")) => true,
            Some(_) => return Err(Malformed),
        };
        let mut answers = Vec::new();
        match params.0.get("answers") {
            None => {}
            Some(Json::Object(entries)) if entries.len() <= MAX_ENTRIES => {
                for (id, answer) in entries {
                    let answer = RequestParams::new(answer)?;
                    if is_longer(id, MAX_ID_CHARS) {
                        return Err(Malformed);
                    }
                    let values = match answer.0.get("values") {
                        Some(values) => strings(values, MAX_ENTRIES, MAX_ANSWER_CHARS)?,
                        None => Vec::new(),
                    };
                    let skipped = answer.flag("skipped")?;
                    answers.push((id.clone(), Answers { values, skipped }));
                }
            }
            Some(_) => return Err(Malformed),
        }
        Ok(Self { skipped, answers })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ok(body: &str) -> bool {
        Request::parse(body.as_bytes()).is_ok()
    }

    #[test]
    fn a_message_needs_its_parts_attachments_and_options() {
        let message = |content: &str, rest: &str| {
            ok(&format!(
                r#"{{"type":"threads.create","params":{{"input":{{"content":{content}{rest}}}}}}}"#
            ))
        };
        let rest = r#","attachments":[],"inference_options":{}"#;
        assert!(message("[]", rest));
        assert!(message(r#"[{"type":"input_text","text":"","zz":1}]"#, rest));
        assert!(message(r#"[{"type":"input_tag","id":"a","text":"b","data":{}}]"#, rest));
        assert!(message(
            "[]",
            r#","attachments":["a"],"inference_options":{"model":null},"quoted_text":null"#
        ));
        for (content, rest) in [
            ("[]", r#","attachments":[]"#),
            ("[]", r#","inference_options":{}"#),
            ("[]", r#","attachments":null,"inference_options":{}"#),
            ("[]", r#","attachments":[1],"inference_options":{}"#),
            ("[]", r#","attachments":[],"inference_options":null"#),
            ("[]", r#","attachments":[],"inference_options":{"tool_choice":{}}"#),
            (r#""x""#, rest),
            (r#"[{"type":"input_text","text":5}]"#, rest),
            (r#"[{"type":"input_text","text":"\ud800"}]"#, rest),
            (r#"[{"type":"input_tag","id":"a","text":"b"}]"#, rest),
            (r#"[{"type":"input_tag","id":"a","text":"b","data":null}]"#, rest),
            (r#"[{"type":"nope","text":"b"}]"#, rest),
        ] {
            assert!(!message(content, rest), "{content} {rest}");
        }
    }

    #[test]
    fn limits_are_coerced_and_orders_are_not() {
        let limit = |limit: &str| {
            let body = format!(r#"{{"type":"threads.list","params":{{"limit":{limit}}}}}"#);
            match Request::parse(body.as_bytes()) {
                Ok(Request::Reply(ReplyRequest::ThreadsList { page })) => Some(page.limit),
                _ => None,
            }
        };
        assert_eq!(limit("null"), Some(20));
        assert_eq!(limit("0"), Some(20));
        assert_eq!(limit("9999"), Some(9999));
        assert_eq!(limit("-1"), Some(-1));
        assert_eq!(limit(r#""2""#), Some(2));
        assert_eq!(limit("true"), Some(1));
        assert_eq!(limit("2.0"), Some(2));
        assert_eq!(limit("2.5"), None);
        assert_eq!(limit("[]"), None);
        assert!(ok(r#"{"type":"threads.list","params":{"order":"asc","after":null}}"#));
        assert!(!ok(r#"{"type":"threads.list","params":{"order":null}}"#));
        assert!(!ok(r#"{"type":"threads.list","params":{"order":"up"}}"#));
    }

    #[test]
    fn envelopes_are_checked() {
        assert!(ok(r#"{"type":"threads.delete","type":"threads.list","params":{},"metadata":{}}"#));
        for body in [
            "",
            "null",
            "[]",
            r#"{"type":"threads.list"}"#,
            r#"{"type":"threads.list","params":null}"#,
            r#"{"type":"threads.list","params":{},"metadata":null}"#,
            r#"{"params":{}}"#,
            r#"{"type":"threads.nope","params":{}}"#,
            r#"{"type":"threads.get_by_id","params":{"thread_id":5}}"#,
            r#"{"type":"threads.update","params":{"thread_id":"t","title":null}}"#,
            r#"{"type":"threads.add_client_tool_output","params":{"thread_id":"t"}}"#,
            r#"{"type":"items.feedback","params":{"thread_id":"t","item_ids":[],"kind":"meh"}}"#,
            r#"{"type":"attachments.create","params":{"name":"x","mime_type":"y"}}"#,
        ] {
            assert!(!ok(body), "{body}");
        }
        assert!(Request::parse(b"{\"type\":\"\xff\"}").is_err());
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let title = |n: usize| {
            let title = "é".repeat(n);
            let params = format!(r#"{{"thread_id":"t","title":"{title}"}}"#);
            ok(&format!(r#"{{"type":"threads.update","params":{params}}}"#))
        };
        assert!(title(255));
        assert!(!title(256));
        let file = |n: usize| {
            let name = "x".repeat(n);
            let params = format!(r#"{{"name":"{name}","size":1,"mime_type":"a/b"}}"#);
            ok(&format!(r#"{{"type":"attachments.create","params":{params}}}"#))
        };
        assert!(file(255));
        assert!(!file(500_000));
        let message = |content: usize, attachments: usize, model: usize| {
            let list = |each: &str, n| vec![each; n].join(",");
            ok(&format!(
                r#"{{"type":"threads.create","params":{{"input":{{"content":[{}],"attachments":[{}],
                    "inference_options":{{"model":"{}"}}}}}}}}"#,
                list(r#"{"type":"input_text","text":"x"}"#, content),
                // Each of them twice.
                (0..2 * attachments)
                    .map(|n| format!("\"a{}\"", n / 2))
                    .collect::<Vec<_>>()
                    .join(","),
                "m".repeat(model)
            ))
        };
        assert!(message(256, 256, 512));
        assert!(!message(257, 1, 1));
        assert!(!message(1, 257, 1));
        let ids = |n: usize| {
            let ids = vec!["\"a\""; n].join(",");
            let params = format!(r#"{{"thread_id":"t","item_ids":[{ids}],"kind":"positive"}}"#);
            ok(&format!(r#"{{"type":"items.feedback","params":{params}}}"#))
        };
        assert!(ids(4096) && !ids(4097));
        assert!(!message(1, 1, 513));
        let answers = |answers: usize, values: usize, chars: usize| {
            let values = vec![format!("\"{}\"", "v".repeat(chars)); values].join(",");
            let answers: Vec<_> =
                (0..answers).map(|n| format!(r#""q{n}":{{"values":[{values}]}}"#)).collect();
            ok(&format!(
                r#"{{"type":"threads.add_structured_input","params":{{"thread_id":"t","item_id":"i",
                    "input":{{"answers":{{{}}}}}}}}}"#,
                answers.join(",")
            ))
        };
        assert!(answers(256, 1, 1) && answers(1, 256, 1) && answers(1, 1, 10_000));
        assert!(!answers(257, 1, 1) && !answers(1, 257, 1) && !answers(1, 1, 10_001));
    }

    #[test]
    fn an_action_without_a_type_passes_as_it_does_in_the_sdk() {
        let body = r#"{"type":"threads.custom_action","params":{"thread_id":"t","item_id":"","action":{}}}"#;
        let Ok(Request::Stream(StreamRequest::CustomAction { item_id, action, .. })) =
            Request::parse(body.as_bytes())
        else {
            panic!("refused");
        };
        assert_eq!((item_id, action.kind.as_str()), (None, "~TType"));
        assert!(!ok(
            r#"{"type":"threads.custom_action","params":{"thread_id":"t","action":{"type":null}}}"#
        ));
    }
}
