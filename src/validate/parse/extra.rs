//! Members that nobody here knows. They are passed on, and text in them is held to no other limit.

use serde_json::Value;

use super::super::report::Report;
use super::Left;
use crate::bounds::MAX_EXTRA_BYTES;
use crate::protocol::RequestType;

/// The members of a part of a request that are known, and so are bounded by its schema, by the
/// limits of messages, or by being passed on without a look.
pub(crate) enum Known {
    /// All there is.
    All,
    /// These members of an object.
    Members(&'static [(&'static str, Self)]),
    /// Those of a list of a message's parts.
    Parts,
    /// These of each value of an object whose names are the client's.
    Values(&'static Self),
}

const MESSAGE: Known = Known::Members(&[
    ("role", Known::All),
    ("content", Known::Parts),
    ("attachments", Known::All),
    ("quoted_text", Known::All),
    (
        "inference_options",
        Known::Members(&[
            ("model", Known::All),
            ("tool_choice", Known::Members(&[("id", Known::All)])),
        ]),
    ),
]);

const ACTION: Known = Known::Members(&[
    ("type", Known::All),
    ("payload", Known::All),
    ("handler", Known::All),
    ("loadingBehavior", Known::All),
]);

/// A run's request.
pub(crate) static RUN: Known =
    Known::Members(&[("message", MESSAGE), ("stream", Known::All), ("metadata", Known::All)]);

/// An action's request.
pub(crate) static ACTED: Known =
    Known::Members(&[("action", ACTION), ("item_id", Known::All), ("stream", Known::All)]);

/// The answers to questions.
const ANSWERS: Known = Known::Members(&[
    ("status", Known::All),
    ("answers", Known::Values(&Known::Members(&[("values", Known::All), ("skipped", Known::All)]))),
]);

/// The request of this type.
pub(crate) fn of_chatkit(kind: RequestType) -> &'static Known {
    const fn request(params: &'static [(&'static str, Known)]) -> [(&'static str, Known); 3] {
        [("type", Known::All), ("metadata", Known::All), ("params", Known::Members(params))]
    }
    /// A request whose params are these, and the thread.
    macro_rules! request {
        ($($name:literal: $known:expr),*) => {{
            static REQUEST: Known =
                Known::Members(&request(&[("thread_id", Known::All), $(($name, $known)),*]));
            &REQUEST
        }};
    }
    static ATTACHMENTS: Known = Known::Members(&request(&[
        ("name", Known::All),
        ("size", Known::All),
        ("mime_type", Known::All),
    ]));
    static ATTACHMENT_ID: Known = Known::Members(&request(&[("attachment_id", Known::All)]));
    static AUDIO: Known =
        Known::Members(&request(&[("audio_base64", Known::All), ("mime_type", Known::All)]));
    static MESSAGE_OF_NEW: Known = Known::Members(&request(&[("input", MESSAGE)]));
    static PAGE: Known = Known::Members(&request(&[
        ("limit", Known::All),
        ("order", Known::All),
        ("after", Known::All),
    ]));
    match kind {
        RequestType::AttachmentsCreate => &ATTACHMENTS,
        RequestType::AttachmentsDelete => &ATTACHMENT_ID,
        RequestType::InputTranscribe => &AUDIO,
        RequestType::ItemsFeedback => request!("item_ids": Known::All, "kind": Known::All),
        RequestType::ItemsList => {
            request!("limit": Known::All, "order": Known::All, "after": Known::All)
        }
        RequestType::ThreadsAddClientToolOutput => request!("result": Known::All),
        RequestType::ThreadsAddStructuredInput => {
            request!("item_id": Known::All, "input": ANSWERS)
        }
        RequestType::ThreadsAddUserMessage => request!("input": MESSAGE),
        RequestType::ThreadsCreate => &MESSAGE_OF_NEW,
        RequestType::ThreadsCustomAction | RequestType::ThreadsSyncCustomAction => {
            request!("item_id": Known::All, "action": ACTION)
        }
        RequestType::ThreadsDelete | RequestType::ThreadsGetById => request!(),
        RequestType::ThreadsList => &PAGE,
        RequestType::ThreadsRetryAfterItem => request!("item_id": Known::All),
        RequestType::ThreadsUpdate => request!("title": Known::All),
    }
}

/// A part's data counts as its message's text does, whatever the part is.
static TEXT: Known =
    Known::Members(&[("type", Known::All), ("text", Known::All), ("data", Known::All)]);

static TAG: Known = Known::Members(&[
    ("type", Known::All),
    ("text", Known::All),
    ("data", Known::All),
    ("id", Known::All),
    ("group", Known::All),
    ("interactive", Known::All),
]);

/// Refuses a request of more than [`MAX_EXTRA_BYTES`] in members that are not known.
pub(crate) fn check_extra(request: &Value, known: &Known) -> Result<(), Report> {
    count(request, known, &mut Left(MAX_EXTRA_BYTES)).map_err(|pointer| {
        let message = format!(
            "must have at most {MAX_EXTRA_BYTES} bytes as JSON, together with the rest of the \
             request, in members that are not known here"
        );
        Report::one(pointer, message)
    })
}

