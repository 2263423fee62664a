//! `create_transcription`: audio as it is, or in base64 in a JSON body.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::HeaderMap;
use serde_json::Value;

use super::super::call::{Audio, TranscriptionCall};
use super::super::layer::Rules;
use super::super::negotiate;
use super::super::read::too_large;
use super::super::report::Report;
use super::{checked, string_at};
use crate::rejection::Rejection;
use crate::route::Operation;

pub(super) fn parse(
    rules: &Rules,
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<TranscriptionCall, Rejection> {
    if let Some(mime_type) = negotiate::audio(headers) {
        if body.is_empty() {
            return Err(Report::one("", "is empty where audio is due").into());
        }
        return Ok(TranscriptionCall { audio: Audio::Raw(body.clone()), mime_type });
    }
    let mut value = checked(rules, Operation::CreateTranscription, body)?;
    let mime_type = string_at(&value, "mime_type").unwrap_or_default();
    let base64 = match value.get_mut("audio_base64").map(Value::take) {
        Some(Value::String(base64)) => base64,
        _ => String::new(),
    };
    let Some(bytes) = decoded_len(&base64) else {
        // The server skips what it doesn't know, and hears something else.
        let message = "must be base64 with the standard alphabet (RFC 4648 section 4) and padding";
        return Err(Report::one("/audio_base64", message).into());
    };
    if bytes > rules.limits.max_audio_bytes {
        return Err(too_large(rules.limits.max_audio_bytes));
    }
    Ok(TranscriptionCall { audio: Audio::Base64(base64), mime_type })
}

/// How many bytes a text in base64 stands for; `None` if it isn't one.
fn decoded_len(text: &str) -> Option<usize> {
    // Nothing but the last piece may be padded.
    const PIECE: usize = 4096;
    let mut scratch = [0; PIECE / 4 * 3];
    let mut bytes = 0;
    let mut padded = false;
    for piece in text.as_bytes().chunks(PIECE) {
        if padded {
            return None;
        }
        bytes += STANDARD.decode_slice(piece, &mut scratch).ok()?;
        padded = piece.ends_with(b"=");
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_taken_strictly() {
        for (text, bytes) in [
            ("", Some(0)),
            ("+//+AA==", Some(4)),
            ("AAAA", Some(3)),
            ("-__-AA==", None),
            ("AAA", None),
            ("AA", None),
            ("AB==", None),
            ("AAAA\n", None),
            ("AA==AAAA", None),
            ("=", None),
        ] {
            assert_eq!(decoded_len(text), bytes, "{text:?}");
        }
        let long = vec![7; 10_000];
        let text = STANDARD.encode(&long);
        assert_eq!(decoded_len(&text), Some(10_000));
        // Where one piece ends.
        let seam = format!("{}AA=={}", "A".repeat(4092), "A".repeat(8));
        assert_eq!(decoded_len(&seam), None);
    }
}
