//! Reading the files that a configuration is made of, with a bound.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use crate::pem;

/// The largest configuration file.
pub(super) const MAX_CONFIG_BYTES: u64 = 1 << 20;

/// The largest file with a key or secret.
pub(super) const MAX_KEY_BYTES: u64 = 64 << 10;

/// The largest file with certificates: those that a system trusts are a quarter of it.
#[cfg(any(feature = "postgres", feature = "tls"))]
pub(super) const MAX_PEM_BYTES: u64 = 1 << 20;

/// What some editors, and PowerShell, begin a text with.
pub(super) const BYTE_ORDER_MARK: char = '\u{FEFF}';

/// Gives a text file of at most `max` bytes, or what is wrong with it (without its path or
/// content).
pub(super) fn read_text(path: &Path, max: u64) -> Result<String, String> {
    read(path, max).and_then(decode)
}

/// Gives a file of at most `max` bytes, or what is wrong with it.
pub(super) fn read(path: &Path, max: u64) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    File::open(path)
        // One byte more than allowed tells a file that is too large from one that just fits.
        .and_then(|file| file.take(max + 1).read_to_end(&mut bytes))
        .map_err(|error| error.to_string())?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > max) {
        return Err(format!("larger than {max} bytes"));
    }
    Ok(bytes)
}

/// Gives where a path starts that is relative, as the end of a sentence; nothing if it isn't.
pub(super) fn relative_to(path: &Path) -> String {
    if path.is_absolute() {
        return String::new();
    }
    match std::env::current_dir() {
        Ok(folder) => {
            format!("; relative paths start at the working directory, {}", folder.display())
        }
        Err(_) => "; relative paths start at the working directory".into(),
    }
}

/// Gives a file's text.
///
/// A byte order mark is no part of the text. In UTF-16, which the same programs write, every other
/// byte of a secret would be a NUL.
pub(super) fn decode(bytes: Vec<u8>) -> Result<String, String> {
    let is_text = !bytes.contains(&0) && std::str::from_utf8(&bytes).is_ok();
    // A sequence, as all keys are; the second byte is no NUL, as of a digit in UTF-16.
    if !is_text
        && matches!(bytes.as_slice(), [0x30, 1..=255, ..])
        && let Some(binary) = pem::binary(&bytes, "pkey [-pubin]")
    {
        return Err(binary);
    }
    // Before the test for UTF-8, which ASCII in UTF-16 without a mark would pass.
    if bytes.starts_with(&[0xFF, 0xFE]) || bytes.starts_with(&[0xFE, 0xFF]) || bytes.contains(&0) {
        return Err("not UTF-8 but UTF-16, or no text; save it as UTF-8".into());
    }
    let mut text = String::from_utf8(bytes).map_err(|_| "not UTF-8; save it as UTF-8")?;
    if text.starts_with(BYTE_ORDER_MARK) {
        text.remove(0);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_order_mark_is_no_part_of_a_text() {
        for (bytes, text) in [
            (&b"planted\r\n"[..], "planted\r\n"),
            (b"\xEF\xBB\xBFplanted\r\n", "planted\r\n"),
            (b"\xEF\xBB\xBF", ""),
            (b"", ""),
            ("pl\u{FEFF}änted".as_bytes(), "pl\u{FEFF}änted"),
        ] {
            assert_eq!(decode(bytes.to_vec()).as_deref(), Ok(text));
        }
    }

    #[test]
    fn another_encoding_is_told_by_its_name() {
        let wide = |text: &str, order: fn(u16) -> [u8; 2]| {
            text.encode_utf16().flat_map(order).collect::<Vec<_>>()
        };
        for bytes in [
            wide("\u{FEFF}planted\r\n", u16::to_le_bytes),
            wide("\u{FEFF}planted\r\n", u16::to_be_bytes),
            wide("planted", u16::to_le_bytes),
            wide("planted", u16::to_be_bytes),
            b"\xFF\xFE\0\0p\0\0\0".to_vec(),
            b"plant\0ed".to_vec(),
        ] {
            let refused = decode(bytes).unwrap_err();
            assert!(refused.contains("UTF-16") && refused.contains("save it as UTF-8"));
            assert!(!refused.contains("planted"));
        }
        for (der, told) in [
            (
                &b"\x30\x2E\x02\x01\x00planted"[..],
                "it is DER, not PEM; `openssl pkey [-pubin] -inform der",
            ),
            (
                b"\x30\x82\x01\x02\x30\x82planted",
                "it is DER, not PEM; `openssl pkey [-pubin] -inform der",
            ),
            (b"\x30\x82\x01\x02\x02\x01\x03planted", "it is PKCS#12"),
        ] {
            let refused = decode(der.to_vec()).unwrap_err();
            assert!(refused.starts_with(told) && !refused.contains("planted"), "{refused}");
        }
        assert_eq!(decode(b"0.planted".to_vec()).as_deref(), Ok("0.planted"));
        assert!(decode(b"pl\xE4nted".to_vec()).unwrap_err().contains("save it as UTF-8"));
    }
}
