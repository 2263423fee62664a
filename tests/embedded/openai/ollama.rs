//! Ollama's `/v1/chat/completions`, as its published source writes it. It was not run for this.

use super::*;

const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
    Date: Thu, 26 Nov 2026 12:00:00 GMT\r\nTransfer-Encoding: chunked\r\n\r\n";

/// Gives an event of its own, in a chunk of HTTP of its own: each has the role, and a fingerprint.
fn event(delta: &str, reason: &str) -> Vec<u8> {
    chunk(format!(
        "data: {{\"id\":\"chatcmpl-768\",\"object\":\"chat.completion.chunk\",\
         \"created\":1795694400,\"model\":\"llama3.2\",\"system_fingerprint\":\"fp_ollama\",\
         \"choices\":[{{\"index\":0,\"delta\":{{\"role\":\"assistant\",{delta}}},\
         \"finish_reason\":{reason}}}]}}\n\n"
    ))
}

fn stream(events: &[Vec<u8>]) -> Vec<u8> {
    [HEAD.as_bytes(), &events.concat(), LAST_CHUNK.as_bytes()].concat()
}

#[tokio::test]
async fn its_answers_are_read_with_thoughts_and_without() {
    let api = Api::bind().await;
    let thoughts = [
        event("\"content\":\"\",\"reasoning\":\"planted\"", "null"),
        event("\"content\":\"\",\"reasoning\":\" thought\"", "null"),
    ];
    let words = ["Good", " day"].map(|word| event(&format!("\"content\":\"{word}\""), "null"));
    for (what, thoughts) in [("with", &thoughts[..]), ("without", &[])] {
        for reason in ["\"stop\"", "\"length\""] {
            let end = [event("\"content\":\"\"", reason), chunk(DONE)];
            let answer = api.answered(stream(&[thoughts, &words, &end].concat())).await;
            assert_eq!((said(&answer).concat(), failed(&answer)), ("Good day".to_owned(), None));
            assert_eq!(text_of(&answer.last_item()), "Good day", "{what} thoughts, {reason}");
            assert!(!format!("{:?}", answer.frames).contains("planted"), "{what}");
        }
    }
}

#[tokio::test]
async fn a_model_that_was_not_pulled_is_asked_once() {
    let api = Api::bind().await;
    let body = "{\"error\":{\"message\":\"model 'a-model' not found\",\
        \"type\":\"not_found_error\",\"param\":null,\"code\":null}}\n";
    let length = body.len();
    let refusal = format!(
        "HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    let answer = api.answered(refusal).await;
    assert_eq!(failed(&answer), Some(false));
    assert_eq!(items(&api.server, &answer.thread_id()).await.len(), 1);
}

/// Of what fails in the middle it writes an answer without words, and no `[DONE]`.
#[tokio::test]
async fn a_model_that_dies_is_a_failure() {
    let api = Api::bind().await;
    let begun = event("\"content\":\"half\"", "null");
    let dead = event("\"content\":\"\"", "null");
    let dead = String::from_utf8(dead).unwrap().replace("\"llama3.2\"", "\"\"");
    let dead = chunk(dead.split_once("\r\n").unwrap().1.trim_end_matches("\r\n"));
    let answer = api.answered(stream(&[begun, dead])).await;
    assert_eq!((said(&answer).concat(), failed(&answer)), ("half".to_owned(), Some(true)));
    assert_eq!(items(&api.server, &answer.thread_id()).await.len(), 1);
}
