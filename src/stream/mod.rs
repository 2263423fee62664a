//! A run's answer on its way back: held until its status is known, watched, never altered.
//!
//! Needs the feature `stream`.
//!
//! An upstream's status says nothing about a run: a ChatKit server sends its 200 before it
//! looks anything up. So the head and the *preamble* (`thread.created`, the user message's
//! `thread.item.done`, `stream_options`) are [held](hold) until the first output, and a run
//! that fails before that is a [`RunFailure`], which becomes a real status. What was held is
//! then released as the very same frames.
//!
//! - [`Watch`] is a body that passes its frames on untouched and tells a [`RunObserver`] what
//!   they say. It holds a frame back in one case only: the frame that first shows a new
//!   thread's id waits until the observer has stored it.
//! - [`hold`] drives a `Watch` to the commit and gives a [`RunBody`].
//! - [`collect`] drives it to the end and gives a [`Transcript`], for answers in JSON.
//! - [`HoldLayer`] is the hold as a layer of its own, for any service that answers with
//!   ChatKit's server-sent events.
//!
//! What this room does not do: it never parses an event that it doesn't need (deltas cost a
//! search for the end of the line), never writes a byte into a stream, and never ends one that
//! the upstream didn't end. A stream that breaks after the commit breaks for the client too.
//!
//! ```
//! # tokio_test(async {
//! use chatkit_rest::stream::{HoldPolicy, NoObserver, RunFailureCause, Watch, hold};
//! use http_body_util::Full;
//! use bytes::Bytes;
//!
//! let body = Full::new(Bytes::from("data: {\"type\":\"error\",\"code\":\"stream.error\"}\n\n"));
//! let failure = hold(Watch::new(body, NoObserver), HoldPolicy::default()).await.unwrap_err();
//! assert!(matches!(failure.cause, RunFailureCause::ErrorEvent(_)));
//! # });
//! # fn tokio_test(f: impl Future<Output = ()>) {
//! #     tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(f)
//! # }
//! ```

mod body;
mod collect;
mod event;
mod failure;
mod fields;
mod flush;
mod hold;
mod item;
mod layer;
mod object;
mod scan;
mod watch;

#[cfg(feature = "operation")]
pub(crate) use collect::collect_run;
#[cfg(feature = "operation")]
pub(crate) use hold::{Silence, hold_run};
#[cfg(feature = "operation")]
pub(crate) use object::Named;
#[cfg(any(feature = "openai", feature = "operation"))]
pub(crate) use object::{Object, list, text};

pub use body::RunBody;
pub use collect::{Transcript, collect};
pub use event::{ErrorEvent, Event, EventKind};
pub use failure::{Preamble, RunError, RunFailure, RunFailureCause};
pub use flush::FlushFirst;
pub use hold::{HoldPolicy, hold};
pub use item::ItemKind;
pub use layer::{Hold, HoldLayer};
pub use watch::{Binding, End, NoObserver, RunObserver, Watch};
