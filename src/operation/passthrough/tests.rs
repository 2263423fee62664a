use http::HeaderMap;
use serde_json::{Value, json};

use super::*;
use crate::bounds::MAX_EXTRA_BYTES;
use crate::operation::Name;
use crate::operation::extra::Known;
use crate::route::Router;
use crate::surface::Surfaces;
use crate::validate::{BodyLimits, Reader, Schemas};

/// Reads requests.
fn parser(unknown: UnknownRequests) -> impl Fn(&str) -> Result<Call, Rejection> {
    let mut reader = Reader::new(Schemas::compile().unwrap(), BodyLimits::default());
    reader.unknown = unknown;
    let router = Router::new(Name::ALL, &Surfaces::rest("/v1")).unwrap();
    let target = router.route(&Method::POST, "/v1").unwrap();
    move |body| {
        let (headers, body) = (HeaderMap::new(), Bytes::copy_from_slice(body.as_bytes()));
        Passthrough::parse(&Read::new(&reader, &target, None, &headers, &body))
    }
}

/// Gives the least params of a request of this type.
fn params(kind: RequestType) -> Value {
    let action = json!({"type": "t"});
    let message = json!({
        "content": [{"type": "input_text", "text": "hi"}], "attachments": [],
        "inference_options": {},
    });
    match kind {
        RequestType::AttachmentsCreate => json!({"name": "a", "size": 1, "mime_type": "a/b"}),
        RequestType::AttachmentsDelete => json!({"attachment_id": "a"}),
        RequestType::InputTranscribe => json!({"audio_base64": "AAAA", "mime_type": "audio/wav"}),
        RequestType::ItemsFeedback => {
            json!({"thread_id": "t", "item_ids": ["i"], "kind": "positive"})
        }
        RequestType::ThreadsAddClientToolOutput => json!({"thread_id": "t", "result": 1}),
        RequestType::ThreadsAddStructuredInput => {
            let input = json!({"status": "skipped", "answers": {}});
            json!({"thread_id": "t", "item_id": "i", "input": input})
        }
        RequestType::ThreadsAddUserMessage => json!({"thread_id": "t", "input": message}),
        RequestType::ThreadsCreate => json!({"input": message}),
        RequestType::ThreadsCustomAction | RequestType::ThreadsSyncCustomAction => {
            json!({"thread_id": "t", "item_id": "i", "action": action})
        }
        RequestType::ItemsList | RequestType::ThreadsDelete | RequestType::ThreadsGetById => {
            json!({"thread_id": "t"})
        }
        RequestType::ThreadsList => json!({}),
        RequestType::ThreadsRetryAfterItem => json!({"thread_id": "t", "item_id": "i"}),
        RequestType::ThreadsUpdate => json!({"thread_id": "t", "title": "x"}),
    }
}

