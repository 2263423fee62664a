//! What a request may do, once it is known that the caller may.

use std::sync::Arc;

use jiff::Timestamp;

use super::claim;
use super::cursors::{Cursors, List, Scope};
use super::grant::Seal;
use super::items::ItemCursors;
use super::pages::{PlacedSession, SessionSummary, ThreadPlace, ThreadsPage};
use super::quarantine;
use super::record::{ConversationId, MessageCount, SessionRecord, ThreadId};
use super::store::{Deletion, Owned, SessionStore};
use crate::error::Error;
use crate::principal::UserId;
use crate::rejection::{Code, Rejection};
use crate::shown::shown;
use crate::validate::Report;

/// A session as one-shot chat has it, and the right to read a page of its messages.
///
/// [`session`](crate::session) alone makes one. Outside of it this doesn't compile:
/// ```compile_fail,E0451
/// # use chatkit_rest::session::{Conversation, SessionRecord};
/// fn forge(conversation: Conversation, record: SessionRecord) -> Conversation {
///     Conversation { record, ..conversation }
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Conversation {
    /// Its id there; `None`: the session's own.
    pub id: Option<ConversationId>,
    /// The session.
    pub record: SessionRecord,
    /// For the cursor of the page behind.
    pub cursors: ItemCursors,
    /// The upstream's cursor at which the page begins; `None`: with the newest.
    pub after: Option<String>,
    pub(super) _seal: Seal,
}

/// Some of a user's sessions, the one that was written to last first.
///
/// [`session`](crate::session) alone makes one. Outside of it this doesn't compile:
/// ```compile_fail,E0451
/// # use chatkit_rest::principal::UserId;
/// # use chatkit_rest::session::{SessionPage, SessionSummary};
/// fn forge(page: SessionPage, sessions: Vec<SessionSummary>) -> SessionPage {
///     SessionPage { sessions, ..page }
/// }
/// ```
/// ```compile_fail,E0624
/// # use chatkit_rest::principal::UserId;
/// # use chatkit_rest::session::{SessionPage, SessionSummary};
/// fn forge(user: UserId, sessions: Vec<SessionSummary>) -> SessionPage {
///     SessionPage::new(user, sessions, None)
/// }
/// ```
#[derive(Clone, Debug)]
pub struct SessionPage {
    /// Whose they are.
    pub user_id: UserId,
    /// The sessions.
    pub sessions: Vec<SessionSummary>,
    /// Where the next page begins, if there is one.
    pub next: Option<String>,
    _seal: Seal,
}

impl SessionPage {
    pub(super) fn new(
        user_id: UserId,
        sessions: Vec<SessionSummary>,
        next: Option<String>,
    ) -> Self {
        Self { user_id, sessions, next, _seal: Seal }
    }
}

/// Between which of a thread's items those are that a service is shown.
///
/// [`session`](crate::session) alone makes one. Outside of it this doesn't compile:
/// ```compile_fail,E0451
/// # use chatkit_rest::session::{ItemBounds, ItemCursor};
/// fn forge(bounds: ItemBounds, after: Option<ItemCursor>) -> ItemBounds {
///     ItemBounds { after, ..bounds }
/// }
/// ```
#[derive(Debug)]
pub struct ItemBounds {
    /// What comes after this.
    pub after: Option<ItemCursor>,
    /// What comes before this.
    pub before: Option<ItemCursor>,
    /// For the cursor of the page behind.
    pub cursors: ItemCursors,
    pub(super) _seal: Seal,
}

/// A place among a thread's items.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ItemCursor {
    /// One that was handed out for this thread: what was sealed.
    Given(String),
    /// What may be the id of one of its items, and that of anything else: the upstream must not be
    /// asked by it.
    Id(String),
}

impl ItemCursor {
    /// Gives the refusal of one that names nothing: of the parameter of that name.
    pub(crate) fn unknown(name: &str) -> Rejection {
        Rejection::from(Report::one(format!("/{name}"), "must be an id from this list"))
            .message(format!("The parameter {name} names no item of this thread."))
    }

