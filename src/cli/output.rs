//! Writing to standard output.

use std::io::{self, ErrorKind, Write as _};

use chatkit_rest::error::Error;

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
