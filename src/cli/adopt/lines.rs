//! Lines of a file of any size, one at a time.

use std::io::{self, BufRead as _, BufReader, Read};
use std::num::NonZeroU64;

/// The longest line, in bytes. Ids and a title are far from it.
pub(super) const MAX_LINE_BYTES: usize = 64 * 1024;

const BUFFER_BYTES: usize = 256 * 1024;

/// How much is kept of a line that is longer.
const START_BYTES: usize = 64;

/// The lines of what is read.
pub(super) struct InputLines<R> {
    source: BufReader<R>,
    line: Vec<u8>,
    is_too_long: bool,
    number: u64,
    end: u64,
    /// The line is to come again.
    is_held: bool,
}

/// One of them.
pub(super) struct InputLine<'a> {
    /// From 1.
    pub(super) number: NonZeroU64,
    /// Without its end; none if it is too long.
    pub(super) text: Option<&'a [u8]>,
    /// The first bytes of it, or all.
    pub(super) start: &'a [u8],
    /// How many bytes there are to its end, those of the lines before it included.
    pub(super) end: u64,
}

impl<R: Read> InputLines<R> {
    pub(super) fn new(source: R) -> Self {
        let source = BufReader::with_capacity(BUFFER_BYTES, source);
        Self { source, line: Vec::new(), is_too_long: false, number: 0, end: 0, is_held: false }
    }

    /// Gives the next one, if there is one.
    pub(super) fn next(&mut self) -> io::Result<Option<InputLine<'_>>> {
        if std::mem::take(&mut self.is_held) {
            return Ok(Some(self.line()));
        }
        self.line.clear();
        self.is_too_long = false;
        let mut taken = 0_u64;
        loop {
            let available = match self.source.fill_buf() {
                Ok(available) => available,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let newline = available.iter().position(|byte| *byte == b'\n');
            let piece = available.get(..newline.unwrap_or(available.len())).unwrap_or_default();
            let room = MAX_LINE_BYTES - self.line.len();
            self.is_too_long |= piece.len() > room;
            self.line.extend_from_slice(piece.get(..room).unwrap_or(piece));
            if self.is_too_long {
                self.line.truncate(START_BYTES);
            }
            let used = piece.len() + usize::from(newline.is_some());
            self.source.consume(used);
            taken += used as u64;
            if newline.is_some() || used == 0 {
                break;
            }
        }
        if taken == 0 {
            return Ok(None);
        }
        self.end += taken;
        self.number += 1;
        Ok(Some(self.line()))
    }

    /// Makes the last line come again.
    pub(super) fn hold(&mut self) {
        self.is_held = true;
    }

    fn line(&self) -> InputLine<'_> {
        let number = NonZeroU64::MIN.saturating_add(self.number.saturating_sub(1));
        let mut start = &*self.line;
        // Some programs begin a file so.
        if number == NonZeroU64::MIN {
            start = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start);
        }
        InputLine { number, text: (!self.is_too_long).then_some(start), start, end: self.end }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A source that gives at most so many bytes at once.
    struct Dribble<'a>(&'a [u8], usize);

    impl Read for Dribble<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let most = self.1.min(buffer.len());
            self.0.read(&mut buffer[..most])
        }
    }

    fn read(bytes: &[u8], at_once: usize) -> Vec<(u64, Option<Vec<u8>>)> {
        let mut lines = InputLines::new(Dribble(bytes, at_once));
        let mut all = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            all.push((line.number.get(), line.text.map(<[u8]>::to_vec)));
        }
        assert_eq!(lines.end, bytes.len() as u64);
        all
    }

    #[test]
    fn lines_are_numbered_however_they_come() {
        let text = b"\xef\xbb\xbfa\n\n\xef\xbb\xbfb\r\nc";
        for at_once in [1, 2, 3, 100] {
            let lines = read(text, at_once);
            let expected = [&b"a"[..], b"", b"\xef\xbb\xbfb\r", b"c"];
            let expected: Vec<_> =
                (1..).zip(expected.into_iter().map(|line| Some(line.to_vec()))).collect();
            assert_eq!(lines, expected);
        }
        assert_eq!(read(b"", 1), []);
        assert_eq!(read(b"a\n", 1), [(1, Some(b"a".to_vec()))]);
    }

    #[test]
    fn a_line_that_is_too_long_is_left_out_and_the_next_one_is_read() {
        let longest = vec![b'x'; MAX_LINE_BYTES];
        let text = [&longest[..], b"\n", &longest, b"y\nz\n", &longest, &longest].concat();
        for at_once in [1000, usize::MAX] {
            let lines = read(&text, at_once);
            let expected =
                [(1, Some(longest.clone())), (2, None), (3, Some(b"z".to_vec())), (4, None)];
            assert_eq!(lines, expected);
        }
    }
}
