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
