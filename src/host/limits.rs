//! [`HostLimits`].

use std::sync::Arc;

use tower_layer::Layer;

use crate::allowance::Allowances;
use crate::limit::{
    BufferedBytes, InFlight, InFlightLayer, MAX_USERS, PerUserStreams, RateLimit, RateLimitLayer,
};
use crate::operation::OperationLayer;

/// What one user, and all of them together, may ask of a
/// [`ChatKitRestLayer`](super::ChatKitRestLayer::with_limits): the limits that the program has, with the names and
/// the defaults of its settings. Zero is no limit. Attachments that are made or deleted to their end,
/// whoever waits, are as many at once as requests.
///
/// ```
/// use chatkit_rest::host::HostLimits;
///
/// let limits = HostLimits::default().with_requests_per_minute(120).with_max_streams_per_user(4);
/// assert_eq!((limits.requests_per_minute, limits.max_streams_per_user), (120, 4));
/// assert_eq!(limits.max_in_flight, 10_000);
/// assert_eq!(HostLimits::none().max_in_flight, 0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HostLimits {
    /// The requests of one user in a minute. More are 429.
    pub requests_per_minute: u32,
    /// How many users' requests are counted at once. A further user is 503. This one always has a
    /// bound: zero is the default.
    pub max_tracked_users: usize,
    /// The streams that one user may have open. More are 429.
    pub max_streams_per_user: usize,
    /// The requests and open streams of everyone. More are 503.
    pub max_in_flight: usize,
    /// The bytes of everyone's bodies, and of the upstream's answers, that are read whole at once.
    /// More are 503.
    pub max_buffered_bytes: usize,
    /// The same of one user. More are 429, and what is larger alone is 413.
    pub max_buffered_bytes_per_user: usize,
}

impl Default for HostLimits {
    /// 30 requests a minute of each of 100 000 users, 16 streams, 10 000 in flight, 256 MiB of
    /// everyone and 64 MiB of one user.
    fn default() -> Self {
        Self {
            requests_per_minute: 30,
            max_tracked_users: MAX_USERS,
            max_streams_per_user: 16,
            max_in_flight: 10_000,
            max_buffered_bytes: 256 << 20,
            max_buffered_bytes_per_user: 64 << 20,
        }
    }
}

impl HostLimits {
    /// No limit at all, to set some of them. Users are told apart as by default.
    #[must_use]
    pub fn none() -> Self {
        Self {
            requests_per_minute: 0,
            max_tracked_users: MAX_USERS,
            max_streams_per_user: 0,
            max_in_flight: 0,
            max_buffered_bytes: 0,
            max_buffered_bytes_per_user: 0,
        }
    }

    /// Sets the requests of one user in a minute.
    #[must_use]
    pub fn with_requests_per_minute(self, requests_per_minute: u32) -> Self {
        Self { requests_per_minute, ..self }
    }

    /// Sets how many users' requests are counted at once.
    #[must_use]
    pub fn with_max_tracked_users(self, max_tracked_users: usize) -> Self {
        Self { max_tracked_users, ..self }
    }

    /// Sets the open streams of one user.
    #[must_use]
    pub fn with_max_streams_per_user(self, max_streams_per_user: usize) -> Self {
        Self { max_streams_per_user, ..self }
    }

    /// Sets the requests and open streams of everyone.
    #[must_use]
    pub fn with_max_in_flight(self, max_in_flight: usize) -> Self {
        Self { max_in_flight, ..self }
    }

    /// Sets the bytes that are read whole at once, of everyone.
    #[must_use]
    pub fn with_max_buffered_bytes(self, max_buffered_bytes: usize) -> Self {
        Self { max_buffered_bytes, ..self }
    }

    /// Sets the bytes that are read whole at once, of one user.
    #[must_use]
    pub fn with_max_buffered_bytes_per_user(self, max_buffered_bytes_per_user: usize) -> Self {
        Self { max_buffered_bytes_per_user, ..self }
    }
}

/// What counts, over all services of a layer.
#[derive(Clone, Debug)]
pub(super) struct Counts {
    in_flight: InFlightLayer,
    rate: RateLimitLayer,
    /// Who counts requests of other processes, too.
    shared: Option<Arc<dyn Allowances>>,
    /// What is inside. `None`: what the desk, the reader and the settings bring holds.
    inside: Option<Inside>,
}

/// Streams, bytes that are kept, and tasks that outlive their clients: as many as requests.
#[derive(Clone, Debug)]
struct Inside {
    streams: PerUserStreams,
    buffered: BufferedBytes,
    max_detached_tasks: usize,
}

impl Counts {
    /// Counts nothing that could be refused.
    pub(super) fn unlimited() -> Self {
        let rate = RateLimitLayer::per_minute(0);
        Self { in_flight: InFlightLayer::new(0), rate, shared: None, inside: None }
    }

    /// Counts what these limit, from the beginning, and with others where `self` does.
    pub(super) fn with_limits(self, limits: HostLimits) -> Self {
        let HostLimits {
            requests_per_minute,
            max_tracked_users,
            max_streams_per_user,
            max_in_flight,
            max_buffered_bytes,
            max_buffered_bytes_per_user,
        } = limits;
        let unless_zero = |max| if max == 0 { usize::MAX } else { max };
        let (all, one) =
            (unless_zero(max_buffered_bytes), unless_zero(max_buffered_bytes_per_user));
        let users = if max_tracked_users == 0 { MAX_USERS } else { max_tracked_users };
        let rate = RateLimitLayer::with_max_users(requests_per_minute, users);
        let counts = Self {
            in_flight: InFlightLayer::new(max_in_flight),
            rate,
            shared: None,
            inside: Some(Inside {
                streams: PerUserStreams::new(max_streams_per_user),
                buffered: BufferedBytes::new(all, one),
                max_detached_tasks: unless_zero(max_in_flight),
            }),
        };
        match self.shared {
            Some(source) => counts.with_shared(source),
            None => counts,
        }
    }

    /// Counts requests together with others who do so by `source`.
    pub(super) fn with_shared(self, source: Arc<dyn Allowances>) -> Self {
        let rate = self.rate.with_shared(Arc::clone(&source));
        Self { rate, shared: Some(source), ..self }
    }

    /// Gives back what is held of limits that are shared.
    pub(super) async fn give_back(&self) {
        self.rate.give_back().await;
    }

    /// Has what is inside of `operations` counted here.
    pub(super) fn inside_of(&self, operations: OperationLayer) -> OperationLayer {
        match &self.inside {
            Some(Inside { streams, buffered, max_detached_tasks }) => {
                operations.with_counts(streams.clone(), buffered.clone(), *max_detached_tasks)
            }
            None => operations,
        }
    }
}

impl<S> Layer<S> for Counts {
    type Service = InFlight<RateLimit<S>>;

    fn layer(&self, inner: S) -> Self::Service {
        self.in_flight.layer(self.rate.layer(inner))
    }
}
