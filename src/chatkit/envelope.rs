//! ChatKit requests: `{"type": …, "params": {…}, "metadata": {…}}`.
//!
//! Requests are completed before they are sent: `attachments`, `inference_options` and a tag's
//! `data` are required by the server even where its clients think them optional, and a request
//! without them is a bare 500 there. What the client wrote is spliced in as raw JSON.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Serialize;
use serde::ser::{SerializeSeq, Serializer};
use serde_json::value::RawValue;

use crate::protocol::RequestType;
use crate::session::ThreadId;

#[derive(Serialize)]
struct RequestEnvelope<'a, P> {
    #[serde(rename = "type")]
    kind: &'static str,
    params: P,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a RawValue>,
}

/// A user's message, in raw JSON so that not a byte of it changes.
#[derive(Debug, Default)]
pub(crate) struct NewMessage {
    /// The parts of `content`.
    pub(crate) content: Vec<Box<RawValue>>,
    /// The ids of the attachments.
    pub(crate) attachments: Vec<String>,
    /// `quoted_text`, a string or null.
    pub(crate) quoted_text: Option<Box<RawValue>>,
    /// `inference_options`, an object.
    pub(crate) inference_options: Option<Box<RawValue>>,
    /// `metadata`, an object.
    pub(crate) metadata: Option<Box<RawValue>>,
}

impl NewMessage {
    /// Makes one of a text, which stays as it was written.
    ///
    /// # Errors
    /// If it isn't a JSON string.
    pub(crate) fn of_text(text: &RawValue) -> Result<Self, serde_json::Error> {
        let part = format!(r#"{{"type":"input_text","text":{}}}"#, text.get());
        Ok(Self { content: vec![RawValue::from_string(part)?], ..Self::default() })
    }
}

#[derive(Serialize)]
struct UserMessageParams<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    thread_id: Option<&'a str>,
    input: UserInput<'a>,
}

#[derive(Serialize)]
struct UserInput<'a> {
    content: InputParts<'a>,
    attachments: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    quoted_text: Option<&'a RawValue>,
    inference_options: &'a RawValue,
}

/// The parts as they were written; a tag without `data` gets an empty one.
struct InputParts<'a>(&'a [Box<RawValue>]);

impl Serialize for InputParts<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut parts = serializer.serialize_seq(Some(self.0.len()))?;
        for part in self.0 {
            match completed(part) {
                Some(part) => parts.serialize_element(&part)?,
                None => parts.serialize_element(part)?,
            }
        }
        parts.end()
    }
}

fn completed(part: &RawValue) -> Option<Box<RawValue>> {
    #[derive(serde::Deserialize)]
    struct Tag<'a> {
        #[serde(borrow, rename = "type")]
        kind: std::borrow::Cow<'a, str>,
        #[serde(borrow, default)]
        data: Option<&'a RawValue>,
    }
    let tag: Tag<'_> = serde_json::from_str(part.get()).ok()?;
    if tag.kind != "input_tag" || tag.data.is_some() {
        return None;
    }
    let open = part.get().trim_end().strip_suffix('}')?;
    RawValue::from_string(format!("{open},\"data\":{{}}}}")).ok()
}

/// Writes the request for one user message: the thread's first one if `thread_id` is `None`.
pub(crate) fn user_message(thread_id: Option<&ThreadId>, message: &NewMessage) -> Bytes {
    let kind = match thread_id {
        None => RequestType::ThreadsCreate,
        Some(_) => RequestType::ThreadsAddUserMessage,
    };
    let no_options = RawValue::NULL;
    let empty = RawValue::from_string("{}".to_owned());
    let inference_options = match (&message.inference_options, &empty) {
        (Some(options), _) if options.get() != "null" => options,
        (_, Ok(empty)) => empty,
        (_, Err(_)) => no_options,
    };
    write(&RequestEnvelope {
        kind: kind.as_str(),
        params: UserMessageParams {
            thread_id: thread_id.map(|id| &**id),
            input: UserInput {
                content: InputParts(&message.content),
                attachments: &message.attachments,
                quoted_text: message.quoted_text.as_deref(),
                inference_options,
            },
        },
        metadata: message.metadata.as_deref(),
    })
}

