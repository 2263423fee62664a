//! What the upstream must have for a request about a thread's items to make sense.

use crate::rejection::{Code, Rejection};

/// What must be there. An upstream that lacks it says no more than that something went wrong, so
/// whoever knows that nothing else did needs to know what it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    /// An item.
    Item,
    /// A client tool call that waits.
    ToolCall,
    /// A user's message. An upstream that hasn't got it may end its answer well without a word.
    UserMessage,
    /// A widget. An upstream whose item is something else says so with an `error` event alone.
    Widget,
    /// Nothing but the thread.
    Thread,
}

impl Needs {
    /// Gives the refusal where it isn't there, but the thread is. `None`: a thread that is there is
    /// all it takes.
    pub(crate) fn unmet(self) -> Option<Rejection> {
        match self {
            Self::Item | Self::UserMessage | Self::Widget => {
                Some(Rejection::new(Code::ItemNotFound))
            }
            Self::ToolCall => Some(
                Rejection::new(Code::Conflict)
                    .message("No client tool call is waiting for its output.")
                    .for_good(),
            ),
            Self::Thread => None,
        }
    }

    /// Gives the refusal where the session has no thread yet.
    pub(crate) fn unmet_without_thread(self) -> Rejection {
        self.unmet().unwrap_or_else(|| {
            Rejection::new(Code::Conflict)
                .message("The session has no message yet; send one first.")
                .for_good()
        })
    }
}
