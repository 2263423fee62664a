//! How a key set is asked for.

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use super::document::InvalidKeySet;
use super::set::JwkSet;
use crate::authenticate::Algorithm;
use crate::error::BoxError;

/// How long a fetch may take, and so how long anybody waits for one.
pub(super) const FETCH_TIMEOUT: Duration = Duration::from_secs(5);

/// Asks an issuer for its key set. What it gives is read and bounded by whoever asked.
///
/// With the feature `forward` there is one over HTTP, `HttpKeys`.
pub trait FetchKeys: fmt::Debug + Send + Sync + 'static {
    /// Asks once. It is dropped when it takes longer than 5 s.
    fn fetch(&self) -> FetchFuture;

    /// Gives what is asked, such as a URL, for logs: nothing secret.
    fn source(&self) -> String;
}

/// What [`FetchKeys::fetch`] returns.
pub type FetchFuture = Pin<Box<dyn Future<Output = Result<FetchedKeys, FetchError>> + Send>>;

/// A key set as its issuer gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FetchedKeys {
    /// The document, of at most [`MAX_KEY_SET_BYTES`](super::MAX_KEY_SET_BYTES).
    pub json: Bytes,
    /// How long it may be used, if that was said. Between 5 minutes and 24 hours are believed; where
    /// nothing is said, it is an hour.
    pub max_age: Option<Duration>,
}

/// Asks once, and gives what there is of keys for `algorithms`, and how long the answer may be used if
/// it says so.
///
/// # Errors
/// If there is no set. That none of its keys can be used is no error here.
pub async fn fetch_key_set(
    fetch: &dyn FetchKeys,
    algorithms: &[Algorithm],
) -> Result<(JwkSet, Option<Duration>), FetchError> {
    let fetched =
        timeout(FETCH_TIMEOUT, fetch.fetch()).await.map_err(|_| FetchError::TimedOut)??;
    let set = JwkSet::parse(&fetched.json, algorithms).map_err(FetchError::Invalid)?;
    Ok((set, fetched.max_age))
}

impl FetchedKeys {
    /// Makes one of a document of which nothing says how long it may be used.
    pub fn new(json: impl Into<Bytes>) -> Self {
        Self { json: json.into(), max_age: None }
    }

    /// Has it be used for as long as its answer said.
    #[must_use]
    pub fn with_max_age(self, max_age: Option<Duration>) -> Self {
        Self { max_age, ..self }
    }
}

/// Why there is no key set.
///
/// Its text is for the log and for whoever configures a gateway: it says what to do, where that is
/// known.
#[derive(Debug)]
#[non_exhaustive]
pub enum FetchError {
    /// The answer is no key set.
    Invalid(InvalidKeySet),
    /// None of its keys can be used.
    NoUsableKey,
    /// It took longer than 5 s.
    TimedOut,
    /// It could not be asked for, or was not answered with a document.
    Failed {
        /// What was wrong, with what to do about it.
        what: String,
        /// The cause.
        source: Option<BoxError>,
    },
}

impl FetchError {
    /// Makes a failure of which that is known.
    pub fn failed(what: impl Into<String>) -> Self {
        Self::Failed { what: what.into(), source: None }
    }
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(invalid) => write!(f, "the answer {invalid}"),
            Self::NoUsableKey => f.write_str(
                "the set has no key that can be used; `chatkit-rest check --fetch-keys` says why of \
                 each",
            ),
            Self::TimedOut => f.write_str("there was no answer within 5 s"),
            Self::Failed { what, .. } => f.write_str(what),
        }
    }
}

impl std::error::Error for FetchError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Failed { source, .. } => source.as_deref().map(|source| source as _),
            // Its text is in the text.
            Self::Invalid(_) | Self::NoUsableKey | Self::TimedOut => None,
        }
    }
}
