//! Writing to standard output, and beside it.

use std::io::{self, ErrorKind, Write as _};

use chatkit_rest::error::Error;

/// Writes what is not a command's result but about it, for people: to standard error.
pub(super) fn explain(text: &str) -> Result<(), Error> {
    io::stderr()
        .lock()
        .write_all(text.as_bytes())
        .map_err(|error| Error::io("could not write to standard error", error))
}

/// Writes a command's result. A reader that has left (`| head`) is not a failure.
pub(super) fn print(text: &str) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Error::io("could not write to standard output", error))
        }
        _ => Ok(()),
    }
}

/// Gives a text in which nothing steers a terminal or turns text around; lines and tabs stay.
pub(super) fn harmless(text: &str) -> String {
    let steers = |c: char| {
        c.is_control() && !matches!(c, '\n' | '\t')
            || matches!(c,
                '\u{61c}'
                | '\u{200e}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2066}'..='\u{2069}')
    };
    text.chars().fold(String::with_capacity(text.len()), |mut harmless, c| {
        if steers(c) {
            harmless.extend(c.escape_unicode());
        } else {
            harmless.push(c);
        }
        harmless
    })
}
