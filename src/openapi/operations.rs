//! What the document says of each operation that its schemas don't.
//!
//! One `match` per question and none with a wildcard, so that a new operation doesn't compile
//! without its answers.

use crate::operation::{Gives, Row, Takes, row};
use crate::rejection::Code;
use crate::route::Operation;
use crate::surface::Surface;

/// The operation in words.
pub(super) struct Words {
    /// The group that it is shown in.
    pub(super) tag: &'static str,
    /// One line, without a full stop.
    pub(super) summary: &'static str,
    /// A paragraph or two, in CommonMark.
    pub(super) description: &'static str,
}

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

/// The group of what is no [`Operation`].
pub(super) const SERVICE: &str = "Service";

#[expect(clippy::too_many_lines, reason = "three texts for each operation, and nothing else")]
pub(super) fn words(operation: Operation) -> Words {
    if let Some(row) = row(operation) {
        let Row { tag, summary, description, .. } = *row;
        return Words { tag, summary, description };
    }
    let (tag, summary, description) = match operation {
        Operation::CreateSession => (
            "Sessions",
            "Start a session",
            "Nothing is asked of the chat server yet. Without a title, the session gets one with \
             its first message.",
        ),
        Operation::ListSessions => (
            "Sessions",
            "List your sessions",
            "Those that were changed last come first, a page at a time.",
        ),
        Operation::GetSession => (
            "Sessions",
            "Read a session and its messages",
            "Messages are those that the chat server has, oldest first.",
        ),
        Operation::UpdateSession => (
            "Sessions",
            "Give a session another title",
            "The chat server is told first; a title that it doesn't take is not kept.",
        ),
        Operation::DeleteSession => (
            "Sessions",
            "Delete a session",
            "Its thread is deleted at the chat server first, so that nothing is left there.",
        ),
        Operation::CreateThread => (
            "Threads",
            "Get the session's thread",
            "A session has one thread, and this names it. Asking again gives the same answer.",
        ),
        Operation::ListThreads => {
            ("Threads", "List the session's threads", "There is exactly one.")
        }
        Operation::GetThread => {
            ("Threads", "Read a thread", "As the chat server has it, without its items.")
        }
        Operation::CreateRun => (
            "Runs",
            "Send a message",
            "The answer is ChatKit's events as they come, or one JSON object at the end: with \
             `\"stream\": false`, or with an `Accept` that prefers `application/json` to \
             `text/event-stream`. The text is passed on exactly as it was sent.\n\nA run that \
             fails before its first output is refused with a status, and `details` has what was \
             known by then. After that the status is out, and the stream ends with ChatKit's \
             `error` event, or is cut.",
        ),
        Operation::ListItems => {
            ("Items", "List a thread's items", "As the chat server has them, a page at a time.")
        }
        Operation::CreateFeedback => {
            ("Items", "Say what you think of an answer", "One opinion for one or more items.")
        }
        Operation::RetryItem => (
            "Runs",
            "Answer a message again",
            "What came after the item is removed, and the chat server answers anew: with events, \
             or with JSON as `create_run` does.",
        ),
        Operation::SubmitToolOutput => (
            "Runs",
            "Give the output of a client tool",
            "It goes to the tool call that the thread waits for, and the run goes on.",
        ),
        Operation::SubmitStructuredInput => (
            "Runs",
            "Fill in a form",
            "The answers to an item that asks for structured input; the run goes on.",
        ),
        Operation::RunAction => (
            "Runs",
            "Carry out an action",
            "What a widget's button does. With `sync=true` it is answered with what the action \
             returns, in place of a run.",
        ),
        Operation::CreateAttachment => (
            "Attachments",
            "Announce an attachment",
            "The answer says where and how to upload it. Its id can then be used in messages.",
        ),
        Operation::DeleteAttachment => {
            ("Attachments", "Delete an attachment", "Only its owner can.")
        }
        Operation::CreateTranscription => (
            "Transcriptions",
            "Turn speech into text",
            "The audio as it is, with its media type, or in base64 inside of JSON.",
        ),
        Operation::Passthrough => (
            "ChatKit",
            "Send a ChatKit request",
            "The very bytes reach the chat server, and its answer comes back, once everything \
             that the request names is known to be the caller's. Lists show the caller's own \
             threads only. Requests that start a run are answered with events, the others with \
             JSON.",
        ),
        Operation::Chat => (
            "Chat",
            "Ask something",
            "Without a `conversation_id` a conversation begins; the answer has its id. With \
             `Accept: text/event-stream` the answer is ChatKit's events.",
        ),
        Operation::ChatForUser => (
            "Chat",
            "Ask something, as a named user",
            "As `chat`; the user in the path must be the caller.",
        ),
        Operation::ListConversations => (
            "Chat",
            "List your conversations",
            "Those that can be gone on with here; the one that was changed last comes first. What \
             is changed while pages are read moves to the front, and nothing comes twice.",
        ),
        Operation::ListConversationsForUser => (
            "Chat",
            "List the conversations of a named user",
            "As `list_conversations`; the user in the path must be the caller.",
        ),
        Operation::GetConversation => (
            "Chat",
            "Read a conversation",
            "The first page has the newest messages, and `next` leads to older ones; within a page \
             the oldest comes first. A page is what is in up to 50 of the chat server's items, so \
             it may have fewer messages, and none, though there are more.",
        ),
        Operation::GetConversationForUser => (
            "Chat",
            "Read a conversation of a named user",
            "As `get_conversation`; the user in the path must be the caller.",
        ),
        Operation::OpenAiCreateSession => (
            "OpenAI",
            "Make a client secret",
            "A short-lived bearer token with which a browser acts for the named user on every other \
             surface, with a number of requests a minute of its own.",
        ),
        Operation::OpenAiCancelSession => {
            ("OpenAI", "Revoke a client secret", "From then on it is refused.")
        }
        Operation::OpenAiListThreads => {
            ("OpenAI", "List threads", "Of one user, or of all; newest first.")
        }
        Operation::OpenAiGetThread => ("OpenAI", "Read a thread", "Without its items."),
        Operation::OpenAiDeleteThread => {
            ("OpenAI", "Delete a thread", "And the session that it belongs to.")
        }
        Operation::OpenAiListItems => {
            ("OpenAI", "List a thread's items", "Those that the hosted API has a form for.")
        }
    };
    Words { tag, summary, description }
}

