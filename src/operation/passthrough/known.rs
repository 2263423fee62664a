//! The members of ChatKit requests that are known.

use crate::operation::extra::{ACTION, Known, MESSAGE};
use crate::protocol::RequestType;

/// The answers to questions.
const ANSWERS: Known = Known::Members(&[
    ("status", Known::All),
    ("answers", Known::Values(&Known::Members(&[("values", Known::All), ("skipped", Known::All)]))),
]);

/// Gives those of a request of this type.
pub(super) fn of(kind: RequestType) -> &'static Known {
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::bounds::MAX_EXTRA_BYTES;
    use crate::operation::extra::{ACTED, RUN, check_extra};

    fn refused(request: &Value, known: &Known) -> Option<String> {
        check_extra(request, known, &[]).err().map(|report| format!("{report:?}"))
    }

    #[test]
    fn what_is_not_known_is_bounded_wherever_it_is() {
        let much = "x".repeat(MAX_EXTRA_BYTES);
        let messages = of(RequestType::ThreadsCreate);
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
        let actions = of(RequestType::ThreadsSyncCustomAction);
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
            let known = of(kind);
            for request in [json!({"params": {"x": much}}), json!({"params": {}, "x": [much]})] {
                assert!(refused(&request, known).is_some(), "{kind:?}");
            }
            assert_eq!(refused(&json!({"metadata": much, "params": null}), known), None);
        }
        let answers = of(RequestType::ThreadsAddStructuredInput);
        for (answer, is_allowed) in [(json!({"values": [much]}), true), (json!({"x": much}), false)]
        {
            let request =
                json!({"params": {"input": {"status": "answered", "answers": {"q": answer}}}});
            assert_eq!(refused(&request, answers).is_none(), is_allowed, "{is_allowed}");
        }
    }
}