#[derive(Serialize)]
struct ThreadParams<'a> {
    thread_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<&'a str>,
}

/// Writes `threads.get_by_id` or `threads.delete`.
pub(crate) fn thread(kind: RequestType, thread_id: &str) -> Bytes {
    let params = ThreadParams { thread_id, title: None };
    write(&RequestEnvelope { kind: kind.as_str(), params, metadata: None })
}

/// Writes `threads.update`.
pub(crate) fn thread_title(thread_id: &str, title: &str) -> Bytes {
    let params = ThreadParams { thread_id, title: Some(title) };
    write(&RequestEnvelope { kind: RequestType::ThreadsUpdate.as_str(), params, metadata: None })
}

#[derive(Serialize)]
struct AttachmentParams<'a> {
    attachment_id: &'a str,
}

/// Writes `attachments.delete`.
pub(crate) fn delete_attachment(attachment_id: &str) -> Bytes {
    let params = AttachmentParams { attachment_id };
    write(&RequestEnvelope {
        kind: RequestType::AttachmentsDelete.as_str(),
        params,
        metadata: None,
    })
}

#[derive(Serialize)]
struct PageParams<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    thread_id: Option<&'a str>,
    limit: i64,
    order: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<&'a str>,
}

/// Writes `items.list`, or `threads.list` where `thread_id` is `None`.
pub(crate) fn page(
    thread_id: Option<&str>,
    limit: i64,
    ascending: bool,
    after: Option<&str>,
) -> Bytes {
    let kind = if thread_id.is_some() { RequestType::ItemsList } else { RequestType::ThreadsList };
    let order = if ascending { "asc" } else { "desc" };
    let params = PageParams { thread_id, limit, order, after };
    write(&RequestEnvelope { kind: kind.as_str(), params, metadata: None })
}

#[derive(Serialize)]
struct FeedbackParams<'a> {
    thread_id: &'a str,
    item_ids: &'a [String],
    kind: &'a str,
}

/// Writes `items.feedback`.
pub(crate) fn feedback(thread_id: &str, item_ids: &[String], kind: &str) -> Bytes {
    let params = FeedbackParams { thread_id, item_ids, kind };
    write(&RequestEnvelope { kind: RequestType::ItemsFeedback.as_str(), params, metadata: None })
}

/// What a request for a run without a message, or for an action, has beside its type.
#[derive(Serialize)]
struct StepParams<'a> {
    thread_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    item_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<&'a RawValue>,
}

impl<'a> StepParams<'a> {
    fn of(thread_id: &'a str) -> Self {
        Self { thread_id, item_id: None, result: None, input: None, action: None }
    }

    fn write(self, kind: RequestType) -> Bytes {
        write(&RequestEnvelope { kind: kind.as_str(), params: self, metadata: None })
    }
}

/// Writes `threads.retry_after_item`.
pub(crate) fn retry(thread_id: &str, item_id: &str) -> Bytes {
    let params = StepParams { item_id: Some(item_id), ..StepParams::of(thread_id) };
    params.write(RequestType::ThreadsRetryAfterItem)
}

/// Writes `threads.add_client_tool_output`.
pub(crate) fn tool_output(thread_id: &str, result: &RawValue) -> Bytes {
    let params = StepParams { result: Some(result), ..StepParams::of(thread_id) };
    params.write(RequestType::ThreadsAddClientToolOutput)
}

/// Writes `threads.add_structured_input`.
pub(crate) fn structured_input(thread_id: &str, item_id: &str, input: &RawValue) -> Bytes {
    let (item_id, input) = (Some(item_id), Some(input));
    let params = StepParams { item_id, input, ..StepParams::of(thread_id) };
    params.write(RequestType::ThreadsAddStructuredInput)
}

