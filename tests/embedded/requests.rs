//! All sixteen requests when all is well.

use chatkit_rest::embedded::Json;

use crate::client::{add, array, create, items, json, kind, op, server, string, text_of};

const MESSAGE: [&str; 5] = [
    "thread.item.added",
    "assistant_message.content_part.added",
    "assistant_message.content_part.text_delta",
    "assistant_message.content_part.done",
    "thread.item.done",
];

/// Types with deltas in a row taken for one.
fn outline(answer: &crate::client::Answer) -> Vec<String> {
    let mut types = answer.types();
    types.dedup();
    types
}

fn kinds(items: &[Json]) -> Vec<String> {
    items.iter().map(|item| string(item, "type")).collect()
}

#[tokio::test]
async fn a_thread_is_created_answered_and_goes_on() {
    let server = server();
    let created = create(&server, "Good morning\nto you").await;
    let mut expected = vec!["thread.created", "thread.item.done", "stream_options"];
    expected.extend(["thread.item.added", "thread.updated"]);
    expected.extend(&MESSAGE[1..]);
    assert_eq!(outline(&created), expected);
    assert_eq!(text_of(&created.last_item()), "You said: Good morning\nto you");
    let updated = created.events().into_iter().find(|event| kind(event) == "thread.updated");
    assert_eq!(string(updated.unwrap().get("thread").unwrap(), "title"), "Good morning");

    let thread_id = created.thread_id();
    let added = add(&server, &thread_id, "again").await;
    let mut expected = vec!["thread.item.done", "stream_options"];
    expected.extend(MESSAGE);
    assert_eq!(outline(&added), expected);

    let got = op(&server, "threads.get_by_id", &format!(r#"{{"thread_id":"{thread_id}"}}"#)).await;
    let got = got.json();
    assert_eq!(string(&got, "title"), "Good morning");
    let texts: Vec<_> =
        array(got.get("items").unwrap().get("data").unwrap()).iter().map(text_of).collect();
    assert_eq!(
        texts,
        ["Good morning\nto you", "You said: Good morning\nto you", "again", "You said: again"]
    );
}

#[tokio::test]
async fn a_tool_is_called_and_its_output_taken() {
    let server = server();
    for (result, output, said) in [
        (r#"{"b":1,"a":null}"#, Some(r#"{"b":1,"a":null}"#), r#"f answered: {"b":1,"a":null}"#),
        ("1.50", Some("1.5"), "f answered: 1.5"),
        (
            "123456789012345678901",
            Some("123456789012345678901"),
            "f answered: 123456789012345678901",
        ),
        ("null", None, "f answered nothing."),
    ] {
        let called = create(&server, r#"/tool f {"z":[1,null],"a":2}"#).await;
        let call = called.last_item();
        assert_eq!(string(&call, "type"), "client_tool_call");
        assert_eq!(string(&call, "status"), "pending");
        assert_eq!(call.get("arguments").unwrap().to_string(), r#"{"z":[1,null],"a":2}"#);
        let thread_id = called.thread_id();

        let params = format!(r#"{{"thread_id":"{thread_id}","result":{result}}}"#);
        let resumed = op(&server, "threads.add_client_tool_output", &params).await;
        let mut expected = vec!["stream_options"];
        expected.extend(MESSAGE);
        assert_eq!(outline(&resumed), expected);
        assert_eq!(text_of(&resumed.last_item()), said);

        let items = items(&server, &thread_id).await;
        assert_eq!(kinds(&items), ["user_message", "client_tool_call", "assistant_message"]);
        assert_eq!(string(&items[1], "status"), "completed");
        assert_eq!(items[1].get("output").map(Json::to_string).as_deref(), output);

        let again = op(&server, "threads.add_client_tool_output", &params).await;
        assert!(again.is_cut_at_once(), "nothing is pending any more");
    }
}

#[tokio::test]
async fn a_structured_input_is_answered_once() {
    let server = server();
    let asked = create(&server, "/structured").await;
    let (thread_id, item_id) = (asked.thread_id(), string(&asked.last_item(), "id"));
    let params = |input: &str| {
        format!(r#"{{"thread_id":"{thread_id}","item_id":"{item_id}","input":{input}}}"#)
    };
    let input = r#"{"status":"answered","answers":{"priority":{"values":["High","Low"]},"tags":{"values":["Red","own"]},"notes":{"values":[]},"ghost":{"values":["x"]}}}"#;
    let answered = op(&server, "threads.add_structured_input", &params(input)).await;
    let mut expected = vec!["stream_options", "thread.item.replaced"];
    expected.extend(MESSAGE);
    assert_eq!(outline(&answered), expected);

    let item = items(&server, &thread_id).await[1].clone();
    assert_eq!(string(&item, "status"), "answered");
    assert_eq!(answered.events()[1].get("item"), Some(&item));
    let answers: Vec<_> = array(item.get("inputs").unwrap())
        .iter()
        .map(|input| input.get("answer").unwrap().to_string())
        .collect();
    assert_eq!(
        answers,
        [
            r#"{"values":["High"],"skipped":false}"#,
            r#"{"values":["Red","own"],"skipped":false}"#,
            r#"{"values":[],"skipped":true}"#
        ]
    );
    assert!(op(&server, "threads.add_structured_input", &params("{}")).await.is_cut_at_once());

    let asked = create(&server, "/structured").await;
    let params = format!(
        r#"{{"thread_id":"{}","item_id":"{}","input":{{"status":"skipped","answers":{{"notes":{{"values":["n"]}}}}}}}}"#,
        asked.thread_id(),
        string(&asked.last_item(), "id")
    );
    let skipped = op(&server, "threads.add_structured_input", &params).await.events()[1].clone();
    assert_eq!(string(skipped.get("item").unwrap(), "status"), "skipped");
    assert!(!skipped.to_string().contains(r#""skipped":false"#));
}

#[tokio::test]
async fn a_retry_deletes_what_follows_and_answers_again() {
    let server = server();
    let created = create(&server, "first").await;
    let thread_id = created.thread_id();
    add(&server, &thread_id, "second").await;
    let before = items(&server, &thread_id).await;

    let message_id = string(&before[0], "id");
    let params = format!(r#"{{"thread_id":"{thread_id}","item_id":"{message_id}"}}"#);
    let retried = op(&server, "threads.retry_after_item", &params).await;
    let mut expected = vec!["stream_options"];
    expected.extend(MESSAGE);
    assert_eq!(outline(&retried), expected);

    let after = items(&server, &thread_id).await;
    assert_eq!(kinds(&after), ["user_message", "assistant_message"]);
    assert_eq!(after[0], before[0]);
    assert_ne!(after[1].get("id"), before[1].get("id"));
    assert_eq!(text_of(&after[1]), "You said: first");
}

#[tokio::test]
async fn actions_change_their_widget() {
    let server = server();
    let shown = create(&server, "/widget").await;
    let (thread_id, widget) = (shown.thread_id(), shown.last_item());
    let sender = format!(r#""thread_id":"{thread_id}","item_id":"{}""#, string(&widget, "id"));
    let action =
        |presses| format!(r#""action":{{"type":"press","payload":{{"presses":{presses}}}}}"#);

    let params = format!("{{{sender},{}}}", action(1));
    let replaced = op(&server, "threads.custom_action", &params).await;
    assert_eq!(replaced.types(), ["stream_options", "thread.item.replaced"]);
    assert!(replaced.last_item().to_string().contains("Pressed once."));
    for key in ["id", "created_at"] {
        assert_eq!(replaced.last_item().get(key), widget.get(key));
    }
    assert_eq!(items(&server, &thread_id).await[1], replaced.last_item());

    let params = format!("{{{sender},{}}}", action(2));
    let updated = op(&server, "threads.sync_custom_action", &params).await.json();
    assert!(updated.to_string().starts_with(r#"{"updated_item":{"id":"#));
    assert_eq!(Some(&items(&server, &thread_id).await[1]), updated.get("updated_item"));

    let params = format!(r#"{{"thread_id":"{thread_id}",{}}}"#, action(1));
    assert_eq!(op(&server, "threads.sync_custom_action", &params).await.json(), json("{}"));
    let said = op(&server, "threads.custom_action", &params).await.last_item();
    assert_eq!(text_of(&said), r#"Action press with {"presses":1}."#);
}

#[tokio::test]
async fn attachments_are_created_used_and_deleted() {
    let server = server();
    let file = r#"{"name":"doc ü.pdf","size":"12","mime_type":"application/pdf"}"#;
    let file = op(&server, "attachments.create", file).await.json();
    let id = string(&file, "id");
    assert_eq!(
        file.to_string(),
        format!(
            r#"{{"id":"{id}","name":"doc ü.pdf","mime_type":"application/pdf","upload_descriptor":{{"url":"https://uploads.invalid/{id}","method":"POST","headers":{{}}}},"type":"file"}}"#
        )
    );
    let image = r#"{"name":"cat.png","size":-5,"mime_type":"image/png"}"#;
    let image = op(&server, "attachments.create", image).await.json();
    assert!(string(&image, "preview_url").starts_with("data:image/png;base64,"));

    let body = crate::client::create_body("with files").replace(
        r#""attachments":[]"#,
        &format!(r#""attachments":["{id}","{}"]"#, string(&image, "id")),
    );
    let created = crate::client::post(&server, &body).await;
    let message = created.events()[1].get("item").unwrap().clone();
    for attachment in array(message.get("attachments").unwrap()) {
        assert_eq!(string(attachment, "thread_id"), created.thread_id());
    }
    assert_eq!(items(&server, &created.thread_id()).await[0], message);

    let params = format!(r#"{{"attachment_id":"{id}"}}"#);
    assert_eq!(op(&server, "attachments.delete", &params).await.json(), json("{}"));
    let unknown = crate::client::post(&server, &body).await;
    assert_eq!((unknown.types(), unknown.cut), (vec!["thread.created".to_owned()], true));
}

#[tokio::test]
async fn threads_are_renamed_and_deleted() {
    let server = server();
    let thread_id = create(&server, "hello").await.thread_id();
    let id = format!(r#""thread_id":"{thread_id}""#);
    let params = format!(r#"{{{id},"title":""}}"#);
    let renamed = op(&server, "threads.update", &params).await.json();
    let created_at = string(&renamed, "created_at");
    assert_eq!(
        renamed.to_string(),
        format!(
            r#"{{"title":"","id":"{thread_id}","created_at":"{created_at}","status":{{"type":"active"}},"metadata":{{}},"items":{{"data":[],"has_more":false}}}}"#
        )
    );
    for _ in 0..2 {
        assert_eq!(op(&server, "threads.delete", &format!("{{{id}}}")).await.json(), json("{}"));
    }
    assert!(op(&server, "threads.get_by_id", &format!("{{{id}}}")).await.is_bare_500());
    assert_eq!(items(&server, &thread_id).await, []);
}

#[tokio::test]
async fn feedback_is_taken_and_audio_is_weighed() {
    let server = server();
    let params = r#"{"thread_id":"thr_nope","item_ids":[],"kind":"positive"}"#;
    assert_eq!(op(&server, "items.feedback", params).await.json(), json("{}"));
    let params = r#"{"audio_base64":"T2d*g*Uw==","mime_type":"audio/webm;codecs=opus"}"#;
    let text = op(&server, "input.transcribe", params).await.json();
    assert_eq!(text.to_string(), r#"{"text":"(4 bytes of audio/webm;codecs=opus)"}"#);
}
