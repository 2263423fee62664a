//! What an HTTP/2 client's frames tell before anybody understands them.
//!
//! Of each frame only the nine bytes in front are looked at (RFC 9113 section 4.1), and what says
//! how much a client will take: the number in a `WINDOW_UPDATE`, and a setting. Whether a frame may
//! be is for those who read it to say.

const HEADERS: u8 = 0x1;
const SETTINGS: u8 = 0x4;
const WINDOW_UPDATE: u8 = 0x8;
const CONTINUATION: u8 = 0x9;
const END_HEADERS: u8 = 0x4;
const INITIAL_WINDOW_SIZE: u64 = 0x4;

/// A window before anybody says otherwise (RFC 9113 section 6.9.2).
const FIRST_WINDOW_BYTES: u64 = 65_535;

/// The length, the type, the flags and the stream.
const HEAD_BYTES: u8 = 9;

/// A client's frames, as far as they have come.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// The bytes of the frame's head, the last of them lowest.
    head: u128,
    /// How many of them there are.
    known: u8,
    /// What they say, when all are there.
    kind: u8,
    flags: u8,
    of_connection: bool,
    /// How many bytes of the payload are yet to come.
    left: usize,
    /// The payload's last eight bytes, if it is looked at.
    payload: u64,
    /// How many bytes of a setting there are.
    of_setting: u8,
    seen: SeenFrames,
}

/// What there is to know of the frames so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SeenFrames {
    /// The head of a request, or its trailers, has begun and not ended.
    pub(super) in_head: bool,
    /// How many have begun.
    pub(super) heads: u64,
    /// Bytes that the client lets the connection carry in all.
    pub(super) connection_window: u64,
    /// Bytes that it lets every stream carry. A stream that was opened further may carry more.
    pub(super) stream_window: u64,
}

impl Default for SeenFrames {
    fn default() -> Self {
        Self {
            in_head: false,
            heads: 0,
            connection_window: FIRST_WINDOW_BYTES,
            stream_window: FIRST_WINDOW_BYTES,
        }
    }
}

impl Frames {
    /// Looks at what has come.
    pub(super) fn read(&mut self, mut bytes: &[u8]) -> SeenFrames {
        while !bytes.is_empty() {
            if self.known < HEAD_BYTES {
                bytes = self.read_head(bytes);
            } else {
                let (payload, rest) = bytes.split_at(self.left.min(bytes.len()));
                match self.kind {
                    SETTINGS => payload.iter().for_each(|byte| self.read_setting(*byte)),
                    WINDOW_UPDATE => payload.iter().for_each(|byte| self.keep(*byte)),
                    _ => {}
                }
                self.left -= payload.len();
                bytes = rest;
            }
            if self.known == HEAD_BYTES && self.left == 0 {
                self.end();
            }
        }
        self.seen
    }

    fn read_head<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let missing = usize::from(HEAD_BYTES - self.known);
        let (part, rest) = bytes.split_at(missing.min(bytes.len()));
        for byte in part {
            self.head = self.head << 8 | u128::from(*byte);
            self.known += 1;
        }
        if self.known == HEAD_BYTES {
            let [.., high, middle, low, kind, flags, a, b, c, d] = self.head.to_be_bytes();
            self.left = u32::from_be_bytes([0, high, middle, low]) as usize;
            (self.kind, self.flags) = (kind, flags);
            // The highest bit is reserved.
            self.of_connection = [a & 0x7f, b, c, d] == [0; 4];
            match kind {
                HEADERS => {
                    self.seen.in_head = true;
                    self.seen.heads += 1;
                }
                SETTINGS => self.of_setting = 0,
                _ => {}
            }
        }
        rest
    }

    fn keep(&mut self, byte: u8) {
        self.payload = self.payload << 8 | u64::from(byte);
    }

    /// Reads more of a setting, which is its number, two bytes, and its value, four.
    fn read_setting(&mut self, byte: u8) {
        self.keep(byte);
        self.of_setting += 1;
        if self.of_setting == 6 {
            self.of_setting = 0;
            if self.payload >> 32 & 0xffff == INITIAL_WINDOW_SIZE {
                self.seen.stream_window = self.payload & 0xffff_ffff;
            }
        }
    }

    fn end(&mut self) {
        match self.kind {
            HEADERS | CONTINUATION if self.flags & END_HEADERS != 0 => self.seen.in_head = false,
            WINDOW_UPDATE if self.of_connection => {
                let window = &mut self.seen.connection_window;
                *window = window.saturating_add(self.payload & 0x7fff_ffff);
            }
            _ => {}
        }
        self.head = 0;
        self.known = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    }

    #[test]
    fn a_head_goes_on_until_its_last_frame_has_come() {
        let mut frames = Frames::default();
        let head = |in_head, heads| SeenFrames { in_head, heads, ..SeenFrames::default() };
        assert_eq!(frames.read(&frame(4, 0, 0, &[])), head(false, 0));
        assert_eq!(frames.read(&frame(HEADERS, 1, 1, b"abc")), head(true, 1));
        assert_eq!(frames.read(&frame(CONTINUATION, 0, 1, b"")), head(true, 1));
        let last = frame(CONTINUATION, END_HEADERS, 1, b"abc");
        for byte in &last[..last.len() - 1] {
            assert_eq!(frames.read(&[*byte]), head(true, 1));
        }
        assert_eq!(frames.read(&last[last.len() - 1..]), head(false, 1));
        assert_eq!(frames.read(&frame(HEADERS, END_HEADERS, 3, b"abc")), head(false, 2));
        // One frame, half of it.
        assert_eq!(frames.read(&frame(HEADERS, END_HEADERS, 5, b"abc")[..10]), head(true, 3));
    }

    #[test]
    fn windows_are_read_however_their_frames_are_cut() {
        let sent = [
            frame(WINDOW_UPDATE, 0, 0, &[0x80, 0, 1, 2]),
            frame(0, 1, 1, b"data that looks like nothing"),
            frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 9]),
            frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]),
            frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 9, 0, 4, 0, 0, 2, 1, 0, 5, 0, 0, 0, 7]),
            // An acknowledgement.
            frame(SETTINGS, 1, 0, &[]),
        ]
        .concat();
        for size in 1..sent.len() {
            let mut frames = Frames::default();
            let mut seen = SeenFrames::default();
            for piece in sent.chunks(size) {
                seen = frames.read(piece);
            }
            let expected = SeenFrames {
                connection_window: 65_535 + 0x103,
                stream_window: 0x201,
                ..SeenFrames::default()
            };
            assert_eq!(seen, expected, "{size}");
        }
    }
}