/// Takes what is not known of `value` from what is `left`; where it is too little, gives the pointer
/// to the object that it was too little for.
fn count(value: &Value, known: &Known, left: &mut Left) -> Result<(), String> {
    match (value, known) {
        (Value::Object(object), Known::Members(members)) => {
            for (name, value) in object {
                match members.iter().find(|(known, _)| known == name) {
                    Some((_, known)) => {
                        count(value, known, left).map_err(|pointer| format!("/{name}{pointer}"))?;
                    }
                    None => serde_json::to_writer(&mut *left, &(name, value))
                        .map_err(|_| String::new())?,
                }
            }
            Ok(())
        }
        (Value::Array(parts), Known::Parts) => {
            for (index, part) in parts.iter().enumerate() {
                let is_tag = part.get("type").and_then(Value::as_str) == Some("input_tag");
                count(part, if is_tag { &TAG } else { &TEXT }, left)
                    .map_err(|pointer| format!("/{index}{pointer}"))?;
            }
            Ok(())
        }
        (Value::Object(object), Known::Values(known)) => {
            object.iter().try_for_each(|(name, value)| {
                count(value, known, left).map_err(|pointer| format!("/{name}{pointer}"))
            })
        }
        // What is of another type was refused, or is null.
        (_, Known::All | Known::Members(_) | Known::Parts | Known::Values(_)) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(request: &Value, known: &Known) -> Option<String> {
        check_extra(request, known).err().map(|report| format!("{report:?}"))
    }

    #[test]
    fn what_is_not_known_is_bounded_wherever_it_is() {
        let much = "x".repeat(MAX_EXTRA_BYTES);
        let messages = of_chatkit(RequestType::ThreadsCreate);
        let message = |extra: Value| {
            let mut message = json!({
                "role": "user", "content": [{"type": "input_text", "text": much}],
                "quoted_text": much, "inference_options": {"model": "m"},
            });
            for (name, value) in extra.as_object().unwrap() {
                message[name] = value.clone();
            }
            message
        };
        let text = |name: &str| json!([{"type": "input_text", "text": "", name: much}]);
        for (extra, pointer) in [
            (json!({"x": much}), "\"{}\""),
            (json!({"content": text("x")}), "\"{}/content/0\""),
            (json!({"content": text("group")}), "\"{}/content/0\""),
            (json!({"content": [{"type": "input_tag", "x": [much]}]}), "\"{}/content/0\""),
            (json!({"inference_options": {"x": {"y": much}}}), "\"{}/inference_options\""),
            (
                json!({"inference_options": {"tool_choice": {"id": "t", "x": much}}}),
                "\"{}/inference_options/tool_choice\"",
            ),
        ] {
            let message = message(extra);
            let run = refused(&json!({"message": message}), &RUN).unwrap();
            assert!(run.contains(&pointer.replace("{}", "/message")), "{run}");
            let chatkit = refused(&json!({"params": {"input": message}}), messages).unwrap();
            assert!(chatkit.contains(&pointer.replace("{}", "/params/input")), "{chatkit}");
        }
        let known = json!([{"type": "input_tag", "id": "", "text": much, "data": {"x": much}}]);
        for message in [message(json!({})), message(json!({"content": known})), json!(much)] {
            assert_eq!(refused(&json!({"message": message}), &RUN), None);
            assert_eq!(refused(&json!({"params": {"input": message}}), messages), None);
        }
        assert!(refused(&json!({"x": much, "params": {}}), messages).is_some());
        assert!(refused(&json!({"params": {"x": much}}), messages).is_some());
    }

    #[test]
    fn an_action_has_little_beside_its_payload() {
        let much = "x".repeat(MAX_EXTRA_BYTES);
        let actions = of_chatkit(RequestType::ThreadsSyncCustomAction);
        for (name, is_allowed) in [("payload", true), ("x", false)] {
            let action = json!({"type": "t", name: much, "handler": "server"});
            let rest = refused(&json!({"action": action}), &ACTED);
            let chatkit = refused(&json!({"params": {"action": action}}), actions);
            assert_eq!((rest.is_none(), chatkit.is_none()), (is_allowed, is_allowed), "{name}");
        }
    }

    #[test]
    fn no_request_has_much_that_is_not_known() {
        let much = "x".repeat(MAX_EXTRA_BYTES);
        for kind in RequestType::ALL {
            let known = of_chatkit(kind);
            for request in [json!({"params": {"x": much}}), json!({"params": {}, "x": [much]})] {
                assert!(refused(&request, known).is_some(), "{kind:?}");
            }
            assert_eq!(refused(&json!({"metadata": much, "params": null}), known), None);
        }
        let answers = of_chatkit(RequestType::ThreadsAddStructuredInput);
        for (answer, is_allowed) in [(json!({"values": [much]}), true), (json!({"x": much}), false)]
        {
            let request =
                json!({"params": {"input": {"status": "answered", "answers": {"q": answer}}}});
            assert_eq!(refused(&request, answers).is_none(), is_allowed, "{is_allowed}");
        }
    }

    #[test]
    fn names_and_values_count_together() {
        // `["x","…"]` for each of the two.
        let half = "x".repeat(MAX_EXTRA_BYTES / 2 - 8);
        assert_eq!(refused(&json!({"x": half, "y": half}), &RUN), None);
        assert!(refused(&json!({"x": half, "yy": half}), &RUN).is_some());
        assert!(refused(&json!({"x".repeat(MAX_EXTRA_BYTES): 1}), &RUN).is_some());
    }
}
