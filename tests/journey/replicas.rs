//! Two gateways on one store: what the one does, the other sees at once.

use serde_json::json;

use crate::support::{
    Answering, Folder, Gateway, MESSAGE_DONE, TestRequest, Upstream, json_answer, options,
    preamble, stream_answer, user_done,
};

/// Gives an upstream that gives every new thread the same id.
fn forgetful(upstream: Upstream) -> Answering {
    upstream.answer(|received| match received.kind().as_str() {
        "threads.create" => stream_answer(&format!("{}{MESSAGE_DONE}", preamble("thr_1"))),
        "threads.add_user_message" => {
            stream_answer(&format!("{}{}{MESSAGE_DONE}", user_done("msg_u"), options()))
        }
        "threads.delete" => json_answer("{}"),
        _ => json_answer("{\"id\":\"thr_1\",\"title\":\"whose?\"}"),
    })
}

#[tokio::test]
async fn a_thread_that_is_anothers_now_is_nobody_elses_anywhere() {
    let folder = Folder::new();
    let settings = [("store.url", &*folder.store()), ("limits.max_messages", "0")];
    let upstream = Upstream::bind().await;
    let (here, there) =
        (Gateway::with(&upstream, &settings).await, Gateway::with(&upstream, &settings).await);
    let upstream = forgetful(upstream);
    let get = json!({"type": "threads.get_by_id", "params": {"thread_id": "thr_1"}}).to_string();
    let say = json!({"type": "threads.add_user_message", "params": {"thread_id": "thr_1", "input":
        {"content": [{"type": "input_text", "text": "hi"}], "attachments": [],
        "inference_options": {}}}})
    .to_string();

    let session = here.session("ada").await;
    assert_eq!(here.send(TestRequest::run(&session).user("ada")).await.status, 200);
    for (gateway, body) in [(&here, &get), (&here, &say), (&there, &get)] {
        assert_eq!(gateway.post("ada", "", body).await.status, 200);
    }
    let delete = TestRequest::new("DELETE", &format!("/sessions/{session}"));
    assert_eq!(there.send(delete.user("ada")).await.status, 200);
    for gateway in [&here, &there] {
        gateway.post("ada", "", &get).await.refusal(404, "THREAD_NOT_FOUND");
        let run = TestRequest::run(&session).user("ada");
        gateway.send(run).await.refusal(404, "SESSION_NOT_FOUND");
    }

    let bobs = there.session("bob").await;
    assert_eq!(there.send(TestRequest::run(&bobs).user("bob")).await.status, 200);
    let asked = upstream.types().len();
    let run = TestRequest::new("POST", &format!("/sessions/{session}/threads/thr_1/runs"))
        .json("{\"message\":\"hi\"}");
    for gateway in [&here, &there] {
        for body in [&get, &say] {
            gateway.post("ada", "", body).await.refusal(403, "FORBIDDEN");
        }
        gateway.send(run.clone().user("ada")).await.refusal(404, "SESSION_NOT_FOUND");
        let run = TestRequest::run(&bobs).user("ada");
        gateway.send(run).await.refusal(403, "FORBIDDEN");
    }
    assert_eq!(upstream.types().len(), asked, "nothing of it was passed on");
    for gateway in [&here, &there] {
        assert_eq!(gateway.post("bob", "", &get).await.status, 200);
        assert_eq!(gateway.post("bob", "", &say).await.status, 200);
    }
}
