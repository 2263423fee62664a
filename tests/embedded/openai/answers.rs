//! How an answer is read: piece by piece, as servers write it, and to its end.

use super::*;

#[tokio::test]
async fn each_piece_of_text_is_there_before_the_next_is_sent() {
    let api = Api::bind().await;
    let mut body = send(&api.server, &create_body("hello")).await.into_body();
    for expected in ["thread.created", "thread.item.done", "stream_options"] {
        assert_eq!(kind(&next(&mut body).await), expected);
    }
    let reading = tokio::spawn(async move {
        let added = next(&mut body).await;
        (added, body)
    });
    let mut peer = api.accept().await;
    peer.request().await;
    peer.send(STREAM).await;
    peer.send(chunk("data: {\"choices\":[{\"delta\":{\"role\":\"assistant\"}}]}\n\n")).await;
    peer.send(chunk(delta("Good "))).await;
    let (added, mut body) = soon(reading).await.unwrap();
    assert_eq!(kind(&added), "thread.item.added");
    assert!(kind(&next(&mut body).await).ends_with("content_part.added"));
    let event = soon(next(&mut body)).await;
    assert_eq!(string(event.get("update").unwrap(), "delta"), "Good ");

    peer.send(chunk(delta("day"))).await;
    let event = soon(next(&mut body)).await;
    assert_eq!(string(event.get("update").unwrap(), "delta"), "day");

    peer.send(chunk(DONE)).await;
    assert!(kind(&soon(next(&mut body)).await).ends_with("content_part.done"));
    let done = soon(next(&mut body)).await;
    assert_eq!(text_of(done.get("item").unwrap()), "Good day");
    assert!(soon(body.frame()).await.is_none());
}

#[tokio::test]
async fn a_stream_of_single_bytes_is_the_same_answer() {
    let api = Api::bind().await;
    let events =
        format!(": hm\r\n\r\n{}\r\n{}{DONE}", delta("Gr\u{fc}\u{df}e \u{1f600}"), delta("!"));
    let mut bytes = STREAM.as_bytes().to_vec();
    events.bytes().for_each(|byte| bytes.extend(chunk([byte])));
    let answer = api.answered(bytes).await;
    assert_eq!(said(&answer), ["Gr\u{fc}\u{df}e \u{1f600}", "!"]);
    assert_eq!(text_of(&answer.last_item()), "Gr\u{fc}\u{df}e \u{1f600}!");
}

#[tokio::test]
async fn a_finished_answer_needs_no_end_of_the_stream() {
    let alive = ": hm\n\ndata:\n\n".to_owned();
    let (idle, empty) = (120, delta(""));
    for (events, sign, last_sign, patience) in [
        // Whatever comes then is no answer.
        (delta("here") + &end("", "stop"), &alive, 1, 2),
        (delta("here") + &end("", "length"), &empty, 1, 2),
        // The reason may stand in every chunk, and there may be more of them.
        (delta("it ends ") + &end("here", "stop"), &empty, 0, 10),
        (end("here", "length"), &empty, 0, 10),
        (end("it ends ", "in_progress") + &end("here", "in_progress"), &alive, 0, 10),
        // The server is there.
        (end("here", "stop"), &alive, 9, 19),
        (end("here", "stop"), &empty, idle - 1, idle),
    ] {
        let api = Api::bind().await;
        let (mut body, mut peer) = begun(&api, &events).await;
        let mut last = tokio::spawn(async move { (next(&mut body).await, body) });
        settle().await;
        let mut passed = 0;
        while passed < last_sign {
            let step = (last_sign - passed).min(9);
            pass(step).await;
            passed += step;
            peer.send(chunk(sign)).await;
            settle().await;
        }
        if passed + 1 < patience {
            pass(patience - passed - 1).await;
            passed = patience - 1;
            settle().await;
        }
        assert!(!last.is_finished(), "{events}");
        pass(patience - passed).await;
        let (done, mut body) = soon(&mut last).await.unwrap();
        assert!(kind(&done).ends_with("content_part.done"), "{done}");
        assert_eq!(kind(&next(&mut body).await), "thread.item.done");
        assert!(soon(body.frame()).await.is_none());
        peer.expect_closed().await;
    }
}

#[tokio::test]
async fn a_pause_in_an_answer_with_a_reason_in_every_chunk_is_none() {
    let alive = ": hm\n\n".to_owned();
    for (events, word, signs, pause) in [
        (end("One ", "stop"), "stop", 6, 2),
        (delta("One ") + &end("two ", "stop"), "stop", 3, 1),
        (delta("One ") + &end("two ", "stop"), "stop", 1, 5),
        (end("One ", "length"), "length", 1, 3),
        (end("One ", "in_progress") + &end("two ", "in_progress"), "in_progress", 1, 3),
        (end("One ", "unknown") + &end("two ", "unknown"), "unknown", 1, 3),
    ] {
        let api = Api::bind().await;
        let (mut body, mut peer) = begun(&api, &events).await;
        let rest = tokio::spawn(async move {
            let mut event = next(&mut body).await;
            let text = string(event.get("update").unwrap(), "delta");
            while kind(&event) != "thread.item.done" {
                event = next(&mut body).await;
            }
            (text, text_of(event.get("item").unwrap()))
        });
        settle().await;
        for _ in 0..signs {
            pass(pause).await;
            peer.send(chunk(&alive)).await;
            settle().await;
        }
        peer.send(chunk(end("three", word) + DONE)).await;
        let (text, all) = soon(rest).await.unwrap();
        assert_eq!(text, "three", "{events}");
        assert!(all.starts_with("One ") && all.ends_with("three"), "{all}");
    }
}

