//! A conversation with the gateway, written down as text, so that it can be read, seeded and
//! mutated.
//!
//! ```text
//! > ada POST /api/v1/chatkit/sessions        who (ada, bob, nobody), method, path
//! content-type: application/json             fields, until an empty line
//!
//! {"title":"x"}                              the body, until the next mark
//! < 200 text/event-stream                    what the upstream answers next
//! data: {"type":"thread.created"}            its body
//! ~                                          a new frame
//! !                                          cut off here
//! ```
//!
//! Answers stand before the request that they are for, or after it: all are known beforehand.

use bytes::Bytes;

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Ada,
    Bob,
    Nobody,
}

#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) who: Who,
    pub(crate) method: http::Method,
    pub(crate) path: String,
    pub(crate) fields: Vec<(Bytes, Bytes)>,
    pub(crate) body: Bytes,
    /// What the upstream answers to what is asked of it for this.
    pub(crate) answers: Vec<Answer>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) content_type: Bytes,
    pub(crate) frames: Vec<Bytes>,
    pub(crate) is_cut: bool,
}

const MAX_ASKS: usize = 12;
const MAX_ANSWERS: usize = 24;

/// Reads a script. What can't be read is left out: every input is some script.
pub(crate) fn parse(data: &[u8]) -> Vec<Ask> {
    let mut asks: Vec<Ask> = Vec::new();
    let mut part = Part::Nothing;
    for line in data.split(|byte| *byte == b'\n') {
        if let Some(head) = line.strip_prefix(b"> ") {
            part = Part::Nothing;
            if asks.len() < MAX_ASKS
                && let Some(ask) = ask(head)
            {
                asks.push(ask);
                part = Part::Fields;
            }
            continue;
        }
        let Some(ask) = asks.last_mut() else { continue };
        if let Some(head) = line.strip_prefix(b"< ") {
            part = Part::Nothing;
            if ask.answers.len() < MAX_ANSWERS {
                ask.answers.push(answer(head));
                part = Part::Answer;
            }
            continue;
        }
        match part {
            Part::Nothing => {}
            Part::Fields if line.is_empty() => part = Part::Body,
            Part::Fields => {
                if let Some(at) = line.iter().position(|byte| *byte == b':') {
                    let (name, value) = (&line[..at], line[at + 1..].trim_ascii());
                    ask.fields.push((name.to_vec().into(), value.to_vec().into()));
                }
            }
            Part::Body => ask.body = joined(&ask.body, line),
            Part::Answer => {
                let Some(answer) = ask.answers.last_mut() else { continue };
                match line {
                    b"!" => {
                        answer.is_cut = true;
                        part = Part::Nothing;
                    }
                    b"~" => answer.frames.push(Bytes::new()),
                    _ => {
                        let frame = answer.frames.pop().unwrap_or_default();
                        answer.frames.push([&frame[..], line, b"\n"].concat().into());
                    }
                }
            }
        }
    }
    asks
}

enum Part {
    Nothing,
    Fields,
    Body,
    Answer,
}

fn joined(body: &Bytes, line: &[u8]) -> Bytes {
    if body.is_empty() { line.to_vec().into() } else { [&body[..], b"\n", line].concat().into() }
}

fn ask(head: &[u8]) -> Option<Ask> {
    let mut words = head.splitn(3, |byte| *byte == b' ');
    let who = match words.next()? {
        b"ada" => Who::Ada,
        b"bob" => Who::Bob,
        _ => Who::Nobody,
    };
    let method = http::Method::from_bytes(words.next()?).ok()?;
    let path = std::str::from_utf8(words.next()?).ok()?.to_owned();
    Some(Ask { who, method, path, fields: Vec::new(), body: Bytes::new(), answers: Vec::new() })
}

fn answer(head: &[u8]) -> Answer {
    let mut words = head.splitn(2, |byte| *byte == b' ');
    let status = words.next().and_then(|word| std::str::from_utf8(word).ok());
    let status = status.and_then(|word| word.parse().ok()).unwrap_or(200);
    let content_type = words.next().unwrap_or(b"application/json").to_vec().into();
    Answer { status, content_type, ..Answer::default() }
}
