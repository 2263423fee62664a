use proptest::prelude::*;

use super::super::events::{MAX_EVENT, MAX_TEXT};
use super::*;
use crate::forward::ForwardErrorKind;

/// The texts, and how it ended.
type Read = (Vec<String>, String);

fn read(pieces: &[&[u8]]) -> Read {
    read_and_close(pieces, None)
}

fn read_and_close(pieces: &[&[u8]], close: Option<Close>) -> Read {
    let (mut chunks, mut texts) = (Chunks::new(), Vec::new());
    for piece in pieces {
        chunks.feed(piece);
        if let Some(end) = drain(&mut chunks, &mut texts) {
            return (texts, end);
        }
    }
    let open = match chunks.tail_wait() {
        None => "open",
        Some(TailWait::Certain(_)) => "finished",
        Some(TailWait::Doubtful(_)) => "perhaps finished",
        Some(TailWait::Nothing) => "nothing said",
    };
    if let Some(close) = close {
        chunks.close(close);
    }
    let end = drain(&mut chunks, &mut texts).unwrap_or_else(|| open.to_owned());
    (texts, end)
}

fn drain(chunks: &mut Chunks, texts: &mut Vec<String>) -> Option<String> {
    loop {
        match chunks.next() {
            Ok(None) => return None,
            Ok(Some(AnswerPiece::Text(text))) => texts.push(text),
            Ok(Some(AnswerPiece::End)) => return Some("end".to_owned()),
            Err(trouble) => return Some(format!("{trouble:?}")),
        }
    }
}

fn expect(stream: &str, texts: &[&str], end: &str) {
    let (said, ended) = read(&[stream.as_bytes()]);
    assert_eq!(
        (said.as_slice(), ended.as_str()),
        (&*texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>(), end),
        "{stream}"
    );
}

fn delta(delta: &str) -> String {
    format!(
        "data: {{\"object\":\"chat.completion.chunk\",\"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":null}}]}}\n\n"
    )
}

const FINISHED: &str = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";

