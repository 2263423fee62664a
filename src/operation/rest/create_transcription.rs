//! Has the upstream write down what was said: audio as it is, or in base64 in a JSON body.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Method;
use serde::Serialize;

use crate::chatkit::envelope::{self, Audio};
use crate::chatkit::upstream::UpstreamFailure;
use crate::chatkit::{ChatKit, ChatKitBody, threads, unknown};
use crate::operation::reply;
use crate::operation::{Exchange, Gives, Operation, Read, Reply, Row, Takes};
use crate::principal::Principal;
use crate::protocol::RequestType;
use crate::rejection::{Code, Rejection};
use crate::session::Desk;
use crate::surface::Surface;
use crate::validate::json::outline::{Outline, outline};
use crate::validate::read::SizeLimit;
use crate::validate::{Report, negotiate};

const AUDIO: &str = "audio_base64";
const MIME_TYPE: &str = "mime_type";

pub(crate) struct CreateTranscription;

#[derive(Debug)]
pub(crate) struct Call {
    audio: Audio,
    mime_type: String,
}

impl Operation for CreateTranscription {
    const ROW: Row = Row {
        name: "create_transcription",
        surface: Surface::Rest,
        method: Method::POST,
        path: "/transcriptions",
        takes: Takes::Audio,
        gives: Gives::Json,
        asks_upstream: true,
        may_be_foreign: false,
        refuses: &[],
        tag: "Transcriptions",
        summary: "Turn speech into text",
        description: "The audio as it is, with its media type, or in base64 inside of JSON.",
        links: &[],
    };

    type Call = Call;
    type Grant = ();

    fn parse(read: &Read<'_>) -> Result<Call, Rejection> {
        let body = read.body();
        match negotiate::audio(read.headers()) {
            None => of_json(read),
            Some(_) if body.is_empty() => {
                Err(Report::one("", "is empty where audio is due").into())
            }
            Some(mime_type) => Ok(Call { audio: Audio::Raw(body.clone()), mime_type }),
        }
    }

    async fn admit(_: &Desk, _: &Principal, _: &Call) -> Result<(), Rejection> {
        Ok(())
    }

    async fn answer<S: ChatKit<R>, R: ChatKitBody>(
        mut exchange: Exchange<S>,
        (): (),
        Call { audio, mime_type }: Call,
    ) -> Reply<R> {
        let request = envelope::transcription(&audio, &mime_type);
        // It is in the request now; it needn't be kept twice while the upstream listens.
        drop(audio);
        let upstream = &mut exchange.upstream;
        let answer = match upstream.json(request).await {
            Ok(answer) => answer,
            Err(failure)
                if failure.is_bare_500()
                    && upstream.is_ignorant_of(RequestType::InputTranscribe).await =>
            {
                return Err(unknown::unsupported());
            }
            Err(failure) => return Err(failure.into()),
        };
        upstream.known.saw(RequestType::InputTranscribe);
        let text = threads::object(&answer)
            .and_then(|transcription| transcription.text("text"))
            .ok_or(UpstreamFailure::Protocol("the upstream's transcription is not one"))?;
        reply::one(ShownTranscription { text })
    }
}

fn of_json(read: &Read<'_>) -> Result<Call, Rejection> {
    let body = read.body();
    let Outline { mut value, texts: [base64, mime_type], is_cut } =
        outline(body, [AUDIO, MIME_TYPE])?;
    if is_cut && let Some(members) = value.as_object_mut() {
        // They may be in what wasn't read; what was is wrong without that.
        members.entry(AUDIO).or_insert_with(|| "AAAA".into());
        members.entry(MIME_TYPE).or_insert_with(|| "audio/x".into());
    }
    read.check(&value)?;
    let (Some(base64), Some(mime_type), false) = (base64, mime_type, is_cut) else {
        return Err(Rejection::new(Code::Internal).because("schema and outline disagree"));
    };
    let Some(bytes) = decoded_len(&base64) else {
        // The server skips what it doesn't know, and hears something else.
        let message = "must be base64 with the standard alphabet (RFC 4648 section 4) and padding";
        return Err(Report::one("/audio_base64", message).into());
    };
    let max = read.limits().max_audio_bytes;
    if bytes > max {
        return Err(SizeLimit::Audio(max).too_large());
    }
    let base64 = match base64 {
        Cow::Borrowed(base64) => body.slice_ref(base64.as_bytes()),
        Cow::Owned(base64) => Bytes::from(base64),
    };
    Ok(Call { audio: Audio::Base64(base64), mime_type: mime_type.into_owned() })
}

/// Tells how many bytes a text in base64 stands for; `None` if it isn't one.
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

/// What was said.
#[derive(Serialize)]
struct ShownTranscription {
    text: String,
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;
    use crate::operation::Name;
    use crate::route::Router;
    use crate::surface::Surfaces;
    use crate::validate::{BodyLimits, Reader, Schemas};

    fn parsed(body: &Bytes) -> Result<Call, Rejection> {
        let reader = Reader::new(Schemas::compile().unwrap(), BodyLimits::default());
        let target = Router::new(Name::ALL, &Surfaces::rest(""))
            .unwrap()
            .route(&Method::POST, "/transcriptions")
            .unwrap();
        CreateTranscription::parse(&Read::new(&reader, &target, None, &HeaderMap::new(), body))
    }

    #[test]
    fn audio_in_json_is_not_copied() {
        let body = Bytes::from(r#"{"mime_type":"audio/ogg","audio_base64":"+//+AA=="}"#);
        let call = parsed(&body).unwrap();
        let Audio::Base64(base64) = call.audio else { panic!("{call:?}") };
        assert_eq!(base64, "+//+AA==");
        assert!(body.as_ptr_range().contains(&base64.as_ptr()));
        let body = Bytes::from(r#"{"mime_type":"audio/ogg","audio_base64":"+\/\/+AA=="}"#);
        let Audio::Base64(base64) = parsed(&body).unwrap().audio else { panic!() };
        assert_eq!(base64, "+//+AA==");
    }

    #[test]
    fn the_member_at_fault_is_named_however_much_is_in_it() {
        let zeros = format!("[{}0]", "0,".repeat(1_000_000));
        let audio = r#""audio_base64":"AAAA""#;
        let kind = r#""mime_type":"audio/ogg""#;
        for (body, member) in [
            (format!(r#"{{"a":{zeros},{audio},{kind}}}"#), "/a is not"),
            (format!(r#"{{"audio_base64":{zeros},{kind}}}"#), "/audio_base64 must be of type"),
            (format!(r#"{{{audio},"mime_type":{zeros}}}"#), "/mime_type must be of type"),
            (zeros.clone(), "it must be of type"),
            (
                format!(r#"{{{audio},"mime_type":"audio/{}"}}"#, "x".repeat(1_000_000)),
                "/mime_type is not valid",
            ),
            (r#"{"audio_base64":"","mime_type":"audio/x"}"#.to_owned(), "/audio_base64 is not"),
            (format!("{{{audio}}}"), "/mime_type is required"),
        ] {
            let rejection = parsed(&body.into()).unwrap_err();
            assert_eq!(rejection.code(), Code::InvalidInput);
            let told = format!("{rejection:?}");
            assert!(told.contains(member), "{told}");
            assert!(told.len() < 2000, "{}", told.len());
        }
        let twice = parsed(&format!("{{{audio},{kind},{audio}}}").into()).unwrap_err();
        assert_eq!(twice.code(), Code::InvalidJson);
    }

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
