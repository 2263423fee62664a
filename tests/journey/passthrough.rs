//! ChatKit requests as such: the very bytes, nothing held, and nobody else's things.

use serde_json::json;

use crate::support::{
    End, Gateway, MESSAGE_START, STREAM_HEAD, TestRequest, Upstream, created, json_answer,
    stream_answer,
};

const INPUT: &str =
    r#"{"content":[{"type":"input_text","text":"hi"}],"attachments":[],"inference_options":{}}"#;

/// Lists one request of each type that names a thread, with its other parameters.
fn about(thread: &str) -> Vec<(&'static str, String)> {
    let rest = [
        ("threads.get_by_id", String::new()),
        ("threads.update", r#","title":"t""#.into()),
        ("threads.delete", String::new()),
        ("items.list", r#","limit":5"#.into()),
        ("items.feedback", r#","item_ids":["msg_1"],"kind":"positive""#.into()),
        ("threads.add_user_message", format!(r#","input":{INPUT}"#)),
        ("threads.add_client_tool_output", r#","result":null"#.into()),
        (
            "threads.add_structured_input",
            r#","item_id":"msg_1","input":{"status":"answered","answers":{}}"#.into(),
        ),
        ("threads.retry_after_item", r#","item_id":"msg_1""#.into()),
        ("threads.custom_action", r#","item_id":"msg_1","action":{"type":"x"}"#.into()),
        ("threads.sync_custom_action", r#","item_id":null,"action":{"type":"x"}"#.into()),
    ];
    rest.into_iter()
        .map(|(kind, rest)| {
            let body = format!(
                r#" {{ "params": {{"thread_id" : "{thread}"{rest}}}, "type":"{kind}", "metadata": {{}} }} "#
            );
            (kind, body)
        })
        .collect()
}

fn creation() -> String {
    format!(r#"{{"type":"threads.create","params":{{"input":{INPUT}}}}}"#)
}

#[tokio::test]
async fn a_stream_is_never_held() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::with(&upstream, &[("stream.hold_for", "1h")]).await;
    let mut client = gateway.chatkit("ada", &creation()).await;
    let (mut peer, received) = upstream.request().await;
    assert_eq!(received.body, creation().as_bytes());
    assert_eq!(received.field("accept"), Some("text/event-stream"));
    assert_eq!(received.field("accept-encoding"), Some("identity"));
    peer.send(STREAM_HEAD).await;
    assert_eq!(client.head().await.status, 200);
    peer.send_chunk(created("thr_1")).await;
    client.expect_body(&created("thr_1")).await;
    peer.close();
    assert_ne!(client.body().await.1, End::Clean);

    // What was shown was stored: the thread is hers, as a session.
    let sessions = gateway.get("ada", "/sessions").await.data();
    let session = sessions[0]["id"].as_str().unwrap();
    let _client = gateway.say("ada", session).await;
    assert_eq!(upstream.request().await.1.json()["params"]["thread_id"], "thr_1");
}

#[tokio::test]
async fn a_thread_that_was_not_made_leaves_no_session() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    for answer in ["", STREAM_HEAD, "HTTP/1.1 500 X\r\ncontent-length: 0\r\n\r\n"] {
        let mut client = gateway.chatkit("ada", &creation()).await;
        let (mut peer, _) = upstream.request().await;
        peer.send(answer).await;
        peer.close();
        client.reply().await;
        assert_eq!(gateway.get("ada", "/sessions").await.json()["meta"]["total"], 0);
    }
}

#[tokio::test]
async fn requests_and_answers_are_the_very_bytes() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    gateway.bound(&upstream, "ada", "thr_1").await;
    for (kind, body) in about("thr_1") {
        let json = matches!(
            kind,
            "threads.get_by_id" | "items.list" | "items.feedback" | "threads.sync_custom_action"
        );
        if kind == "threads.update" || kind == "threads.delete" {
            continue;
        }
        let answer = if json {
            "{ \"a\" : 1.50,\n\"b\":\"\\u00e4\", \"c\":12345678901234567890123 }".to_owned()
        } else {
            format!("{}{MESSAGE_START}", crate::support::options())
        };
        let mut client = gateway.chatkit("ada", &body).await;
        let (mut peer, received) = upstream.request().await;
        assert_eq!(String::from_utf8_lossy(&received.body), body);
        let accept = if json { "application/json" } else { "text/event-stream" };
        assert_eq!(received.field("accept"), Some(accept), "{kind}");
        peer.send(if json { json_answer(&answer) } else { stream_answer(&answer) }).await;
        let reply = client.reply().await;
        assert_eq!((reply.status, reply.end), (200, End::Clean), "{kind}");
        assert_eq!(reply.text(), answer, "{kind}");
        assert!(reply.field("cache-control").unwrap().contains("no-store"), "{kind}");
        peer.close();
    }
}

#[tokio::test]
async fn nothing_of_somebody_elses_is_forwarded() {
    let upstream = Upstream::bind().await;
    for hide in ["false", "true"] {
        let gateway = Gateway::with(&upstream, &[("session.hide_foreign", hide)]).await;
        let session = gateway.bound(&upstream, "ada", "thr_ada").await;
        for (kind, body) in about("thr_ada") {
            let reply = gateway.post("eve", "", &body).await;
            let (status, code) =
                if hide == "true" { (404, "THREAD_NOT_FOUND") } else { (403, "FORBIDDEN") };
            let error = reply.refusal(status, code);
            if hide == "true" {
                // The same as for one that doesn't exist.
                let unknown = body.replace("thr_ada", "thr_none");
                let unknown = gateway.post("eve", "", &unknown).await.refusal(404, code);
                assert_eq!(error["message"], unknown["message"], "{kind}");
            }
        }
        for (method, path, body) in [
            ("GET", format!("/sessions/{session}"), None),
            ("PATCH", format!("/sessions/{session}"), Some("{\"title\":\"t\"}")),
            ("DELETE", format!("/sessions/{session}"), None),
            ("POST", format!("/sessions/{session}/threads"), Some("{}")),
            ("GET", format!("/sessions/{session}/threads"), None),
            (
                "POST",
                format!("/sessions/{session}/threads/{session}/runs"),
                Some("{\"message\":\"hi\"}"),
            ),
        ] {
            let mut request = TestRequest::new(method, &path).user("eve");
            if let Some(body) = body {
                request = request.json(body);
            }
            let reply = gateway.send(request).await;
            assert_eq!(reply.status, if hide == "true" { 404 } else { 403 }, "{method} {path}");
        }
        // By her own session, but his thread.
        let own = gateway.session("eve").await;
        for thread in ["thr_ada", session.as_str()] {
            let path = format!("/sessions/{own}/threads/{thread}/runs");
            let reply = gateway.post("eve", &path, "{\"message\":\"hi\"}").await;
            assert_eq!(reply.status, if hide == "true" { 404 } else { 403 });
        }
        gateway.settle().await;
        upstream.expect_no_connection();
        let still = gateway.get("ada", "/sessions").await.data();
        assert_eq!(still[0]["id"], session.as_str());
        assert_eq!(still[0]["title"], json!(null));
    }
}

#[tokio::test]
async fn attachments_belong_to_who_made_them() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    let create =
        r#"{"type":"attachments.create","params":{"name":"a","size":1,"mime_type":"b/c"}}"#;
    let mut client = gateway.chatkit("ada", create).await;
    let (mut peer, _) = upstream.request().await;
    let attachment = r#"{"id":"atc_1","name":"a","mime_type":"b/c","type":"file"}"#;
    peer.send(json_answer(attachment)).await;
    assert_eq!(client.reply().await.text(), attachment);
    peer.close();

    let delete = r#"{"type":"attachments.delete","params":{"attachment_id":"atc_1"}}"#;
    gateway.post("eve", "", delete).await.refusal(403, "FORBIDDEN");
    let used = INPUT.replace("\"attachments\":[]", "\"attachments\":[\"atc_1\"]");
    let used = format!(r#"{{"type":"threads.create","params":{{"input":{used}}}}}"#);
    gateway.post("eve", "", &used).await.refusal(403, "FORBIDDEN");
    let unknown = used.replace("atc_1", "atc_2");
    gateway.post("eve", "", &unknown).await.refusal(404, "ATTACHMENT_NOT_FOUND");
    let session = gateway.session("eve").await;
    let path = format!("/sessions/{session}/threads/{session}/runs");
    let run = r#"{"message":{"role":"user","content":[{"type":"input_text","text":"x"}],"attachments":["atc_1"]}}"#;
    gateway.post("eve", &path, run).await.refusal(403, "FORBIDDEN");
    gateway.settle().await;
    upstream.expect_no_connection();

    let _client = gateway.chatkit("ada", &used).await;
    assert_eq!(upstream.request().await.1.body, used.as_bytes());
}

#[tokio::test]
async fn a_key_has_one_meaning() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    gateway.bound(&upstream, "ada", "thr_ada").await;
    gateway.bound(&upstream, "eve", "thr_eve").await;
    for body in [
        r#"{"type":"threads.delete","params":{"thread_id":"thr_eve","thread_id":"thr_ada"}}"#,
        r#"{"type":"threads.delete","params":{"thread_id":"thr_eve","thread\u005fid":"thr_ada"}}"#,
        r#"{"type":"threads.delete","params":{"thread_id":"thr_eve"},"params":{"thread_id":"thr_ada"}}"#,
        r#"{"type":"threads.list","type":"threads.delete","params":{"thread_id":"thr_ada"}}"#,
        r#"{"type":"threads.delete","params":{"thread_id":"thr_eve","x":[{"a":{"b":1,"b":2}}]}}"#,
    ] {
        gateway.post("eve", "", body).await.refusal(400, "INVALID_JSON");
    }
    // One that is written otherwise is the same key.
    let body = r#"{"type":"threads.delete","params":{"\u0074hread_id":"thr_ad\u0061"}}"#;
    gateway.post("eve", "", body).await.refusal(403, "FORBIDDEN");
    gateway.settle().await;
    upstream.expect_no_connection();
}

#[tokio::test]
async fn what_is_no_request_is_refused_here() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    let deep = format!("{}{}", "[".repeat(70), "]".repeat(70));
    for (body, code) in [
        ("", "INVALID_JSON"),
        ("{", "INVALID_JSON"),
        ("\u{feff}{}", "INVALID_JSON"),
        ("{\"type\":\"threads.list\",\"params\":{},\"x\":\"\\ud800\"}", "INVALID_JSON"),
        (&deep, "INVALID_JSON"),
        ("[]", "INVALID_INPUT"),
        ("{}", "INVALID_INPUT"),
        ("{\"type\":1}", "INVALID_INPUT"),
        ("{\"type\":\"threads.list\"}", "INVALID_INPUT"),
        ("{\"type\":\"threads.unknown\",\"params\":{}}", "INVALID_INPUT"),
        ("{\"type\":\"threads.delete\",\"params\":{\"thread_id\":7}}", "INVALID_INPUT"),
    ] {
        gateway.post("ada", "", body).await.refusal(400, code);
    }
    let bad_utf8 = TestRequest::new("POST", "").user("ada").json("x").body(b"{\"a\":\"\xff\"}");
    gateway.send(bad_utf8).await.refusal(400, "INVALID_JSON");
    gateway.settle().await;
    upstream.expect_no_connection();
}

#[tokio::test]
async fn unknown_types_pass_where_that_is_configured() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::with(&upstream, &[("passthrough.unknown", "forward")]).await;
    let body = r#"{"type":"threads.newer","params":{}}"#;
    let mut client = gateway.chatkit("ada", body).await;
    let (mut peer, received) = upstream.request().await;
    assert_eq!(received.body, body.as_bytes());
    peer.send(json_answer("{\"new\":1}")).await;
    assert_eq!(client.reply().await.text(), "{\"new\":1}");
    peer.close();

    gateway.bound(&upstream, "ada", "thr_ada").await;
    let body = r#"{"type":"threads.newer","params":{"thread_id":"thr_ada"}}"#;
    gateway.post("eve", "", body).await.refusal(403, "FORBIDDEN");
}

#[tokio::test]
async fn a_list_of_threads_shows_the_callers_own_only() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    gateway.bound(&upstream, "ada", "thr_1").await;
    gateway.bound(&upstream, "eve", "thr_2").await;
    gateway.bound(&upstream, "ada", "thr_3").await;
    let list = r#"{"type":"threads.list","params":{"limit":2}}"#;
    // Who has none needs no upstream.
    let empty = gateway.post("bob", "", list).await;
    assert_eq!(empty.json(), json!({ "data": [], "has_more": false }));
    upstream.expect_no_connection();

    let upstream = upstream.answer(|received| {
        let after = received.json()["params"]["after"].clone();
        let thread = |id: &str| format!(r#"{{"id":"{id}","title":"of {id}", "n":1.0}}"#);
        json_answer(&match after.as_str() {
            None => format!(
                r#"{{"data":[{},{}],"has_more":true,"after":"thr_2"}}"#,
                thread("thr_3"),
                thread("thr_2")
            ),
            Some("thr_2") => {
                format!(r#"{{"data":[{},{}],"has_more":false}}"#, thread("thr_1"), thread("thr_0"))
            }
            Some(other) => panic!("a cursor that was never given: {other}"),
        })
    });
    let listed = gateway.post("ada", "", list).await;
    assert_eq!(
        listed.text(),
        r#"{"data":[{"id":"thr_3","title":"of thr_3", "n":1.0},{"id":"thr_1","title":"of thr_1", "n":1.0}],"has_more":false}"#
    );
    let listed = gateway.post("eve", "", list).await.json();
    assert_eq!(listed["data"].as_array().unwrap().len(), 1);
    assert_eq!(listed["data"][0]["id"], "thr_2");
    assert!(upstream.types().iter().all(|kind| kind == "threads.list"));
}

#[tokio::test]
async fn a_deleted_thread_and_a_new_title_are_the_sessions_too() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    gateway.bound(&upstream, "ada", "thr_1").await;
    let bodies = about("thr_1");
    let body = |wanted: &str| &bodies.iter().find(|(kind, _)| *kind == wanted).unwrap().1;

    let mut client = gateway.chatkit("ada", body("threads.update")).await;
    let (mut peer, _) = upstream.request().await;
    peer.send(json_answer("{\"id\":\"thr_1\"}")).await;
    assert_eq!(client.reply().await.text(), "{\"id\":\"thr_1\"}");
    assert_eq!(gateway.get("ada", "/sessions").await.data()[0]["title"], "t");

    let mut client = gateway.chatkit("ada", body("threads.delete")).await;
    assert_eq!(peer.request().await.kind(), "threads.delete");
    peer.send(json_answer("{}")).await;
    assert_eq!(client.reply().await.text(), "{}");
    assert_eq!(gateway.get("ada", "/sessions").await.json()["meta"]["total"], 0);
}

/// Thousands of others' are in front of hers: so many pages are read, and the store knows the rest.
#[tokio::test]
async fn the_callers_threads_are_found_behind_any_number_of_others() {
    const OTHERS: usize = 5000;
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    let own: Vec<String> = (0..5).map(|n| format!("thr_own_{n}")).collect();
    for thread in &own {
        gateway.bound(&upstream, "ada", thread).await;
    }
    let session = gateway.get("ada", "/sessions").await.data()[4]["id"].clone();
    let upstream = upstream.answer(move |received| {
        if received.kind() == "threads.update" {
            return json_answer("{}");
        }
        assert_eq!(received.kind(), "threads.list");
        let params = &received.json()["params"];
        let rows = usize::try_from(params["limit"].as_u64().unwrap()).unwrap();
        let from = params["after"].as_str().map_or(0, |after| after.parse().unwrap());
        // The newest of hers is the very first, and the others are the last.
        let mut all = vec!["thr_own_4".to_owned()];
        all.extend((0..OTHERS).map(|n| format!("thr_{n}")));
        all.extend((0..4).rev().map(|n| format!("thr_own_{n}")));
        let to = (from + rows).min(all.len());
        let page: Vec<_> = all[from..to]
            .iter()
            .map(|id| json!({ "id": id, "created_at": "2099-01-01T00:00:00" }))
            .collect();
        let mut answer = json!({ "data": page, "has_more": to < all.len() });
        if to < all.len() {
            answer["after"] = to.to_string().into();
        }
        json_answer(&answer.to_string())
    });
    let rename = format!("/sessions/{}", session.as_str().unwrap());
    let rename = TestRequest::new("PATCH", &rename).user("ada").json(r#"{"title":"Rain"}"#);
    assert_eq!(gateway.send(rename).await.status, 200);

    for (limit, pages) in [(2, 3), (1, 5), (4, 2), (5, 1), (100, 1), (9999, 1)] {
        let (mut found, mut after, mut read) = (Vec::new(), json!(null), 0);
        loop {
            let params = json!({ "limit": limit, "after": after });
            let list = json!({ "type": "threads.list", "params": params }).to_string();
            let before = upstream.types().len();
            let page = gateway.post("ada", "", &list).await.json();
            assert!(upstream.types().len() - before <= 10, "{limit}");
            for thread in page["data"].as_array().unwrap() {
                found.push(thread["id"].as_str().unwrap().to_owned());
            }
            read += 1;
            assert!(read <= 5, "{found:?}");
            after = page["after"].clone();
            if page["has_more"] == false {
                assert!(after.is_null());
                break;
            }
        }
        let mut newest_first = own.clone();
        newest_first.reverse();
        assert_eq!((found, read), (newest_first, pages), "{limit}");
    }
    // As a client goes on whose cursors are ids.
    let list = |after: &str| {
        let params = json!({ "limit": 2, "after": after });
        json!({ "type": "threads.list", "params": params }).to_string()
    };
    let page = gateway.post("ada", "", &list("thr_own_3")).await.json();
    assert_eq!(json!([page["data"][0]["id"], page["data"][1]["id"]]), json!([own[2], own[1]]));
    let cursor = page["after"].as_str().unwrap();
    assert!(cursor.starts_with("own.store."), "{cursor}");
    let begun = gateway.post("ada", "", &list("")).await.json();
    assert_eq!(begun["data"][0]["id"], own[4], "an empty cursor is none");
    let before = upstream.types().len();
    for (user, after) in [("bob", "thr_own_3"), ("bob", cursor), ("ada", "thr_7"), ("ada", "1000")]
    {
        let refusal = gateway.post(user, "", &list(after)).await;
        refusal.refusal(400, "INVALID_INPUT");
    }
    assert_eq!(upstream.types().len(), before, "nobody asks the upstream about those");

    let list = r#"{"type":"threads.list","params":{"limit":100}}"#;
    let all = gateway.post("ada", "", list).await.json();
    let oldest = &all["data"][4];
    assert_eq!(oldest["title"], "Rain");
    assert_eq!(oldest["status"], json!({ "type": "active" }));
    assert_eq!(oldest["metadata"], json!({}));
    assert_eq!(oldest["items"], json!({ "data": [], "has_more": false }));
    assert!(oldest["created_at"].as_str().unwrap().ends_with('Z'));
}
