//! Reading an answer: a stream of `chat.completion.chunk` events, or JSON in its place. No I/O.

use std::time::Duration;

use super::chunk::finite;
use super::events::{AnswerEvents, AnswerPiece, Certainty};
use super::trouble::Trouble;
use crate::forward::ForwardError;
use crate::sse::LineSplitter;

/// The longest stream, in bytes: a chunk for every letter of the longest answer, or endless
/// comments.
const MAX_STREAM: usize = 512 << 20;

/// The longest answer that isn't a stream, in bytes: the longest text with every letter escaped.
const MAX_DOCUMENT: usize = 8 << 20;

/// How long a server may be silent after a finish reason that was its last word.
const PATIENCE: Duration = Duration::from_secs(2);

/// The same, where the reason may stand in every chunk and more may come. A server that gives signs
/// of life isn't silent then.
const LONG_PATIENCE: Duration = Duration::from_secs(10);

/// How a stream ends.
#[derive(Debug)]
pub(super) enum Close {
    /// By a failure of the exchange.
    Broken(ForwardError),
    /// As it should.
    Clean,
    /// It doesn't: nothing came for as long as there was [patience](Chunks::patience).
    Silent,
}

/// How long to wait for more of an answer that may have ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TailWait {
    /// So long after the last of the answer, whatever else comes.
    Certain(Duration),
    /// So long after the last byte, and not beyond the idle time-out after the last of the answer.
    Doubtful(Duration),
    /// Until the idle time-out after the last of the answer: nothing was said yet.
    Nothing,
}

/// An incremental reader: bytes in, however they were split, pieces out.
#[derive(Debug)]
pub(super) struct Chunks {
    shape: BodyFormat,
    stream_bytes: usize,
    events: AnswerEvents,
}

/// What is read. A server that knows no streams answers with JSON, whatever it calls it.
#[derive(Debug)]
enum BodyFormat {
    /// Nothing but white space has come.
    Open(LineSplitter),
    Document(Document),
    Stream(LineSplitter),
}

/// JSON so far, which can't be read before its end.
#[derive(Debug, Default)]
struct Document {
    bytes: Vec<u8>,
    /// Up to where no line of a stream was found.
    searched: usize,
}

impl Document {
    /// Tells whether a line in it is one of a stream. JSON has none that begins with such a letter:
    /// it has them in strings, which have no line breaks, and where its three words stand for a
    /// value.
    fn is_stream(&mut self) -> bool {
        let lines = self.bytes.get(self.searched..).unwrap_or_default();
        let is_stream =
            lines.windows(2).any(|pair| matches!(pair, [b'\n' | b'\r', b'd' | b'e' | b'i' | b'r']));
        self.searched = self.bytes.len().saturating_sub(1);
        is_stream
    }
}

impl Chunks {
    pub(super) fn new() -> Self {
        Self {
            shape: BodyFormat::Open(LineSplitter::new()),
            stream_bytes: 0,
            events: AnswerEvents::default(),
        }
    }

    /// Takes the next bytes of the stream. Tells whether anything new of the answer was in them.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> bool {
        self.stream_bytes = self.stream_bytes.saturating_add(bytes.len());
        if self.stream_bytes > MAX_STREAM {
            self.events.end(Err(Trouble::TooLong));
        }
        if self.events.has_ended() {
            return false;
        }
        if let BodyFormat::Open(lines) = self.shape
            && let Some(first) = bytes.iter().find(|byte| !byte.is_ascii_whitespace())
        {
            let is_json = matches!(first, b'[' | b'{');
            self.shape = if is_json {
                BodyFormat::Document(Document::default())
            } else {
                BodyFormat::Stream(lines)
            };
        }
        let before = self.events.steps();
        match &mut self.shape {
            BodyFormat::Document(document) => {
                if document.bytes.len().saturating_add(bytes.len()) > MAX_DOCUMENT {
                    self.events.end(Err(Trouble::TooLong));
                } else {
                    document.bytes.extend_from_slice(bytes);
                    if document.is_stream() {
                        self.document();
                    }
                }
            }
            BodyFormat::Open(lines) | BodyFormat::Stream(lines) => {
                lines.feed(bytes, &mut self.events);
            }
        }
        self.events.steps() != before
    }

    /// Reads the JSON that has come, if it is that; what follows it is a stream, whose state is
    /// given.
    fn document(&mut self) -> LineSplitter {
        let mut lines = match &self.shape {
            BodyFormat::Open(lines) | BodyFormat::Stream(lines) => *lines,
            BodyFormat::Document(_) => LineSplitter::new(),
        };
        let shape = std::mem::replace(&mut self.shape, BodyFormat::Stream(lines));
        if let BodyFormat::Document(Document { bytes, .. }) = shape {
            let plain = str::from_utf8(&bytes).map(finite);
            let rest = self.events.document(plain.as_ref().map_or(&bytes, |json| json.as_bytes()));
            lines.feed(rest, &mut self.events);
            self.shape = BodyFormat::Stream(lines);
        }
        lines
    }

    /// Gives the next piece; `None` if more of the stream is needed for it.
    pub(super) fn next(&mut self) -> Result<Option<AnswerPiece>, Trouble> {
        self.events.next()
    }

    /// Tells how long to wait for more, if the answer may have ended. A model that has only thought
    /// so far may do so for as long as the connection is patient.
    pub(super) fn tail_wait(&self) -> Option<TailWait> {
        Some(match self.events.finish()? {
            _ if !self.events.has_text() => TailWait::Nothing,
            Certainty::Certain => TailWait::Certain(PATIENCE),
            Certainty::Doubtful => TailWait::Doubtful(LONG_PATIENCE),
        })
    }

    /// Notes that there is nothing more to feed.
    pub(super) fn close(&mut self, close: Close) {
        match close {
            Close::Broken(error) => {
                let is_whole = match self.events.finish() {
                    Some(Certainty::Certain) => true,
                    Some(Certainty::Doubtful) => {
                        error.is_timeout() && self.events.is_whole() && self.events.has_text()
                    }
                    None => false,
                };
                let end = if is_whole { Ok(()) } else { Err(Trouble::Exchange(error)) };
                self.events.end(end);
            }
            // Half an event that nothing follows is no less half than one that the end cuts off.
            Close::Clean | Close::Silent => {
                let is_within_name = self.document().is_within_name();
                self.events.last(is_within_name);
            }
        }
    }
}

#[cfg(test)]
mod tests;
