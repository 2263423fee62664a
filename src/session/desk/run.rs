//! How a run of a session begins.

use std::num::NonZeroU32;
use std::sync::Arc;

use jiff::Timestamp;

use super::Desk;
use crate::limit::StreamPermit;
use crate::principal::Principal;
use crate::protocol::RequestType;
use crate::rejection::{Code, Rejection};
use crate::session::ThreadPath;
use crate::session::claim::{NotBegun, RunClaim};
use crate::session::needs::Needs;
use crate::session::record::SessionId;
use crate::session::store::{BeginRun, OnThread, RunId, SessionKey, Uncounted};

/// A run of a session that there is, as it is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    pub(super) session: SessionKey<'a>,
    pub(super) on: OnThread<'a>,
    /// What it needs of the session's thread.
    pub(super) needs: Needs,
    pub(super) attachments: &'a [String],
    pub(super) max_messages: Option<NonZeroU32>,
    /// It takes one of the user's streams.
    pub(super) streams: bool,
}

impl<'a> Asked<'a> {
    /// Makes what asks for a run of that session, on whatever thread, which takes a stream.
    pub(super) fn of(session: impl Into<SessionKey<'a>>) -> Self {
        Self {
            session: session.into(),
            on: OnThread::Any,
            needs: Needs::Thread,
            attachments: &[],
            max_messages: None,
            streams: true,
        }
    }

    /// Gives what there is to say where there is no such session.
    fn unknown(&self) -> Code {
        match self.session {
            SessionKey::Conversation(_) | SessionKey::Id(_) => Code::SessionNotFound,
            SessionKey::Thread(_) => Code::ThreadNotFound,
        }
    }
}

/// Gives the session that a path names, and its thread where that is named by the upstream's id.
fn named(path: &ThreadPath) -> Result<(SessionId, Option<&str>), Rejection> {
    let session = SessionId::parse(&path.session);
    let session = session.ok_or_else(|| Rejection::new(Code::SessionNotFound))?;
    // Its own id names the session once more.
    let thread = (SessionId::parse(&path.thread) != Some(session)).then_some(&*path.thread);
    Ok((session, thread))
}

impl Desk {
    /// Begins a run that a message starts, on the thread that a path names.
    pub(crate) async fn begin_with_message(
        &self,
        principal: &Principal,
        path: &ThreadPath,
        attachments: &[String],
    ) -> Result<RunClaim, Rejection> {
        let (session, thread) = named(path)?;
        let on = thread.map_or(OnThread::Any, OnThread::Named);
        let max_messages = self.limits.max_messages;
        self.begin(principal, Asked { on, attachments, max_messages, ..Asked::of(session) }).await
    }

    /// Begins a run that no message starts, by a request of this `kind`, on a thread that is there.
    pub(crate) async fn begin_without_message(
        &self,
        principal: &Principal,
        path: &ThreadPath,
        needs: Needs,
        kind: RequestType,
    ) -> Result<RunClaim, Rejection> {
        let (session, thread) = named(path)?;
        let on = thread.map_or(OnThread::Bound, OnThread::Named);
        self.go_on(principal, Asked { on, needs, ..Asked::of(session) }, kind).await
    }

    /// Begins a run on the upstream's thread of that id, by a request of this `kind`.
    pub(crate) async fn begin_on_thread(
        &self,
        principal: &Principal,
        thread_id: &str,
        kind: RequestType,
    ) -> Result<RunClaim, Rejection> {
        self.go_on(principal, Asked::of(SessionKey::Thread(thread_id)), kind).await
    }

    /// Begins a run by whatever request: a ChatKit request of the client's own has the same limits, and
    /// counts the same, as the REST operation that stands for it.
    async fn go_on(
        &self,
        principal: &Principal,
        asked: Asked<'_>,
        kind: RequestType,
    ) -> Result<RunClaim, Rejection> {
        let is_message = kind == RequestType::ThreadsAddUserMessage;
        let max_messages = self.limits.max_messages.filter(|_| is_message);
        let claim = self.begin(principal, Asked { max_messages, ..asked }).await?;
        // What is tried again takes the place of what was counted before.
        let again = kind == RequestType::ThreadsRetryAfterItem;
        Ok(if again { claim.uncounted() } else { claim })
    }

