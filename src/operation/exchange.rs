//! What an operation has to carry it out.

use std::sync::Arc;

use http::Response;

use super::body::ReplyBody;
use super::detached::DetachedTasks;
use super::observer::SessionObserver;
use crate::chatkit::settings::ChatKitSettings;
use crate::chatkit::upstream::Upstream;
use crate::principal::UserId;
use crate::rejection::Rejection;
use crate::telemetry::Record;

/// What an operation comes to.
pub(crate) type Reply<R> = Result<Response<ReplyBody<R, SessionObserver>>, Rejection>;

/// What an operation needs to be carried out: the upstream, and what the reply depends on.
pub(crate) struct Exchange<S> {
    pub(crate) upstream: Upstream<S>,
    pub(crate) settings: Arc<ChatKitSettings>,
    pub(crate) detached: DetachedTasks,
    pub(crate) record: Option<Record>,
}

impl<S: Clone> Exchange<S> {
    /// Gives the upstream, asked on behalf of the user who owns what is asked about, and never with the
    /// token of the service that asks.
    pub(crate) fn upstream_for(&self, owner: &UserId) -> Upstream<S> {
        let Upstream { service, sender, known } = self.upstream.clone();
        Upstream { service, sender: sender.of(owner.clone()).keeping_token(), known }
    }
}
