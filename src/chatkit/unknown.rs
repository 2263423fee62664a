//! Operations that an upstream doesn't know.
//!
//! A ChatKit server says the same bare 500 to a request of a type that it doesn't know and to one
//! that it fails at. It has said it in another way, though, to what is known by every server: one
//! in Python fails at a run within a stream, and one on Node has the head of one, or a trace of its
//! calls, in its 500.
//!
//! What can't be told: a Python server of SDK 1.6.0 to 1.6.3 knows transcriptions, and from 1.6.2
//! on synchronous actions, but not the type that is asked for. One that fails at the first of those
//! that it gets may be told to lack it, because nothing that does nothing has another answer there
//! than in the version before. Hence the words of [`unsupported`].

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::Full;
use tower_service::Service;

use super::envelope;
use super::upstream::{EVENT_STREAM, Upstream};
use crate::error::BoxError;
use crate::forward::Doubtful;
use crate::protocol::RequestType;
use crate::rejection::{Code, Rejection};
use crate::session::SessionId;

/// What nobody knows.
const NONSENSE: &str = "threads.nobody_knows_this";

/// How much of a refusal is compared.
const MAX_TEXT_BYTES: usize = 8192;

/// The types that were added after the first version of the protocol, and that this process has
/// seen the upstream know. One that it takes back, by going back to an older version, is then taken
/// for one that it fails at.
#[derive(Clone, Debug, Default)]
pub(crate) struct KnownTypes(Arc<AtomicU8>);

impl KnownTypes {
    /// Notes that the upstream has carried out a request of this type.
    pub(crate) fn saw(&self, kind: RequestType) {
        if let Some(bit) = bit(kind) {
            self.0.fetch_or(bit, Ordering::Relaxed);
        }
    }

    /// Tells whether a request of this type may be one that the upstream doesn't know. Who knows a
    /// later one is taken to know it.
    fn is_doubtful(&self, kind: RequestType) -> bool {
        bit(kind).is_some_and(|bit| self.0.load(Ordering::Relaxed) < bit)
    }
}

/// Gives a place for each type that not every server knows, in the order in which they were added.
fn bit(kind: RequestType) -> Option<u8> {
    match kind {
        RequestType::InputTranscribe => Some(1),
        RequestType::ThreadsSyncCustomAction => Some(2),
        RequestType::ThreadsAddStructuredInput => Some(4),
        RequestType::AttachmentsCreate
        | RequestType::AttachmentsDelete
        | RequestType::ItemsFeedback
        | RequestType::ItemsList
        | RequestType::ThreadsAddClientToolOutput
        | RequestType::ThreadsAddUserMessage
        | RequestType::ThreadsCreate
        | RequestType::ThreadsCustomAction
        | RequestType::ThreadsDelete
        | RequestType::ThreadsGetById
        | RequestType::ThreadsList
        | RequestType::ThreadsRetryAfterItem
        | RequestType::ThreadsUpdate => None,
    }
}

/// What an answer looks like, but for what was asked.
#[derive(Debug, PartialEq, Eq)]
struct Fingerprint {
    status: StatusCode,
    content_type: Option<HeaderValue>,
    cache_control: Option<HeaderValue>,
    text: String,
}

impl<S, R> Upstream<S>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: Into<BoxError>>,
    R: Body<Data = Bytes, Error: Into<BoxError>>,
{
    /// Tells whether a request of this type got a bare 500 because the upstream doesn't know the
    /// type. `false` means that it does, or that nobody can tell.
    ///
    /// It is asked for the last type that was added, about a thread that nobody has, which does
    /// nothing anywhere: does it answer that as it answers nonsense, and not as it answers what
    /// every server knows? Whoever doesn't know that one is taken not to know the others either,
    /// unless it has shown that it does, or shows it of the one in between.
    pub(crate) async fn is_ignorant_of(&mut self, kind: RequestType) -> bool {
        if !self.known.is_doubtful(kind) {
            return false;
        }
        let nobody = SessionId::random().to_string();
        let newest = RequestType::ThreadsAddStructuredInput.as_str();
        let Some(newest) = self.look(newest, &nobody).await else { return false };
        if newest.status != StatusCode::INTERNAL_SERVER_ERROR
            || self.look(NONSENSE, &nobody).await.as_ref() != Some(&newest)
        {
            return false;
        }
        let oldest = RequestType::ThreadsRetryAfterItem.as_str();
        let oldest = self.look(oldest, &nobody).await;
        // A 502 and the like is somebody else's, who knows nothing at all.
        let is_told = oldest.is_some_and(|oldest| {
            matches!(oldest.status, StatusCode::OK | StatusCode::INTERNAL_SERVER_ERROR)
                && oldest != newest
        });
        if !is_told || kind == RequestType::ThreadsAddStructuredInput {
            return is_told;
        }
        // Some say otherwise that there is no such thread. A transcription is about none, and not
        // asked for: it would be made.
        let between = RequestType::ThreadsSyncCustomAction.as_str();
        self.look(between, &nobody).await.as_ref() == Some(&newest)
    }

    async fn look(&mut self, kind: &str, nobody: &str) -> Option<Fingerprint> {
        let request = envelope::about_nobody(kind, nobody);
        let answer = self.exchange(EVENT_STREAM, request, Some(Doubtful)).await;
        let (head, body) = answer.ok()?.into_parts();
        // What a run has to say doesn't matter.
        let text = match head.status {
            StatusCode::OK => String::new(),
            _ => beginning(body).await?.replace(kind, ""),
        };
        Some(Fingerprint {
            status: head.status,
            content_type: head.headers.get(CONTENT_TYPE).cloned(),
            cache_control: head.headers.get(CACHE_CONTROL).cloned(),
            text,
        })
    }
}

/// Reads the beginning of a body's text.
async fn beginning<R>(body: R) -> Option<String>
where
    R: Body<Data = Bytes>,
{
    let mut body = pin!(body);
    let mut text = Vec::new();
    while text.len() < MAX_TEXT_BYTES {
        match poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
            None => break,
            Some(frame) => {
                let data = frame.ok()?.into_data().unwrap_or_default();
                let rest = MAX_TEXT_BYTES - text.len();
                text.extend_from_slice(data.get(..rest).unwrap_or(&data));
            }
        }
    }
    Some(String::from_utf8_lossy(&text).into_owned())
}

/// Gives the refusal where the upstream answers like one that doesn't know an operation.
pub(crate) fn unsupported() -> Rejection {
    Rejection::new(Code::UpstreamUnsupported)
        .message("The chat server does not seem to have this operation.")
        .because(
            "the upstream answered 500, and to threads.add_structured_input what it answers to \
             nonsense",
        )
}
