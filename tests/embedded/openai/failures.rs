//! What becomes of a turn whose answer fails, or is refused, and when the question is asked again.

use tokio::net::TcpSocket;

use super::*;

#[tokio::test]
async fn an_error_in_the_stream_keeps_its_meaning() {
    let api = Api::bind().await;
    let too_long = "data: {\"object\":\"error\",\"message\":\"planted\",\"code\":400}\n\n";
    for (error, may_retry) in [
        ("data: {\"error\":{\"code\":401}}\n\n", false),
        (
            "data: {\"error\":{\"type\":\"invalid_request_error\",\"code\":\"context_length_exceeded\"}}\n\n",
            false,
        ),
        (too_long, false),
        ("error: {\"code\":400,\"message\":\"planted\"}\n\n", false),
        ("event: error\ndata: {\"detail\":\"planted\"}\n\n", true),
        ("data: {\"error\":\"planted\"}\n\n", true),
        ("data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"SAFETY\"}]}\n\n", false),
        ("data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"error\"}]}\n\n", true),
    ] {
        for text in ["", "half"] {
            let events = if text.is_empty() { String::new() } else { delta(text) };
            let events = chunk(events + error + DONE);
            let answer =
                api.answered([STREAM.as_bytes(), &events, LAST_CHUNK.as_bytes()].concat()).await;
            assert_eq!(failed(&answer), Some(may_retry), "{error}");
            assert!(!format!("{:?}", answer.frames).contains("planted"));
            assert_eq!(items(&api.server, &answer.thread_id()).await.len(), 1, "{error}");
        }
    }
}

#[tokio::test]
async fn a_question_is_asked_again_where_that_helps() {
    let api = Api::bind().await;
    let good =
        [STREAM.as_bytes(), &chunk(delta("Good day") + DONE), LAST_CHUNK.as_bytes()].concat();
    let busy = chunk("data: {\"error\":{\"code\":503}}\n\n");
    let busy = [STREAM.as_bytes(), &busy, LAST_CHUNK.as_bytes()].concat();
    let (limited, unavailable) = (refused(429), refused(503));
    for answers in [
        &[&*limited, &*good][..],
        &[&*unavailable, &*limited, &*good],
        &[&*busy, &*good],
        &[b"", &*good],
    ] {
        let answer = api.answered_each(answers).await;
        assert_eq!((failed(&answer), said(&answer)), (None, vec!["Good day".to_owned()]));
    }
    // Somebody has seen something, it is not worth the while, or it would be too late.
    let begun = chunk(delta("half") + "data: {\"error\":{\"code\":503}}\n\n");
    let begun = [STREAM.as_bytes(), &begun, LAST_CHUNK.as_bytes()].concat();
    let but = |field: &str| {
        let refused = String::from_utf8(refused(429)).unwrap();
        refused.replace("retry-after-ms: 0", field).into_bytes()
    };
    for once in [begun, but("x-should-retry: false"), but("retry-after: 30")] {
        assert_eq!(failed(&api.answered(once).await), Some(true));
    }
}

#[tokio::test]
async fn an_answer_that_was_asked_for_again_has_the_rest_of_the_time() {
    let seconds = Duration::from_secs;
    for begun in ["", STREAM] {
        let api = Api::with(|api| api.first_byte_timeout(seconds(30)), |responder| responder).await;
        let answer = api.say("hello");
        let mut peer = api.accept().await;
        peer.request().await;
        pass(20).await;
        peer.send(refused(503)).await;
        drop(peer);
        let mut peer = api.accept().await;
        peer.request().await;
        peer.send(begun).await;
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
        pass(11).await;
        assert_eq!(failed(&soon(answer).await.unwrap()), Some(true));
        peer.expect_closed().await;
    }
}

#[tokio::test]
async fn a_refused_request_ends_the_turn_before_any_output() {
    let api = Api::bind().await;
    for (status, may_retry) in [
        (400, false),
        (401, false),
        (403, false),
        (404, false),
        (429, true),
        (500, true),
        (503, true),
        (307, false),
    ] {
        let refusal = refused(status);
        let asked = if may_retry { 3 } else { 1 };
        let answer = api.answered_each(&vec![&*refusal; asked]).await;
        assert_eq!(failed(&answer), Some(may_retry), "{status}");
        let types = answer.types();
        assert_eq!(types, ["thread.created", "thread.item.done", "stream_options", "error"]);
        assert!(!format!("{:?}", answer.frames).contains("planted"));
        // The question is stored, so it can be answered later.
        assert_eq!(items(&api.server, &answer.thread_id()).await.len(), 1);
    }
}

#[tokio::test]
async fn an_answer_that_is_none_ends_the_turn_before_any_output() {
    let api = Api::bind().await;
    let stream = |events: &str| {
        let events = chunk(events);
        [STREAM.as_bytes(), &events, LAST_CHUNK.as_bytes()].concat()
    };
    // What would be an answer, by another name.
    let text = stream(&(delta("planted") + DONE));
    let text = String::from_utf8(text).unwrap().replace("text/event-stream", "text/plain");
    let filtered = r#"data: {"choices":[{"delta":{},"finish_reason":"content_filter"}]}"#;
    for (what, bytes, may_retry, asked) in [
        ("nothing", Vec::new(), true, 3),
        ("nonsense", b"SSH-2.0-x\r\n".to_vec(), true, 3),
        ("no stream", text.into_bytes(), true, 1),
        ("a head", STREAM.as_bytes().to_vec(), true, 1),
        ("no chunk", stream("data: planted\n\n"), true, 1),
        ("an error", stream("data: {\"error\":{\"code\":\"overloaded\"}}\n\n"), true, 3),
        ("an early end", stream(": nothing\n\n"), true, 1),
        ("no text", stream(DONE), true, 1),
        ("a filter", stream(&format!("{filtered}\n\n")), false, 1),
        ("too much", stream(&format!("data: {}", "x".repeat(300 << 10))), false, 1),
    ] {
        let answer = api.answered_each(&vec![&*bytes; asked]).await;
        assert_eq!(failed(&answer), Some(may_retry), "{what}");
        assert_eq!(answer.types().len(), 4, "{what}");
        assert_eq!(items(&api.server, &answer.thread_id()).await.len(), 1, "{what}");
    }
    // Bound, so that nobody else is given the port, and without a listener.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let server = asking(socket.local_addr().unwrap(), |api| api, |responder| responder);
    assert_eq!(failed(&soon(create(&server, "hello")).await), Some(true));
}

#[tokio::test]
async fn an_answer_that_breaks_off_ends_in_an_error_and_is_not_stored() {
    let api = Api::bind().await;
    let begun = [STREAM.as_bytes(), &chunk(delta("half"))].concat();
    let unfinished = [&*begun, LAST_CHUNK.as_bytes()].concat();
    let reported = [&*begun, &chunk("data: {\"error\":\"planted\"}\n\n")].concat();
    for (what, bytes) in [("cut", begun), ("unfinished", unfinished), ("reported", reported)] {
        let answer = api.answered(bytes).await;
        assert_eq!(
            (said(&answer), failed(&answer)),
            (vec!["half".to_owned()], Some(true)),
            "{what}"
        );
        assert!(!answer.cut, "{what}");
        assert_eq!(items(&api.server, &answer.thread_id()).await.len(), 1, "{what}");
    }
}
