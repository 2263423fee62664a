use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::Body;

use super::negotiate::{self, Gives, Takes};
use super::read::ReadBody;
use super::schemas::Schemas;
use crate::limit::BufferedBytes;
use crate::principal::UserId;
use crate::rejection::Rejection;

/// The bounds of what is read.
///
/// ```
/// use chatkit_rest::validate::BodyLimits;
///
/// let limits = BodyLimits::default().with_max_message_chars(2000).with_max_chat_chars(500);
/// assert_eq!((limits.max_message_chars, limits.max_body_bytes), (2000, 1_048_576));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BodyLimits {
    /// The largest body, in bytes.
    pub max_body_bytes: usize,
    /// The most JSON values of a body, every key counted as one. What is passed on without a look
    /// at it is not counted: a tool's output, an action's payload, a tag's data.
    pub max_json_values: usize,
    /// The largest audio, in bytes. Written in base64 in a JSON body it may take a third more,
    /// and `max_body_bytes` beside it.
    pub max_audio_bytes: usize,
    /// The longest message, in Unicode scalar values of all its text together.
    pub max_message_chars: usize,
    /// The same of one-shot chat.
    pub max_chat_chars: usize,
    /// The longest wait for a body.
    pub body_timeout: Duration,
}

impl Default for BodyLimits {
    /// Allows 1 MiB, 10 000 values, 25 MiB of audio, 10 000 characters, 15 seconds.
    fn default() -> Self {
        Self {
            max_body_bytes: 1_048_576,
            max_json_values: super::json::MAX_VALUES,
            max_audio_bytes: 26_214_400,
            max_message_chars: 10_000,
            max_chat_chars: 10_000,
            body_timeout: Duration::from_secs(15),
        }
    }
}

impl BodyLimits {
    /// Sets the most bytes of a body.
    #[must_use]
    pub fn with_max_body_bytes(self, max_body_bytes: usize) -> Self {
        Self { max_body_bytes, ..self }
    }

    /// Sets the most JSON values of a body.
    #[must_use]
    pub fn with_max_json_values(self, max_json_values: usize) -> Self {
        Self { max_json_values, ..self }
    }

    /// Sets the most bytes of audio.
    #[must_use]
    pub fn with_max_audio_bytes(self, max_audio_bytes: usize) -> Self {
        Self { max_audio_bytes, ..self }
    }

    /// Sets the most scalar values of a message.
    #[must_use]
    pub fn with_max_message_chars(self, max_message_chars: usize) -> Self {
        Self { max_message_chars, ..self }
    }

    /// Sets the same of one-shot chat.
    #[must_use]
    pub fn with_max_chat_chars(self, max_chat_chars: usize) -> Self {
        Self { max_chat_chars, ..self }
    }

    /// Sets the longest wait for a body.
    #[must_use]
    pub fn with_body_timeout(self, body_timeout: Duration) -> Self {
        Self { body_timeout, ..self }
    }
}

/// What the pass-through does with a request type that it doesn't know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnknownRequests {
    /// Lets it through. The ids in it can't be checked.
    Forward,
    /// Refuses it.
    #[default]
    Refuse,
}

/// How requests are read: by which schemas, and within which bounds.
#[derive(Clone, Debug)]
pub struct Reader {
    pub(crate) schemas: Arc<Schemas>,
    pub(crate) limits: BodyLimits,
    pub(crate) unknown: UnknownRequests,
    pub(crate) buffered: Option<BufferedBytes>,
}

impl Reader {
    /// Reads by `schemas`, within `limits`.
    pub fn new(schemas: Schemas, limits: BodyLimits) -> Self {
        let schemas = Arc::new(schemas);
        Self { schemas, limits, unknown: UnknownRequests::Refuse, buffered: None }
    }

    /// Replaces the bounds.
    #[must_use]
    pub fn with_limits(self, limits: BodyLimits) -> Self {
        Self { limits, ..self }
    }

    /// Counts the bodies that are being read, and those that are not answered yet, among
    /// `buffered`.
    #[must_use]
    pub fn with_buffered_bytes(self, buffered: BufferedBytes) -> Self {
        Self { buffered: Some(buffered), ..self }
    }

    /// Says what the pass-through does with unknown request types.
    #[must_use]
    pub fn with_unknown_requests(self, unknown: UnknownRequests) -> Self {
        Self { unknown, ..self }
    }

    /// Gives what reads the body, if there is one and the head says that it can be what is due.
    pub(crate) fn body<B: Body<Data = Bytes>>(
        &self,
        (takes, gives): (Takes, Gives),
        headers: &HeaderMap,
        body: B,
        user: &UserId,
    ) -> Result<Option<ReadBody<B>>, Rejection> {
        negotiate::acceptable(gives, headers)?;
        if takes == Takes::Nothing || body.is_end_stream() {
            return Ok(None);
        }
        let max = negotiate::body(takes, headers, &self.limits)?;
        let buffered = self.buffered.as_ref();
        // What there never is room for is too large, however often it is tried.
        let max = buffered.map_or(max, |buffered| max.at_most(buffered.largest()));
        let permit = buffered.map(|buffered| buffered.permit(user));
        Ok(Some(ReadBody::new(body, max, self.limits.body_timeout).with_permit(permit)))
    }
}