pub(super) fn takes(operation: Operation) -> Takes {
    if let Some(row) = row(operation) {
        return row.takes;
    }
    match operation {
        Operation::CreateSession | Operation::CreateThread | Operation::RetryItem => {
            Takes::MaybeJson
        }
        Operation::OpenAiCancelSession => Takes::AnyJson,
        Operation::CreateTranscription => Takes::Audio,
        Operation::Passthrough => Takes::ChatKit,
        _ if operation.has_body() => Takes::Json,
        _ => Takes::Nothing,
    }
}

pub(super) fn gives(operation: Operation) -> Gives {
    if let Some(row) = row(operation) {
        return row.gives;
    }
    match operation {
        Operation::Passthrough => Gives::ChatKit,
        run if run.is_run() => Gives::Run,
        _ => Gives::Json,
    }
}

/// The refusals that are the operation's own: those that come with its body, its path or its
/// place in the gateway are added to them.
pub(super) fn refusals(operation: Operation) -> Vec<Code> {
    use Code as C;
    const UPSTREAM: [Code; 4] =
        [C::UpstreamRejected, C::UpstreamError, C::UpstreamTimeout, C::UpstreamUnsupported];
    const RUN: [Code; 3] = [C::Conflict, C::ThreadNotFound, C::ThreadIdReused];
    let (own, asks_upstream, runs): (&[Code], bool, bool) = match operation {
        Operation::CreateSession => (&[C::SessionLimit], false, false),
        Operation::ListSessions => (&[], false, false),
        Operation::GetSession => (&[C::SessionNotFound], true, false),
        Operation::UpdateSession => (&[C::SessionNotFound, C::ThreadNotFound], true, false),
        Operation::DeleteSession => (&[C::SessionNotFound, C::Conflict], true, false),
        Operation::CreateThread | Operation::ListThreads => (&[C::SessionNotFound], false, false),
        Operation::CreateRun => (
            &[
                C::SessionNotFound,
                C::AttachmentNotFound,
                C::EmptyMessage,
                C::MessageTooLong,
                C::MessageLimit,
            ],
            true,
            true,
        ),
        Operation::GetThread => (&[C::SessionNotFound, C::ThreadNotFound], true, false),
        Operation::ListItems | Operation::CreateFeedback => {
            (&[C::SessionNotFound, C::ThreadNotFound, C::ItemNotFound], true, false)
        }
        Operation::RetryItem
        | Operation::SubmitToolOutput
        | Operation::SubmitStructuredInput
        | Operation::RunAction => (&[C::SessionNotFound, C::ItemNotFound], true, true),
        Operation::CreateAttachment => (&[C::AttachmentIdReused], true, false),
        Operation::DeleteAttachment => (&[C::AttachmentNotFound], true, false),
        Operation::CreateTranscription => (&[], true, false),
        Operation::Passthrough => (
            &[
                C::SessionNotFound,
                C::AttachmentNotFound,
                C::AttachmentIdReused,
                C::MessageTooLong,
                C::MessageLimit,
                C::SessionLimit,
            ],
            true,
            true,
        ),
        Operation::Chat | Operation::ChatForUser => {
            (&[C::SessionNotFound, C::EmptyMessage, C::MessageTooLong], true, true)
        }
        Operation::ListConversations | Operation::ListConversationsForUser => (&[], false, false),
        Operation::GetConversation | Operation::GetConversationForUser => {
            (&[C::SessionNotFound, C::ThreadNotFound], true, false)
        }
        Operation::OpenAiCreateSession => (&[], false, false),
        Operation::OpenAiCancelSession => (&[C::SessionNotFound], false, false),
        Operation::OpenAiListThreads => (&[], true, false),
        Operation::OpenAiGetThread | Operation::OpenAiDeleteThread | Operation::OpenAiListItems => {
            (&[C::ThreadNotFound, C::Conflict], true, false)
        }
    };
    let (own, asks_upstream, runs) = row(operation).map_or((own, asks_upstream, runs), |row| {
        (row.refuses, row.asks_upstream, row.gives != Gives::Json)
    });
    let mut codes = own.to_vec();
    if asks_upstream {
        codes.extend(UPSTREAM);
        // Too much of the user's may be in memory, as it may with a body.
        codes.push(C::RateLimited);
    }
    if runs {
        codes.extend(RUN);
    }
    // Whoever may say that there is no such session or thread reads its row.
    if codes.iter().any(|code| matches!(code, C::SessionNotFound | C::ThreadNotFound))
        && operation != Operation::OpenAiCancelSession
    {
        codes.push(C::ThreadQuarantined);
    }
    codes
}

