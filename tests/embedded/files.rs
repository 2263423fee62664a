//! Threads in a file.

use std::path::PathBuf;
use std::time::Duration;

use chatkit_rest::embedded::Embedded;
use rusqlite::Connection;

use crate::client::{add, create, create_body, items, kind, next, op, send, string, text_of};

/// A directory that goes with the test.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("embedded-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("gateway.db")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn threads_items_and_attachments_outlive_the_server() {
    let directory = Directory::new();
    let server = Embedded::open(&directory.file()).unwrap();
    let thread_id = create(&server, "remember this").await.thread_id();
    let call_thread = create(&server, "/tool f").await.thread_id();
    let params = r#"{"name":"x","size":1,"mime_type":"text/plain"}"#;
    let attachment = op(&server, "attachments.create", params).await.json();
    let before = items(&server, &thread_id).await;
    let listed = op(&server, "threads.list", "{}").await.json();
    drop(server);

    let server = Embedded::open(&directory.file()).unwrap();
    assert_eq!(items(&server, &thread_id).await, before);
    assert_eq!(op(&server, "threads.list", "{}").await.json(), listed);
    let params = format!(r#"{{"thread_id":"{call_thread}","result":"ok"}}"#);
    let resumed = op(&server, "threads.add_client_tool_output", &params).await;
    assert_eq!(text_of(&resumed.last_item()), r#"f answered: "ok""#);
    let body = crate::client::create_body("file").replace(
        r#""attachments":[]"#,
        &format!(r#""attachments":["{}"]"#, string(&attachment, "id")),
    );
    assert!(!crate::client::post(&server, &body).await.cut);
}

#[tokio::test]
async fn what_was_said_is_stored_before_any_later_request() {
    let directory = Directory::new();
    let server = Embedded::open(&directory.file()).unwrap();
    for _ in 0..20 {
        let mut body = send(&server, &create_body("/long 30")).await.into_body();
        let thread_id = string(next(&mut body).await.get("thread").unwrap(), "id");
        while !kind(&next(&mut body).await).ends_with("text_delta") {}
        drop(body);
        let items = items(&server, &thread_id).await;
        assert_eq!(items.len(), 2);
        assert!(text_of(&items[1]).starts_with("token0 "));
    }
}

#[tokio::test]
async fn many_streams_at_once_do_not_get_in_each_others_way() {
    let directory = Directory::new();
    let server = Embedded::open(&directory.file()).unwrap();
    let thread_id = create(&server, "start").await.thread_id();
    let tasks: Vec<_> = (0..40)
        .map(|n| {
            let (server, thread_id) = (server.clone(), thread_id.clone());
            tokio::spawn(async move { add(&server, &thread_id, &format!("message {n}")).await })
        })
        .collect();
    for (n, task) in tasks.into_iter().enumerate() {
        let answer = task.await.unwrap();
        assert_eq!(text_of(&answer.last_item()), format!("You said: message {n}"));
    }
    assert_eq!(items(&server, &thread_id).await.len(), 82);
}

#[tokio::test]
async fn another_writer_of_the_file_is_waited_for() {
    let directory = Directory::new();
    let mut other = Connection::open(directory.file()).unwrap();
    other.execute_batch("PRAGMA journal_mode = wal; CREATE TABLE sessions (id TEXT)").unwrap();
    let server = Embedded::open(&directory.file()).unwrap();

    let writing = other.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate);
    let writing = writing.unwrap();
    writing.execute("INSERT INTO sessions VALUES ('s')", []).unwrap();
    let creating = tokio::spawn({
        let server = server.clone();
        async move { create(&server, "hello").await }
    });
    // Reads are not held up by the writer; then it is the server's turn.
    let listed = op(&server, "threads.list", "{}").await;
    assert_eq!(listed.json().to_string(), r#"{"data":[],"has_more":false}"#);
    writing.commit().unwrap();
    let created = tokio::time::timeout(Duration::from_secs(30), creating).await.unwrap().unwrap();
    assert_eq!(text_of(&created.last_item()), "You said: hello");
    let sessions: i64 =
        other.query_row("SELECT count(*) FROM sessions", [], |row| row.get(0)).unwrap();
    assert_eq!(sessions, 1);
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused() {
    let directory = Directory::new();
    std::fs::write(directory.file(), [b'x'; 4096]).unwrap();
    let error = Embedded::open(&directory.file()).unwrap_err();
    assert!(error.is_store());
    assert!(error.chain().contains("gateway.db"), "{}", error.chain());
}
