//! REST in front of self-hosted ChatKit servers.
//!
//! A server made with the `openai-chatkit` SDK has one `POST` endpoint that takes every kind of
//! request and answers with JSON or with server-sent events. It knows no tokens, no users and no
//! limits, and what it doesn't like is a bare 500. This crate puts in front of it what is missing:
//! verified users who see only what is theirs, sessions as REST resources, limits, requests that
//! are checked and failures with a status and a reason. The events of an answer reach the client
//! byte for byte.
//!
//! # Three ways to use it
//!
//! - **The program**, `chatkit-rest serve`, as a reverse proxy in front of the server.
//!   `chatkit-rest demo` needs no server. The [`manual`] has the rest.
//! - **One layer in your application**: [`host::ChatKitRestLayer`] puts REST in front of your
//!   own ChatKit endpoint and leaves authentication to you (`examples/axum_app.rs`).
//!   [`server::Server`] is the whole program as a value (`examples/reverse_proxy.rs`).
//! - **Single rooms.** [`authenticate`], [`limit`], [`route`], [`validate`], [`operation`] and
//!   [`stream`] are a [`tower_layer::Layer`] each, with a feature and a page of its own
//!   (`examples/authenticate_only.rs`, `examples/validate_only.rs`; `examples/axum_layers.rs` for
//!   axum).
//!
//! # A request's way
//!
//! 1. [`server`] accepts the connection; [`proxy`] is the map of what follows.
//! 2. [`telemetry`] gives the request an id, and writes its log line when the answer has ended.
//! 3. [`authenticate`] makes a token a [`Principal`](principal::Principal), or answers 401; what a
//!    service gave to a user's page in place of a token is [`client_secret`]'s to check.
//! 4. [`limit`] counts what all of them have open (503), and then requests per user (429).
//! 5. [`route`] finds the operation for method and path (404, 405); which [`surface`] it belongs to
//!    was seen before step 2, because that decides how a refusal is written.
//! 6. [`operation`] has a file for each, with its three steps. It parses the request, whose body
//!    [`validate`] reads within bounds and checks (400, 413, 415, 422);
//! 7. is admitted at the desk of [`session`], which looks up who owns what the request names (403,
//!    404, 409, 429);
//! 8. and answers: it asks the server through [`chatkit`],
//! 9. to which [`forward`] sends that, with a [`proof`] that the gateway does if it has a key for it.
//! 10. On the way back [`stream`] holds a run until its status is known (502, 504), watches it, and
//!     passes it on untouched.
//!
//! Every refusal, from any of them, is one row of [`rejection`]. What one layer has proved is in
//! the type of the body that it hands on ([`Authenticated`](principal::Authenticated),
//! [`route::Routed`]), and what a caller may do is a value that only [`session`] makes, so a
//! step can't be left out or put in another order by mistake.
//!
//! # Features
//!
//! | feature | what it adds |
//! |---|---|
//! | `authenticate`, `limit`, `route`, `validate`, `session`, `operation`, `stream`, `forward` | that room |
//! | `postgres` | sessions in a database that several gateways share: [`session::PostgresStore`] |
//! | `sqlite` | sessions in a file: [`session::SqliteStore`] |
//! | `store-contract` | what every session store promises, as tests of one of your own: [`session::contract`] |
//! | `embedded` | a ChatKit server in this process: [`embedded`] |
//! | `openai` | a language model that answers there: [`embedded::openai`] |
//! | `tls` | `https://` upstreams, with the platform's certificates or others; with `server`, `https://` for clients |
//! | `config` | settings from a file, the environment and flags: [`config`] |
//! | `server` | all rooms in order, the listener, health and the document: [`proxy`], [`server`], [`health`], [`openapi`] |
//! | `contract` | what `server` has, fixtures and their runner: [`contract`] |
//! | `cli` | the program |
//!
//! `cli` and `tls` are the default. A library user takes `default-features = false` and names
//! rooms; a room brings those that it can't do without. A feature only ever adds API.
//!
//! # Other crates' types
//! What is here in signatures and is somebody else's can be had from here, in the version that fits:
//! an application needs none of these crates in a `Cargo.toml` of its own.
//! ```
//! use chatkit_rest::bytes::Bytes;
//! use chatkit_rest::rejection::{Code, RefusalStyle, Rejection};
//! use chatkit_rest::{http, http_body_util, serde_json};
//!
//! let request = http::Request::get("/tea").body(())?;
//! let refusal = Rejection::new(Code::Conflict).detail("tea", serde_json::json!({"cups": 2}));
//! let response: http::Response<http_body_util::Full<Bytes>> =
//!     refusal.into_response(&RefusalStyle::of(&request));
//! assert_eq!(response.status(), http::StatusCode::CONFLICT);
//! # Ok::<(), http::Error>(())
//! ```
//! A service, a layer or a body of one's own is made with [`tower_service`], [`tower_layer`] and
//! [`http_body`]; times and zones are [`jiff`]'s, and the settings of TLS `rustls`'s:
//! ```
//! # #[cfg(all(feature = "operation", feature = "tls"))]
//! # fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::Arc;
//!
//! use chatkit_rest::chatkit::ChatKitSettings;
//! use chatkit_rest::forward::{HttpUpstream, UpstreamUrl};
//! use chatkit_rest::jiff::tz::Offset;
//! use chatkit_rest::rustls::{ClientConfig, RootCertStore};
//!
//! let settings = ChatKitSettings::default().with_utc_offset(Offset::constant(2));
//!
//! let mut ours = RootCertStore::empty();
//! # let certificates = Vec::new();
//! ours.add_parsable_certificates(certificates);
//! let tls = ClientConfig::builder().with_root_certificates(ours).with_no_client_auth();
//! let url = UpstreamUrl::parse("https://chatkit.internal/chatkit")?;
//! let upstream = HttpUpstream::builder(url).tls_config(Arc::new(tls)).build()?;
//! # drop((settings, upstream));
//! # Ok(())
//! # }
//! # #[cfg(all(feature = "operation", feature = "tls"))]
//! # example().unwrap();
//! ```

