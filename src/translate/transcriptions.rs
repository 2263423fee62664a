//! `create_transcription`.

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use tower_service::Service;

use super::service::{Exchange, Reply};
use super::upstream::Failure;
use super::{envelope, reply, threads, unknown};
use crate::error::BoxError;
use crate::protocol::RequestType;
use crate::validate::TranscriptionCall;

/// Has the upstream write down what was said.
pub(crate) async fn create<S, R>(mut exchange: Exchange<S>, call: TranscriptionCall) -> Reply<R>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: Into<BoxError>>,
    R: Body<Data = Bytes, Error: Into<BoxError>>,
{
    let request = envelope::transcription(&call);
    // The audio is in the request now; it needn't be kept twice while the upstream listens.
    drop(call);
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
        .ok_or(Failure::Protocol("the upstream's transcription is not one"))?;
    reply::one(reply::Transcription { text })
}
