//! A ChatKit server in this process, to try a gateway out with and to test against.
//!
//! Needs the feature `embedded`.
//!
//! [`Embedded`] is a service that speaks ChatKit as the Python SDK, `openai-chatkit` 1.6.5, does
//! behind the web framework of its samples: all sixteen requests, the same events in the same
//! order with the same fields, the same pages of 20, the same times without a zone (its clock is
//! UTC). It fails as that does, too, because that is what a gateway must cope with:
//!
//! - Whatever is malformed, and whatever fails in a request that is answered with JSON (a thread
//!   that isn't there), is a bare `500` with the text `Internal EmbeddedServer Error`.
//! - A request that is answered with events has a `200` before anything is looked up. What
//!   isn't there then shows as a body that ends in an error,
//!   [`BodyCut`](crate::forward::ForwardErrorKind::BodyCut).
//! - It knows no users: whoever names a thread may have it, and lists show all of them.
//!
//! Where it differs: ids have 16 random digits instead of 8; `NaN` and `Infinity` are read as
//! `null`; a negative limit is none; a request has at most 64 MiB. Attachments have metadata
//! only: the URL to upload to (`https://uploads.invalid/…`) is one that can't exist, and the
//! preview of an image is a grey pixel. Audio is not understood: the transcript says how many
//! bytes there were. A stream is produced as it is read, and is never further ahead than one
//! event. When the client leaves, what was said so far is stored, which the SDK does over a
//! store in memory. A connection that is cut on purpose stores nothing.
//!
//! With [`in_memory`](Embedded::in_memory) nothing leaves the task that polls, so a paused clock
//! works; with [`open`](Embedded::open) a thread of its own has the database.
//!
//! What it answers is up to a [`Responder`]. There is [`Echo`](echo::Echo), whose
//! [commands](echo) make it call tools, show widgets, fail, stall and cut the connection; and with
//! the feature `openai`, `openai::OpenAiResponder`, which has a language model answer.
//!
//! ```
//! use bytes::Bytes;
//! use chatkit_rest::embedded::Embedded;
//! use http_body_util::{BodyExt, Full};
//! use tower_service::Service;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut server = Embedded::in_memory()?;
//! let request = r#"{"type": "threads.create", "params": {"input": {
//!     "content": [{"type": "input_text", "text": "Hello"}],
//!     "attachments": [], "inference_options": {}
//! }}}"#;
//! let request = http::Request::post("/chatkit").body(Full::new(Bytes::from(request)))?;
//! let response = server.call(request).await?;
//! let events = response.into_body().collect().await?.to_bytes();
//! assert!(events.starts_with(br#"data: {"type":"thread.created","thread":{"#));
//! # Ok(())
//! # }
//! ```
//!
//! A responder of one's own is a future that emits events:
//!
//! ```
//! use chatkit_rest::embedded::{Embedded, Responder, Turn, TurnFuture};
//!
//! #[derive(Debug)]
//! struct Polite;
//!
//! impl Responder for Polite {
//!     fn respond(&self, mut turn: Turn) -> TurnFuture {
//!         Box::pin(async move {
//!             let mut message = turn.begin_message().await;
//!             message.say("After ").await;
//!             message.say("you.").await;
//!             message.end().await;
//!             Ok(())
//!         })
//!     }
//! }
//!
//! let server = Embedded::in_memory()?.with_responder(Polite);
//! # Ok::<(), chatkit_rest::error::Error>(())
//! ```

mod body;
mod compose;
pub mod echo;
mod event;
mod id;
mod item;
mod json;
#[cfg(feature = "openai")]
pub mod openai;
mod pending;
mod rendezvous;
mod reply;
mod request;
mod responder;
mod rows;
mod run;
mod service;
mod store;
mod thread;
mod timestamp;

pub use body::EmbeddedBody;
pub use event::{Event, Level, Update};
pub use item::{
    Answers, AssistantMessage, Choice, Content, EndOfTurn, GeneratedImage, HiddenContext, Image,
    Item, OutputText, Question, QuestionKind, SdkHiddenContext, StructuredInput,
    StructuredInputStatus, TaskContent, ToolCall, ToolCallStatus, UserMessage, WidgetContent,
    WorkflowContent,
};
pub use json::{InvalidJson, Json, Number};
pub use request::Action;
pub use responder::{Failure, Message, Responder, Turn, TurnFuture};
pub use service::{Embedded, EmbeddedFuture};
pub use thread::Status;
