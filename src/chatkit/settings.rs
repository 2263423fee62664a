use http::Uri;
use jiff::tz::Offset;

use crate::forward::{IdentityHeaders, PublicAddress};
use crate::limit::BufferedBytes;
use crate::proof::Signer;
use crate::stream::HoldPolicy;
use crate::surface::ACTED;

/// How requests are put to the upstream and its answers read.
///
/// ```
/// use chatkit_rest::chatkit::ChatKitSettings;
/// use chatkit_rest::forward::IdentityHeaders;
/// use http::{HeaderName, Uri};
///
/// let settings = ChatKitSettings::default()
///     .with_endpoint(Uri::from_static("/my/chatkit"))
///     .with_identity(IdentityHeaders::new(HeaderName::from_static("x-caller"))?)
///     .with_acted("Done.");
/// assert_eq!((settings.endpoint.path(), &*settings.acted), ("/my/chatkit", "Done."));
/// # Ok::<(), chatkit_rest::error::Error>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ChatKitSettings {
    /// Where the inner service has its ChatKit endpoint.
    pub endpoint: Uri,
    /// Which header tells the upstream who is calling, and whether it gets the token too.
    pub identity: IdentityHeaders,
    /// What signs each request, for an upstream that asks whether it is the gateway that calls; `None`:
    /// nothing does.
    pub proof: Option<Signer>,
    /// What it is told of the address at which clients reach the gateway.
    pub public_address: PublicAddress,
    /// The zone of the upstream's times that name none.
    pub utc_offset: Offset,
    /// The largest answer that is read whole, in bytes.
    pub max_reply_bytes: usize,
    /// What is read whole, or written in one piece, counts among these; `None`: it isn't counted.
    pub buffered: Option<BufferedBytes>,
    /// How much may be under way at once that is finished whether or not its client waits.
    pub max_detached_tasks: usize,
    /// How long and how much of a run is held before its status is fixed.
    pub hold: HoldPolicy,
    /// What one-shot chat says for an assistant that did something and said nothing; empty:
    /// nothing.
    pub acted: String,
}

impl ChatKitSettings {
    /// Sets where the inner service has its endpoint.
    #[must_use]
    pub fn with_endpoint(self, endpoint: Uri) -> Self {
        Self { endpoint, ..self }
    }

    /// Sets how the upstream is told who is calling.
    #[must_use]
    pub fn with_identity(self, identity: IdentityHeaders) -> Self {
        Self { identity, ..self }
    }

    /// Sends with each request a [proof](crate::proof) that it is the gateway that calls.
    #[must_use]
    pub fn with_proof(self, signer: Signer) -> Self {
        Self { proof: Some(signer), ..self }
    }

    /// Sets what it is told of the address at which clients reach the gateway.
    #[must_use]
    pub fn with_public_address(self, public_address: PublicAddress) -> Self {
        Self { public_address, ..self }
    }

    /// Sets the zone of times that name none.
    #[must_use]
    pub fn with_utc_offset(self, utc_offset: Offset) -> Self {
        Self { utc_offset, ..self }
    }

    /// Sets the largest answer that is read whole, in bytes.
    #[must_use]
    pub fn with_max_reply_bytes(self, max_reply_bytes: usize) -> Self {
        Self { max_reply_bytes, ..self }
    }

    /// Counts what is read whole, or written in one piece, among `buffered`.
    #[must_use]
    pub fn with_buffered_bytes(self, buffered: BufferedBytes) -> Self {
        Self { buffered: Some(buffered), ..self }
    }

    /// Sets how much may be under way that is finished whether or not its client waits.
    #[must_use]
    pub fn with_max_detached_tasks(self, max_detached_tasks: usize) -> Self {
        Self { max_detached_tasks, ..self }
    }

    /// Sets how long and how much of a run is held.
    #[must_use]
    pub fn with_hold(self, hold: HoldPolicy) -> Self {
        Self { hold, ..self }
    }

    /// Sets what one-shot chat says for an assistant that did something and said nothing.
    #[must_use]
    pub fn with_acted(self, acted: impl Into<String>) -> Self {
        Self { acted: acted.into(), ..self }
    }

    /// Gives the largest answer that is read whole: never more than a user may keep, which would be
    /// refused however often it was tried.
    pub(crate) fn largest_reply(&self) -> usize {
        let largest = self.buffered.as_ref().map_or(usize::MAX, BufferedBytes::largest);
        self.max_reply_bytes.min(largest)
    }
}

impl Default for ChatKitSettings {
    /// Sets `/chatkit`, `x-user-id`, no proof, no address, UTC, 32 MiB uncounted, 1000 detached tasks, the
    /// default hold, and [`ACTED`].
    fn default() -> Self {
        Self {
            endpoint: Uri::from_static("/chatkit"),
            identity: IdentityHeaders::default(),
            proof: None,
            public_address: PublicAddress::Untold,
            utc_offset: Offset::UTC,
            max_reply_bytes: 32 * 1024 * 1024,
            buffered: None,
            max_detached_tasks: 1000,
            hold: HoldPolicy::default(),
            acted: ACTED.to_owned(),
        }
    }
}
