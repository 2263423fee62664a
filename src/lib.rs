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
//!   `chatkit-rest demo` needs no server. The README is its manual.
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
//! 9. to which [`forward`] sends that.
//! 10. On the way back [`stream`] holds a run until its status is known (502, 504), watches it, and
//!     passes it on untouched.
//!
//! Every refusal, from any of them, is one row of [`rejection`]. What one layer has proved is in
//! the type of the body that it hands on ([`Authenticated`](principal::Authenticated),
//! [`Routed`](route::Routed)), and what a caller may do is a value that only [`session`] makes, so a
//! step can't be left out or put in another order by mistake.
//!
//! # Features
//!
//! | feature | what it adds |
//! |---|---|
//! | `authenticate`, `limit`, `route`, `validate`, `session`, `operation`, `stream`, `forward` | that room |
//! | `sqlite` | sessions in a file: [`session::SqliteStore`] |
//! | `embedded` | a ChatKit server in this process: [`embedded`] |
//! | `openai` | a language model that answers there: [`embedded::openai`] |
//! | `tls` | `https://` upstreams, with the platform's certificates |
//! | `config` | settings from a file, the environment and flags: [`config`] |
//! | `server` | all rooms in order, the listener, health and the document: [`proxy`], [`server`], [`health`], [`openapi`] |
//! | `contract` | what `server` has, fixtures and their runner: [`contract`] |
//! | `cli` | the program |
//!
//! `cli` and `tls` are the default. A library user takes `default-features = false` and names
//! rooms; a room brings those that it can't do without. A feature only ever adds API.

#![cfg_attr(docsrs, feature(doc_cfg))]

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

pub mod forward;

#[cfg(feature = "embedded")]
pub mod embedded;

#[cfg(feature = "stream")]
pub mod stream;

// What they all speak of.

pub mod principal;

#[cfg(feature = "validate")]
pub mod protocol;

pub mod rejection;

pub mod surface;

pub mod error;

mod accept;

#[cfg(any(feature = "embedded", feature = "forward", feature = "operation"))]
mod shown;

#[cfg(any(feature = "embedded", feature = "session", feature = "validate"))]
#[cfg_attr(not(feature = "operation"), allow(dead_code, reason = "each room has its own"))]
mod bounds;

#[cfg(feature = "server")]
mod cors;

#[cfg(feature = "stream")]
mod sse;

#[cfg(any(feature = "forward", feature = "stream", feature = "validate"))]
mod media_type;

#[cfg(feature = "config")]
pub mod config;

#[cfg(feature = "contract")]
pub mod contract;
