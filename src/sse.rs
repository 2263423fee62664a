//! Splitting a stream of bytes into the data of server-sent events.
//!
//! The WHATWG grammar: lines end in LF, CR or CRLF; a byte order mark at the very start is
//! dropped; a line is `field`, `field: value` or a comment; a blank line ends the event. Only
//! `data` matters here. Nothing is copied: the sink gets slices of what was fed, however the
//! bytes were split.

use memchr::memchr2;

/// Takes what [`LineSplitter`] finds.
pub(crate) trait Sink {
    /// Takes more data of the current event. Between two `data` lines of one event a `\n` is given.
    ///
    /// `false` means that the rest of the event's data is of no interest.
    fn data(&mut self, bytes: &[u8]) -> bool;

    /// Takes a blank line: the event is complete, unless it had no data (then it is none).
    fn dispatch(&mut self);

    /// Takes more of a line that isn't `data`, with `ended` for its last piece; an empty one ends
    /// an event without data. One that begins like `data` comes without that beginning.
    fn other(&mut self, _bytes: &[u8], _ended: bool) {}
}

/// Where in the grammar the stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// At the very start, with this many bytes of the byte order mark seen.
    Bom(u8),
    /// At the start of a line, with this many bytes of `data` seen.
    Field(u8),
    /// After `data:`: one space may follow.
    Space,
    /// In the value of a `data` line.
    Data,
    /// In a line of no interest.
    Skip,
}

/// An incremental splitter. 8 bytes of state.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LineSplitter {
    state: State,
    /// The last byte was a CR that ended a line: an LF now belongs to it.
    after_cr: bool,
    /// The current event has had a `data` line.
    has_data: bool,
    /// The rest of the current event is of no interest.
    bored: bool,
}

const BOM: [u8; 3] = [0xEF, 0xBB, 0xBF];
const FIELD: &[u8; 4] = b"data";
const DATA_LINE: &[u8] = b"data: ";

impl LineSplitter {
    pub(crate) fn new() -> Self {
        Self { state: State::Bom(0), after_cr: false, has_data: false, bored: false }
    }

    /// Feeds the next bytes of the stream.
    pub(crate) fn feed(&mut self, mut bytes: &[u8], sink: &mut impl Sink) {
        while let Some(&first) = bytes.first() {
            if self.after_cr {
                self.after_cr = false;
                if first == b'\n' {
                    bytes = bytes.get(1..).unwrap_or_default();
                    continue;
                }
            }
            match self.state {
                State::Bom(seen) => {
                    if BOM.get(usize::from(seen)) == Some(&first) {
                        self.state = if seen == 2 { State::Field(0) } else { State::Bom(seen + 1) };
                        bytes = bytes.get(1..).unwrap_or_default();
                    } else {
                        // A torn mark is the start of a field nobody knows.
                        self.state = if seen == 0 { State::Field(0) } else { State::Skip };
                    }
                }
                // The whole name at once, where it isn't cut: what nearly every line is.
                State::Field(0) if bytes.starts_with(DATA_LINE) => {
                    self.begin_data(sink);
                    self.state = State::Data;
                    bytes = bytes.get(DATA_LINE.len()..).unwrap_or_default();
                }
                State::Field(seen) => {
                    if first == b'\n' || first == b'\r' {
                        // "data" alone is a data line without a value (section 9.2.6).
                        if seen == 4 {
                            self.begin_data(sink);
                        }
                        self.end_line(first, seen == 0, sink);
                        bytes = bytes.get(1..).unwrap_or_default();
                    } else if seen == 4 {
                        if first == b':' {
                            self.begin_data(sink);
                            self.state = State::Space;
                            bytes = bytes.get(1..).unwrap_or_default();
                        } else {
                            self.state = State::Skip;
                        }
                    } else if FIELD.get(usize::from(seen)) == Some(&first) {
                        self.state = State::Field(seen + 1);
                        bytes = bytes.get(1..).unwrap_or_default();
                    } else {
                        self.state = State::Skip;
                    }
                }
                State::Space => {
                    self.state = State::Data;
                    if first == b' ' {
                        bytes = bytes.get(1..).unwrap_or_default();
                    }
                }
                State::Data | State::Skip => {
                    if let Some(end) = memchr2(b'\n', b'\r', bytes) {
                        let (value, rest) = bytes.split_at(end);
                        self.value(value, true, sink);
                        let ending = rest.first().copied().unwrap_or(b'\n');
                        self.end_line(ending, false, sink);
                        bytes = rest.get(1..).unwrap_or_default();
                    } else {
                        self.value(bytes, false, sink);
                        return;
                    }
                }
            }
        }
    }

