use super::*;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn config(settings: &[(&'static str, &str)]) -> Config {
    let sources = Sources::new().set("test", "auth.secret", SECRET).set(
        "test",
        "upstream.url",
        "https://chat.example/chatkit?key=planted",
    );
    let sources =
        settings.iter().fold(sources, |sources, (key, value)| sources.set("test", key, *value));
    sources.load().unwrap().config
}

fn request(method: &str, path: &str, data: Option<&str>) -> Explain {
    Explain {
        method: method.into(),
        path: path.into(),
        data: data.map(Into::into),
        headers: Vec::new(),
        user: "ada".into(),
        first: false,
        config: None,
    }
}

async fn explained(explain: Explain, settings: &[(&'static str, &str)]) -> String {
    let user = UserId::parse(&explain.user).unwrap();
    explain.explain(config(settings), user).await.unwrap()
}

/// Gives a body that an operation takes, and what it becomes: a ChatKit request's type, or a reason
/// for none.
fn example(operation: Name) -> (Option<&'static str>, Result<&'static str, &'static str>) {
    const STORE: &str = "The ChatKit server is asked nothing. The answer";
    match operation {
        Name::CreateSession => (Some("{}"), Err(STORE)),
        Name::ListSessions | Name::ListThreads => (None, Err(STORE)),
        Name::CreateThread => (None, Err(STORE)),
        Name::ListConversations | Name::ListConversationsForUser => (None, Err(STORE)),
        Name::OpenAiCreateSession => {
            (Some(r#"{"user":"ada","workflow":{"id":"wf_1"}}"#), Err(STORE))
        }
        Name::OpenAiCancelSession => (None, Err("404 Not Found")),
        Name::GetSession | Name::GetThread => (None, Ok("threads.get_by_id")),
        Name::GetConversation | Name::GetConversationForUser => (None, Ok("items.list")),
        Name::OpenAiGetThread => (None, Ok("threads.get_by_id")),
        Name::OpenAiListThreads => (None, Ok("threads.")),
        Name::UpdateSession => (Some(r#"{"title":"t"}"#), Ok("threads.update")),
        Name::DeleteSession | Name::OpenAiDeleteThread => (None, Ok("threads.delete")),
        Name::CreateRun | Name::Chat | Name::ChatForUser => {
            (Some(r#"{"message":"Hello"}"#), Ok("threads."))
        }
        Name::ListItems | Name::OpenAiListItems => (None, Ok("items.list")),
        Name::CreateFeedback => {
            (Some(r#"{"item_ids":["msg_1"],"kind":"positive"}"#), Ok("items.feedback"))
        }
        Name::RetryItem => (None, Ok("threads.retry_after_item")),
        Name::SubmitToolOutput => {
            (Some(r#"{"result":{"a":1}}"#), Ok("threads.add_client_tool_output"))
        }
        Name::SubmitStructuredInput => {
            (Some(r#"{"status":"skipped","answers":{}}"#), Ok("threads.add_structured_input"))
        }
        Name::RunAction => (Some(r#"{"action":{"type":"a"}}"#), Ok("threads.custom_action")),
        Name::CreateAttachment => {
            (Some(r#"{"name":"a","size":1,"mime_type":"text/plain"}"#), Ok("attachments.create"))
        }
        Name::DeleteAttachment => (None, Ok("attachments.delete")),
        Name::CreateTranscription => {
            (Some(r#"{"audio_base64":"AAAA","mime_type":"audio/wav"}"#), Ok("input.transcribe"))
        }
        Name::Passthrough => {
            (Some(r#"{"type":"items.list","params":{"thread_id":"thr_7"}}"#), Ok("items.list"))
        }
        new => panic!("what does {new} become?"),
    }
}

#[tokio::test]
async fn every_operation_is_explained() {
    for operation in Name::ALL {
        let config = config(&[]);
        let prefix = config.facts().surfaces.prefix(operation.surface()).unwrap().to_owned();
        let path = format!("{prefix}{}", operation.path());
        let (body, becomes) = example(operation);
        let text = explained(request(operation.method().as_str(), &path, body), &[]).await;
        assert!(text.contains(&format!(" is {operation} (")), "{operation}: {text}");
        assert!(text.contains("Checked, in this order:\n  1. "), "{operation}: {text}");
        let sent = "\nPOST https://chat.example/chatkit\n";
        match becomes {
            Ok(kind) => {
                assert!(text.contains(sent), "{operation}: {text}");
                assert!(text.contains("\nx-user-id: ada\n"), "{operation}: {text}");
                assert!(text.contains(&format!(r#"{{"type":"{kind}"#)), "{operation}: {text}");
            }
            Err(why) => assert!(text.contains(why) && !text.contains(sent), "{operation}: {text}"),
        }
        assert!(!text.contains("planted") && !text.contains(SECRET), "{operation}: {text}");
    }
}

#[tokio::test]
async fn the_request_is_the_one_that_would_be_sent() {
    let path = "/api/v1/chatkit/sessions/{session_id}/threads/{session_id}/runs";
    let mut explain = request("POST", path, Some(r#"{"message":"Hello"}"#));
    explain.headers = vec!["x-tenant: seven".into(), "x-user-id: mallory".into()];
    explain.user = "zoë".into();
    let settings =
        &[("upstream.forward_headers", "x-tenant"), ("upstream.forward_authorization", "true")];
    let text = explained(explain, settings).await;
    let body = r#"{"type":"threads.add_user_message","params":{"thread_id":"thr_example","input":{"content":[{"type":"input_text","text":"Hello"}],"attachments":[],"inference_options":{}}}}"#;
    for line in [body, "x-tenant: seven", "x-user-id: zo%C3%AB", "authorization: Bearer TOKEN"] {
        assert!(text.contains(&format!("\n{line}\n")), "{line}\n\nnot in\n\n{text}");
    }
    assert!(!text.contains("mallory"), "{text}");

    let mut first = request("POST", path, Some(r#"{"message":"Hello"}"#));
    first.first = true;
    let text = explained(first, &[]).await;
    assert!(text.contains(r#"{"type":"threads.create","#), "{text}");
}

#[tokio::test]
async fn a_refusal_is_shown_as_the_client_would_see_it() {
    let chat = r#"{"message":"Hello","conversation_id":7}"#;
    for (explain, said) in [
        (
            request("GET", "/v1/models", None),
            &["no operation", "404", "base URL ends with /v1"][..],
        ),
        (request("POST", "/api/chat", Some("{}")), &["chat (one-shot chat)", "422", "/message"]),
        (request("POST", "/api/chat", Some(chat)), &["422", "conversation_id"]),
        (request("PUT", "/api/chat", None), &["405 Method Not Allowed", "allow: POST"]),
        (request("POST", "http://x.example/api/chat", Some("{")), &["400", "INVALID_JSON"]),
        (
            request("GET", "/api/v1/chatkit/sessions/7", None),
            &["404", "SESSION_NOT_FOUND", "ids of sessions are UUIDs"],
        ),
    ] {
        let text = explained(explain, &[]).await;
        for said in said {
            assert!(text.contains(said), "{said}\n\nnot in\n\n{text}");
        }
        assert!(!text.contains("would be sent"), "{text}");
    }
}

#[tokio::test]
async fn what_cannot_be_is_wrong_usage() {
    for explain in [
        request("G ET", "/api/chat", None),
        request("GET", "chat", None),
        Explain { headers: vec!["x".into()], ..request("GET", "/api/chat", None) },
        Explain { headers: vec!["Authorization: x".into()], ..request("GET", "/api/chat", None) },
    ] {
        let user = UserId::parse("ada").unwrap();
        let failure = explain.explain(config(&[]), user).await.unwrap_err();
        assert_eq!(failure.exit_code(), 2, "{failure}");
    }
}
