//! Clients that leave.

use chatkit_rest::embedded::{Embedded, Json};
use http_body::Body;
use http_body_util::BodyExt;

use crate::client::{
    add_body, array, create, create_body, items, kind, next, op, send, server, string, text_of,
};

/// Gives the ids of all items that count, seen or not, oldest first.
async fn count_with_hidden(server: &Embedded, thread_id: &str) -> usize {
    let (mut count, mut after) = (0, String::new());
    loop {
        let params = format!(r#"{{"thread_id":"{thread_id}","order":"asc","limit":1{after}}}"#);
        let page = op(server, "items.list", &params).await.json();
        count += 1;
        match page.get("after").and_then(Json::as_str) {
            Some(id) => after = format!(r#","after":"{id}""#),
            None => return count,
        }
    }
}

/// Reads a new thread's stream until the event of that type has come so many times, and leaves.
async fn leave_after(server: &Embedded, text: &str, last: &str, mut times: usize) -> String {
    let mut body = send(server, &create_body(text)).await.into_body();
    let created = next(&mut body).await;
    while times > 0 {
        times -= usize::from(kind(&next(&mut body).await) == last);
    }
    drop(body);
    string(created.get("thread").unwrap(), "id")
}

#[tokio::test]
async fn what_was_said_so_far_is_stored_with_a_hidden_note() {
    let server = server();
    let delta = "assistant_message.content_part.text_delta";
    let thread_id = leave_after(&server, "/long 30", delta, 3).await;
    let items = items(&server, &thread_id).await;
    assert_eq!(items.len(), 2);
    // The run is one event ahead of its reader.
    assert_eq!(text_of(&items[1]), "token0 token1 token2 token3 ");
    assert_eq!(count_with_hidden(&server, &thread_id).await, 3);
}

#[tokio::test]
async fn only_the_note_is_stored_if_nothing_was_said() {
    let server = server();
    for (text, last) in [("/stall", "stream_options"), ("/workflow", "workflow.task.added")] {
        let thread_id = leave_after(&server, text, last, 1).await;
        assert_eq!(items(&server, &thread_id).await.len(), 1, "{text}");
        assert_eq!(count_with_hidden(&server, &thread_id).await, 2, "{text}");
    }
}

#[tokio::test]
async fn a_pending_tool_call_is_not_answerable_after_the_note() {
    let server = server();
    let thread_id = create(&server, "/tool f").await.thread_id();
    let mut body = send(&server, &add_body(&thread_id, "/stall")).await.into_body();
    while kind(&next(&mut body).await) != "stream_options" {}
    drop(body);
    let params = format!(r#"{{"thread_id":"{thread_id}","result":1}}"#);
    assert!(op(&server, "threads.add_client_tool_output", &params).await.is_cut_at_once());
}

#[tokio::test]
async fn a_stream_is_over_with_its_last_event() {
    let server = server();
    let mut body = send(&server, &create_body("hi")).await.into_body();
    let thread_id = string(next(&mut body).await.get("thread").unwrap(), "id");
    while !body.is_end_stream() {
        next(&mut body).await;
    }
    drop(body);
    assert_eq!(count_with_hidden(&server, &thread_id).await, 2, "nobody left early");
}

#[tokio::test]
async fn a_stream_that_is_never_read_does_nothing() {
    let server = server();
    drop(send(&server, &create_body("hi")).await);
    let threads = op(&server, "threads.list", "{}").await.json();
    assert_eq!(array(threads.get("data").unwrap()), []);
}

#[tokio::test]
async fn a_cut_is_not_a_cancellation() {
    let server = server();
    let thread_id = create(&server, "/cut-after 3").await.thread_id();
    assert_eq!(count_with_hidden(&server, &thread_id).await, 1);
    let mut body = send(&server, &create_body("/cut")).await.into_body();
    while body.frame().await.is_some_and(|frame| frame.is_ok()) {}
    assert!(body.is_end_stream());
}
