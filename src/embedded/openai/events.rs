//! The events of an answer's stream, and what they add up to.

use std::collections::VecDeque;

use serde_json::value::RawValue;

use super::chunk::{Chunk, ChunkContent, Finish};
use super::report::{ApiReport, is_keep_alive};
use super::trouble::Trouble;
use crate::sse::Sink;

/// The longest event that is read, in bytes. A chunk has some hundred.
pub(super) const MAX_EVENT: usize = 256 << 10;

/// The longest answer, in bytes of its text.
pub(super) const MAX_TEXT: usize = 1 << 20;

/// A piece of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum AnswerPiece {
    /// The answer is complete. Whatever follows is not looked at.
    End,
    /// More of its text; never empty.
    Text(String),
}

/// What came in events so far.
#[derive(Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each notes one thing that was seen")]
pub(super) struct AnswerEvents {
    /// The data of the event that is being read, and what its name says.
    data: Vec<u8>,
    name: EventName,
    /// A line that is no data, as far as it may matter.
    line: Vec<u8>,
    skipped: Option<Field>,
    texts: VecDeque<String>,
    text_bytes: usize,
    /// How many chunks of the answer there were.
    chunks: usize,
    /// How often the answer went on, or came to a finish.
    steps: usize,
    finish: Option<Certainty>,
    /// A text came without a finish reason: it doesn't stand in every chunk.
    has_open_text: bool,
    /// A text came after one: it stands where it means nothing.
    goes_on: bool,
    /// A text came as a delta.
    has_deltas: bool,
    /// What came was JSON, at first at least.
    is_document: bool,
    /// Something came that is neither an event nor JSON, such as a proxy's page, or half of one.
    has_rubbish: bool,
    /// How the answer ended; nothing is read after that.
    ended: Option<Result<(), Trouble>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum EventName {
    Error,
    KeepAlive,
    #[default]
    Other,
}

/// How much a finish reason means. Relays write `stop`, `length` or `in_progress` into every chunk,
/// or into every one but the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Certainty {
    /// It was the model's last word: it came without a text, and none before it had one.
    Certain,
    /// It may stand in every chunk.
    Doubtful,
}

/// A line's field, as far as it was read, where its value is of no interest.
#[derive(Debug, Default)]
struct Field {
    name: [u8; Self::LONGEST],
    length: usize,
    ended: bool,
}

impl Field {
    const LONGEST: usize = "retry".len();

    fn read(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if self.ended {
                return;
            }
            self.ended = *byte == b':';
            if !self.ended {
                match self.name.get_mut(self.length) {
                    Some(place) => *place = *byte,
                    None => self.ended = true,
                }
                self.length = self.length.saturating_add(1);
            }
        }
    }

    /// Tells whether it is one that a stream may have, or a comment.
    fn is_known(&self) -> bool {
        let name = self.name.get(..self.length);
        matches!(name, Some(b"" | b"id" | b"retry"))
    }
}

impl AnswerEvents {
    /// Gives the next piece; `None` if more of the stream is needed for it.
    pub(super) fn next(&mut self) -> Result<Option<AnswerPiece>, Trouble> {
        if let Some(text) = self.texts.pop_front() {
            return Ok(Some(AnswerPiece::Text(text)));
        }
        match self.ended.take() {
            None => Ok(None),
            Some(Err(trouble)) => {
                self.ended = Some(Err(Trouble::Cut));
                Err(trouble)
            }
            Some(Ok(())) => {
                self.ended = Some(Ok(()));
                Ok(Some(AnswerPiece::End))
            }
        }
    }

    /// Ends the answer, unless it has ended otherwise.
    pub(super) fn end(&mut self, how: Result<(), Trouble>) {
        self.ended.get_or_insert(how);
    }

    /// Tells whether nothing is read any more.
    pub(super) fn has_ended(&self) -> bool {
        self.ended.is_some()
    }

    /// Tells how often there was anything new of the answer: a text, or before the first a thought,
    /// or a finish where there was none.
    pub(super) fn steps(&self) -> usize {
        self.steps
    }

