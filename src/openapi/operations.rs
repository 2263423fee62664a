//! What the document says of operations that neither their rows nor their schemas do.

use crate::operation::{Gives, Row};
use crate::rejection::Code;
use crate::surface::Surface;

/// The groups in the order in which they are shown, and what they are.
pub(super) const TAGS: [(&str, &str); 10] = [
    ("Sessions", "A session is a conversation that belongs to one user."),
    (
        "Threads",
        "The ChatKit thread behind a session. It comes into being with the first message; until \
         then it is known by the session's id, which goes on working.",
    ),
    ("Runs", "A run is one message of the user's and the stream of events that answers it."),
    ("Items", "What a thread is made of: messages, tool calls, widgets and so on."),
    ("Attachments", "Files that messages refer to."),
    ("Transcriptions", "Speech to text."),
    ("ChatKit", "ChatKit's own requests, as its clients send them."),
    ("Chat", "One question, one answer."),
    (
        "OpenAI",
        "What the official `openai` clients call under `client.beta.chatkit`, with another \
         `base_url`.",
    ),
    (SERVICE, "For whoever runs the gateway. No token is needed."),
];

/// The group of what is no operation.
pub(super) const SERVICE: &str = "Service";

/// Gives the refusals that are the operation's own: those that come with its body, its path or its
/// place in the gateway are added to them.
pub(super) fn refusals(row: &Row) -> Vec<Code> {
    use Code as C;
    const UPSTREAM: [Code; 4] =
        [C::UpstreamRejected, C::UpstreamError, C::UpstreamTimeout, C::UpstreamUnsupported];
    const RUN: [Code; 3] = [C::Conflict, C::ThreadNotFound, C::ThreadIdReused];
    let mut codes = row.refuses.to_vec();
    if row.asks_upstream {
        codes.extend(UPSTREAM);
        // Too much of the user's may be in memory, as it may with a body.
        codes.push(C::RateLimited);
    }
    if row.gives != Gives::Json {
        codes.extend(RUN);
    }
    // Whoever may say that there is no such session or thread reads its row.
    if codes.iter().any(|code| matches!(code, C::SessionNotFound | C::ThreadNotFound))
        // But a client session's, which has no thread.
        && (row.surface != Surface::OpenAi || row.asks_upstream)
    {
        codes.push(C::ThreadQuarantined);
    }
    codes
}

/// Tells what a parameter of a path is, and its format where it has one.
pub(super) fn path_parameter(surface: Surface, name: &str) -> (&'static str, Option<&'static str>) {
    match (surface, name) {
        (Surface::OpenAi, "session_id") => ("The id of the session, `cksess_…`.", None),
        (Surface::OpenAi, "thread_id") => ("The thread's id.", None),
        (_, "session_id") => ("The session's id.", Some("uuid")),
        (_, "thread_id") => {
            ("The thread's id: that of its session, or the chat server's own (`thr_…`).", None)
        }
        (_, "item_id") => ("The item's id.", None),
        (_, "attachment_id") => ("The attachment's id.", None),
        (_, "conversation_id") => ("The conversation's id.", None),
        (_, "user_id") => ("The caller's own id.", None),
        _ => ("", None),
    }
}
