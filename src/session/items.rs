//! The cursors of a thread's items: the upstream's, sealed.

use super::cursors::{Cursors, List, Scope};
use super::grant::{OwnedThread, Seal};
use crate::bounds::{MAX_CURSOR_CHARS, is_longer};
use crate::principal::UserId;
use crate::rejection::{Code, Rejection};
use crate::validate::Report;

/// The right to hand out cursors of threads' items on one surface, to one user.
///
/// What the upstream has for a cursor may be any item's id, and a store may look that up among
/// everybody's: so only those go back to it that it gave for this very thread.
///
/// [`session`](crate::session) alone makes one. Outside of it this doesn't compile:
/// ```compile_fail,E0451
/// # use chatkit_rest::principal::UserId;
/// # use chatkit_rest::session::ItemCursors;
/// fn forge(cursors: ItemCursors, user: UserId) -> ItemCursors {
///     ItemCursors { user, ..cursors }
/// }
/// ```
/// ```compile_fail,E0624
/// # use chatkit_rest::principal::UserId;
/// # use chatkit_rest::session::ItemCursors;
/// fn forge(user: UserId) -> ItemCursors {
///     ItemCursors::new(todo!(), user, todo!())
/// }
/// ```
#[derive(Clone, Debug)]
pub struct ItemCursors {
    list: List,
    user: UserId,
    cursors: Cursors,
}

impl ItemCursors {
    pub(super) fn new(list: List, user: UserId, cursors: Cursors) -> Self {
        Self { list, user, cursors }
    }

    /// Makes those of `user` in a store, for a test.
    #[cfg(all(test, feature = "operation"))]
    pub(crate) fn of(store: std::sync::Arc<dyn super::store::SessionStore>, user: UserId) -> Self {
        Self::new(List::ChatKitItems, user, Cursors::new(store))
    }

    /// Seals a cursor that the upstream gave for the items of one of the user's threads.
    ///
    /// # Errors
    /// If it is too long to be sent back, or the store fails.
    pub async fn seal(&self, thread_id: &str, cursor: &str) -> Result<String, Rejection> {
        let scope = Scope::of_thread(self.list, &self.user, thread_id);
        let sealed = self.cursors.write(scope, cursor).await?;
        if is_longer(&sealed, MAX_CURSOR_CHARS) {
            return Err(Rejection::new(Code::UpstreamError)
                .because("the upstream's cursor is too long to be handed out"));
        }
        Ok(sealed)
    }

    /// Gives what was sealed for this thread's items; `None` for anything else.
    ///
    /// # Errors
    /// If the store fails.
    pub(super) async fn open<'a>(
        &self,
        thread_id: &str,
        cursor: &'a str,
    ) -> Result<Option<&'a str>, Rejection> {
        self.cursors.read(Scope::of_thread(self.list, &self.user, thread_id), cursor).await
    }

    /// Gives the upstream's cursor that `cursor` stands for among a thread's items.
    ///
    /// # Errors
    /// The refusal of one that was not sealed for them; or if the store fails.
    pub(crate) async fn open_in(
        &self,
        thread: &OwnedThread,
        cursor: &str,
    ) -> Result<String, Rejection> {
        self.open_or_refuse(Some(thread.id()), cursor).await
    }

    /// The upstream's cursor that `cursor` stands for, in a request that must have no other.
    ///
    /// # Errors
    /// The [`refusal`](Self::refusal) of one that was not sealed for this thread's items, as none was
    /// before there is a thread; or if the store fails.
    pub(super) async fn open_or_refuse(
        &self,
        thread_id: Option<&str>,
        cursor: &str,
    ) -> Result<String, Rejection> {
        let opened = match thread_id {
            Some(thread_id) => self.open(thread_id, cursor).await?,
            None => None,
        };
        opened.map(str::to_owned).ok_or_else(|| self.refusal())
    }

    /// Gives the refusal of a cursor that is none, or that the upstream has forgotten.
    pub(crate) fn refusal(&self) -> Rejection {
        let (pointer, what, message) = match self.list {
            List::ChatKitItems => (
                "/params/after",
                "must be a cursor of this list",
                "The cursor params.after is none of this list; begin without one.".to_owned(),
            ),
            list => (
                "/after",
                "must be a cursor",
                format!(
                    "The parameter after is no cursor of these {}; begin without one.",
                    list.name(),
                ),
            ),
        };
        Rejection::from(Report::one(pointer, what)).message(message)
    }
}

/// The right to read a thread's items from some place on.
#[derive(Debug)]
pub(crate) struct ItemsFrom {
    /// The upstream's cursor of that place; `None` where no item is before it.
    pub(crate) after: Option<String>,
    /// What the cursor of the page behind is made by.
    pub(crate) cursors: ItemCursors,
    pub(super) _seal: Seal,
}