    /// Tells whether the model has stopped, as far as it said.
    pub(super) fn finish(&self) -> Option<Certainty> {
        self.finish
    }

    /// Tells whether the answer may end here, where the stream does.
    pub(super) fn is_whole(&self) -> bool {
        match self.finish {
            Some(Certainty::Certain) => true,
            Some(Certainty::Doubtful) => !self.has_rubbish,
            // One message in one piece of JSON, which can't be cut unseen.
            None => {
                let is_message = self.chunks == 1 && self.has_text() && !self.has_deltas;
                self.is_document && is_message && !self.has_rubbish
            }
        }
    }

    /// Tells whether anything was said.
    pub(super) fn has_text(&self) -> bool {
        self.text_bytes > 0
    }

    fn say(&mut self, text: String) {
        self.text_bytes = self.text_bytes.saturating_add(text.len());
        if self.text_bytes > MAX_TEXT {
            self.end(Err(Trouble::TooLong));
        } else if !text.is_empty() {
            self.texts.push_back(text);
        }
    }

    fn event(&mut self, data: &[u8], name: EventName) {
        match data.trim_ascii() {
            // A sign of life.
            b"" if name != EventName::Error => {}
            done if name != EventName::Error && is_done(done) => self.end(Ok(())),
            error if name == EventName::Error => {
                self.end(Err(Trouble::Reported(ApiReport::read(error))));
            }
            data => match Chunk::read(data) {
                Chunk::Beside => {}
                // Whatever it has to say.
                Chunk::Failed(_) if name == EventName::KeepAlive => {}
                Chunk::Failed(trouble) => self.end(Err(trouble)),
                Chunk::Said(said) => self.hear(said),
            },
        }
    }

    fn hear(&mut self, said: ChunkContent) {
        self.chunks = self.chunks.saturating_add(1);
        // A message after deltas repeats them.
        let text = if said.whole && self.has_deltas { String::new() } else { said.text };
        let has_text = !text.is_empty();
        let had_finish = self.finish.is_some();
        self.has_deltas |= has_text && !said.whole;
        if has_text {
            // What came before it was none.
            self.goes_on |= self.finish.take().is_some();
        }
        let thinks = said.thinks && !has_text && !self.has_text();
        self.say(text);
        match said.finish {
            Finish::None => self.has_open_text |= has_text,
            Finish::Stop => {
                let is_certain = !has_text && self.has_open_text && !self.goes_on;
                let certainty = if is_certain { Certainty::Certain } else { Certainty::Doubtful };
                self.finish = Some(certainty);
            }
            Finish::Failed(trouble) => self.end(Err(trouble)),
        }
        if has_text || thinks || (self.finish.is_some() && !had_finish) {
            self.steps = self.steps.saturating_add(1);
        }
    }

