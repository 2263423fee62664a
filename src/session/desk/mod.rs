//! Ownership and limits: what a caller may do.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::limit::PerUserStreams;
use crate::principal::{Principal, UserId};
use crate::rejection::{Code, Rejection};
use crate::session::admitted::{OwnedSession, SessionPage, store_down};
use crate::session::client_session::SecretSigner;
use crate::session::cursors::{Cursors, List};
use crate::session::items::ItemCursors;
use crate::session::quarantine::{Found, OfUser};
use crate::session::record::{ConversationIds, Ownership, SessionId, SessionRecord};
use crate::session::store::{Created, NewSession, SessionKey, SessionStore};

mod chat;
mod first_run;
mod gate;
mod history;
mod rest;
mod run;
mod services;
mod threads;

use gate::{Gate, UnlessBlocked};
use run::Asked;

pub use chat::ChatSettings;
pub(crate) use chat::ConversationName;
pub(crate) use gate::Order;

/// The limits of sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionLimits {
    /// Sessions per user.
    pub max_sessions: Option<NonZeroU32>,
    /// User and assistant messages per session.
    pub max_messages: Option<NonZeroU32>,
    /// Answer 404 instead of 403 for somebody else's things, as if they didn't exist.
    pub hide_foreign: bool,
    /// How long a first run may take to show its thread's id. Longer than the upstream's
    /// connect and first-byte time-outs together, or slow upstreams make threads twice.
    pub lease: Duration,
}

impl Default for SessionLimits {
    /// 10 sessions, 100 messages, 403, 45 seconds.
    fn default() -> Self {
        Self {
            max_sessions: NonZeroU32::new(10),
            max_messages: NonZeroU32::new(100),
            hide_foreign: false,
            lease: Duration::from_secs(45),
        }
    }
}

/// What the id of an attachment that nobody is known to own meets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnknownAttachments {
    /// It is let through: clients upload files past the gateway, and nobody can tell whose they
    /// are. Somebody else's are refused all the same.
    Forward,
    /// It is refused.
    #[default]
    Refuse,
}

/// The thread that a path names, by its session's id and its own.
#[derive(Debug)]
pub(crate) struct ThreadPath {
    /// The session's id.
    pub(crate) session: Box<str>,
    /// The thread's: the session's own id, or the upstream's.
    pub(crate) thread: Box<str>,
}

/// The desk at which it is found out whether a caller may: the store, and the rules of what is in it.
#[derive(Clone, Debug)]
pub struct Desk {
    store: Arc<dyn SessionStore>,
    gate: Arc<Gate<dyn SessionStore>>,
    limits: SessionLimits,
    streams: Option<PerUserStreams>,
    unknown_attachments: UnknownAttachments,
    cursors: Cursors,
    chat: ChatSettings,
    signer: Option<Arc<dyn SecretSigner>>,
}

impl Desk {
    /// Keeps sessions in `store`, within `limits`.
    pub fn new(store: Arc<dyn SessionStore>, limits: SessionLimits) -> Self {
        Self {
            cursors: Cursors::new(Arc::clone(&store)),
            gate: Arc::new(Gate::new(Arc::clone(&store))),
            store,
            limits,
            streams: None,
            unknown_attachments: UnknownAttachments::Refuse,
            chat: ChatSettings::default(),
            signer: None,
        }
    }

    /// Limits how many runs a user may have under way; a run counts until its body ends.
    #[must_use]
    pub fn with_streams(self, streams: PerUserStreams) -> Self {
        Self { streams: Some(streams), ..self }
    }

    /// Says what becomes of attachments that nobody is known to own.
    #[must_use]
    pub fn with_unknown_attachments(self, unknown_attachments: UnknownAttachments) -> Self {
        Self { unknown_attachments, ..self }
    }

    /// Replaces the rules of one-shot chat.
    #[must_use]
    pub fn with_chat(self, chat: ChatSettings) -> Self {
        Self { chat, ..self }
    }

    /// Makes the secrets of client sessions. Without it the OpenAI-compatible API has none.
    #[must_use]
    pub fn with_client_secrets(self, signer: Arc<dyn SecretSigner>) -> Self {
        Self { signer: Some(signer), ..self }
    }

    /// Finds out whether a caller may do something, unless the caller is shut out. A service is no user,
    /// whatever its key is called.
    ///
    /// Where the store has to say whether the caller is, that is waited for as `order` says.
    pub(crate) fn unless_blocked<F, T>(
        &self,
        principal: &Principal,
        order: Order,
        admitted: F,
    ) -> UnlessBlocked<F, T>
    where
        F: Future<Output = Result<T, Rejection>>,
    {
        if principal.is_service() {
            return UnlessBlocked::open(admitted);
        }
        self.gate.unless_blocked(principal.user_id(), order, admitted)
    }

    pub(crate) async fn create(
        &self,
        principal: &Principal,
        title: Option<String>,
    ) -> Result<OwnedSession, Rejection> {
        let user_id = principal.user_id().clone();
        let session = NewSession { title, ..NewSession::new(user_id, Timestamp::now()) };
        let added = self.add(session, self.limits.max_sessions).await?;
        added.map(|record| self.own(record)).ok_or_else(|| {
            Rejection::new(Code::Internal).because("an id that was not asked for is taken")
        })
    }