    /// Gives the refusal of a `before` that names nothing behind `after`.
    pub(crate) fn unknown_end() -> Rejection {
        Rejection::from(Report::one("/before", "must be an id of what follows"))
            .message("The parameter before names no item behind the one that after names.")
    }
}

/// The right to read the store's threads in their order, from some place on.
///
/// [`session`](crate::session) alone makes one. Outside of it this doesn't compile:
/// ```compile_fail,E0451
/// # use std::sync::Arc;
/// # use chatkit_rest::session::{SessionStore, ThreadDirectory, ThreadsPage};
/// fn forge(store: Arc<dyn SessionStore>, page: ThreadsPage) -> ThreadDirectory {
///     ThreadDirectory { store, page, cursor: None, backwards: false }
/// }
/// ```
/// ```compile_fail,E0624
/// # use std::sync::Arc;
/// # use chatkit_rest::session::{SessionStore, ThreadDirectory, ThreadsPage};
/// fn forge(store: Arc<dyn SessionStore>, page: ThreadsPage) -> ThreadDirectory {
///     ThreadDirectory::new(store, page, None, false)
/// }
/// ```
#[derive(Debug)]
pub struct ThreadDirectory {
    store: Arc<dyn SessionStore>,
    page: ThreadsPage,
    cursor: Option<ThreadId>,
    backwards: bool,
}

impl ThreadDirectory {
    pub(super) fn new(
        store: Arc<dyn SessionStore>,
        page: ThreadsPage,
        cursor: Option<ThreadId>,
        backwards: bool,
    ) -> Self {
        Self { store, page, cursor, backwards }
    }

    /// Makes that of a store from `page` on, for a test.
    #[cfg(all(test, feature = "operation"))]
    pub(crate) fn of(store: Arc<dyn SessionStore>, page: ThreadsPage) -> Self {
        Self::new(store, page, None, false)
    }

    /// Gives the user whose threads these are; `None` for everybody's.
    pub fn user(&self) -> Option<&UserId> {
        self.page.user_id.as_ref()
    }

    /// Gives the thread after which it begins.
    pub fn cursor(&self) -> Option<&ThreadId> {
        self.cursor.as_ref()
    }

    /// Tells whether it is read from the oldest to the newest.
    pub fn is_ascending(&self) -> bool {
        self.page.ascending
    }

    /// Tells whether that is the opposite of the order in which they are to be shown.
    pub fn is_backwards(&self) -> bool {
        self.backwards
    }

    /// Gives the next sessions, at most `limit`; fewer are the last.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn next(&mut self, limit: usize) -> Result<Vec<SessionRecord>, Rejection> {
        let placed = self.next_placed(limit).await?;
        Ok(placed.into_iter().map(|placed| placed.record).collect())
    }

    async fn next_placed(&mut self, limit: usize) -> Result<Vec<PlacedSession>, Rejection> {
        let page = ThreadsPage { limit, ..self.page.clone() };
        let records = self.store.threads(page).await.map_err(store_down)?;
        if let Some(last) = records.last() {
            self.page.after = Some(last.place);
        }
        Ok(records)
    }
}

/// The caller's threads, from some place on.
///
/// [`session`](crate::session) alone makes one. Outside of it this doesn't compile:
/// ```compile_fail,E0451
/// # use chatkit_rest::principal::UserId;
/// # use chatkit_rest::session::{OwnThreads, ThreadDirectory};
/// fn forge(threads: OwnThreads, user: UserId) -> OwnThreads {
///     OwnThreads { user, ..threads }
/// }
/// ```
/// ```compile_fail,E0624
/// # use chatkit_rest::principal::UserId;
/// # use chatkit_rest::session::{OwnThreads, ThreadDirectory};
/// fn forge(directory: ThreadDirectory, user: UserId) -> OwnThreads {
///     OwnThreads::new(directory, user, todo!())
/// }
/// ```
#[derive(Debug)]
pub struct OwnThreads {
    directory: ThreadDirectory,
    user: UserId,
    cursors: Cursors,
}