    /// Reads the JSON that `document` begins with: an answer in one piece, or chunks of which some
    /// servers leave out the `data:`. Gives what is left; that is a stream's, such as the
    /// `data: [DONE]` that some put after it.
    pub(super) fn document<'a>(&mut self, document: &'a [u8]) -> &'a [u8] {
        self.is_document = true;
        let mut rest = document.trim_ascii_start();
        while self.ended.is_none() && matches!(rest.first(), Some(b'[' | b'{')) {
            let mut values = serde_json::Deserializer::from_slice(rest).into_iter::<&RawValue>();
            match values.next() {
                Some(Ok(value)) => {
                    self.event(value.get().as_bytes(), EventName::Other);
                    rest = rest.get(values.byte_offset()..).unwrap_or_default().trim_ascii_start();
                }
                Some(Err(error)) if error.is_eof() => {
                    self.has_rubbish = true;
                    if !self.is_whole() {
                        self.end(Err(Trouble::Cut));
                    }
                    return &[];
                }
                Some(Err(_)) | None => break,
            }
        }
        rest
    }

    /// Notes that the stream ended, perhaps within a line or without the blank line that its last
    /// event needs. What can't be read of that was cut.
    pub(super) fn last(&mut self, is_within_name: bool) {
        let (data, line) = (std::mem::take(&mut self.data), std::mem::take(&mut self.line));
        if self.ended.is_none() && !data.is_empty() {
            self.event(&data, self.name);
        }
        self.has_rubbish |= is_within_name;
        self.end_line(&line);
        if matches!(self.ended, Some(Err(Trouble::Unreadable))) {
            self.ended = None;
            self.has_rubbish = true;
        }
        // Nothing came of which it could be told what it was.
        let is_nothing = self.is_document && self.chunks == 0;
        let is_whole = self.is_whole();
        self.end(match (is_whole, is_nothing) {
            (true, _) => Ok(()),
            (false, false) => Err(Trouble::Cut),
            (false, true) => Err(Trouble::Unreadable),
        });
    }

    /// Ends a line that is no data.
    fn end_line(&mut self, line: &[u8]) {
        match self.skipped.take() {
            None => self.line(line),
            Some(field) => self.has_rubbish |= !field.is_known(),
        }
    }

    /// Reads a line that is no data: the event's name, or an error or a chunk of servers that don't
    /// have it as data (llama.cpp had `error: {…}`).
    fn line(&mut self, line: &[u8]) {
        if self.ended.is_some() {
            return;
        }
        if let Some(name) = line.strip_prefix(b"event:") {
            self.name = EventName::of(name);
        } else if let Some(error) = line.strip_prefix(b"error:") {
            self.event(error, EventName::Error);
        } else if line.starts_with(b"{") || line.starts_with(b"[") {
            self.event(line, EventName::Other);
        } else if !matches!(line, b"" | b"event") {
            self.has_rubbish = true;
        }
    }
}

/// Tells whether it is what ends a stream, as servers write it.
fn is_done(data: &[u8]) -> bool {
    let quoted = data.strip_prefix(b"\"").and_then(|data| data.strip_suffix(b"\""));
    quoted.unwrap_or(data).eq_ignore_ascii_case(b"[DONE]")
}

impl EventName {
    fn of(name: &[u8]) -> Self {
        match str::from_utf8(name.trim_ascii()) {
            Ok("error") => Self::Error,
            Ok(name) if is_keep_alive(name) => Self::KeepAlive,
            _ => Self::Other,
        }
    }
}

impl Sink for AnswerEvents {
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
        let name = std::mem::take(&mut self.name);
        if self.ended.is_none() {
            let data = std::mem::take(&mut self.data);
            self.event(&data, name);
            self.data = data;
        }
        self.data.clear();
    }

    fn other(&mut self, bytes: &[u8], ended: bool) {
        if self.ended.is_some() {
            return;
        }
        if self.line.is_empty() && self.skipped.is_none() {
            match bytes.first() {
                // A blank line; the event had a name at most.
                None => {
                    if std::mem::take(&mut self.name) == EventName::Error {
                        self.event(b"", EventName::Error);
                    }
                    return;
                }
                Some(b'[' | b'e' | b'{') => {}
                Some(_) => self.skipped = Some(Field::default()),
            }
        }
        match &mut self.skipped {
            Some(field) => field.read(bytes),
            None if self.line.len().saturating_add(bytes.len()) > MAX_EVENT => {
                return self.end(Err(Trouble::TooLong));
            }
            None => self.line.extend_from_slice(bytes),
        }
        if ended {
            let mut line = std::mem::take(&mut self.line);
            self.end_line(&line);
            line.clear();
            self.line = line;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_of_an_event_is_bounded() {
        let mut events = AnswerEvents::default();
        while events.data(&[b'x'; 1024]) {}
        assert!(matches!(events.next(), Err(Trouble::TooLong)));
        assert!(events.data.capacity() <= 2 * MAX_EVENT);

        let mut events = AnswerEvents::default();
        while !events.has_ended() {
            events.other(&[b'{'; 1024], false);
        }
        assert!(matches!(events.next(), Err(Trouble::TooLong)));
        assert!(events.line.capacity() <= 2 * MAX_EVENT);
        // Of a line that doesn't matter nothing is kept.
        let mut events = AnswerEvents::default();
        (0..MAX_EVENT).for_each(|_| events.other(b"id: 7", false));
        assert_eq!((events.has_ended(), events.line.capacity()), (false, 0));
    }
}