/// Writes `threads.custom_action` or `threads.sync_custom_action`.
pub(crate) fn action(
    kind: RequestType,
    thread_id: &str,
    item_id: Option<&str>,
    action: &RawValue,
) -> Bytes {
    let with_payload = with_payload(action);
    let action = Some(with_payload.as_deref().unwrap_or(action));
    StepParams { item_id, action, ..StepParams::of(thread_id) }.write(kind)
}

/// Gives an action without a `payload`, with one that is null: the first version of the server has
/// no default for it. `None` if it has one.
fn with_payload(action: &RawValue) -> Option<Box<RawValue>> {
    let members: HashMap<Cow<'_, str>, &RawValue> = serde_json::from_str(action.get()).ok()?;
    if members.contains_key("payload") {
        return None;
    }
    let open = action.get().trim_end().strip_suffix('}')?;
    let comma = if members.is_empty() { "" } else { "," };
    RawValue::from_string(format!("{open}{comma}\"payload\":null}}")).ok()
}

/// Writes a request about an item that isn't there, in a thread that isn't there, of a type that
/// the upstream may not know.
pub(crate) fn about_nobody(kind: &str, nobody: &str) -> Bytes {
    #[derive(Serialize)]
    struct Params<'a> {
        thread_id: &'a str,
        item_id: &'a str,
        input: Nothing,
        #[serde(skip_serializing_if = "Option::is_none")]
        action: Option<Action>,
    }
    #[derive(Serialize)]
    struct Nothing {}
    #[derive(Serialize)]
    struct Action {
        r#type: &'static str,
        payload: (),
    }
    #[derive(Serialize)]
    struct Request<'a> {
        #[serde(rename = "type")]
        kind: &'a str,
        params: Params<'a>,
    }
    // Without one it is invalid, which is no more than a type that nobody knows.
    let action = (kind == RequestType::ThreadsSyncCustomAction.as_str())
        .then_some(Action { r#type: "nobody_knows_this", payload: () });
    let params = Params { thread_id: nobody, item_id: nobody, input: Nothing {}, action };
    Bytes::from(serde_json::to_vec(&Request { kind, params }).unwrap_or_default())
}

/// Writes `attachments.create`.
pub(crate) fn new_attachment(params: &RawValue) -> Bytes {
    let kind = RequestType::AttachmentsCreate.as_str();
    write(&RequestEnvelope { kind, params, metadata: None })
}

/// Audio as it came.
pub(crate) enum Audio {
    /// As it is.
    Raw(Bytes),
    /// In base64, with the standard alphabet and padding (RFC 4648 section 4).
    Base64(Bytes),
}

impl fmt::Debug for Audio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Raw(bytes) => write!(f, "Raw({} bytes)", bytes.len()),
            Self::Base64(text) => write!(f, "Base64({} characters)", text.len()),
        }
    }
}