// The map names rooms that this build may not have: there a name leads to what they need.
#![cfg_attr(not(feature = "authenticate"), doc = "\n[`authenticate`]: #features")]
#![cfg_attr(
    not(all(feature = "authenticate", feature = "session")),
    doc = "\n[`client_secret`]: #features"
)]
#![cfg_attr(not(any(feature = "limit", feature = "validate")), doc = "\n[`limit`]: #features")]
#![cfg_attr(not(feature = "route"), doc = "\n[`route`]: #features\n[`route::Routed`]: #features")]
#![cfg_attr(not(feature = "validate"), doc = "\n[`validate`]: #features")]
#![cfg_attr(not(feature = "session"), doc = "\n[`session`]: #features")]
#![cfg_attr(not(feature = "store-contract"), doc = "\n[`session::contract`]: #features")]
#![cfg_attr(not(feature = "postgres"), doc = "\n[`session::PostgresStore`]: #features")]
#![cfg_attr(not(feature = "sqlite"), doc = "\n[`session::SqliteStore`]: #features")]
#![cfg_attr(
    not(feature = "operation"),
    doc = "\n[`chatkit`]: #features\n[`host::ChatKitRestLayer`]: #features\n[`operation`]: #features\n[`proof`]: #features\n[`telemetry`]: #features"
)]
#![cfg_attr(not(feature = "stream"), doc = "\n[`stream`]: #features")]
#![cfg_attr(not(feature = "embedded"), doc = "\n[`embedded`]: #features")]
#![cfg_attr(not(feature = "openai"), doc = "\n[`embedded::openai`]: #features")]
#![cfg_attr(
    not(feature = "server"),
    doc = "\n[`health`]: #features\n[`openapi`]: #features\n[`proxy`]: #features\n[`server`]: #features\n[`server::Server`]: #features"
)]
#![cfg_attr(not(feature = "config"), doc = "\n[`config`]: #features")]
#![cfg_attr(not(feature = "contract"), doc = "\n[`contract`]: #features")]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[doc(no_inline)]
pub use {bytes, http, http_body, http_body_util, jiff, serde_json, tower_layer, tower_service};

#[cfg(feature = "tls")]
#[doc(no_inline)]
pub use tokio_rustls::rustls;

// To be read, so it is there for rustdoc alone.
#[cfg(any(doc, doctest))]
#[cfg_attr(
    not(all(feature = "cli", feature = "store-contract")),
    allow(rustdoc::broken_intra_doc_links, reason = "it tells of rooms that this build lacks")
)]
pub mod manual;

// In the order in which a request meets them.

#[cfg(feature = "server")]
pub mod server;

#[cfg(feature = "server")]
pub mod proxy;

#[cfg(feature = "server")]
pub mod health;

#[cfg(feature = "server")]
pub mod openapi;

#[cfg(feature = "operation")]
pub mod telemetry;

#[cfg(feature = "authenticate")]
pub mod authenticate;

#[cfg(all(feature = "authenticate", feature = "session"))]
pub mod client_secret;

#[cfg(any(feature = "limit", feature = "validate"))]
pub mod limit;

#[cfg(feature = "route")]
pub mod route;

#[cfg(feature = "validate")]
#[cfg_attr(
    not(feature = "operation"),
    allow(dead_code, reason = "some is read by operations alone")
)]
pub mod validate;

#[cfg(feature = "session")]
#[cfg_attr(not(feature = "operation"), allow(dead_code, reason = "some is for the desk alone"))]
pub mod session;

#[cfg(feature = "operation")]
pub mod host;

#[cfg(feature = "operation")]
pub mod operation;

#[cfg(feature = "operation")]
pub mod chatkit;

#[cfg(any(feature = "operation", feature = "postgres", feature = "tls"))]
mod pem;

#[cfg(feature = "operation")]
pub mod proof;

pub mod forward;

#[cfg(feature = "embedded")]
pub mod embedded;

#[cfg(feature = "stream")]
pub mod stream;

// What they all speak of.

pub mod principal;

#[cfg(any(feature = "limit", feature = "session"))]
pub mod allowance;

#[cfg(feature = "validate")]
pub mod protocol;

pub mod rejection;

pub mod surface;

pub mod error;

mod accept;

#[cfg(any(feature = "embedded", feature = "forward", feature = "operation"))]
mod shown;

#[cfg(any(feature = "forward", feature = "operation"))]
mod news;

#[cfg(any(feature = "embedded", feature = "session", feature = "validate"))]
#[cfg_attr(not(feature = "operation"), allow(dead_code, reason = "each room has its own"))]
mod bounds;

#[cfg(feature = "server")]
mod cors;

#[cfg(feature = "stream")]
mod sse;

#[cfg(any(feature = "forward", feature = "stream", feature = "validate"))]
mod media_type;

#[cfg(any(feature = "postgres", feature = "tls"))]
mod certificates;

#[cfg(feature = "config")]
pub mod config;

#[cfg(feature = "contract")]
pub mod contract;
