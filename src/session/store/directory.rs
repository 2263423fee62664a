//! What is told of all threads at once, and of users who are shut out.

use jiff::Timestamp;

use super::{StoreFuture, answer, lacks};
use crate::principal::UserId;
use crate::session::adoption::{Adopted, Adoption};
use crate::session::blocks::{Blocked, BlockedUser, BlockedUsers, BlocksVersion};
use crate::session::pages::{PlacedSession, ThreadPlace, ThreadsPage};
use crate::session::quarantine::{QuarantinedThread, Released};
use crate::session::record::ThreadId;

/// All threads: in their order, from elsewhere, in quarantine; and the users who are shut out. A part of
/// [`SessionStore`](super::SessionStore).
///
/// A store that doesn't implement it lists no threads and takes none on, whoever runs it looks
/// after its quarantine by other means, and nobody is shut out.
pub trait Directory {
    /// Gives a page of the sessions that are bound and not in [quarantine](crate::session::Found::Quarantined), in
    /// the order in which they were bound; ties by id.
    fn threads(&self, page: ThreadsPage) -> StoreFuture<'_, Vec<PlacedSession>> {
        let _ = page;
        lacks("list of threads")
    }

    /// Tells where a thread stands among the [threads](Self::threads), or stood if its session was
    /// deleted less than a day ago: who deletes what a page shows goes on behind it all the same.
    fn place_of_thread<'a>(&'a self, thread_id: &'a str) -> StoreFuture<'a, Option<ThreadPlace>> {
        let _ = thread_id;
        answer(None)
    }

    /// Takes on what a ChatKit server has already. A thread becomes a bound session of its user's,
    /// an attachment is recorded as its user's.
    ///
    /// One outcome for each entry, in their order; each is decided when those before it are done.
    /// Every entry is adopted as a whole or not at all. A call that fails may have adopted some of
    /// them: to make it again is harmless. What was adopted and is [deleted](super::Sessions::delete) or
    /// [disowned](super::AttachmentOwners::disown_attachment) since is [`Adopted::Deleted`] for ever: the entries may
    /// have been written down before. So is, while its place is known, any thread that was deleted.
    /// What is in quarantine stays there: [`AdoptionConflict::Quarantined`].
    ///
    /// [`AdoptionConflict::Quarantined`]: crate::session::AdoptionConflict::Quarantined
    ///
    /// An adopted session was bound when it was created, so that threads stay in their order. It
    /// never counts for [`create`](super::Sessions::create)'s limit, and its message count is
    /// [`MessageCount::AtLeast`](crate::session::MessageCount::AtLeast) until somebody has counted. A number that it has as a conversation
    /// is one that [`NewConversation::Next`](super::NewConversation::Next) has left behind from then on.
    fn adopt(&self, entries: Vec<Adoption>) -> StoreFuture<'_, Vec<Adopted>> {
        let _ = entries;
        lacks("way to adopt")
    }

    /// Gives the threads in quarantine with ids behind `after`, in the order of their ids' bytes;
    /// at most `limit`.
    fn quarantined(
        &self,
        after: Option<ThreadId>,
        limit: usize,
    ) -> StoreFuture<'_, Vec<QuarantinedThread>> {
        let _ = (after, limit);
        lacks("list of threads in quarantine")
    }

    /// Takes a thread out of quarantine, as if it had never been in it.
    fn release<'a>(&'a self, thread_id: &'a str) -> StoreFuture<'a, Released> {
        let _ = thread_id;
        lacks("way out of quarantine")
    }

    /// [Deletes](super::Sessions::delete) the session of a thread in quarantine; `false` if there is none. The
    /// id stays there until it is [released](Self::release): upstream, the thread may be there still.
    fn delete_quarantined<'a>(
        &'a self,
        thread_id: &'a str,
        now: Timestamp,
    ) -> StoreFuture<'a, bool> {
        let _ = (thread_id, now);
        lacks("list of threads in quarantine")
    }

    /// Shuts a user out, whether or not there is anything of theirs. What there is stays as it is.
    ///
    /// The store itself refuses nobody: whoever serves users goes by
    /// [`blocked_users`](Self::blocked_users). `block.since` is truncated to microseconds.
    fn block(&self, block: BlockedUser) -> StoreFuture<'_, Blocked> {
        let _ = block;
        lacks("list of blocked users")
    }

    /// Lets a user in again; `false` if nobody shut them out.
    fn unblock<'a>(&'a self, user_id: &'a UserId) -> StoreFuture<'a, bool> {
        let _ = user_id;
        lacks("list of blocked users")
    }

    /// Gives the users who are shut out with ids behind `after`, in the order of their ids' bytes; at
    /// most `limit`.
    fn blocks(&self, after: Option<UserId>, limit: usize) -> StoreFuture<'_, Vec<BlockedUser>> {
        let _ = (after, limit);
        lacks("list of blocked users")
    }

    /// Gives all who are shut out, unless that is what they were at the version that is `known`.
    ///
    /// Asked about once a second by each gateway that has requests, so it must be cheap where nothing
    /// has changed. What any process did before is in it, and the version changes with each of these.
    fn blocked_users(&self, known: Option<BlocksVersion>) -> StoreFuture<'_, Option<BlockedUsers>> {
        let _ = known;
        answer(None)
    }
}
