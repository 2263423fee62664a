//! How a run of a session begins.

use std::num::NonZeroU32;
use std::sync::Arc;

use jiff::Timestamp;

use super::Desk;
use crate::limit::StreamPermit;
use crate::principal::Principal;
use crate::rejection::{Code, Rejection};
use crate::session::ThreadPath;
use crate::session::claim::{NotBegun, RunClaim};
use crate::session::record::SessionId;
use crate::session::store::{BeginRun, Uncounted};

/// A run of a session that there is, as it is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    /// The session's id.
    pub(super) session: &'a str,
    /// The thread that is named beside it: the session's own id, or that of its upstream thread.
    pub(super) thread: Option<&'a str>,
    pub(super) attachments: &'a [String],
    pub(super) max_messages: Option<NonZeroU32>,
    /// It takes one of the user's streams.
    pub(super) streams: bool,
}

impl Desk {
    /// Begins a run that a message starts, on the thread that a path names.
    pub(crate) async fn begin_with_message(
        &self,
        principal: &Principal,
        path: &ThreadPath,
        attachments: &[String],
    ) -> Result<RunClaim, Rejection> {
        let (session, thread) = (&*path.session, Some(&*path.thread));
        let max_messages = self.limits.max_messages;
        let asked = Asked { session, thread, attachments, max_messages, streams: true };
        self.begin(principal, asked).await
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
        let Asked { session, thread, attachments, max_messages, streams } = asked;
        let Some(id) = SessionId::parse(session) else {
            return Err(Rejection::new(Code::SessionNotFound));
        };
        // Its own id names the session once more.
        let thread = thread.filter(|thread| SessionId::parse(thread) != Some(id));
        if let Err(refused) = self.check_attachments(principal, attachments).await {
            // Boxed: it is rare, and each run would have room for it.
            Box::pin(self.check_names(principal, id, thread)).await?;
            return Err(refused);
        }
        let looks_ahead = streams && !self.has_stream(principal);
        let mut permit = None;
        if looks_ahead {
            Box::pin(self.check_names(principal, id, thread)).await?;
            permit = self.stream_permit(principal, streams)?;
        }
        let claim = self.begin_run(principal, id, thread, max_messages).await?;
        if !looks_ahead {
            // Not before, for another's session takes no stream. If the last one is gone since, the
            // claim is dropped, which gives back what the run had.
            permit = self.stream_permit(principal, streams)?;
        }
        Ok(claim.holding(permit))
    }

    /// That the session is the caller's, and the thread that is named beside it its own.
    async fn check_names(
        &self,
        principal: &Principal,
        id: SessionId,
        thread: Option<&str>,
    ) -> Result<(), Rejection> {
        let owned = self.own_session(principal, id).await?;
        match thread.filter(|thread| owned.thread_id.as_deref() != Some(*thread)) {
            Some(thread) => Err(self.no_thread(principal, thread).await),
            None => Ok(()),
        }
    }

    /// Begins a run of a session, on whose thread it has to be if that is named.
    pub(super) async fn begin_run(
        &self,
        principal: &Principal,
        id: SessionId,
        thread: Option<&str>,
        max_messages: Option<NonZeroU32>,
    ) -> Result<RunClaim, Rejection> {
        let begin = BeginRun {
            max_messages,
            lease: self.limits.lease,
            now: Timestamp::now(),
            uncounted: Uncounted::Tell,
        };
        let store = Arc::clone(&self.store);
        match RunClaim::begin(store, id, principal.user_id(), thread, begin).await {
            Ok(claim) => Ok(claim),
            Err(NotBegun::Foreign) => Err(self.foreign(Code::SessionNotFound)),
            Err(NotBegun::OtherThread) => {
                Err(self.no_thread(principal, thread.unwrap_or_default()).await)
            }
            Err(NotBegun::Refused(rejection)) => Err(rejection),
        }
    }

    /// One of the user's streams, if the run `streams`.
    pub(super) fn stream_permit(
        &self,
        principal: &Principal,
        streams: bool,
    ) -> Result<Option<StreamPermit>, Rejection> {
        let Some(all) = self.streams.as_ref().filter(|_| streams) else { return Ok(None) };
        all.try_acquire(principal.user_id()).map(Some).ok_or_else(|| all.refusal())
    }

    /// Whether the user has a stream left now.
    fn has_stream(&self, principal: &Principal) -> bool {
        self.streams.as_ref().is_none_or(|streams| streams.has_place(principal.user_id()))
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
        let limits = SessionLimits { hide_foreign, ..SessionLimits::default() };
        Desk::new(Arc::new(MemoryStore::new()), limits).with_streams(PerUserStreams::new(1))
    }

    fn principal(id: &str) -> Principal {
        Principal::new(UserId::parse(id).unwrap())
    }

    /// A session of that user's, and of that thread if there is one.
    pub(crate) async fn session(desk: &Desk, user: &Principal, thread: Option<&str>) -> String {
        let (id, now) = (SessionId::random(), Timestamp::now());
        let user_id = user.user_id().clone();
        let session = NewSession { id, user_id, title: None, conversation: None, now };
        let _ = desk.store.create(session, None).await.unwrap();
        if let Some(thread) = thread {
            let mut claim = desk.begin_run(user, id, None, None).await.unwrap();
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
            let one = NonZeroU32::new(1);
            let id = SessionId::parse(&eves).unwrap();
            // As many messages as there may be.
            let set_count = async |seen, messages| {
                let seen = MessageCount::Known(seen);
                desk.store.set_message_count(id, seen, messages).await.unwrap();
            };
            let asked = async |session: &str, thread: Option<&str>, attachments: &[String]| {
                let (max_messages, streams) = (one, true);
                let asked = Asked { session, thread, attachments, max_messages, streams };
                desk.begin(&eve, asked).await.map_err(|rejection| rejection.code())
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
