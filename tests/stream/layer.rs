//! The hold as a layer of its own.

use std::convert::Infallible;

use bytes::Bytes;
use chatkit_rest::rejection::RefusedOr;
use chatkit_rest::stream::{HoldLayer, HoldPolicy, NoObserver, RunBody};
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::{ServiceBuilder, ServiceExt as _, service_fn};

use crate::support::{Script, Step, event};

type Answer = Response<RefusedOr<RunBody<Script, NoObserver>>>;

async fn answer(content_type: &'static str, script: impl Fn() -> Script + Clone) -> Answer {
    ServiceBuilder::new()
        .layer(HoldLayer::new(HoldPolicy::default()))
        .service(service_fn(move |_: Request<()>| {
            let response = Response::builder()
                .header("content-type", content_type)
                .header("x-upstream", "kept")
                .body(script())
                .unwrap();
            std::future::ready(Ok::<_, Infallible>(response))
        }))
        .oneshot(Request::new(()))
        .await
        .unwrap()
}

async fn refusal(events: &'static [&'static str], cut: bool) -> (StatusCode, Value) {
    let script = move || {
        let script = Script::text(events);
        if cut { script.then(Step::Cut) } else { script }
    };
    let answer = answer("text/event-stream; charset=utf-8", script).await;
    let status = answer.status();
    assert_eq!(answer.headers()["content-type"], "application/json");
    assert!(!answer.headers().contains_key("x-upstream"));
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice::<Value>(&body).unwrap()["error"].clone())
}

#[tokio::test]
async fn a_run_that_fails_before_any_output_has_a_status_that_says_so() {
    const CREATED: &str = r#"{"type":"thread.created","thread":{"id":"thr_1"}}"#;
    const USER: &str = r#"{"type":"thread.item.done","item":{"id":"m1","type":"user_message"}}"#;

    let custom = &[CREATED, USER, r#"{"type":"error","code":"custom","message":"No."}"#];
    let (status, error) = refusal(custom, false).await;
    assert_eq!(status, 422);
    assert_eq!(error["code"], "UPSTREAM_REJECTED");
    assert_eq!(error["message"], "No.");
    let details = json!({"allow_retry": false, "thread_id": "thr_1", "user_message_id": "m1"});
    assert_eq!(error["details"], details);

    // Only the message of a custom error was written for the user.
    let other = &[r#"{"type":"error","code":"stream.error","message":"x","allow_retry":true}"#];
    let (status, error) = refusal(other, false).await;
    assert_eq!(status, 502);
    assert_eq!(error["code"], "UPSTREAM_ERROR");
    assert_ne!(error["message"], "x");
    assert_eq!(error["details"], json!({"allow_retry": true}));

    assert_eq!(refusal(&[CREATED], false).await.0, 502);
    assert_eq!(refusal(&[CREATED], true).await.0, 502);
}

#[tokio::test]
async fn everything_else_passes_as_it_is() {
    const ADDED: &str = r#"{"type":"thread.item.added"}"#;
    let passed = answer("text/event-stream", || Script::text(&[ADDED, ADDED])).await;
    assert_eq!(
        (passed.status(), &passed.headers()["x-upstream"] == "kept"),
        (StatusCode::OK, true)
    );
    let body = passed.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, [event(ADDED), event(ADDED)].concat());

    // An answer that is no stream is no run, whatever it says.
    let error = || Script::new([Step::Data(Bytes::from_static(b"data: {\"type\":\"error\"}\n\n"))]);
    let passed = answer("application/json", error).await;
    assert_eq!(passed.status(), 200);
    assert_eq!(passed.into_body().collect().await.unwrap().to_bytes().len(), 24);

    let broken = answer("text/event-stream", || Script::text(&[ADDED]).then(Step::Cut)).await;
    assert_eq!(broken.status(), 200);
    assert!(broken.into_body().collect().await.is_err());
}