#[tokio::test]
async fn an_answer_is_read_as_servers_write_it() {
    let api = Api::bind().await;
    let stop = |delta: Value| {
        let choice = json!({"delta": delta, "finish_reason": "stop"});
        format!("data: {}\n\n", json!({"choices": [choice]}))
    };
    let parts =
        |parts: Value| format!("data: {}\n\n", json!({"choices": [{"delta": {"content": parts}}]}));
    let thinking =
        parts(json!([{"type": "thinking", "thinking": [{"type": "text", "text": "planted"}]}]));
    let usage = "data: {\"choices\":[],\"usage\":{\"total_tokens\":3}}\n\n";
    let stream =
        |events: String| [STREAM.as_bytes(), &chunk(events), LAST_CHUNK.as_bytes()].concat();
    let whole = json!({"choices": [{"message": {"content": "Good day"}, "finish_reason": "stop"}]});
    let whole = whole.to_string();
    let length = whole.len();
    let document = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{whole}"
    );
    for (what, bytes) in [
        (
            "a reason in every chunk",
            stream(stop(json!({"content": "Good "})) + &stop(json!({"content": "day"})) + DONE),
        ),
        (
            "and no [DONE]",
            stream(stop(json!({"content": "Good "})) + &stop(json!({"content": "day"}))),
        ),
        (
            "a reason in a thought",
            stream(stop(json!({"reasoning": "planted"})) + &delta("Good day") + DONE),
        ),
        ("text after it", stream(stop(json!({"content": "Good "})) + &delta("day") + DONE)),
        ("tokens after it", stream(delta("Good ") + &stop(json!({"content": "day"})) + usage)),
        (
            "empty data",
            stream("data:\n\n".to_owned() + &delta("Good ") + "data: \n\n" + &delta("day") + DONE),
        ),
        (
            "parts",
            stream(
                thinking
                    + &parts(json!([{"type": "text", "text": "Good "}]))
                    + &delta("day")
                    + DONE,
            ),
        ),
        ("no last blank line", stream(delta("Good day") + "data: [DONE]")),
        ("no stream", document.into_bytes()),
        ("no stream by another name", stream(whole + "\n\n" + DONE)),
    ] {
        let answer = api.answered(bytes).await;
        assert_eq!(failed(&answer), None, "{what}");
        assert_eq!(text_of(&answer.last_item()), "Good day", "{what}");
    }
}

#[tokio::test]
async fn silence_ends_the_turn_after_a_while() {
    let seconds = Duration::from_secs;
    let api = Api::with(
        |api| api.first_byte_timeout(seconds(30)).idle_timeout(seconds(60)),
        |responder| responder,
    )
    .await;
    let answer = api.say("hello");
    let mut peer = api.accept().await;
    peer.request().await;
    pass(31).await;
    assert_eq!(failed(&soon(answer).await.unwrap()), Some(true));
    peer.expect_closed().await;

    let mut body = send(&api.server, &create_body("hello")).await.into_body();
    let reading = tokio::spawn(async move {
        while !kind(&next(&mut body).await).ends_with("text_delta") {}
        body
    });
    let mut peer = api.accept().await;
    peer.request().await;
    peer.send(STREAM).await;
    peer.send(chunk(delta("half"))).await;
    let mut body = soon(reading).await.unwrap();
    let last = tokio::spawn(async move { next(&mut body).await });
    // It begins to wait.
    for _ in 0..3 {
        tokio::task::yield_now().await;
    }
    pass(61).await;
    assert_eq!(kind(&soon(last).await.unwrap()), "error");
    peer.expect_closed().await;
}

#[tokio::test]
async fn when_the_client_leaves_the_connection_is_closed() {
    let api = Api::bind().await;
    // Before the answer's head, and in the middle of it.
    for begun in [false, true] {
        let mut body = send(&api.server, &create_body("hello")).await.into_body();
        let thread = next(&mut body).await;
        let thread_id = string(thread.get("thread").unwrap(), "id");
        next(&mut body).await;
        next(&mut body).await;
        let mut reading = Box::pin(async move {
            while !kind(&next(&mut body).await).ends_with("text_delta") {}
            body
        });
        let mut peer = tokio::select! {
            peer = api.accept() => peer,
            _ = &mut reading => unreachable!("nothing was said yet"),
        };
        tokio::select! {
            _ = peer.request() => {}
            _ = &mut reading => unreachable!("nothing was said yet"),
        }
        if begun {
            peer.send(STREAM).await;
            peer.send(chunk(delta("half"))).await;
            drop(soon(reading).await);
        } else {
            drop(reading);
        }
        peer.expect_closed().await;
        // As the SDK does: what was said so far is kept.
        let stored = items(&api.server, &thread_id).await;
        assert_eq!(stored.len(), if begun { 2 } else { 1 });
    }
}
