//! Contract tests: fixtures, and what runs them.
//!
//! Needs the feature `contract`.
//!
//! A fixture is a JSON file. It states requests to the gateway, the ChatKit requests that it is
//! to send upstream for them, what the upstream answers (to the byte, and how that ends), and
//! what the client is to get. The same files run
//!
//! - [in this process](Target::in_process), around a scripted upstream: fast, and without
//!   waiting on a paused clock;
//! - [over sockets](Target::sockets): a real listener in front of an upstream that cuts, resets,
//!   stalls and breaks framing;
//! - [against any gateway](Target::base_url) by URL, as far as they need no scripted upstream
//!   and no settings;
//! - [around any service](Target::service): your own stack of these layers.
//!
//! `fixtures/README.md` documents the format. In short:
//!
//! ```json
//! {
//!   "description": "The next message goes to the thread that there is.",
//!   "given": "first_run",
//!   "steps": [
//!     {
//!       "request": {"method": "POST", "path": "/sessions/{session}/threads/{session}/runs",
//!                   "json": {"message": "again"}},
//!       "upstream": [
//!         {
//!           "request": {"type": "threads.add_user_message", "params": {
//!             "thread_id": "thr_fea0c3ad",
//!             "input": {"content": [{"type": "input_text", "text": "again"}],
//!                       "attachments": [], "inference_options": {}}}},
//!           "answer": {"events": [{"type":"stream_options","stream_options":{"allow_cancel":true}}],
//!                      "end": "cut"}
//!         }
//!       ],
//!       "expect": {"status": 502, "error": {"code": "UPSTREAM_ERROR"}}
//!     }
//!   ]
//! }
//! ```
//!
//! Beside what a fixture says, every step is checked for this: replies and refusals match their
//! schemas in `schemas/`, what is sent upstream matches the schema of its request type, the
//! request id of a refusal is the one in `X-Request-Id`, and the upstream gets no request that
//! isn't expected.
//!
//! # Example
//! ```no_run
//! use chatkit_rest::contract::{self, Target};
//!
//! # async fn example() -> Result<(), contract::FixtureError> {
//! let report = contract::run_dir("fixtures", &Target::sockets()).await?;
//! assert!(report.is_success(), "{report}");
//! # Ok(())
//! # }
//! ```
//!
//! A stack of one's own, here the rooms with one more layer outside of them:
//! ```
//! use std::path::Path;
//! use std::sync::Arc;
//!
//! use chatkit_rest::contract::{self, Fixture, Target};
//! use chatkit_rest::error::Error;
//! use chatkit_rest::proxy::Rooms;
//! use chatkit_rest::health::HealthLayer;
//! use chatkit_rest::session::MemoryStore;
//! use tower::{ServiceBuilder, util::MapResponseLayer};
//!
//! let target = Target::service(|upstream, config| {
//!     let rooms = Rooms::from_config(config, Arc::new(MemoryStore::new()), HealthLayer::elsewhere())?;
//!     let stack = ServiceBuilder::new().layer(MapResponseLayer::new(|response| response));
//!     Ok::<_, Error>(stack.service(rooms.around(upstream)))
//! });
//! let fixture = Fixture::parse(Path::new("fixtures"), "mine/list", r#"{
//!     "description": "A user without sessions has an empty list.",
//!     "steps": [{
//!         "request": {"method": "GET", "path": "/sessions"},
//!         "expect": {"status": 200, "json": {"success": true, "data": [], "meta": {"total": 0, "has_more": false, "after": null}}}
//!     }]
//! }"#)?;
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let report = contract::run(&[fixture], &target).await;
//! assert_eq!(report.to_string(), "1 passed, 0 failed, 0 skipped");
//! # });
//! # Ok::<(), contract::FixtureError>(())
//! ```
//!
//! # What it does not do
//! It doesn't look at when frames arrive, only at which bytes do and how they end. It speaks
//! HTTP/1.1 without TLS to gateways.

mod check;
mod client;
mod compile;
mod error;
mod fixture;
mod format;
mod load;
mod matcher;
mod reference;
mod report;
mod run;
mod script;
mod settings;
mod socket;
mod target;
mod token;
mod upstream;
mod variables;

pub use client::ClientBody;
pub use error::FixtureError;
pub use fixture::Fixture;
pub use load::{GIVEN, load};
pub use report::{Difference, Outcome, Report, Verdict};
pub use run::{run, run_dir};
pub use target::{InvalidBaseUrl, Target};
pub use upstream::{ScriptedBody, ScriptedUpstream};
