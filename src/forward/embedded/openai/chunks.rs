//! Reading the stream of `chat.completion.chunk` events. No I/O.

use std::collections::VecDeque;

use serde::Deserialize;
use serde_json::Value;

use super::trouble::{Label, Trouble};
use crate::stream::{Lines, Sink};

/// The longest event that is read, in bytes. A chunk has some hundred.
const MAX_EVENT: usize = 256 << 10;

/// The longest answer, in bytes of its text.
const MAX_TEXT: usize = 1 << 20;

/// The longest stream, in bytes: a chunk for every letter of the longest answer, or endless
/// comments.
const MAX_STREAM: usize = 512 << 20;

/// A piece of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// The answer is complete. Whatever follows is not looked at.
    End,
    /// More of its text; never empty.
    Text(String),
}

/// An incremental reader: bytes in, however they were split, pieces out.
#[derive(Debug)]
pub(super) struct Chunks {
    lines: Lines,
    stream_bytes: usize,
    events: Events,
}

#[derive(Debug, Default)]
struct Events {
    /// The data of the event that is being read.
    data: Vec<u8>,
    texts: VecDeque<String>,
    text_bytes: usize,
    /// How the answer ended; nothing is read after that.
    ended: Option<Result<(), Trouble>>,
}

impl Chunks {
    pub(super) fn new() -> Self {
        Self { lines: Lines::new(), stream_bytes: 0, events: Events::default() }
    }

    /// Takes the next bytes of the stream.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.stream_bytes = self.stream_bytes.saturating_add(bytes.len());
        if self.stream_bytes > MAX_STREAM {
            self.events.end(Err(Trouble::TooLong));
        }
        if self.events.ended.is_none() {
            self.lines.feed(bytes, &mut self.events);
        }
    }

    /// The next piece; `None` if more of the stream is needed for it.
    pub(super) fn next(&mut self) -> Result<Option<Piece>, Trouble> {
        if let Some(text) = self.events.texts.pop_front() {
            return Ok(Some(Piece::Text(text)));
        }
        match self.events.ended.take() {
            None => Ok(None),
            Some(Err(trouble)) => {
                self.events.ended = Some(Err(Trouble::Cut));
                Err(trouble)
            }
            Some(Ok(())) => {
                self.events.ended = Some(Ok(()));
                Ok(Some(Piece::End))
            }
        }
    }
}

/// As much of a chunk as matters; every member may be missing or `null`.
#[derive(Deserialize)]
struct Chunk {
    choices: Option<Vec<Choice>>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Choice {
    index: Option<u64>,
    delta: Option<Delta>,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Delta {
    content: Option<String>,
    /// What the model says in place of an answer.
    refusal: Option<String>,
}

impl Events {
    fn end(&mut self, how: Result<(), Trouble>) {
        self.ended.get_or_insert(how);
    }

    fn say(&mut self, text: String) {
        self.text_bytes = self.text_bytes.saturating_add(text.len());
        if self.text_bytes > MAX_TEXT {
            self.end(Err(Trouble::TooLong));
        } else if !text.is_empty() {
            self.texts.push_back(text);
        }
    }

    fn event(&mut self, data: &[u8]) {
        if data.trim_ascii() == b"[DONE]" {
            return self.end(Ok(()));
        }
        let Ok(chunk) = serde_json::from_slice::<Chunk>(data) else {
            return self.end(Err(Trouble::Unreadable));
        };
        if let Some(error) = chunk.error {
            return self.end(Err(Trouble::Reported(Label::of(&error))));
        }
        // One choice was asked for. There is none in a chunk that only counts tokens.
        let choices = chunk.choices.unwrap_or_default();
        let Some(choice) = choices.into_iter().find(|choice| choice.index.unwrap_or(0) == 0) else {
            return;
        };
        if let Some(Delta { content, refusal }) = choice.delta {
            [content, refusal].into_iter().flatten().for_each(|text| self.say(text));
        }
        match choice.finish_reason.as_deref() {
            // Some servers have an empty one in every chunk.
            None | Some("") => {}
            Some("content_filter") => self.end(Err(Trouble::Filtered)),
            Some("error") => self.end(Err(Trouble::Reported(None))),
            Some(_) => self.end(Ok(())),
        }
    }
}

impl Sink for Events {
    fn data(&mut self, bytes: &[u8]) -> bool {
        if self.ended.is_some() {
            return false;
        }
        if self.data.len().saturating_add(bytes.len()) > MAX_EVENT {
            self.end(Err(Trouble::TooLong));
            return false;
        }
        self.data.extend_from_slice(bytes);
        true
    }

    fn dispatch(&mut self) {
        if self.ended.is_none() {
            let data = std::mem::take(&mut self.data);
            self.event(&data);
            self.data = data;
        }
        self.data.clear();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The texts, and how it ended.
    type Read = (Vec<String>, String);

    fn read(pieces: &[&[u8]]) -> Read {
        let (mut chunks, mut texts) = (Chunks::new(), Vec::new());
        for piece in pieces {
            chunks.feed(piece);
            loop {
                match chunks.next() {
                    Ok(None) => break,
                    Ok(Some(Piece::Text(text))) => texts.push(text),
                    Ok(Some(Piece::End)) => return (texts, "end".to_owned()),
                    Err(trouble) => return (texts, format!("{trouble:?}")),
                }
            }
        }
        (texts, "open".to_owned())
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

    #[test]
    fn a_finish_reason_ends_it_too() {
        for (reason, end) in [
            ("stop", "end"),
            ("length", "end"),
            ("tool_calls", "end"),
            ("eos", "end"),
            ("content_filter", "Filtered"),
            ("error", "Reported(None)"),
            ("", "open"),
        ] {
            let stream = format!(
                "data: {{\"choices\":[{{\"delta\":{{\"content\":\"last\"}},\"finish_reason\":\"{reason}\"}}]}}\n\n"
            );
            expect(&stream, &["last"], end);
        }
    }

    #[test]
    fn a_refusal_is_the_models_own_words() {
        let stream = delta(r#"{"refusal":"I won't."}"#) + FINISHED;
        expect(&stream, &["I won't."], "end");
    }

    #[test]
    fn what_is_no_chunk_ends_it() {
        for (data, end) in [
            (
                "{\"error\":{\"message\":\"planted\",\"type\":\"server_error\"}}",
                "Reported(Some(Label(\"server_error\")))",
            ),
            ("{\"error\":\"planted\"}", "Reported(None)"),
            ("{\"choices\":\"planted\"}", "Unreadable"),
            ("{\"choices\":[{\"delta\":{\"content\":1}}]}", "Unreadable"),
            ("planted", "Unreadable"),
            ("", "Unreadable"),
            ("{\"choices\":[{\"delta\":{\"content\":\"\\ud800\"}}]}", "Unreadable"),
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
        assert!(chunks.events.data.capacity() <= 2 * MAX_EVENT);

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
}