/// Writes `input.transcribe`. The audio is written where it is sent from, once: it may be many
/// megabytes.
pub(crate) fn transcription(audio: &Audio, mime_type: &str) -> Bytes {
    let (Ok(kind), Ok(mime_type)) = (
        serde_json::to_string(RequestType::InputTranscribe.as_str()),
        serde_json::to_string(mime_type),
    ) else {
        return Bytes::new();
    };
    let head = format!(r#"{{"type":{kind},"params":{{"mime_type":{mime_type},"audio_base64":""#);
    let tail = "\"}}";
    let audio_len = match audio {
        Audio::Raw(bytes) => bytes.len().div_ceil(3) * 4,
        Audio::Base64(text) => text.len(),
    };
    let mut request = String::with_capacity(head.len() + audio_len + tail.len());
    request.push_str(&head);
    match audio {
        Audio::Raw(bytes) => STANDARD.encode_string(bytes, &mut request),
        // Nothing in the alphabet needs escaping.
        Audio::Base64(text) => request.push_str(std::str::from_utf8(text).unwrap_or_default()),
    }
    request.push_str(tail);
    Bytes::from(request)
}

fn write<P: Serialize>(envelope: &RequestEnvelope<'_, P>) -> Bytes {
    // These types have no map with keys that aren't strings, the one thing that can fail.
    Bytes::from(serde_json::to_vec(envelope).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(json: &str) -> Box<RawValue> {
        RawValue::from_string(json.to_owned()).unwrap()
    }

    #[test]
    fn a_message_is_completed_and_otherwise_left_as_it_was_written() {
        let content = vec![
            raw(r#"{"type":"input_text","text":"\u00f6 \/ ö "}"#),
            raw(r#"{"type":"input_tag","id":"t","text":"x" }"#),
            raw(
                r#"{"type":"input_tag","id":"t","text":"x","data":{"n":1.50,"big":123456789012345678901234567890}}"#,
            ),
        ];
        let mut run = NewMessage { content, ..NewMessage::default() };
        assert_eq!(
            user_message(None, &run),
            concat!(
                r#"{"type":"threads.create","params":{"input":{"content":["#,
                r#"{"type":"input_text","text":"\u00f6 \/ ö "},"#,
                r#"{"type":"input_tag","id":"t","text":"x" ,"data":{}},"#,
                r#"{"type":"input_tag","id":"t","text":"x","data":{"n":1.50,"big":123456789012345678901234567890}}"#,
                r#"],"attachments":[],"inference_options":{}}}}"#,
            )
        );
        run.content.truncate(1);
        run.attachments = vec!["atc_1".to_owned()];
        run.quoted_text = Some(raw(r#""q""#));
        run.inference_options = Some(raw(r#"{"model": "m"}"#));
        run.metadata = Some(raw(r#"{"k":1}"#));
        assert_eq!(
            user_message(Some(&"thr_1".into()), &run),
            concat!(
                r#"{"type":"threads.add_user_message","params":{"thread_id":"thr_1","input":{"content":["#,
                r#"{"type":"input_text","text":"\u00f6 \/ ö "}],"attachments":["atc_1"],"quoted_text":"q","#,
                r#""inference_options":{"model": "m"}}},"metadata":{"k":1}}"#,
            )
        );
    }

    #[test]
    fn the_other_requests() {
        assert_eq!(
            thread(RequestType::ThreadsDelete, "a\"b"),
            r#"{"type":"threads.delete","params":{"thread_id":"a\"b"}}"#
        );
        let action = |written: &str| {
            let request = action(RequestType::ThreadsCustomAction, "t", None, &raw(written));
            let request = String::from_utf8(request.to_vec()).unwrap();
            let (_, sent) = request.split_once(r#""action":"#).unwrap();
            sent.strip_suffix("}}").unwrap().to_owned()
        };
        for (written, sent) in [
            (r#"{"type":"a"}"#, r#"{"type":"a","payload":null}"#),
            (
                r#"{ "type" : "a\u00f6" , "x":{"payload":1} }"#,
                r#"{ "type" : "a\u00f6" , "x":{"payload":1} ,"payload":null}"#,
            ),
            (r#"{"type":"a","payload":null}"#, r#"{"type":"a","payload":null}"#),
            (r#"{"pay\u006coad":1.0,"type":"a"}"#, r#"{"pay\u006coad":1.0,"type":"a"}"#),
        ] {
            assert_eq!(action(written), sent);
        }
        assert_eq!(
            thread_title("t", "x"),
            r#"{"type":"threads.update","params":{"thread_id":"t","title":"x"}}"#
        );
        assert_eq!(
            page(Some("t"), 100, true, Some("c")),
            r#"{"type":"items.list","params":{"thread_id":"t","limit":100,"order":"asc","after":"c"}}"#
        );
        assert_eq!(
            page(None, 1, false, None),
            r#"{"type":"threads.list","params":{"limit":1,"order":"desc"}}"#
        );
    }
}