    /// Begins a run of the caller's session.
    ///
    /// Who is refused learns the first of these: the session is not theirs, the thread is not its,
    /// an attachment is not theirs, they have no stream left, the session has no place for it. The
    /// store finds whose it is in the step that begins the run, so that it is looked up by itself only
    /// where an attachment, or that no stream is left, would be the reason instead.
    pub(super) async fn begin(
        &self,
        principal: &Principal,
        asked: Asked<'_>,
    ) -> Result<RunClaim, Rejection> {
        let Asked { attachments, streams, .. } = asked;
        let permit = match self.check_attachments(principal, attachments).await {
            Ok(()) => self.stream_permit(principal, streams),
            Err(refused) => Err(refused),
        };
        let permit = match permit {
            Ok(permit) => permit,
            Err(refused) => {
                // Boxed: it is rare, and each run would have room for it.
                Box::pin(self.check_names(principal, asked)).await?;
                return Err(refused);
            }
        };
        // With the stream, which is given back if the run can't begin: a run that had none yet would
        // take a place that another of the user's could have.
        let claim = self.begin_run(principal, asked).await?;
        Ok(claim.holding(permit))
    }

    /// Checks that the session is the caller's, and that the run can be on its thread.
    async fn check_names(&self, principal: &Principal, asked: Asked<'_>) -> Result<(), Rejection> {
        let owned = self.own_session(principal, asked.session, asked.unknown()).await?;
        match (asked.on, owned.thread_id.as_deref()) {
            (OnThread::Named(named), its) if its != Some(named) => {
                Err(self.no_thread(principal, named).await)
            }
            (OnThread::Bound, None) => Err(asked.needs.unmet_without_thread()),
            (OnThread::Any | OnThread::Bound | OnThread::Named(_), _) => Ok(()),
        }
    }

    async fn begin_run(
        &self,
        principal: &Principal,
        asked: Asked<'_>,
    ) -> Result<RunClaim, Rejection> {
        let begin = self.run_to_begin(asked.max_messages);
        let (store, Asked { session, on, .. }) = (Arc::clone(&self.store), asked);
        match RunClaim::begin(store, session, on, principal.user_id(), begin).await {
            Ok(claim) => Ok(claim),
            Err(NotBegun::Foreign) => Err(self.foreign(asked.unknown())),
            Err(NotBegun::OtherThread) => {
                let OnThread::Named(named) = on else {
                    return Err(Rejection::new(Code::ThreadNotFound));
                };
                Err(self.no_thread(principal, named).await)
            }
            Err(NotBegun::Unbound) => Err(asked.needs.unmet_without_thread()),
            Err(NotBegun::Unknown) => Err(Rejection::new(asked.unknown())),
            Err(NotBegun::Refused(rejection)) => Err(rejection),
        }
    }

    /// Gives a run that is to begin now, with an id of its own.
    pub(super) fn run_to_begin(&self, max_messages: Option<NonZeroU32>) -> BeginRun {
        BeginRun {
            run: RunId::random(),
            max_messages,
            lease: self.limits.lease,
            now: Timestamp::now(),
            uncounted: Uncounted::Tell,
        }
    }