impl OwnThreads {
    pub(super) fn new(directory: ThreadDirectory, user: UserId, cursors: Cursors) -> Self {
        Self { directory, user, cursors }
    }

    /// Makes those of `user` in a store, for a test.
    #[cfg(all(test, feature = "operation"))]
    pub(crate) fn of(store: Arc<dyn SessionStore>, page: ThreadsPage, user: UserId) -> Self {
        let cursors = Cursors::new(Arc::clone(&store));
        Self::new(ThreadDirectory::new(store, page, None, false), user, cursors)
    }

    /// Writes the cursor with which their caller, and nobody else, goes on after a place.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn cursor(&self, place: ThreadPlace) -> Result<String, Rejection> {
        self.cursors.write(Scope::of(List::Threads, &self.user), &place.write()).await
    }

    /// Gives the cursors of the items of each.
    pub fn items(&self) -> ItemCursors {
        ItemCursors::new(List::ChatKitItems, self.user.clone(), self.cursors.clone())
    }

    /// Tells whether none is before the [next](Self::next).
    pub fn is_from_the_start(&self) -> bool {
        self.directory.page.after.is_none()
    }

    /// Gives the next of them in the store's order, at most `limit`; fewer are the last.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn next(&mut self, limit: usize) -> Result<Vec<PlacedSession>, Rejection> {
        self.directory.next_placed(limit).await
    }
}

/// A session that is the caller's: the right to read and write it.
///
/// [`session`](crate::session) alone makes one. Outside of it this doesn't compile:
/// ```compile_fail,E0451
/// # use std::sync::Arc;
/// # use chatkit_rest::session::{OwnedSession, SessionRecord, SessionStore};
/// fn forge(record: SessionRecord, store: Arc<dyn SessionStore>) -> OwnedSession {
///     OwnedSession { record, store }
/// }
/// ```
/// ```compile_fail,E0624
/// # use std::sync::Arc;
/// # use chatkit_rest::session::{OwnedSession, SessionRecord, SessionStore};
/// fn forge(record: SessionRecord, store: Arc<dyn SessionStore>) -> OwnedSession {
///     OwnedSession::new(record, store)
/// }
/// ```
#[derive(Clone, Debug)]
pub struct OwnedSession {
    record: SessionRecord,
    store: Arc<dyn SessionStore>,
}

impl OwnedSession {
    pub(super) fn new(record: SessionRecord, store: Arc<dyn SessionStore>) -> Self {
        Self { record, store }
    }

    /// Gives the session as it was read.
    pub fn record(&self) -> &SessionRecord {
        &self.record
    }

    /// Sets the title; `None` if the session is gone meanwhile.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn set_title(
        &self,
        title: String,
        now: Timestamp,
    ) -> Result<Option<SessionRecord>, Error> {
        self.store.set_title(self.record.id, Some(title), now).await
    }

    /// Replaces the message count by a counted one, if it differs or was not known.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn repair_message_count(&self, messages: u64) -> Result<(), Error> {
        let seen = self.record.message_count;
        if seen == MessageCount::Known(messages) {
            return Ok(());
        }
        self.store.set_message_count(self.record.id, seen, messages).await
    }

    /// Deletes the session, if it is bound to the thread that it was when it was admitted, or found
    /// unbound since; to be called when its thread is gone. Otherwise gives the thread that a run has
    /// made meanwhile: the session is its, and stays.
    ///
    /// # Errors
    /// If the store fails, or the session's first run is under way, or the thread has come into
    /// quarantine since the session was admitted: it stays then.
    pub async fn delete(&mut self) -> Result<Option<ThreadId>, Rejection> {
        let SessionRecord { id, thread_id, .. } = &self.record;
        let deletion = self.store.delete(*id, thread_id.as_deref(), Timestamp::now()).await;
        match deletion.map_err(store_down)? {
            Deletion::Done | Deletion::Unknown => Ok(None),
            Deletion::Bound(_) if self.record.thread_id.is_some() => {
                Err(Rejection::new(Code::Internal).because("a session is bound to a second thread"))
            }
            Deletion::Bound(thread_id) => {
                self.record.thread_id = Some(ThreadId::clone(&thread_id));
                Ok(Some(thread_id))
            }
            Deletion::Busy => Err(claim::busy()),
            Deletion::Quarantined => Err(quarantine::refusal()),
        }
    }
}