#[test]
fn what_a_type_does_not_have_is_looked_at() {
    use RequestType as T;
    let parse = parser(UnknownRequests::Refuse);
    let bytes = json!({"x": "x".repeat(MAX_EXTRA_BYTES)});
    let values = json!({"x": vec![0; BodyLimits::default().max_json_values]});
    for kind in T::ALL {
        let with = |part: &str, value: &Value| {
            let mut params = params(kind);
            match part {
                "result" => params["result"] = value.clone(),
                "payload" => params["action"]["payload"] = value.clone(),
                _ => {
                    let tag = json!({"type": "input_tag", "id": "i", "text": "t", "data": value});
                    params["input"]["content"] = json!([tag]);
                }
            }
            // The type comes last.
            parse(&format!(r#"{{"params":{params},"type":"{kind}"}}"#))
        };
        for (part, has_it) in [
            ("result", kind == T::ThreadsAddClientToolOutput),
            ("payload", matches!(kind, T::ThreadsCustomAction | T::ThreadsSyncCustomAction)),
            ("data", matches!(kind, T::ThreadsCreate | T::ThreadsAddUserMessage)),
        ] {
            let small = with(part, &json!({}));
            assert!(small.is_ok(), "{kind} {part}: {small:?}");
            for (value, code) in [(&bytes, Code::InvalidInput), (&values, Code::PayloadTooLarge)] {
                let code = match (has_it, part) {
                    (true, "data") => Some(Code::MessageTooLong),
                    (true, _) => None,
                    (false, _) => Some(code),
                };
                let refused = with(part, value).err().map(|refusal| refusal.code());
                assert_eq!(refused, code, "{kind} {part}");
            }
        }
    }
}

#[test]
fn a_part_of_another_type_hides_no_data_of_a_message() {
    let parse = parser(UnknownRequests::Refuse);
    let long = "x".repeat(BodyLimits::default().max_message_chars);
    let tag = json!({"type": "input_tag", "id": "i", "text": "t", "data": {"x": long}});
    for beside in ["", r#","result":1"#, r#","action":{"payload":1}"#] {
        let input = json!({"content": [tag], "attachments": [], "inference_options": {}});
        let params = format!(r#"{{"input":{input}{beside}}}"#);
        let refusal = parse(&format!(r#"{{"type":"threads.create","params":{params}}}"#));
        assert_eq!(refusal.unwrap_err().code(), Code::MessageTooLong, "{beside}");
    }
}

#[test]
fn a_name_that_differs_by_case_only_is_refused() {
    let parse = parser(UnknownRequests::Forward);
    let request = |kind: &str, place: &str, name: &str| {
        let mut request = json!({"type": kind, "params": {"thread_id": "t"}});
        if let Some(kind) = RequestType::parse(kind) {
            request["params"] = params(kind);
        }
        let input = json!({
            "content": [], "attachments": [], "inference_options": {}, "status": "skipped",
            "answers": {},
        });
        match place {
            "" => request[name] = json!("x"),
            "/params" => request["params"][name] = json!("x"),
            _ => {
                request["params"]["input"] = input;
                request["params"]["input"][name] = json!("x");
            }
        }
        parse(&request.to_string()).err().map(|refusal| format!("{refusal:?}"))
    };
    let kinds = RequestType::ALL.map(RequestType::as_str);
    for kind in kinds.into_iter().chain(["x.of_theirs"]) {
        for (place, name, known) in [
            ("", "Type", "type"),
            ("", "PARAMS", "params"),
            ("", "param\u{17f}", "params"),
            ("/params", "Thread_id", "thread_id"),
            ("/params", "ATTACHMENT_ID", "attachment_id"),
            ("/params", "Input", "input"),
            ("/params/input", "Attachments", "attachments"),
            ("/params/input", "attachment\u{17f}", "attachments"),
        ] {
            let refusal = request(kind, place, name).unwrap_or_default();
            let expected = format!("must be written {known}");
            assert!(refusal.contains(&expected), "{kind} {place}/{name}: {refusal}");
        }
        for (place, name) in [("", "types"), ("/params", "threadId"), ("/params/input", "x")] {
            assert_eq!(request(kind, place, name), None, "{kind} {place}/{name}");
        }
    }
    for (kind, name) in [
        ("threads.update", "Title"),
        ("items.feedback", "\u{212a}ind"),
        ("items.list", "Limit"),
        ("threads.add_client_tool_output", "Result"),
    ] {
        assert!(request(kind, "/params", name).is_some(), "{kind} {name}");
        assert_eq!(request("x.of_theirs", "/params", name), None, "{name}");
    }
    assert!(request("threads.create", "/params/input", "Content").is_some());
}

#[test]
fn an_id_that_the_type_does_not_have_is_one_that_is_checked() {
    let parse = parser(UnknownRequests::Refuse);
    for kind in RequestType::ALL {
        let pointer = |place: &str, id: &str| {
            let mut request = json!({"type": kind.as_str(), "params": params(kind)});
            request["params"]["thread_id"] = json!("thr_ada");
            let member = json!({"x": [{"thread_id": id}]});
            match place {
                "" => request["pasams"] = member,
                _ => request["params"]["x"] = member,
            }
            parse(&request.to_string()).err().map(|refusal| format!("{refusal:?}"))
        };
        for (place, wanted) in
            [("", "/pasams/x/0/thread_id"), ("/params", "/params/x/x/0/thread_id")]
        {
            let refusal = pointer(place, "thr_bob").unwrap_or_default();
            assert!(refusal.contains(wanted), "{kind:?} {place}: {refusal}");
            assert_eq!(pointer(place, "thr_ada"), None, "{kind:?} {place}");
        }
    }
}

/// Lists the pointers to all members that are known, but for those in lists.
fn known_places(known: &'static Known, pointer: &str, places: &mut Vec<String>) {
    for (name, known) in known.members() {
        let pointer = format!("{pointer}/{name}");
        if known.members().is_empty() {
            places.push(pointer);
        } else {
            known_places(known, &pointer, places);
        }
    }
}

#[test]
fn a_known_member_has_no_room_for_the_id_of_a_thread() {
    let parse = parser(UnknownRequests::Refuse);
    for kind in RequestType::ALL {
        let mut places = vec!["/params/input/role".to_owned()];
        known_places(known::of(kind), "", &mut places);
        for place in places {
            let of_the_servers_code = ["/metadata", "/result", "/payload"];
            if of_the_servers_code.iter().any(|end| place.ends_with(end)) {
                continue;
            }
            let mut request = json!({"type": kind.as_str(), "params": params(kind)});
            let mut at = &mut request;
            for name in place.split('/').skip(1) {
                if !at[name].is_object() {
                    at[name] = json!({});
                }
                at = &mut at[name];
            }
            at["thread_id"] = json!("thr_bob");
            assert!(parse(&request.to_string()).is_err(), "{kind} {place}");
        }
    }
}
