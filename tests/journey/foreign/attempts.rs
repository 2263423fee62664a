//! Every way to name a thing in a request.

use chatkit_rest::operation::Name;
use chatkit_rest::protocol::RequestType;
use chatkit_rest::surface::Surface;
use serde_json::{Value, json};

use super::schema;
use crate::support::{Gateway, TestRequest};

/// What there is of one user's, or of nobody's.
#[derive(Clone, Debug)]
pub(super) struct Things {
    user: String,
    session: String,
    thread: String,
    item: String,
    attachment: String,
    conversation: Value,
}

impl Things {
    /// Makes a conversation and an attachment of `user`'s.
    pub(super) async fn of(gateway: &Gateway, user: &str) -> Self {
        let reply = gateway.post(user, "//api/chat", r#"{"message":"hi"}"#).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let conversation = reply.json()["conversation_id"].clone();
        let sessions = gateway.get(user, "/sessions").await.data();
        let session = text(&sessions[0]["id"]);
        let thread = gateway.get(user, &format!("/sessions/{session}")).await.data();
        let file = r#"{"name":"plan.txt","size":3,"mime_type":"text/plain"}"#;
        let attachment = gateway.post(user, "/attachments", file).await.data();
        Self {
            user: user.to_owned(),
            session,
            thread: text(&thread["thread_id"]),
            item: "msg_a".to_owned(),
            attachment: text(&attachment["id"]),
            conversation,
        }
    }

    /// Makes what nobody has, and looks the same.
    pub(super) fn unknown(like: &Self) -> Self {
        let nil = "00000000-0000-4000-8000-000000000000";
        let conversation = match &like.conversation {
            Value::String(id) if id.starts_with("conv_") => json!("conv_00000000"),
            Value::String(_) => json!(nil),
            _ => json!(999_999),
        };
        Self {
            user: "nobody".to_owned(),
            session: nil.to_owned(),
            thread: "thr_none".to_owned(),
            item: "msg_none".to_owned(),
            attachment: "atc_none".to_owned(),
            conversation,
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

/// How a request is refused that names somebody else's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// 403; or, hidden, with this code as what doesn't exist.
    Foreign(&'static str),
    /// 403, whether there is such a user or not.
    Always,
    /// With this status, as what is no place in a list of the caller's.
    NoCursor(u16),
    /// 401: users aren't let in.
    Closed,
}

type Make = dyn Fn(&Things, &Things) -> TestRequest;

/// One way to name a thing: the caller's `own`, but for one parameter.
pub(super) struct Attempt {
    pub(super) refused: Refused,
    pub(super) request: Box<Make>,
}

impl Attempt {
    fn new(refused: Refused, request: impl Fn(&Things, &Things) -> TestRequest + 'static) -> Self {
        Self { refused, request: Box::new(request) }
    }
}

/// Gives the path of an operation, with what of each parameter.
fn path(operation: Name, fill: impl Fn(&str) -> String) -> String {
    let prefix = match operation.surface() {
        Surface::Rest => "",
        Surface::Chat => "//api",
        Surface::OpenAi => "//v1/chatkit",
        other => panic!("where is {other:?}?"),
    };
    let path = operation.path().split('/').map(|segment| {
        match segment.strip_prefix('{').and_then(|segment| segment.strip_suffix('}')) {
            Some(name) => fill(name),
            None => segment.to_owned(),
        }
    });
    format!("{prefix}{}", path.collect::<Vec<_>>().join("/"))
}

/// Gives what of `things` a parameter in a path names.
fn named(things: &Things, name: &str) -> String {
    let name = match name {
        "session_id" => &things.session,
        "thread_id" => &things.thread,
        "item_id" => &things.item,
        "attachment_id" => &things.attachment,
        "user_id" => &things.user,
        "conversation_id" => match &things.conversation {
            Value::String(id) => id,
            number => return number.to_string(),
        },
        other => panic!("nothing is called {other}"),
    };
    name.clone()
}

/// Gives what an operation takes, as its schema shows it.
fn body(operation: Name) -> Option<Value> {
    match operation {
        Name::Chat | Name::ChatForUser => return Some(json!({ "message": "hi" })),
        Name::OpenAiCreateSession => {
            return Some(json!({ "user": "hosted", "workflow": { "id": "w" } }));
        }
        _ => {}
    }
    let mut schema = schema(&format!("{operation}.request"))?;
    Some(schema["examples"][0].take())
}

/// Gives a request whose path has `fill`'s, and whose body and query what is given beside.
fn request(
    operation: Name,
    caller: &str,
    fill: impl Fn(&str) -> String,
    query: &str,
    body: Option<Value>,
) -> TestRequest {
    let path = path(operation, fill);
    let request =
        TestRequest::new(operation.method().as_str(), &format!("{path}{query}")).user(caller);
    match body {
        Some(body) => request.json(&body.to_string()),
        None => request,
    }
}

/// Gives every way to name somebody else's thing by one parameter of an operation.
pub(super) fn attempts(operation: Name, name: &'static str) -> Vec<Attempt> {
    if operation.surface() == Surface::OpenAi {
        return vec![Attempt::new(Refused::Closed, move |own, other| {
            let fill = |name: &str| named(other, name);
            let query = match name {
                "user" if body(operation).is_none() => format!("?user={}", other.user),
                "after" | "before" => format!("?{name}={}", other.thread),
                _ => String::new(),
            };
            let mut body = body(operation);
            if let Some(body) = body.as_mut().filter(|_| name == "user") {
                body["user"] = json!(other.user);
            }
            request(operation, &own.user, fill, &query, body)
        })];
    }
    let is_in_path = operation.path().contains(&format!("{{{name}}}"));
    // The path's `name` is somebody else's, and as `others` are.
    let in_path = |refused, others: &'static [&'static str], thread_by_session: bool| {
        Attempt::new(refused, move |own, other| {
            let fill = |param: &str| {
                let is_other = param == name || others.contains(&param);
                let things = if is_other { other } else { own };
                // A session's own id is its thread's as well.
                let by_session = param == "thread_id" && thread_by_session;
                named(things, if by_session { "session_id" } else { param })
            };
            request(operation, &own.user, fill, "", body(operation))
        })
    };
    let in_body = |refused, set: fn(&mut Value, &Things)| {
        Attempt::new(refused, move |own, other| {
            let mut body = body(operation).expect("a body");
            set(&mut body, other);
            request(operation, &own.user, |name| named(own, name), "", Some(body))
        })
    };
    match name {
        "session_id" => {
            let refused = Refused::Foreign("SESSION_NOT_FOUND");
            [false, true].map(|by| in_path(refused, &["thread_id", "item_id"], by)).into()
        }
        "thread_id" => {
            let refused = Refused::Foreign("THREAD_NOT_FOUND");
            [false, true].map(|by| in_path(refused, &["item_id"], by)).into()
        }
        // The gateway knows no items: one is whose thread it is in, and no other is asked for it.
        "item_id" | "item_ids" => {
            let refused = Refused::Foreign("THREAD_NOT_FOUND");
            let attempt = Attempt::new(refused, move |own, other| {
                let fill =
                    |param: &str| named(if param == "session_id" { own } else { other }, param);
                let mut body = body(operation);
                if let Some(body) = &mut body {
                    for (name, value) in
                        [("item_id", json!(other.item)), ("item_ids", json!([other.item]))]
                    {
                        if let Some(member) = body.get_mut(name) {
                            *member = value;
                        }
                    }
                }
                request(operation, &own.user, fill, "", body)
            });
            vec![attempt]
        }
        "attachment_id" => vec![in_path(Refused::Foreign("ATTACHMENT_NOT_FOUND"), &[], false)],
        "attachments" => {
            let refused = Refused::Foreign("ATTACHMENT_NOT_FOUND");
            vec![in_body(refused, |body, other| {
                body["message"]["attachments"] = json!([other.attachment]);
            })]
        }
        "conversation_id" => {
            let refused = Refused::Foreign("SESSION_NOT_FOUND");
            vec![if is_in_path {
                in_path(refused, &[], false)
            } else {
                in_body(refused, |body, other| {
                    body["conversation_id"] = other.conversation.clone();
                })
            }]
        }
        "user_id" => vec![in_path(Refused::Always, &["conversation_id"], false)],
        "after" => {
            let refused =
                Refused::NoCursor(if operation.surface() == Surface::Chat { 422 } else { 400 });
            let of: [fn(&Things) -> &str; 3] =
                [|other| &other.session, |other| &other.thread, |other| &other.item];
            of.map(|of| {
                Attempt::new(refused, move |own, other| {
                    let query = format!("?after={}", of(other));
                    let fill = |name: &str| named(own, name);
                    request(operation, &own.user, fill, &query, None)
                })
            })
            .into()
        }
        other => panic!("nobody tries {other} of {operation}"),
    }
}

/// Gives a ChatKit request of a type, about the caller's own.
pub(super) fn chatkit(kind: RequestType, own: &Things) -> Value {
    let Things { thread, item, attachment, .. } = own;
    let input = json!({
        "content": [{ "type": "input_text", "text": "hi" }],
        "attachments": [],
        "inference_options": {},
    });
    let action = json!({ "type": "rename" });
    let params = match kind {
        RequestType::AttachmentsCreate => {
            json!({ "name": "plan.txt", "size": 3, "mime_type": "text/plain" })
        }
        RequestType::AttachmentsDelete => json!({ "attachment_id": attachment }),
        RequestType::InputTranscribe => {
            json!({ "audio_base64": "T2dnUw==", "mime_type": "audio/ogg" })
        }
        RequestType::ItemsFeedback => {
            json!({ "thread_id": thread, "item_ids": [item], "kind": "positive" })
        }
        RequestType::ThreadsAddClientToolOutput => json!({ "thread_id": thread, "result": null }),
        RequestType::ThreadsAddStructuredInput => json!({
            "thread_id": thread, "item_id": item, "input": { "status": "answered", "answers": {} },
        }),
        RequestType::ThreadsAddUserMessage => json!({ "thread_id": thread, "input": input }),
        RequestType::ThreadsCreate => json!({ "input": input }),
        RequestType::ThreadsCustomAction | RequestType::ThreadsSyncCustomAction => {
            json!({ "thread_id": thread, "item_id": item, "action": action })
        }
        RequestType::ItemsList | RequestType::ThreadsDelete | RequestType::ThreadsGetById => {
            json!({ "thread_id": thread })
        }
        RequestType::ThreadsList => json!({}),
        RequestType::ThreadsRetryAfterItem => json!({ "thread_id": thread, "item_id": item }),
        RequestType::ThreadsUpdate => json!({ "thread_id": thread, "title": "Plan B" }),
        other => panic!("nobody tries {other}"),
    };
    json!({ "type": kind.as_str(), "params": params })
}

/// Gives every way to name somebody else's thing by one parameter of a ChatKit request.
pub(super) fn chatkit_attempts(
    chatkit: impl Fn(&Things) -> Value + Copy + 'static,
    name: &'static str,
) -> Vec<Attempt> {
    let with = |refused, set: fn(&mut Value, &Things)| {
        Attempt::new(refused, move |own, other| {
            let mut request = chatkit(own);
            set(&mut request["params"], other);
            TestRequest::new("POST", "").user(&own.user).json(&request.to_string())
        })
    };
    let no_thread = Refused::Foreign("THREAD_NOT_FOUND");
    let no_attachment = Refused::Foreign("ATTACHMENT_NOT_FOUND");
    match name {
        "thread_id" => vec![with(no_thread, |params, other| {
            params["thread_id"] = json!(other.thread);
        })],
        "item_id" | "item_ids" => vec![with(no_thread, |params, other| {
            params["thread_id"] = json!(other.thread);
            let name = if params.get("item_id").is_some() { "item_id" } else { "item_ids" };
            params[name] = if name == "item_id" { json!(other.item) } else { json!([other.item]) };
        })],
        "attachment_id" => vec![with(no_attachment, |params, other| {
            params["attachment_id"] = json!(other.attachment);
        })],
        "attachments" => vec![with(no_attachment, |params, other| {
            params["input"]["attachments"] = json!([other.attachment]);
        })],
        "after" => vec![
            with(Refused::NoCursor(400), |params, other| params["after"] = json!(other.thread)),
            with(Refused::NoCursor(400), |params, other| params["after"] = json!(other.item)),
        ],
        other => panic!("nobody tries {other} of ChatKit's requests"),
    }
}
