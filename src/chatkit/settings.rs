use http::Uri;
use jiff::tz::Offset;

use crate::forward::{IdentityHeaders, PublicAddress};
use crate::limit::BufferedBytes;
use crate::stream::HoldPolicy;
use crate::surface::ACTED;

/// How requests are put to the upstream and its answers read.
#[derive(Clone, Debug)]
pub struct ChatKitSettings {
    /// Where the inner service has its ChatKit endpoint.
    pub endpoint: Uri,
    /// Which header tells the upstream who is calling, and whether it gets the token too.
    pub identity: IdentityHeaders,
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
    /// Gives the largest answer that is read whole: never more than a user may keep, which would be
    /// refused however often it was tried.
    pub(crate) fn largest_reply(&self) -> usize {
        let largest = self.buffered.as_ref().map_or(usize::MAX, BufferedBytes::largest);
        self.max_reply_bytes.min(largest)
    }
}

impl Default for ChatKitSettings {
    /// Sets `/chatkit`, `x-user-id`, no address, UTC, 32 MiB uncounted, 1000 detached tasks, the
    /// default hold, and [`ACTED`].
    fn default() -> Self {
        Self {
            endpoint: Uri::from_static("/chatkit"),
            identity: IdentityHeaders::default(),
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