/// The right to record what becomes of the caller's attachments.
///
/// [`session`](crate::session) alone makes one. Outside of it this doesn't compile:
/// ```compile_fail,E0451
/// # use std::sync::Arc;
/// # use chatkit_rest::principal::UserId;
/// # use chatkit_rest::session::{Attachments, SessionStore};
/// fn forge(owner: UserId, store: Arc<dyn SessionStore>) -> Attachments {
///     Attachments { owner, store }
/// }
/// ```
/// ```compile_fail,E0624
/// # use std::sync::Arc;
/// # use chatkit_rest::principal::UserId;
/// # use chatkit_rest::session::{Attachments, SessionStore};
/// fn forge(owner: UserId, store: Arc<dyn SessionStore>) -> Attachments {
///     Attachments::new(owner, store)
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Attachments {
    owner: UserId,
    store: Arc<dyn SessionStore>,
}

impl Attachments {
    pub(super) fn new(owner: UserId, store: Arc<dyn SessionStore>) -> Self {
        Self { owner, store }
    }

    /// Tells whether an attachment is the owner's.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn has(&self, attachment_id: &str) -> Result<bool, Rejection> {
        let owner = self.owner_of(attachment_id).await.map_err(store_down)?;
        Ok(owner.as_ref() == Some(&self.owner))
    }

    /// Records a new attachment.
    ///
    /// One that has the id of somebody else's stays theirs: the file that the upstream keeps by that
    /// id may be both, so nothing is to be uploaded there, and nothing deleted. Whoever runs the
    /// gateway is told, since nobody else can do anything about it.
    ///
    /// # Errors
    /// If the store fails, or the upstream gave it an id that somebody else's has.
    pub async fn created(&self, attachment_id: &str) -> Result<(), Rejection> {
        let owned = self.store.own_attachment(&self.owner, attachment_id).await;
        match owned.map_err(store_down)? {
            Owned::Done => Ok(()),
            Owned::Taken => {
                // Gone again, or not to be told, it is no less of an event.
                let first = self.owner_of(attachment_id).await.ok().flatten();
                tracing::error!(
                    attachment = &*shown(attachment_id),
                    user = first.as_ref().map(UserId::as_str),
                    other_user = self.owner.as_str(),
                    "the upstream gave two users' attachments one id: it is the first one's",
                );
                Err(Rejection::new(Code::AttachmentIdReused)
                    .because("the upstream gave a new attachment an id that is taken"))
            }
        }
    }

    async fn owner_of(&self, attachment_id: &str) -> Result<Option<UserId>, Error> {
        let owners = self.store.attachment_owners(vec![attachment_id.to_owned()]).await?;
        Ok(owners.into_iter().next().flatten())
    }

    /// Forgets a deleted attachment.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn deleted(&self, attachment_id: &str) -> Result<(), Rejection> {
        self.store.disown_attachment(attachment_id).await.map_err(store_down).map(drop)
    }
}

/// Refuses what a store that fails can't do: 503, or 404 for what it never could, and the reason for
/// the log.
#[expect(clippy::needless_pass_by_value, reason = "it is for `map_err`")]
pub(crate) fn store_down(error: Error) -> Rejection {
    let rejection = if error.is_lacking() {
        Rejection::new(Code::NotFound)
            .message("This gateway keeps nothing of this kind.")
            .for_good()
    } else {
        Rejection::new(Code::ServiceUnavailable)
    };
    rejection.because(error.chain())
}
