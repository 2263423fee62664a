//! The messages of a thread that was adopted: counted before its first run, so that a limit of
//! messages holds for those that the gateway never saw.

use std::collections::HashSet;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use tower_service::Service;

use super::threads::{self, MAX_ITEM_PAGES, PAGE_ROWS};
use super::upstream::{Failure, Upstream};
use super::{envelope, messages};
use crate::error::BoxError;
use crate::rejection::Rejection;
use crate::session::{Action, Effect, Needs, RunClaim};

/// The run that is to be begun before an action is carried out, if its thread's messages are to be
/// counted for that.
pub(super) fn uncounted(action: &mut Action) -> Option<&mut RunClaim> {
    let claim = match action {
        Action::Run(claim, _)
        | Action::FollowUp(claim, _)
        | Action::Chat(claim, ..)
        | Action::Passthrough(_, Effect::Run(claim)) => claim,
        Action::Passthrough(
            _,
            Effect::None
            | Effect::ListThreads(_)
            | Effect::Update(_)
            | Effect::Delete(_)
            | Effect::CreateAttachment(_)
            | Effect::DeleteAttachment(..),
        )
        | Action::Created(_)
        | Action::Listed(_)
        | Action::Get(_)
        | Action::Update(..)
        // It holds its session, and sends nothing.
        | Action::Delete(..)
        | Action::Thread(_)
        | Action::Threads(_)
        | Action::GetThread(_)
        | Action::ListItems(..)
        | Action::Feedback(..)
        | Action::SyncAction(..)
        | Action::CreateAttachment(..)
        | Action::DeleteAttachment(..)
        | Action::Transcribe(_)
        | Action::Conversations(_)
        | Action::Conversation(..)
        | Action::OpenAi(_) => return None,
    };
    claim.to_count().is_some().then_some(claim)
}

/// Counts them, and begins the run. Where there is no limit, a thread whose messages can't be
/// counted is no obstacle.
pub(super) async fn begin<S, R>(
    mut upstream: Upstream<S>,
    claim: &mut RunClaim,
) -> Result<(), Rejection>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: Into<BoxError>>,
    R: Body<Data = Bytes, Error: Into<BoxError>>,
{
    let Some(thread_id) = claim.to_count().cloned() else { return Ok(()) };
    let messages = match upstream.messages(&thread_id).await {
        Ok(messages) => Some(messages),
        Err(failure) if claim.is_limited() => {
            return Err(upstream.refusal_about(&thread_id, Needs::Thread, failure).await);
        }
        Err(_) => None,
    };
    claim.begin_counted(messages).await
}

impl<S, R> Upstream<S>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: Into<BoxError>>,
    R: Body<Data = Bytes, Error: Into<BoxError>>,
{
    /// How many messages a thread has. One page of its items is kept at a time.
    async fn messages(&mut self, thread_id: &str) -> Result<u64, Failure> {
        let mut counted = 0;
        let mut cursors = HashSet::new();
        let mut after: Option<String> = None;
        for _ in 0..MAX_ITEM_PAGES {
            let request = envelope::page(Some(thread_id), PAGE_ROWS, true, after.as_deref());
            let reply = self.json(request).await?;
            let page = threads::page(&reply)?;
            counted +=
                page.data.iter().map(|item| u64::from(messages::is_message(item))).sum::<u64>();
            let Some(next) = page.next() else { return Ok(counted) };
            if !cursors.insert(next.to_owned()) {
                return Err(Failure::Protocol("the upstream's cursor goes round"));
            }
            after = Some(next.to_owned());
        }
        Err(Failure::Protocol("the upstream's items don't end"))
    }
}