/// Whether the operation names things that may be somebody else's.
pub(super) fn may_be_foreign(operation: Operation) -> bool {
    if let Some(row) = row(operation) {
        return row.may_be_foreign;
    }
    match operation {
        Operation::CreateSession
        | Operation::ListSessions
        | Operation::CreateAttachment
        | Operation::CreateTranscription
        | Operation::ListConversations
        | Operation::ListConversationsForUser
        // A service may see every user's.
        | Operation::OpenAiCreateSession
        | Operation::OpenAiCancelSession
        | Operation::OpenAiListThreads
        | Operation::OpenAiGetThread
        | Operation::OpenAiDeleteThread
        | Operation::OpenAiListItems => false,
        Operation::GetSession
        | Operation::UpdateSession
        | Operation::DeleteSession
        | Operation::CreateThread
        | Operation::ListThreads
        | Operation::CreateRun
        | Operation::GetThread
        | Operation::ListItems
        | Operation::CreateFeedback
        | Operation::RetryItem
        | Operation::SubmitToolOutput
        | Operation::SubmitStructuredInput
        | Operation::RunAction
        | Operation::DeleteAttachment
        | Operation::Passthrough
        | Operation::Chat
        | Operation::ChatForUser
        | Operation::GetConversation
        | Operation::GetConversationForUser => true,
    }
}

/// What a parameter of a path is, and its format where it has one.
pub(super) fn path_parameter(
    operation: Operation,
    name: &str,
) -> (&'static str, Option<&'static str>) {
    match (operation.surface(), name) {
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

/// What an operation's reply has that others need: the parameter's name, and the JSON Pointer of
/// its value in the reply.
pub(super) fn links(operation: Operation) -> &'static [(&'static str, &'static str)] {
    if let Some(row) = row(operation) {
        return row.links;
    }
    match operation {
        Operation::CreateSession => &[("session_id", "/data/id"), ("thread_id", "/data/id")],
        Operation::CreateThread => &[("session_id", "/data/session_id"), ("thread_id", "/data/id")],
        Operation::CreateAttachment => &[("attachment_id", "/data/id")],
        Operation::Chat => &[("conversation_id", "/conversation_id")],
        Operation::ListConversations => &[("conversation_id", "/conversations/0/conversation_id")],
        Operation::OpenAiCreateSession => &[("session_id", "/id")],
        Operation::OpenAiListThreads => &[("thread_id", "/first_id")],
        Operation::ListSessions
        | Operation::GetSession
        | Operation::UpdateSession
        | Operation::DeleteSession
        | Operation::CreateRun
        | Operation::GetThread
        | Operation::ListThreads
        | Operation::ListItems
        | Operation::CreateFeedback
        | Operation::RetryItem
        | Operation::SubmitToolOutput
        | Operation::SubmitStructuredInput
        | Operation::RunAction
        | Operation::DeleteAttachment
        | Operation::CreateTranscription
        | Operation::Passthrough
        | Operation::ChatForUser
        | Operation::ListConversationsForUser
        | Operation::GetConversation
        | Operation::GetConversationForUser
        | Operation::OpenAiCancelSession
        | Operation::OpenAiGetThread
        | Operation::OpenAiDeleteThread
        | Operation::OpenAiListItems => &[],
    }
}
