//! The responder that repeats what it is told, and does on command what a model can't be relied
//! on to do.
//!
//! The first message's first line becomes the thread's title. A message that starts with one of
//! these words is a command; anything else is answered with `You said: …`, word by word.
//!
//! | the message | the answer |
//! |---|---|
//! | `/annotations` | a message with a URL, a file and an entity as sources |
//! | `/close` | a message, and the thread's status is `closed` |
//! | `/custom TEXT` | a `custom` error event with that message, before any output |
//! | `/cut` | the connection is cut before any output |
//! | `/cut-after N` | the connection is cut after N deltas |
//! | `/effect` | two `client_effect`s |
//! | `/error` | a `stream.error` event before any output |
//! | `/error-after N` | a `stream.error` event after N deltas |
//! | `/hidden` | a `hidden_context_item`, which clients never see, and a message |
//! | `/image` | a `generated_image` in three steps |
//! | `/long N` | a message of N deltas, at most 100 000 |
//! | `/notice` | two `notice`s |
//! | `/progress` | two `progress_update`s and a message |
//! | `/slow MS TEXT` | as without the command, with MS milliseconds between deltas, at most a minute |
//! | `/stall` | nothing, ever; not even an end |
//! | `/structured` | a pending `structured_input` with three questions |
//! | `/task` | a `task` and an `end_of_turn` |
//! | `/tool NAME {…}` | a pending `client_tool_call` of that name and those arguments, and nothing more |
//! | `/unicode` | a message of what is hard to get right: surrogate pairs, line separators, controls, SSE in text |
//! | `/widget` | a `widget` with a button; its action replaces the widget |
//! | `/workflow` | a `workflow` with a task of each kind, and a message |
//!
//! A tool's output and answers to a structured input are acknowledged with a message. Actions
//! that come from no widget are, too; an action of the type `fail` fails.

mod command;
mod respond;
mod scenes;

pub use respond::Echo;
