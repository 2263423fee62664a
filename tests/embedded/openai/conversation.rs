//! What the model is told of a conversation, and how that goes on.

use super::*;

#[tokio::test]
async fn the_model_is_told_the_prompt_and_the_conversation() {
    let api = Api::with(
        |api| api,
        |responder| responder.with_api_key(KEY).unwrap().with_system_prompt("Be brief."),
    )
    .await;
    let answer = api.say("Who?");
    let mut peer = api.accept().await;
    let (head, body) = peer.request().await;
    assert!(head.starts_with("post /v1/chat/completions http/1.1\r\n"), "{head}");
    for field in [
        "authorization: bearer planted-key",
        "content-type: application/json",
        "accept: text/event-stream",
        "accept-encoding: identity",
    ] {
        assert!(head.lines().any(|line| line == field), "{field} in {head}");
    }
    assert_eq!(
        body,
        r#"{"model":"a-model","messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"Who?"}],"stream":true}"#
    );
    peer.answer("Me.").await;
    let thread_id = soon(answer).await.unwrap().thread_id();

    // With a model and a quotation that the user chose; on the same connection.
    let (server, id) = (api.server.clone(), thread_id.clone());
    let second = tokio::spawn(async move {
        let input = r#"{"content":[{"type":"input_text","text":"Why?"}],"quoted_text":"Me.","attachments":[],"inference_options":{"model":"another"}}"#;
        let id = quoted(&id);
        post(&server, &format!(r#"{{"type":"threads.add_user_message","params":{{"input":{input},"thread_id":{id}}}}}"#)).await
    });
    let (_, body) = peer.request().await;
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["model"], "a-model");
    assert_eq!(
        body["messages"],
        json!([
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Who?"},
            {"role": "assistant", "content": "Me."},
            {"role": "user", "content": "> Me.\n\nWhy?"},
        ])
    );
    peer.answer("Because.").await;
    assert_eq!(text_of(&soon(second).await.unwrap().last_item()), "Because.");
}

/// Says something, and leaves as many items that nobody is told.
#[derive(Debug)]
struct Noisy(usize);

impl Responder for Noisy {
    fn respond(&self, mut turn: Turn) -> embedded::TurnFuture {
        assert!(turn.items().len() <= 100);
        let items = self.0;
        Box::pin(async move {
            for _ in 0..items {
                turn.emit_item(Content::EndOfTurn(EndOfTurn::default())).await;
            }
            let mut message = turn.begin_message().await;
            message.say("noted").await;
            message.end().await;
            Ok(())
        })
    }
}

#[tokio::test]
async fn messages_are_told_beyond_a_hundred_items_and_not_beyond_a_thousand() {
    for (noise, questions, told) in [(40, 5, 11), (10, 30, 49), (500, 3, 3)] {
        let api = Api::bind().await;
        let noisy = api.server.clone().with_responder(Noisy(noise));
        let thread_id = create(&noisy, "q0").await.thread_id();
        for n in 1..questions {
            add(&noisy, &thread_id, &format!("q{n}")).await;
        }
        let server = api.server.clone();
        let answer = tokio::spawn(async move { add(&server, &thread_id, "now").await });
        let mut peer = api.accept().await;
        let (_, body) = peer.request().await;
        let body: Value = serde_json::from_str(&body).unwrap();
        let messages = body["messages"].as_array().unwrap();
        assert_eq!(messages.len(), told, "{noise}");
        assert_eq!(messages.last().unwrap()["content"], "now");
        peer.answer("Yes.").await;
        soon(answer).await.unwrap();
    }
}

#[tokio::test]
async fn without_a_key_there_is_no_authorization() {
    let api = Api::bind().await;
    let answer = api.say("hello");
    let mut peer = api.accept().await;
    let (head, body) = peer.request().await;
    assert!(!head.contains("authorization"), "{head}");
    assert!(!body.contains("system"), "{body}");
    peer.answer("Hi.").await;
    assert_eq!(said(&soon(answer).await.unwrap()), ["Hi."]);
}

#[tokio::test]
async fn a_conversation_goes_on_after_a_failure() {
    let api = Api::bind().await;
    let failed_at = api.answered(refused(401)).await;
    let thread_id = failed_at.thread_id();
    let (server, id) = (api.server.clone(), thread_id.clone());
    let second = tokio::spawn(async move { add(&server, &id, "again").await });
    let mut peer = api.accept().await;
    let (_, body) = peer.request().await;
    // Some APIs want the roles to alternate.
    let messages = r#""messages":[{"role":"user","content":"hello\n\nagain"}]"#;
    assert!(body.contains(messages), "{body}");
    peer.answer("Here.").await;
    assert_eq!(said(&soon(second).await.unwrap()), ["Here."]);
    // Actions are not for models.
    let act = format!(
        r#"{{"type":"threads.custom_action","params":{{"thread_id":"{thread_id}","action":{{"type":"a"}}}}}}"#
    );
    assert_eq!(post(&api.server, &act).await.types(), ["stream_options", "error"]);
}

impl Api {
    /// Says something more. Gives what the model was told each time, and the answer to it.
    async fn add(&self, thread_id: &str, text: &str, answers: &[&[u8]]) -> (Vec<Value>, Answer) {
        let (server, id, text) = (self.server.clone(), thread_id.to_owned(), text.to_owned());
        let answer = tokio::spawn(async move { add(&server, &id, &text).await });
        let mut told = Vec::new();
        for bytes in answers {
            let mut peer = self.accept().await;
            let (_, body) = peer.request().await;
            let body: Value = serde_json::from_str(&body).unwrap();
            let messages = body["messages"].as_array().unwrap().iter();
            told.push(messages.map(|message| message["content"].clone()).collect());
            peer.send(bytes).await;
        }
        let answer = soon(answer).await.unwrap();
        let again = self.listener.accept();
        assert!(tokio::time::timeout(Duration::ZERO, again).await.is_err(), "asked once more");
        (told, answer)
    }
}

#[tokio::test]
async fn a_question_that_was_refused_is_not_in_the_way_of_the_next() {
    let stream = |events: String| {
        let head = STREAM.replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n");
        [head.as_bytes(), &chunk(events), LAST_CHUNK.as_bytes()].concat()
    };
    let good = stream(delta("ok") + DONE);
    let filter = refused_for(400, "content_filter");
    for refusal in [
        filter.clone(),
        refused_for(400, "context_length_exceeded"),
        stream("data: {\"error\":{\"code\":\"content_policy_violation\"}}\n\n".to_owned()),
        stream(end("", "content_filter")),
        // Nor is one whose answer was.
        stream(delta("half") + &end("", "content_filter")),
        stream(delta("half") + "data: {\"error\":{\"code\":400}}\n\n"),
    ] {
        let api = Api::bind().await;
        let bad = api.answered(&refusal).await;
        assert_eq!(failed(&bad), Some(false));
        let id = bad.thread_id();
        assert_eq!(items(&api.server, &id).await.len(), 1);
        let (told, answer) = api.add(&id, "innocent", &[&good]).await;
        assert_eq!((json!(told), said(&answer)), (json!([["innocent"]]), vec!["ok".to_owned()]));
    }
    // What may have been refused for another reason is told again; and less if that is refused, once.
    for refusal in [refused(401), refused(403), refused(404), refused(400), refused(422)] {
        let api = Api::bind().await;
        let id = api.answered(&refusal).await.thread_id();
        let (told, answer) = api.add(&id, "again", &[&filter, &good]).await;
        assert_eq!(json!(told), json!([["hello\n\nagain"], ["again"]]));
        assert_eq!(said(&answer), ["ok"]);
        let (told, answer) = api.add(&id, "bad", &[&filter, &filter]).await;
        assert_eq!(json!(told[1]), json!(["again", "ok", "bad"]));
        assert_eq!(failed(&answer), Some(false));
        let (told, _) = api.add(&id, "and", &[&good]).await;
        assert_eq!(json!(told), json!([["hello\n\nagain", "ok", "and"]]));
    }
}

#[tokio::test]
async fn of_a_conversation_that_is_too_long_the_newer_half_is_told() {
    let api = Api::bind().await;
    let good = chunk(delta("ok") + DONE);
    let head = STREAM.replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n");
    let good = [head.as_bytes(), &good, LAST_CHUNK.as_bytes()].concat();
    let long = refused_for(400, "context_length_exceeded");
    let id = api.answered(&good).await.thread_id();
    for text in ["b", "c"] {
        api.add(&id, text, &[&good]).await;
    }
    let (told, answer) = api.add(&id, "now, at length", &[&long, &good]).await;
    assert_eq!(
        json!(told),
        json!([
            ["hello", "ok", "b", "ok", "c", "ok", "now, at length"],
            ["b", "ok", "c", "ok", "now, at length"]
        ])
    );
    assert_eq!(said(&answer), ["ok"]);
    // Not more than once, and not beyond the time that there is.
    let (_, answer) = api.add(&id, "more", &[&long, &long]).await;
    assert_eq!(failed(&answer), Some(false));
}
