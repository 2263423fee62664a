//! `Accept` and `Content-Type`.

use std::borrow::Cow;

use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_ENCODING, CONTENT_TYPE};

use super::read::SizeLimit;
use super::reader::BodyLimits;
use crate::accept::quality;
use crate::media_type;
use crate::rejection::{Code, Rejection};

/// How a run is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RunFormat {
    /// The stream of events, byte for byte.
    Events,
    /// One JSON object, at the end.
    Json,
}

/// What a request may have for a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Takes {
    /// No body. If one comes it is not looked at.
    Nothing,
    /// JSON that is not looked at, or nothing at all.
    AnyJson,
    /// JSON, or nothing at all.
    MaybeJson,
    /// JSON.
    Json,
    /// A ChatKit request, in JSON.
    ChatKit,
    /// Audio as it is, or JSON.
    Audio,
}

/// What a request is answered with when all is well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gives {
    /// JSON as its reply's schema says.
    Json,
    /// The events of a run, or JSON.
    Run,
    /// Whatever the chat server says: events or JSON.
    ChatKit,
}

/// Checks whether the answer can be one that the client accepts.
///
/// The pass-through doesn't negotiate: its clients send any `Accept` with any request.
pub(crate) fn acceptable(gives: Gives, headers: &HeaderMap) -> Result<(), Rejection> {
    let Some(accept) = accept(headers) else { return Ok(()) };
    let accept = &*accept;
    let json = quality(accept, "application/json").max(quality(accept, "application/problem+json"));
    let acceptable = match gives {
        Gives::ChatKit => true,
        Gives::Run => json > 0 || quality(accept, "text/event-stream") > 0,
        Gives::Json => json > 0,
    };
    if acceptable {
        return Ok(());
    }
    Err(Rejection::new(Code::NotAcceptable).message(if gives == Gives::Run {
        "A run is answered with text/event-stream or application/json; Accept takes neither."
    } else {
        ONLY_JSON
    }))
}

const ONLY_JSON: &str = "The answer is application/json; Accept doesn't take it.";

/// Checks whether JSON is acceptable, where it turns out that nothing else can be had.
pub(crate) fn json_only(headers: &HeaderMap) -> Result<(), Rejection> {
    match accept(headers) {
        Some(accept)
            if quality(&accept, "application/json") == 0
                && quality(&accept, "application/problem+json") == 0 =>
        {
            Err(Rejection::new(Code::NotAcceptable).message(ONLY_JSON))
        }
        _ => Ok(()),
    }
}

/// Tells how one-shot chat is to be answered: in JSON, unless `stream: true` or an `Accept` that
/// prefers `text/event-stream` to `application/json` asks for events.
pub(crate) fn chat_format(stream: Option<bool>, headers: &HeaderMap) -> RunFormat {
    match (stream, accept(headers)) {
        (Some(stream), _) => run_format(Some(stream), headers),
        (None, Some(accept))
            if quality(&accept, "text/event-stream") > quality(&accept, "application/json") =>
        {
            RunFormat::Events
        }
        (None, _) => RunFormat::Json,
    }
}

/// Tells how a run is to be answered: `stream: false` asks for JSON, and so does an `Accept` that
/// prefers `application/json` to `text/event-stream`.
pub(crate) fn run_format(stream: Option<bool>, headers: &HeaderMap) -> RunFormat {
    if stream == Some(false) {
        return RunFormat::Json;
    }
    match accept(headers) {
        Some(accept)
            if quality(&accept, "application/json") > quality(&accept, "text/event-stream") =>
        {
            RunFormat::Json
        }
        _ => RunFormat::Events,
    }
}

/// Gives the value of `Accept`; several lines are one list (RFC 9110 section 5.3).
fn accept(headers: &HeaderMap) -> Option<Cow<'_, str>> {
    let mut lines = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let first = lines.next()?;
    let value = lines.fold(Cow::Borrowed(first), |all, line| Cow::Owned(format!("{all},{line}")));
    (!value.is_empty()).then_some(value)
}

/// Checks whether a body claims to be what its operation takes: JSON in UTF-8, or audio where there
/// is some to be heard. A body without a type is taken at its word.
///
/// Gives the most bytes that it may have.
pub(crate) fn body(
    takes: Takes,
    headers: &HeaderMap,
    limits: &BodyLimits,
) -> Result<SizeLimit, Rejection> {
    check_coding(headers)?;
    let json = is_json(headers);
    if takes == Takes::Audio {
        if json {
            let base64 = limits.max_audio_bytes.div_ceil(3).saturating_mul(4);
            return Ok(SizeLimit::Body(base64.saturating_add(limits.max_body_bytes)));
        }
        if audio(headers).is_some() {
            return Ok(SizeLimit::Audio(limits.max_audio_bytes));
        }
        return Err(unsupported(
            "The body must be audio, or application/json in UTF-8; see Content-Type.",
        ));
    }
    if json {
        return Ok(SizeLimit::Body(limits.max_body_bytes));
    }
    Err(unsupported(NOT_JSON))
}

