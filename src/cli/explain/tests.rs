use chatkit_rest::forward::{HttpUpstream, UpstreamUrl};

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
        user: None,
        first: false,
        config: None,
    }
}

async fn explained(explain: Explain, settings: &[(&'static str, &str)]) -> String {
    explain.explain(config(settings)).await.unwrap()
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
        let in_json = matches!(operation, Name::Chat | Name::ChatForUser);
        assert_eq!(text.contains(IN_JSON), in_json, "{operation}: {text}");
        assert_eq!(text.contains(EVENTS), operation.is_run() && !in_json, "{operation}: {text}");
        assert!(!text.contains("planted") && !text.contains(SECRET), "{operation}: {text}");
    }
}

const EVENTS: &str = "events of its answer are the client's, byte for byte.";
const IN_JSON: &str = "events of its answer are collected, and the client is answered at the end";

#[tokio::test]
async fn how_a_run_is_answered_goes_by_the_request() {
    let runs = "/api/v1/chatkit/sessions/{session_id}/threads/{thread_id}/runs";
    let chat = "/api/chat";
    let passthrough = r#"{"type":"threads.create","params":{"input":{"content":[{"type":"input_text","text":"Hello"}],"attachments":[],"inference_options":{}}}}"#;
    for (path, body, accept, said) in [
        (chat, r#"{"message":"Hello"}"#, None, IN_JSON),
        (chat, r#"{"message":"Hello"}"#, None, "conversation_id"),
        (chat, r#"{"message":"Hello","stream":true}"#, None, EVENTS),
        (chat, r#"{"message":"Hello"}"#, Some("text/event-stream"), EVENTS),
        (runs, r#"{"message":"Hello"}"#, None, EVENTS),
        (runs, r#"{"message":"Hello","stream":false}"#, None, IN_JSON),
        (runs, r#"{"message":"Hello"}"#, Some("application/json"), IN_JSON),
        ("/api/v1/chatkit", passthrough, Some("application/json"), EVENTS),
    ] {
        let mut explain = request("POST", path, Some(body));
        explain.headers = accept.map(|accept| format!("accept: {accept}")).into_iter().collect();
        let text = explained(explain, &[]).await;
        let end = text.trim_end().lines().last().unwrap();
        assert!(end.contains(said), "{path} {body} {accept:?}: {said}\n\nnot in\n\n{text}");
    }
}

#[tokio::test]
async fn the_gateways_own_paths_are_answered_as_it_does() {
    const ITSELF: &str = "is answered by the gateway itself, whoever asks: 200 OK";
    for (path, kind, large) in [
        ("/healthz", "application/json", false),
        ("/readyz", "application/json", false),
        ("/", "application/json", false),
        ("/favicon.ico", "image/svg+xml", false),
        ("/docs", "text/html", true),
        ("/openapi.json", "application/json", true),
    ] {
        let text = explained(request("GET", path, None), &[]).await;
        assert!(text.starts_with(&format!("GET {path} {ITSELF}\n")), "{text}");
        assert!(text.contains(&format!("\ncontent-type: {kind}")), "{text}");
        assert_eq!(text.contains(" bytes, not shown)"), large, "{text}");
        assert!(!text.contains("no operation") && text.len() < 5000, "{text}");
        let head = explained(request("HEAD", path, None), &[]).await;
        assert!(head.contains(ITSELF) && !head.contains('{') && !head.contains("bytes"), "{head}");
        let text = explained(request("POST", path, None), &[]).await;
        assert!(text.contains("no operation") && text.contains("allow: GET, HEAD"), "{text}");
        let elsewhere = &[("admin.listen", "127.0.0.1:9100")];
        let text = explained(request("GET", path, None), elsewhere).await;
        let is_here = matches!(path, "/" | "/favicon.ico");
        assert_eq!(text.contains(ITSELF), is_here, "{text}");
        assert_eq!(text.contains("404 Not Found"), !is_here, "{text}");
    }
}

#[tokio::test]
async fn a_caller_who_is_named_is_held_against_the_path() {
    let body = Some(r#"{"message":"Hello"}"#);
    let by = |user: Option<&str>| Explain {
        user: user.map(Into::into),
        ..request("POST", "/api/bob/chat", body)
    };
    for user in [None, Some("bob")] {
        let text = explained(by(user), &[]).await;
        assert!(text.contains("\nx-user-id: bob\n"), "{text}");
    }
    let text = explained(by(Some("ada")), &[]).await;
    assert!(text.contains("403 Forbidden") && text.contains("another user's"), "{text}");
    let trusting = Sources::new().set("test", "auth.mode", "none").load().unwrap().config;
    let believed = by(Some("ada")).explain(trusting).await.unwrap();
    assert!(believed.contains("\nx-user-id: bob\n"), "{believed}");
    assert!(believed.contains("--user counts on other paths"), "{believed}");
    assert!(text.contains("the caller is \"ada\"") && !text.contains("would be sent"), "{text}");
}

#[tokio::test]
async fn what_is_written_wrongly_comes_with_what_to_write() {
    let text = explained(request("post", "/api/chat", Some("{}")), &[]).await;
    assert!(text.contains("405") && text.contains("case-sensitive: write POST."), "{text}");
    for (explain, said) in [
        (request("GET", "api/v1/chatkit", None), "write /api/v1/chatkit"),
        (request("GET", "/api/v1/chatkit/sessions/{sid}", None), "{sid} is no name"),
        (request("GET", "/api/v1/chatkit/sessions/{sid}", None), "{session_id}, {thread_id}"),
        (request("POST", "/api/chat", Some("@/no/such/file")), "could not read /no/such/file"),
    ] {
        let failure = explain.explain(config(&[])).await.unwrap_err();
        assert_eq!(failure.exit_code(), 2, "{failure}");
        assert!(failure.to_string().contains(said), "{said}\n\nnot in\n\n{failure}");
    }
}

#[tokio::test]
async fn the_request_is_the_one_that_would_be_sent() {
    let path = "/api/v1/chatkit/sessions/{session_id}/threads/{session_id}/runs";
    let mut explain = request("POST", path, Some(r#"{"message":"Hello"}"#));
    explain.headers = vec!["x-tenant: seven".into(), "x-user-id: mallory".into()];
    explain.user = Some("zoë".into());
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
        let failure = explain.explain(config(&[])).await.unwrap_err();
        assert_eq!(failure.exit_code(), 2, "{failure}");
    }
}

/// Gives the header lines that the gateway sent to an upstream over a socket, and those that are shown.
async fn sent_and_shown(
    explain: Explain,
    settings: &[(&'static str, &str)],
) -> (Vec<String>, Vec<String>) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/chatkit", listener.local_addr().unwrap());
    let upstream = tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"}") {
            assert_ne!(tcp.read_buf(&mut bytes).await.unwrap(), 0);
        }
        tcp.write_all(b"HTTP/1.1 500 x\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        String::from_utf8(bytes).unwrap()
    });
    let mut config = config(&[&[("upstream.url", &*url)], settings].concat());
    config.auth = Sources::new().set("test", "auth.mode", "none").load().unwrap().config.auth;
    let http = HttpUpstream::builder(UpstreamUrl::parse(&url).unwrap());
    let rooms = Rooms::from_config(
        &config,
        std::sync::Arc::new(chatkit_rest::session::MemoryStore::new()),
        HealthLayer::elsewhere(),
    );
    let rooms = rooms.unwrap();
    let mut request = Request::new(Full::new(explain.body().unwrap()));
    *request.method_mut() = explain.method.parse().unwrap();
    *request.uri_mut() = explain.path.parse().unwrap();
    explain.add_headers(request.headers_mut(), true, THE_TOKEN).unwrap();
    drop(rooms.around(http.build().unwrap()).oneshot(request).await);
    let asked = upstream.await.unwrap();
    let shown = explain.explain(config).await.unwrap();

    let lines = |head: &str| {
        let mut lines: Vec<_> = head
            .lines()
            .skip(1)
            .take_while(|line| !line.is_empty())
            // In the line above, in the body, and made for each request.
            .filter(|line| !["host:", "content-length:"].iter().any(|it| line.starts_with(it)))
            .map(|line| if line.starts_with("x-request-id:") { "x-request-id" } else { line })
            .map(|line| if line.starts_with("traceparent:") { "traceparent" } else { line })
            .map(str::to_owned)
            .collect();
        lines.sort();
        lines
    };
    let shown = shown.split_once("would be sent:\n\n").unwrap().1.to_owned();
    (lines(&asked), lines(&shown))
}

#[tokio::test]
async fn the_headers_are_those_that_are_sent() {
    let body = Some(r#"{"message":"Hello"}"#);
    for (settings, headers, expected) in [
        (&[][..], &[][..], "accept-encoding: identity"),
        (
            &[("upstream.forwarded", "false")],
            &["accept-language: de", "accept: text/event-stream"],
            "accept-language: de",
        ),
        (
            &[("upstream.forward_headers", "x-tenant"), ("upstream.forward_authorization", "true")],
            &["x-tenant: 7", "accept-encoding: gzip", "x-user-id: mallory"],
            "authorization: Bearer TOKEN",
        ),
        (&[("upstream.user_header", "x-who"), ("rest.prefix", "/v2")], &[], "x-who: anonymous"),
    ] {
        let mut explain = request("POST", "/api/chat", body);
        explain.headers = headers.iter().map(ToString::to_string).collect();
        let (sent, shown) = sent_and_shown(explain, settings).await;
        assert_eq!(sent, shown);
        assert!(sent.iter().any(|line| line == expected), "{expected}: {sent:?}");
    }
}

#[tokio::test]
async fn what_proves_who_calls_is_shown_by_name_alone() {
    let chat = || request("POST", "/api/chat", Some(r#"{"message":"Hello"}"#));
    let settings =
        [("upstream.proof_secret", SECRET), ("upstream.headers", "x-api-key=planted-key")];
    let text = explained(chat(), &settings).await;
    for line in ["chatkit-gateway-proof: (signed for each request)", "x-api-key: (hidden)"] {
        assert!(text.contains(&format!("\n{line}\n")), "{text}");
    }
    assert!(!text.contains("planted") && !text.contains("eyJ"), "{text}");
    assert!(!explained(chat(), &[]).await.contains("proof"));
}

#[tokio::test]
async fn without_tokens_the_caller_is_who_everyone_is() {
    let believed = |user: &str| {
        let auth = Sources::new().set("test", "auth.mode", "none");
        let auth = auth.set("test", "auth.anonymous_user", user).load().unwrap().config.auth;
        let mut config = config(&[]);
        config.auth = auth;
        config
    };
    let chat = || request("POST", "/api/chat", Some(r#"{"message":"Hello"}"#));
    let text = chat().explain(believed("grace")).await.unwrap();
    assert!(text.contains("\nx-user-id: grace\n"), "{text}");
    let of_path = request("POST", "/api/bob/chat", Some(r#"{"message":"Hello"}"#));
    let text = of_path.explain(believed("grace")).await.unwrap();
    assert!(text.contains("\nx-user-id: bob\n"), "{text}");
}

#[tokio::test]
async fn a_body_is_read_from_a_file_within_bounds() {
    let folder = std::env::temp_dir().join(format!("chatkit-rest-explain-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = |name: &str| folder.join(name).display().to_string();
    let of = |path: &str| request("POST", "/api/chat", Some(&format!("@{path}")));
    std::fs::write(path("body.json"), r#"{"message":"Hello"}"#).unwrap();
    let text = explained(of(&path("body.json")), &[]).await;
    assert!(text.contains("Hello"), "{text}");
    std::fs::File::create(path("large")).unwrap().set_len(MAX_BODY_BYTES + 1).unwrap();
    for (of, said) in [
        (of(&path("large")), "has more than 64 MiB, the most that is read"),
        (of(&path("")), "is no regular file; expected one, or @- for standard input"),
        (of(&path("nowhere")), "could not read "),
        (of(&path("no\u{1b}[31mwhere")), "/no\\u{1b}[31mwhere: "),
    ] {
        let failure = of.explain(config(&[])).await.unwrap_err();
        assert!(failure.to_string().contains(said), "{failure}");
    }
    #[cfg(unix)]
    {
        let fifo = path("fifo");
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let failure = of(&fifo).explain(config(&[])).await.unwrap_err();
        assert!(failure.to_string().contains("is no regular file"), "{failure}");
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn what_steers_a_terminal_is_escaped_where_it_is_printed() {
    let text = "a\tb\n\u{1b}[1m\u{7f}\u{9b}\u{202e}\r\u{e9}";
    let printed = "a\tb\n\\u{1b}[1m\\u{7f}\\u{9b}\\u{202e}\\u{d}\u{e9}";
    assert_eq!(output::harmless(text), printed);
}