    /// Adds a session; `None` if the id that it was to have as a conversation is another's.
    async fn add(
        &self,
        session: NewSession,
        max_sessions: Option<NonZeroU32>,
    ) -> Result<Option<SessionRecord>, Rejection> {
        match self.store.create(session, max_sessions).await.map_err(store_down)? {
            Created::Session(record) => Ok(Some(record)),
            Created::ConversationTaken => Ok(None),
            Created::LimitReached => {
                let max = max_sessions.map_or(0, NonZeroU32::get);
                Err(Rejection::new(Code::SessionLimit)
                    .message(format!("You may have at most {max} sessions; delete one first."))
                    .detail("max_sessions", max))
            }
        }
    }

    /// Gives a page of the caller's sessions, those that were written to last first.
    pub(crate) async fn list_sessions(
        &self,
        principal: &Principal,
        limit: usize,
        after: Option<&str>,
    ) -> Result<SessionPage, Rejection> {
        self.sessions(principal, List::Sessions, ConversationIds::Uuid, limit, after).await
    }

    /// Finds the session of that id, if it is the caller's.
    async fn own_record(
        &self,
        principal: &Principal,
        id: &str,
    ) -> Result<SessionRecord, Rejection> {
        let Some(id) = SessionId::parse(id) else {
            return Err(Rejection::new(Code::SessionNotFound));
        };
        let found = self.store.get(id.into()).await.map_err(store_down)?;
        self.own_found(principal, found, Code::SessionNotFound)
    }

    /// Finds whose the session of that name is, if it is the caller's.
    async fn own_session(
        &self,
        principal: &Principal,
        session: SessionKey<'_>,
        unknown: Code,
    ) -> Result<Ownership, Rejection> {
        let found = self.store.ownership(session).await.map_err(store_down)?;
        self.own_found(principal, found, unknown)
    }

    pub(crate) async fn owned(
        &self,
        principal: &Principal,
        id: &str,
    ) -> Result<OwnedSession, Rejection> {
        let record = self.own_record(principal, id).await?;
        Ok(self.own(record))
    }

    /// Gives the cursors of the items of the caller's threads.
    fn item_cursors(&self, principal: &Principal, list: List) -> ItemCursors {
        ItemCursors::new(list, principal.user_id().clone(), self.cursors.clone())
    }

    fn own(&self, record: SessionRecord) -> OwnedSession {
        OwnedSession::new(record, Arc::clone(&self.store))
    }

    fn check_owner(
        &self,
        principal: &Principal,
        owner: &UserId,
        unknown: Code,
    ) -> Result<(), Rejection> {
        if owner == principal.user_id() { Ok(()) } else { Err(self.foreign(unknown)) }
    }

    /// Gives the refusal of what is another user's.
    fn foreign(&self, unknown: Code) -> Rejection {
        let code = if self.limits.hide_foreign { unknown } else { Code::Forbidden };
        Rejection::new(code).because("it belongs to another user")
    }

    /// Checks that a path's thread is the session's own id or its upstream thread's.
    async fn check_thread(
        &self,
        principal: &Principal,
        session: SessionId,
        its: Option<&str>,
        thread: &str,
    ) -> Result<(), Rejection> {
        if its == Some(thread) || SessionId::parse(thread) == Some(session) {
            return Ok(());
        }
        Err(self.no_thread(principal, thread).await)
    }

    /// Gives the refusal of a path's thread that is not its session's: somebody else's is told from one
    /// that doesn't exist, as everywhere.
    async fn no_thread(&self, principal: &Principal, thread: &str) -> Rejection {
        let session = match SessionId::parse(thread) {
            Some(id) => SessionKey::Id(id),
            None => SessionKey::Thread(thread),
        };
        let found = self.store.ownership(session).await;
        let unknown = Code::ThreadNotFound;
        match found {
            Ok(Some(other)) if other.user_id() != principal.user_id() => self.foreign(unknown),
            Ok(_) => Rejection::new(unknown),
            Err(error) => store_down(error),
        }
    }

    pub(crate) async fn check_attachments(
        &self,
        principal: &Principal,
        attachments: &[impl AsRef<str> + Sync],
    ) -> Result<(), Rejection> {
        // Named twice is asked about once.
        let ids: BTreeSet<&str> = attachments.iter().map(AsRef::as_ref).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let ids: Vec<String> = ids.into_iter().map(str::to_owned).collect();
        let asked = ids.len();
        let owners = self.store.attachment_owners(ids).await.map_err(store_down)?;
        if owners.len() != asked {
            // An id without an answer would pass.
            let why = format!("the store told the owners of {} of {asked}", owners.len());
            return Err(Rejection::new(Code::ServiceUnavailable).because(why));
        }
        for owner in owners {
            match owner {
                Some(owner) => self.check_owner(principal, &owner, Code::AttachmentNotFound)?,
                None if self.unknown_attachments == UnknownAttachments::Forward => {}
                None => return Err(Rejection::new(Code::AttachmentNotFound)),
            }
        }
        Ok(())
    }

    /// Gives what was found, if it is the caller's and may be read and written. Only the owner learns that
    /// it is in quarantine.
    fn own_found<T: OfUser>(
        &self,
        principal: &Principal,
        found: Option<Found<T>>,
        unknown: Code,
    ) -> Result<T, Rejection> {
        let found = found.ok_or_else(|| Rejection::new(unknown))?;
        self.check_owner(principal, found.user_id(), unknown)?;
        found.admit()
    }
}
