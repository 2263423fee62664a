//! The ways in which a ChatKit server fails.

use bytes::Bytes;
use chatkit_rest::embedded::{Embedded, Failure, Responder, Turn, TurnFuture};
use chatkit_rest::forward::ForwardErrorKind;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use tower_service::Service;

use crate::client::{add, create, items, kind, op, post, server, string, text_of};

#[tokio::test]
async fn requests_that_are_answered_with_json_fail_with_a_bare_500() {
    let server = server();
    let thread_id = create(&server, "hello").await.thread_id();
    let message_id = string(&items(&server, &thread_id).await[0], "id");
    for (op_type, params) in [
        ("threads.get_by_id", r#"{"thread_id":"thr_nope"}"#.to_owned()),
        ("threads.get_by_id", r#"{"thread_id":""}"#.to_owned()),
        ("threads.update", r#"{"thread_id":"thr_nope","title":"t"}"#.to_owned()),
        ("threads.sync_custom_action", r#"{"thread_id":"thr_nope","action":{"type":"a"}}"#.into()),
        (
            "threads.sync_custom_action",
            format!(
                r#"{{"thread_id":"{thread_id}","item_id":"{message_id}","action":{{"type":"a"}}}}"#
            ),
        ),
        (
            "threads.sync_custom_action",
            format!(
                r#"{{"thread_id":"{thread_id}","item_id":"msg_nope","action":{{"type":"a"}}}}"#
            ),
        ),
        (
            "threads.sync_custom_action",
            format!(r#"{{"thread_id":"{thread_id}","action":{{"type":"fail"}}}}"#),
        ),
        ("input.transcribe", r#"{"audio_base64":"abc","mime_type":"audio/webm"}"#.to_owned()),
        ("items.feedback", r#"{"thread_id":"t","item_ids":[],"kind":"meh"}"#.to_owned()),
        ("threads.nope", "{}".to_owned()),
    ] {
        assert!(op(&server, op_type, &params).await.is_bare_500(), "{op_type} {params}");
    }
    for body in ["", "null", "{", "[]", "\u{feff}{}", r#"{"type":"threads.create","params":{}}"#] {
        assert!(post(&server, body).await.is_bare_500(), "{body}");
    }
}

#[tokio::test]
async fn streams_are_cut_before_their_first_event() {
    let server = server();
    let created = create(&server, "hello").await;
    let thread_id = created.thread_id();
    let assistant_id = string(&created.last_item(), "id");
    for (op_type, params) in [
        ("threads.add_client_tool_output", r#"{"thread_id":"thr_nope","result":{}}"#.to_owned()),
        (
            "threads.add_client_tool_output",
            format!(r#"{{"thread_id":"{thread_id}","result":{{}}}}"#),
        ),
        (
            "threads.add_structured_input",
            r#"{"thread_id":"thr_nope","item_id":"i","input":{}}"#.to_owned(),
        ),
        (
            "threads.add_structured_input",
            format!(r#"{{"thread_id":"{thread_id}","item_id":"msg_nope","input":{{}}}}"#),
        ),
        (
            "threads.add_structured_input",
            format!(r#"{{"thread_id":"{thread_id}","item_id":"{assistant_id}","input":{{}}}}"#),
        ),
        ("threads.retry_after_item", r#"{"thread_id":"thr_nope","item_id":"i"}"#.to_owned()),
        (
            "threads.retry_after_item",
            format!(r#"{{"thread_id":"{thread_id}","item_id":"{assistant_id}"}}"#),
        ),
        ("threads.custom_action", r#"{"thread_id":"thr_nope","action":{"type":"a"}}"#.to_owned()),
        (
            "threads.custom_action",
            format!(
                r#"{{"thread_id":"{thread_id}","item_id":"msg_nope","action":{{"type":"a"}}}}"#
            ),
        ),
    ] {
        assert!(op(&server, op_type, &params).await.is_cut_at_once(), "{op_type} {params}");
    }
    assert!(add(&server, "thr_nope", "hi").await.is_cut_at_once());
    assert_eq!(items(&server, &thread_id).await.len(), 2, "nothing was stored or deleted");
}

#[tokio::test]
async fn two_failures_end_cleanly() {
    let server = server();
    let created = create(&server, "hello").await;
    let (thread_id, item_id) = (created.thread_id(), string(&created.last_item(), "id"));

    let params = format!(r#"{{"thread_id":"{thread_id}","item_id":"msg_nope"}}"#);
    let retried = op(&server, "threads.retry_after_item", &params).await;
    assert_eq!((retried.events(), retried.cut), (vec![], false));

    let params =
        format!(r#"{{"thread_id":"{thread_id}","item_id":"{item_id}","action":{{"type":"a"}}}}"#);
    let acted = op(&server, "threads.custom_action", &params).await;
    assert!(!acted.cut);
    let error = r#"{"type":"error","code":"stream.error","allow_retry":false}"#;
    assert_eq!(acted.events(), [crate::client::json(error)]);
}

#[tokio::test]
async fn errors_end_a_stream_cleanly_and_store_no_half_message() {
    let server = server();
    for (text, error, deltas) in [
        ("/error", r#"{"type":"error","code":"stream.error","allow_retry":true}"#, 0),
        ("/error-after 2", r#"{"type":"error","code":"stream.error","allow_retry":true}"#, 2),
        (
            "/custom You \"can't\".",
            r#"{"type":"error","code":"custom","message":"You \"can't\".","allow_retry":false}"#,
            0,
        ),
        (
            "/tool f [1]",
            r#"{"type":"error","code":"custom","message":"The arguments of /tool must be a JSON object.","allow_retry":false}"#,
            0,
        ),
    ] {
        let answer = create(&server, text).await;
        assert!(!answer.cut);
        let said = answer.types().iter().filter(|kind| kind.ends_with("text_delta")).count();
        assert_eq!(said, deltas, "{text}");
        let errors: Vec<_> =
            answer.events().into_iter().filter(|event| kind(event) == "error").collect();
        assert_eq!(errors, [crate::client::json(error)], "{text}");
        assert_eq!(items(&server, &answer.thread_id()).await.len(), 1, "{text}");
    }
    let thread_id = create(&server, "hello").await.thread_id();
    let params = format!(r#"{{"thread_id":"{thread_id}","action":{{"type":"fail"}}}}"#);
    let acted = op(&server, "threads.custom_action", &params).await;
    assert_eq!(acted.types(), ["stream_options", "error"]);
}

#[tokio::test]
async fn a_connection_is_cut_on_command() {
    let server = server();
    let answer = create(&server, "/cut").await;
    assert_eq!(answer.types(), ["thread.created", "thread.item.done", "stream_options"]);
    assert!(answer.cut);

    let answer = create(&server, "/cut-after 3").await;
    assert_eq!(answer.types().last().unwrap(), "assistant_message.content_part.text_delta");
    assert!(answer.cut);
    assert_eq!(items(&server, &answer.thread_id()).await.len(), 1);
}

#[tokio::test]
async fn it_is_a_post_endpoint_at_any_path() {
    let mut server = server();
    for method in [Method::GET, Method::PUT, Method::HEAD, Method::OPTIONS] {
        let request = Request::builder().method(method).body(Full::<Bytes>::default()).unwrap();
        let response = server.call(request).await.unwrap();
        assert_eq!(response.status(), 405);
        assert_eq!(response.headers()["allow"], "POST");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, r#"{"detail":"Method Not Allowed"}"#);
    }
    let body = Full::from(r#" {"type":"threads.list","params":{}} "#);
    let response = server.call(Request::post("/a/b?c=d").body(body).unwrap()).await.unwrap();
    assert_eq!(response.status(), 200);
}

#[tokio::test]
async fn a_request_that_is_too_long_or_breaks_off_is_not_obeyed() {
    let mut server = server();
    let mut long = br#"{"type":"threads.list","params":{}}"#.to_vec();
    long.resize((64 << 20) + 1, b' ');
    let fits = Full::from(long[..64 << 20].to_vec());
    assert_eq!(server.call(Request::post("/").body(fits).unwrap()).await.unwrap().status(), 200);
    let long = Full::from(long);
    assert_eq!(server.call(Request::post("/").body(long).unwrap()).await.unwrap().status(), 500);

    let broken = Full::from("{")
        .map_err(|never| match never {})
        .with_trailers(async { Some(Err::<http::HeaderMap, _>(std::io::Error::other("gone"))) });
    let error = server.call(Request::post("/").body(broken).unwrap()).await.unwrap_err();
    assert_eq!(error.kind(), ForwardErrorKind::Request);
}

/// Fails in the middle of a message, with an event out that nobody waits for any more.
#[derive(Debug)]
struct Awkward;

impl Responder for Awkward {
    fn respond(&self, mut turn: Turn) -> TurnFuture {
        Box::pin(async move {
            let mut message = turn.begin_message().await;
            tokio::task::yield_now().await;
            message.say("half").await;
            tokio::select! {
                biased;
                () = message.say(" lost") => unreachable!("nobody took it yet"),
                () = async {} => {}
            }
            Err(Failure::Custom { message: "That's all.".into(), allow_retry: true })
        })
    }
}

#[tokio::test]
async fn a_responder_of_ones_own_is_held_to_the_same_rules() {
    let server = Embedded::in_memory().unwrap().with_responder(Awkward);
    let created = create(&server, "hello").await;
    let events = created.events();
    let error = r#"{"type":"error","code":"custom","message":"That's all.","allow_retry":true}"#;
    assert_eq!(events.last(), Some(&crate::client::json(error)));
    assert!(created.types().contains(&"assistant_message.content_part.text_delta".to_owned()));

    let params = format!(r#"{{"thread_id":"{}","action":{{"type":"a"}}}}"#, created.thread_id());
    let acted = op(&server, "threads.custom_action", &params).await;
    assert_eq!(acted.types(), ["stream_options", "error"]);
    assert!(op(&server, "threads.sync_custom_action", &params).await.is_bare_500());
}

#[tokio::test]
async fn a_thread_that_is_deleted_while_it_is_answered_ends_in_an_error() {
    let server = server();
    let mut body = crate::client::send(&server, &crate::client::create_body("hello you")).await;
    let thread = crate::client::next(body.body_mut()).await;
    let thread_id = string(thread.get("thread").unwrap(), "id");
    while kind(&crate::client::next(body.body_mut()).await) != "thread.item.added" {}
    op(&server, "threads.delete", &format!(r#"{{"thread_id":"{thread_id}"}}"#)).await;
    let mut last = String::new();
    while let Some(frame) = body.body_mut().frame().await {
        last = kind(&crate::client::event(&frame.unwrap().into_data().unwrap()));
    }
    assert_eq!(last, "error");
    assert_eq!(text_of(&create(&server, "hi").await.last_item()), "You said: hi");
}