    /// Takes one of the user's streams, if the run `streams`.
    pub(super) fn stream_permit(
        &self,
        principal: &Principal,
        streams: bool,
    ) -> Result<Option<StreamPermit>, Rejection> {
        let Some(all) = self.streams.as_ref().filter(|_| streams) else { return Ok(None) };
        all.try_acquire(principal.user_id()).map(Some).ok_or_else(|| all.refusal())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::PerUserStreams;
    use crate::principal::UserId;
    use crate::session::record::MessageCount;
    use crate::session::store::NewSession;
    use crate::session::{MemoryStore, SessionLimits};

    fn desk(hide_foreign: bool) -> Desk {
        let max_messages = NonZeroU32::new(1);
        let limits = SessionLimits { max_messages, hide_foreign, ..SessionLimits::default() };
        Desk::new(Arc::new(MemoryStore::new()), limits).with_streams(PerUserStreams::new(1))
    }

    fn principal(id: &str) -> Principal {
        Principal::new(UserId::parse(id).unwrap())
    }

    /// A session of that user's, and of that thread if there is one.
    pub(crate) async fn session(desk: &Desk, user: &Principal, thread: Option<&str>) -> String {
        let session = NewSession::new(user.user_id().clone(), Timestamp::now());
        let id = session.id;
        let _ = desk.store.create(session, None).await.unwrap();
        if let Some(thread) = thread {
            let mut claim = desk.begin_run(user, Asked::of(id)).await.unwrap();
            claim.bind(thread).unwrap().await.unwrap();
        }
        id.to_string()
    }

    /// Whoever is refused for several reasons learns the first, and holds nothing of it.
    #[tokio::test]
    pub(crate) async fn a_run_is_refused_in_one_order() {
        for (hide_foreign, foreign, no_thread, no_file) in [
            (false, Code::Forbidden, Code::Forbidden, Code::Forbidden),
            (true, Code::SessionNotFound, Code::ThreadNotFound, Code::AttachmentNotFound),
        ] {
            let desk = desk(hide_foreign);
            let streams = desk.streams.clone().unwrap();
            let (ada, eve) = (principal("ada"), principal("eve"));
            let adas = session(&desk, &ada, Some("thr_1")).await;
            let eves = session(&desk, &eve, Some("thr_2")).await;
            let _ = desk.store.own_attachment(ada.user_id(), "atc_1").await.unwrap();
            let unknown = SessionId::random().to_string();
            let file = ["atc_1".to_owned()];
            let id = SessionId::parse(&eves).unwrap();
            // As many messages as there may be.
            let set_count = async |seen, messages| {
                let seen = MessageCount::Known(seen);
                desk.store.set_message_count(id, seen, messages).await.unwrap();
            };
            let asked = async |session: &str, thread: Option<&str>, attachments: &[String]| {
                let thread = thread.unwrap_or(session);
                let path = ThreadPath { session: session.into(), thread: thread.into() };
                let begun = desk.begin_with_message(&eve, &path, attachments).await;
                begun.map_err(|rejection| rejection.code())
            };
            set_count(0, 1).await;
            for has_stream in [true, false] {
                let held = (!has_stream).then(|| streams.try_acquire(eve.user_id()).unwrap());
                let open = streams.users();
                for (session, thread, attachments, expected) in [
                    ("thr_2", None, &[][..], Code::SessionNotFound),
                    (&unknown, None, &[], Code::SessionNotFound),
                    (&unknown, Some("thr_2"), &file, Code::SessionNotFound),
                    (&adas, None, &[], foreign),
                    (&adas, Some("thr_1"), &[], foreign),
                    (&adas, Some("thr_2"), &file, foreign),
                    (&eves, Some("thr_1"), &[], no_thread),
                    (&eves, Some(&adas), &file, no_thread),
                    (&eves, Some("thr_3"), &[], Code::ThreadNotFound),
                    (&eves, Some(&unknown), &file, Code::ThreadNotFound),
                    (&eves, Some("thr_2"), &file, no_file),
                    (&eves, Some(&eves), &file, no_file),
                ] {
                    let refused = asked(session, thread, attachments).await.unwrap_err();
                    assert_eq!(refused, expected, "{session} {thread:?} {attachments:?}");
                    assert_eq!(streams.users(), open);
                }
                let last = if has_stream { Code::MessageLimit } else { Code::RateLimited };
                assert_eq!(asked(&eves, Some("thr_2"), &[]).await.unwrap_err(), last);
                drop(held);
            }
            // Nothing of it is left.
            assert_eq!(streams.users(), 0);
            set_count(1, 0).await;
            let claim = asked(&eves, Some(&eves), &[]).await.unwrap();
            assert_eq!(claim.thread_id().map(|id| &**id), Some("thr_2"));
            assert_eq!(streams.users(), 1);
            assert_eq!(asked(&eves, Some("thr_2"), &[]).await.unwrap_err(), Code::RateLimited);
            drop(claim);
            assert_eq!(streams.users(), 0);
            drop(asked(&eves, Some("thr_2"), &[]).await.unwrap());
        }
    }
}
