//! Reading the files that a configuration is made of, with a bound.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

/// The largest configuration file.
pub(super) const MAX_CONFIG_BYTES: u64 = 1 << 20;

/// The largest file with a key or secret.
pub(super) const MAX_KEY_BYTES: u64 = 64 << 10;

/// A text file of at most `max` bytes, or what is wrong with it (without its path or content).
pub(super) fn read(path: &Path, max: u64) -> Result<String, String> {
    let mut bytes = Vec::new();
    File::open(path)
        // One byte more than allowed tells a file that is too large from one that just fits.
        .and_then(|file| file.take(max + 1).read_to_end(&mut bytes))
        .map_err(|error| error.to_string())?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > max) {
        return Err(format!("larger than {max} bytes"));
    }
    String::from_utf8(bytes).map_err(|_| "not UTF-8".into())
}
