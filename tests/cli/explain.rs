//! `chatkit-rest explain`.

use crate::{File, run};

#[test]
fn a_request_is_explained_without_any_setting() {
    let chat = run(&["explain", "POST", "/api/chat", "-d", "{\"message\": \"Hello\"}"], &[]);
    assert_eq!((chat.code, chat.err.as_str()), (0, ""));
    for text in
        ["is chat (one-shot chat)", "Checked, in this order:", "{\"type\":\"threads.create\""]
    {
        assert!(chat.out.contains(text), "{text}\n\nnot in\n\n{}", chat.out);
    }
    assert!(chat.out.contains("in JSON with: conversation_id"), "{}", chat.out);
    let ready = run(&["explain", "GET", "/readyz"], &[]);
    assert!(ready.out.contains("is answered by the gateway itself"), "{}", ready.out);
    let wrong = run(&["explain", "GET", "/v1/models"], &[]);
    assert_eq!(wrong.code, 0);
    assert!(wrong.out.contains("the base URL ends with /v1"), "{}", wrong.out);
}

#[test]
fn a_body_that_is_missing_is_told_with_how_to_give_it() {
    const TOLD: &str = "It was explained without a body; -d BODY or -d @FILE gives it one.";
    for (arguments, is) in [
        (&["explain", "POST", "/api/chat"][..], true),
        (&["explain", "PATCH", "/api/v1/chatkit/sessions/{session_id}"], true),
        (&["explain", "POST", "/api/chat", "-d", "{}"], false),
        // Those need none.
        (&["explain", "POST", "/api/v1/chatkit/sessions"], false),
        (&["explain", "GET", "/api/v1/chatkit/sessions/{session_id}"], false),
        (&["explain", "GET", "/nowhere"], false),
    ] {
        let ran = run(arguments, &[]);
        assert_eq!(ran.code, 0, "{}", ran.err);
        assert_eq!(ran.out.contains(TOLD), is, "{arguments:?}\n{}", ran.out);
    }
}

#[test]
fn it_goes_by_the_configuration_and_reads_a_body_from_a_file() {
    let settings = File::new("[rest]\nprefix = \"/r\"\n[upstream]\nuser_header = \"x-caller\"\n");
    let body = File::new("{\"type\":\"threads.list\",\"params\":{}}");
    let data = format!("@{}", body.path());
    let arguments =
        ["explain", "POST", "/r", "-d", &data, "--user", "bob", "--config", settings.path()];
    let ran = run(&arguments, &[]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert!(ran.out.contains("is passthrough (REST)"), "{}", ran.out);
    let unknown = File::new("[rest]\nprefx = \"/r\"\n");
    let ran = run(&["explain", "GET", "/r", "--config", unknown.path()], &[]);
    assert_eq!((ran.code, ran.out.as_str()), (2, ""));
    assert_eq!(run(&["explain", "GET", "r"], &[]).code, 2);
    let ran = run(&["explain", "GET", "/r", "-d", "@/no/such/file"], &[]);
    assert_eq!((ran.code, ran.out.as_str()), (2, ""));
    assert!(ran.err.contains("could not read /no/such/file"), "{}", ran.err);
}