#[test]
fn texts_come_one_by_one_until_the_end() {
    let stream = [
        ": warming up\r\n\r\n",
        &delta(r#"{"role":"assistant","content":""}"#),
        "event: message\nid: 7\nretry: 1\n",
        &delta(r#"{"content":"Good "}"#),
        &delta(r#"{"role":"assistant"}"#),
        &delta(r#"{"reasoning_content":"hm","reasoning":"hm","content":null}"#),
        "data: {\"choices\":[{\"index\":1,\"delta\":{\"content\":\"another\"}}]}\n\n",
        "data:{\"choices\":[{\"delta\":{\"content\":\"day\"}}]}\r\n\r\n",
        "data: {\"choices\":[],\"usage\":{\"total_tokens\":3}}\n\n",
        "data: {\"choices\":null}\n\ndata: {}\n\n",
        &delta(r#"{"content":"."}"#),
        "data: [DONE]\n\n",
        &delta(r#"{"content":"late"}"#),
    ]
    .concat();
    expect(&stream, &["Good ", "day", "."], "end");
}

fn finish(text: &str, reason: &str) -> String {
    format!(
        "data: {{\"choices\":[{{\"delta\":{{\"content\":\"{text}\"}},\"finish_reason\":\"{reason}\"}}]}}\n\n"
    )
}

fn text(text: &str) -> String {
    delta(&format!("{{\"content\":\"{text}\"}}"))
}

/// Checks what comes of a stream that is read, and then closed so.
fn expect_closed(stream: &str, close: Close, texts: &[&str], end: &str) {
    let (said, ended) = read_and_close(&[stream.as_bytes()], Some(close));
    assert_eq!(said, texts, "{stream}");
    assert!(ended.starts_with(end), "{ended} instead of {end}: {stream}");
}

fn broken(kind: ForwardErrorKind) -> Close {
    Close::Broken(ForwardError::new(kind))
}

#[test]
fn a_finish_reason_lets_it_end_and_a_failure_ends_it() {
    for (reason, end) in [
        ("stop", "perhaps finished"),
        ("length", "perhaps finished"),
        ("in_progress", "perhaps finished"),
        ("content_filter", "Filtered"),
        (
            "error",
            "Reported(ApiReport { label: Some(Label(\"error\")), may_pass: None, about: Perhaps })",
        ),
        ("", "open"),
    ] {
        expect(&finish("last", reason), &["last"], end);
    }
    for reason in ["stop", "length", "MAX_TOKENS", "tool_calls", "eos"] {
        expect(&(text("last") + &finish("", reason)), &["last"], "finished");
    }
}

#[test]
fn what_follows_a_finish_reason_is_read() {
    let done = "data: [DONE]\n\n";
    let usage = "data: {\"choices\":[],\"usage\":{\"total_tokens\":3}}\n\n";
    let one = finish("One ", "stop");
    let thinking = delta("{\"reasoning_content\":\"planted\"}").replace("null}]", "\"stop\"}]");
    for (stream, texts, end) in [
        (one.clone() + &finish("two", "stop") + done, &["One ", "two"][..], "end"),
        (one.clone() + &text("two") + done, &["One ", "two"], "end"),
        (thinking.clone() + &text("two") + FINISHED + usage + done, &["two"], "end"),
        (text("One") + FINISHED + usage + done, &["One"], "end"),
        (thinking, &[], "nothing said"),
        (one.clone() + &finish("two", "stop"), &["One ", "two"], "perhaps finished"),
        (one.clone() + &text("two"), &["One ", "two"], "open"),
        (one.clone() + &text("two") + FINISHED, &["One ", "two"], "perhaps finished"),
        (text("One ") + &finish("two", "stop"), &["One ", "two"], "perhaps finished"),
        (one.clone() + &finish("", "stop"), &["One "], "perhaps finished"),
        (text("One ") + FINISHED + &text("two"), &["One ", "two"], "open"),
        (text("One ") + FINISHED + &text("two") + FINISHED, &["One ", "two"], "perhaps finished"),
        (text("One") + FINISHED + usage, &["One"], "finished"),
        (one.clone() + &finish("two", "content_filter") + done, &["One ", "two"], "Filtered"),
        (
            one + "data: {\"error\":{\"code\":400}}\n\n" + done,
            &["One "],
            "Reported(ApiReport { label: Some(Label(\"400\")), may_pass: Some(false), about: Perhaps })",
        ),
    ] {
        expect(&stream, texts, end);
    }
}

#[test]
fn an_end_without_a_finish_reason_is_a_cut() {
    use ForwardErrorKind::{BodyCut, IdleTimeout};
    let sure = text("One") + FINISHED;
    let doubtful = finish("One", "stop");
    for stream in [&sure, &doubtful] {
        expect_closed(stream, Close::Clean, &["One"], "end");
        expect_closed(stream, Close::Silent, &["One"], "end");
        expect_closed(stream, broken(IdleTimeout), &["One"], "end");
    }
    expect_closed(&sure, broken(BodyCut), &["One"], "end");
    expect_closed(&doubtful, broken(BodyCut), &["One"], "Exchange");
    expect_closed(&text("One"), Close::Clean, &["One"], "Cut");
    expect_closed(&text("One"), broken(BodyCut), &["One"], "Exchange");
    expect_closed("", Close::Clean, &[], "Cut");
    // The blank line after the last event is missing.
    let unended = |stream: &str| stream.trim_end().to_owned();
    expect_closed(&unended(&(text("One") + FINISHED)), Close::Clean, &["One"], "end");
    expect_closed(&(text("One") + "data: [DONE]"), Close::Clean, &["One"], "end");
    expect_closed(&(text("One") + "data: {\"cho"), Close::Clean, &["One"], "Cut");
    expect_closed(&(text("One") + "{\"error\":\"x\"}"), Close::Clean, &["One"], "Reported");
    // Nor is one that ends a text that went on after it.
    let after = finish("One ", "stop") + &text("two");
    for close in [Close::Clean, broken(IdleTimeout)] {
        let (_, end) = read_and_close(&[after.as_bytes()], Some(close));
        assert!(end.starts_with("Cut") || end.starts_with("Exchange"), "{end}");
    }
}

#[test]
fn what_is_cut_or_no_stream_ends_only_what_was_finished_for_certain() {
    for rest in [
        "data: {\"choices\":[{\"delta\":{\"content\":\"tw",
        "data: {\"choices\":[{\"delta\":{\"content\":\"tw\n",
        "dat",
        "event: mess\ndata: {",
        "eve",
        "{\"choices\":[",
        "upstream connect error or disconnect/reset before headers",
        "<html>\n<h1>502 Bad Gateway</h1>\n</html>\n",
        "error code: 502\n\n",
        "Internal Server Error\n\n",
        "502: Bad Gateway\n\n",
    ] {
        for (stream, ends) in [(text("One") + FINISHED, "end"), (finish("One", "stop"), "Cut")] {
            let stream = stream + rest;
            expect_closed(&stream, Close::Clean, &["One"], ends);
            // Within a line it can't be told before its end.
            if rest.ends_with("\n\n") {
                expect_closed(&stream, Close::Silent, &["One"], ends);
                expect(&(stream + "data: [DONE]\n\n"), &["One"], "end");
            }
        }
    }
    let known = ": hm\nid: 7\nretry: 3000\nid\nevent\nevent: x\n\n: torn";
    expect_closed(&(finish("One", "stop") + known), Close::Clean, &["One"], "end");
}

#[test]
fn nothing_but_the_answer_goes_on_with_it() {
    let mut chunks = Chunks::new();
    for (event, goes_on) in [
        (": hm\n\n".to_owned(), false),
        (delta(r#"{"role":"assistant","content":""}"#), false),
        (delta(r#"{"reasoning_content":""}"#), false),
        (delta(r#"{"reasoning_content":"hm"}"#), true),
        (text("One"), true),
        (delta(r#"{"reasoning_content":"hm"}"#), false),
        (FINISHED.to_owned(), true),
        (FINISHED.to_owned(), false),
        (delta("{}"), false),
        ("data: {\"choices\":[],\"usage\":{}}\n\n".to_owned(), false),
        (text("two"), true),
    ] {
        assert_eq!(chunks.feed(event.as_bytes()), goes_on, "{event}");
    }
}

#[test]
fn the_end_is_known_as_servers_write_it() {
    for done in ["[DONE]", "\"[DONE]\"", "[done]", " [DONE] "] {
        expect(&(text("One") + "data: " + done + "\n\n"), &["One"], "end");
    }
}

#[test]
fn json_that_a_stream_follows_is_its_beginning() {
    let bare = |delta: String| delta.replace("data: ", "");
    let (one, two) = (bare(text("One ")), text("two"));
    let done = "data: [DONE]\n\n";
    for (stream, end) in [
        (one.clone() + &two + FINISHED + done, "end"),
        (one.replace("\n\n", "\r") + &two.replace('\n', "\r") + done, "end"),
        (one.clone() + "event: x\n" + &two + FINISHED, "finished"),
        (one.clone() + &two + "event: error\ndata: {\"code\":400}\n\n", "Reported"),
        (one.clone() + &bare(text("two")) + done, "end"),
        (one.clone() + &two, "open"),
    ] {
        let (whole, single): (_, Vec<_>) =
            ([stream.as_bytes()], stream.as_bytes().chunks(1).collect());
        for pieces in [&whole[..], &single] {
            let (said, ended) = read(pieces);
            assert_eq!(said, ["One ", "two"], "{stream}");
            assert!(ended.starts_with(end), "{ended} instead of {end}: {stream}");
        }
    }
    let comments = one.clone() + ": hm\n\n" + &bare(text("two")) + &bare(FINISHED.to_owned());
    expect_closed(&comments, Close::Clean, &["One ", "two"], "end");
    expect_closed(&(one + &two), Close::Clean, &["One ", "two"], "Cut");
}

#[test]
fn what_keeps_the_connection_alive_is_nothing() {
    let alive = [
        "data:\n\n",
        "data\n\n",
        "data:  \r\n\r\n",
        "event: ping\ndata:\n\n",
        "event: ping\ndata: 2026-11-02 10:00:00\n\n",
        "event: heartbeat\ndata: {\"message\":\"still here\"}\n\n",
        "event: ping\n\n",
        "data: {\"type\":\"ping\"}\n\n",
        "data: {}\n\n",
        ": comment\n\nretry: 3000\nid: 7\n\n",
    ];
    for sign in alive {
        let stream = sign.to_owned() + &text("One ") + sign + &text("two") + sign;
        expect(&(stream.clone() + "data: [DONE]\n\n"), &["One ", "two"], "end");
        expect(&(stream + "data: rubbish\n\n"), &["One ", "two"], "Unreadable");
    }
}

#[test]
fn a_failure_that_is_no_data_is_one() {
    for failure in [
        "event: error\ndata: {\"message\":\"planted\",\"code\":400}\n\n",
        "event: error\ndata: planted\n\n",
        "event: error\ndata:\n\n",
        "event:error\n\n",
        "error: {\"code\":400,\"message\":\"planted\"}\n\n",
        "{\"error\":{\"message\":\"planted\",\"code\":400}}\n",
        "[{\"error\":{\"code\":400}}]\n\n",
    ] {
        let stream = text("half") + failure + FINISHED + "data: [DONE]\n\n";
        let (said, end) = read(&[stream.as_bytes()]);
        assert_eq!(said, ["half"], "{failure}");
        assert!(end.starts_with("Reported"), "{failure}: {end}");
        assert_eq!(end.contains("Some(false)"), failure.contains("400"), "{failure}: {end}");
    }
}

#[test]
fn an_answer_in_one_piece_is_read_at_its_end() {
    let whole = r#" {"object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"Good day"},"finish_reason":"stop"}]}"#;
    let chunk = r#"{"choices":[{"delta":{"content":"Good "}}]}"#;
    let finished = r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#;
    let unfinished = whole.replace(",\"finish_reason\":\"stop\"", "");
    for (document, texts, end) in [
        (whole.to_owned(), &["Good day"][..], "end"),
        (whole.replace("\"stop\"", "\"length\""), &["Good day"], "end"),
        (whole.replace("\"stop\"", "\"content_filter\""), &["Good day"], "Filtered"),
        (whole.replace(',', ",\n  ") + "\n\ndata: [DONE]\n\n", &["Good day"], "end"),
        (format!("{chunk}\n{chunk}\n"), &["Good ", "Good "], "Cut"),
        (format!("{chunk}\n{chunk}\n{finished}"), &["Good ", "Good "], "end"),
        (format!("{chunk}\nupstream connect error"), &["Good "], "Cut"),
        (format!("{whole}\nupstream connect error"), &["Good day"], "Cut"),
        (format!("{unfinished}\n{unfinished}"), &["Good day", "Good day"], "Cut"),
        (unfinished.clone(), &["Good day"], "end"),
        (whole.replace("\"stop\"", "null"), &["Good day"], "end"),
        (whole.replace("\"index\":0", "\"logprobs\":NaN"), &["Good day"], "end"),
        (format!("{chunk}\n{{\"choi"), &["Good "], "Cut"),
        (
            "{\n \"error\": {\"code\": 429}}".to_owned(),
            &[],
            "Reported(ApiReport { label: Some(Label(\"429\")), may_pass: Some(true), about: Perhaps })",
        ),
        (
            "[{\"error\": {\"code\": 400}}]".to_owned(),
            &[],
            "Reported(ApiReport { label: Some(Label(\"400\")), may_pass: Some(false), about: Perhaps })",
        ),
        ("{}".to_owned(), &[], "Unreadable"),
        ("{\"choices\":[]}".to_owned(), &[], "Unreadable"),
        ("{ planted".to_owned(), &[], "Unreadable"),
        (whole[..60].to_owned(), &[], "Cut"),
    ] {
        expect_closed(&document, Close::Clean, texts, end);
    }
    let much = vec![b'['; 1 << 20];
    let (said, end) = read(&[&*much; 9]);
    assert_eq!((said.len(), &*end), (0, "TooLong"));
}

#[test]
fn a_message_in_place_of_a_delta_is_one_unless_it_repeats_them() {
    let message = |text: &str| {
        format!(
            "data: {{\"choices\":[{{\"delta\":null,\"message\":{{\"content\":\"{text}\"}}}}]}}\n\n"
        )
    };
    let both = delta(r#"{"content":"two"}"#)
        .replace("\"finish_reason\"", "\"message\":{\"content\":\"One two\"},\"finish_reason\"");
    let done = "data: [DONE]\n\n";
    expect(&(message("One ") + &message("two") + done), &["One ", "two"], "end");
    expect(&(text("One ") + &both + &message("One two") + done), &["One ", "two"], "end");
}

#[test]
fn a_refusal_is_the_models_own_words() {
    let stream = delta(r#"{"refusal":"I won't."}"#) + FINISHED;
    expect(&stream, &["I won't."], "finished");
}

#[test]
fn what_is_no_chunk_ends_it() {
    for (data, end) in [
        (
            "{\"error\":{\"message\":\"planted\",\"type\":\"server_error\"}}",
            "Reported(ApiReport { label: Some(Label(\"server_error\")), may_pass: Some(true), about: Perhaps })",
        ),
        (
            "{\"error\":\"planted\"}",
            "Reported(ApiReport { label: None, may_pass: None, about: Perhaps })",
        ),
        (
            "{\"detail\":\"planted\"}",
            "Reported(ApiReport { label: None, may_pass: None, about: Perhaps })",
        ),
        ("{\"choices\":\"planted\"}", "Unreadable"),
        ("{\"choices\":[{\"delta\":{\"content\":true}}]}", "Unreadable"),
        ("planted", "Unreadable"),
        ("null", "Unreadable"),
        ("[]", "Unreadable"),
    ] {
        expect(&format!("data: {data}\n\n{FINISHED}"), &[], end);
    }
    assert_eq!(
        read(&[b"data: {\"choices\":[{\"delta\":{\"content\":\"\xff\"}}]}\n\n"]).1,
        "Unreadable"
    );
    // Neither is what was not sent to its end.
    expect("data: [DONE]\n", &[], "open");
    expect("data: [DONE]", &[], "open");
}

#[test]
fn everything_is_bounded() {
    let text = "x".repeat(MAX_EVENT / 2);
    let chunk = delta(&format!(r#"{{"content":"{text}"}}"#));
    let enough = MAX_TEXT / text.len();
    let (said, ended) = read(&vec![chunk.as_bytes(); enough]);
    assert_eq!((said.len(), &*ended), (enough, "open"));
    let (said, ended) = read(&vec![chunk.as_bytes(); enough + 1]);
    assert_eq!((said.len(), &*ended), (enough, "TooLong"));

    let mut chunks = Chunks::new();
    chunks.feed(b"data: ");
    for _ in 0..MAX_EVENT / 1024 {
        chunks.feed(&[b'x'; 1024]);
    }
    assert!(matches!(chunks.next(), Ok(None)));
    chunks.feed(b"x");
    assert!(matches!(chunks.next(), Err(Trouble::TooLong)));

    let mut chunks = Chunks::new();
    let comment = vec![b':'; 1 << 20];
    for _ in 0..MAX_STREAM / comment.len() {
        chunks.feed(&comment);
    }
    assert!(matches!(chunks.next(), Ok(None)));
    chunks.feed(b":");
    assert!(matches!(chunks.next(), Err(Trouble::TooLong)));
}

proptest! {
    #[test]
    fn any_split_gives_the_same_pieces(
        events in prop::collection::vec(
            prop_oneof![
                Just(delta(r#"{"content":"h\u00e4\ud83d\ude00 "}"#)),
                Just(delta(r#"{"content":"ö\n\ndata: x"}"#).replace("\n\n", "\r\n\r\n")),
                Just(": comment\n\n".to_owned()),
                Just(delta("{}")),
                Just("data: {\"choices\":\ndata: []}\n\n".to_owned()),
                Just("event: x\ndata: {}\n\n".to_owned()),
                Just(FINISHED.to_owned()),
                Just("data: [DONE]\r\r".to_owned()),
                Just("data: {\"error\":{}}\n\n".to_owned()),
                Just("event: error\r\ndata: x\r\n\r\n".to_owned()),
                Just("{\"choices\":[{\"delta\":{\"content\":\"bare\"}}]}\n".to_owned()),
                Just("event: ping\n\ndata:\n\n".to_owned()),
            ],
            0..10,
        ),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let stream = events.concat();
        let bytes = stream.as_bytes();
        let whole = read(&[bytes]);
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let pieces: Vec<_> = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]).collect();
        prop_assert_eq!(&read(&pieces), &whole);
        let single: Vec<_> = bytes.chunks(1).collect();
        prop_assert_eq!(&read(&single), &whole);
    }
}