/// Refuses a body that claims to be anything but JSON in UTF-8. One without a type is taken at its
/// word.
pub(super) fn json(headers: &HeaderMap) -> Result<(), Rejection> {
    check_coding(headers)?;
    if is_json(headers) { Ok(()) } else { Err(unsupported(NOT_JSON)) }
}

const NOT_JSON: &str = "The body must be application/json in UTF-8; see the Content-Type header.";

fn check_coding(headers: &HeaderMap) -> Result<(), Rejection> {
    if headers.get(CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
        return Err(unsupported("The body must not have a content coding."));
    }
    Ok(())
}

fn is_json(headers: &HeaderMap) -> bool {
    let is_json = |value| media_type::is_json(value) && media_type::can_be_utf8(value);
    headers.get(CONTENT_TYPE).is_none_or(is_json)
}

fn unsupported(message: &'static str) -> Rejection {
    Rejection::new(Code::UnsupportedMediaType).message(message)
}

/// Gives the media type of a body that is audio, in lower case and without its parameters, which
/// servers compare it without.
pub(crate) fn audio(headers: &HeaderMap) -> Option<String> {
    let essence = media_type::essence(headers.get(CONTENT_TYPE)?);
    let essence = std::str::from_utf8(essence).ok()?.to_ascii_lowercase();
    let subtype = essence.strip_prefix("audio/")?;
    // A token (RFC 9110 section 5.6.2).
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    (!subtype.is_empty() && subtype.bytes().all(is_token)).then_some(essence)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn audio_has_a_type_and_a_limit_of_its_own() {
        let limits = BodyLimits { max_body_bytes: 10, max_audio_bytes: 7, ..BodyLimits::default() };
        for (value, mime_type, max) in [
            ("audio/webm;codecs=opus", Some("audio/webm"), Some(SizeLimit::Audio(7))),
            (" Audio/OGG ; codecs=\"opus\"", Some("audio/ogg"), Some(SizeLimit::Audio(7))),
            ("application/json", None, Some(SizeLimit::Body(22))),
            ("video/webm", None, None),
            ("audio/", None, None),
            ("audio/a b", None, None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(value));
            assert_eq!(audio(&headers).as_deref(), mime_type, "{value}");
            let found = body(Takes::Audio, &headers, &limits);
            assert_eq!(found.ok(), max, "{value}");
            let elsewhere = body(Takes::Json, &headers, &limits);
            assert_eq!(
                elsewhere.ok(),
                max.filter(|_| mime_type.is_none()).map(|_| SizeLimit::Body(10)),
                "{value}"
            );
        }
    }

    #[test]
    fn a_run_is_answered_as_asked() {
        let headers = |accept: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, HeaderValue::from_static(accept));
            headers
        };
        for (stream, accept, expected) in [
            (None, "*/*", RunFormat::Events),
            (Some(true), "*/*", RunFormat::Events),
            (Some(false), "text/event-stream", RunFormat::Json),
            (None, "application/json", RunFormat::Json),
            (Some(true), "application/json", RunFormat::Json),
            (None, "application/json, text/event-stream", RunFormat::Events),
            (None, "application/json, text/event-stream;q=0.9", RunFormat::Json),
            (None, "text/event-stream", RunFormat::Events),
        ] {
            assert_eq!(run_format(stream, &headers(accept)), expected, "{stream:?} {accept}");
        }
        assert_eq!(run_format(None, &HeaderMap::new()), RunFormat::Events);
        for (stream, accept, expected) in [
            (None, "*/*", RunFormat::Json),
            (None, "application/json, text/event-stream", RunFormat::Json),
            (None, "application/json;q=0.9, text/event-stream", RunFormat::Events),
            (None, "text/event-stream", RunFormat::Events),
            (None, "text/event-stream, */*;q=0.1", RunFormat::Events),
            (Some(false), "text/event-stream", RunFormat::Json),
            (Some(true), "*/*", RunFormat::Events),
            (Some(true), "application/json", RunFormat::Json),
        ] {
            assert_eq!(chat_format(stream, &headers(accept)), expected, "{stream:?} {accept}");
        }
        assert_eq!(chat_format(None, &HeaderMap::new()), RunFormat::Json);
        assert_eq!(chat_format(Some(true), &HeaderMap::new()), RunFormat::Events);
        assert!(acceptable(Gives::Run, &headers("text/event-stream")).is_ok());
        assert!(acceptable(Gives::Run, &headers("text/html")).is_err());
        assert!(acceptable(Gives::Run, &headers("text/html")).is_err());
        assert!(acceptable(Gives::Json, &headers("text/event-stream")).is_err());
        assert!(acceptable(Gives::Json, &headers("application/problem+json")).is_ok());
        assert!(acceptable(Gives::ChatKit, &headers("text/html")).is_ok());
    }
}