    /// Tells whether an event has begun to have data, and hasn't ended.
    pub(crate) fn is_within_event(self) -> bool {
        self.has_data
    }

    /// Tells whether a line has begun of which the sink has heard nothing yet.
    #[cfg(feature = "openai")]
    pub(crate) fn is_within_name(self) -> bool {
        matches!(self.state, State::Bom(1..) | State::Field(1..))
    }

    fn begin_data(&mut self, sink: &mut impl Sink) {
        if self.has_data && !self.bored {
            self.bored = !sink.data(b"\n");
        }
        self.has_data = true;
    }

    fn value(&mut self, value: &[u8], ended: bool, sink: &mut impl Sink) {
        if self.state == State::Skip {
            sink.other(value, ended);
        } else if !self.bored && !value.is_empty() {
            self.bored = !sink.data(value);
        }
    }

    fn end_line(&mut self, ending: u8, blank: bool, sink: &mut impl Sink) {
        self.after_cr = ending == b'\r';
        self.state = State::Field(0);
        if blank {
            if self.has_data {
                sink.dispatch();
            } else {
                sink.other(b"", true);
            }
            self.has_data = false;
            self.bored = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Default)]
    struct Events {
        current: Vec<u8>,
        done: Vec<String>,
    }

    impl Sink for Events {
        fn data(&mut self, bytes: &[u8]) -> bool {
            self.current.extend_from_slice(bytes);
            true
        }

        fn dispatch(&mut self) {
            let event = std::mem::take(&mut self.current);
            self.done.push(String::from_utf8(event).unwrap());
        }
    }

    fn events(pieces: &[&[u8]]) -> Vec<String> {
        let mut lines = LineSplitter::new();
        let mut events = Events::default();
        for piece in pieces {
            lines.feed(piece, &mut events);
        }
        events.done
    }

    #[test]
    fn the_grammar_of_the_standard() {
        for (stream, expected) in [
            ("data: a\n\n", vec!["a"]),
            ("data:a\r\rdata:  b\r\n\r\n", vec!["a", " b"]),
            ("\u{feff}data: a\n\n", vec!["a"]),
            (": comment\nevent: x\nid: 1\ndata: a\nretry: 5\ndata: b\n\n", vec!["a\nb"]),
            ("data\n\n", vec![""]),
            ("data\ndata\n\n", vec!["\n"]),
            ("data: unfinished\n", vec![]),
            ("\n\n\r\r\n", vec![]),
            ("database: a\ndat: b\n data: c\nDATA: d\n\n", vec![]),
            ("data: \u{2028}\u{85}x\n\n", vec!["\u{2028}\u{85}x"]),
        ] {
            assert_eq!(events(&[stream.as_bytes()]), expected, "{stream:?}");
        }
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_events(
            lines in prop::collection::vec(
                prop_oneof![
                    Just("data: {\"type\":\"x\"}"), Just("data:"), Just("data"), Just(""),
                    Just(": ping"), Just("event: e"), Just("data: \u{f6}\u{1f600}"), Just("dat"),
                ],
                0..12,
            ),
            ends in prop::collection::vec(prop_oneof![Just("\n"), Just("\r"), Just("\r\n")], 12),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        ) {
            let mut stream = String::new();
            for (line, end) in lines.iter().zip(&ends) {
                stream.push_str(line);
                stream.push_str(end);
            }
            let bytes = stream.as_bytes();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.sort_unstable();
            let mut pieces = Vec::new();
            let mut from = 0;
            for cut in cuts {
                pieces.push(&bytes[from..cut]);
                from = cut;
            }
            pieces.push(&bytes[from..]);
            prop_assert_eq!(events(&pieces), events(&[bytes]));
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            prop_assert_eq!(events(&single), events(&[bytes]));
        }
    }
}
