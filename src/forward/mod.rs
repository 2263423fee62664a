//! The way to the upstream: one request, one answer, byte for byte.
//!
//! [`HttpUpstream`] needs the feature `forward`, and `tls` for `https://`; what a request says of its
//! sender is there with `operation`, too.
//!
//! [`HttpUpstream`] is a [`Service`](tower_service::Service) that sends each request to the one
//! URL of a ChatKit server and hands back the answer with its body still flowing.
//!
//! # What it promises
//!
//! * **Bytes.** The pieces of a body are those the upstream sent, moved and never copied.
//! * **Ends.** An answer that ends cleanly ends cleanly. One that is cut, reset or badly framed
//!   gives all that came before and then a [`ForwardError`]. Whoever stops reading cancels the
//!   upstream's work: dropping the future or the body closes the connection at once.
//! * **No request twice.** A connection that proves dead before a byte of the request was written
//!   is replaced by a new one, and one that can't be made is tried again a little later, within the
//!   time that connecting may take, and as long as such tries are few beside what is asked. Any
//!   other failure is reported and not repeated.
//! * **Bounds.** Connecting, the first byte, silence within a stream, and the whole of an answer
//!   that is not a stream each have a timeout; heads, buffers and idle connections have limits, and
//!   so has, if that is set, what is under way at once.
//! * **Peace.** If that is set, an upstream that fails too often, and not for one user alone, is asked
//!   nothing for a moment, and then tried with one request at a time. What counts is that it can't be
//!   reached or doesn't answer, not what it says in an answer.
//!
//! # How it is done
//!
//! There is no task per connection: the connection is driven from within the poll of the answer's
//! body. A pooled client with a task of its own hands over one chunk at a time between two tasks,
//! so every event becomes a write of its own to the client. Driven in place, all chunks of one
//! read come out in one round and leave in one write, which is several times cheaper when events
//! come in bursts. Idle connections are kept for less time than the usual servers keep theirs,
//! looked at before they are used again, and not used again after a 5xx, because uvicorn closes
//! after an unhandled exception without saying so.
//!
//! # What it doesn't do
//!
//! It sends the header fields it is given, without those that belong to a connection, and with
//! `host` and `accept-encoding: identity` set. Which of a *client's* fields the upstream should
//! see ([`ClientHeaders`]), and the user it should believe in, is [`IdentityHeaders`]' matter; at
//! which address clients reach the gateway is [`PublicAddress`]'. It follows no redirect and looks
//! at no status.
//!
//! Nor does it know anybody: whoever reaches it reaches the ChatKit server, by whatever path and as
//! whomever the request's fields say. What is open to clients is
//! `host::ChatKitRestLayer` or `proxy::Rooms` around it, never the upstream itself.
//!
//! # Example
//!
//! A proxy that forwards everything, from whoever is let into its own loopback address:
//!
//! ```no_run
//! use chatkit_rest::forward::{HttpUpstream, UpstreamUrl};
//! use hyper_util::rt::{TokioExecutor, TokioIo};
//! use hyper_util::server::conn::auto;
//! use hyper_util::service::TowerToHyperService;
//!
//! # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
//! let upstream =
//!     HttpUpstream::builder(UpstreamUrl::parse("http://127.0.0.1:8000/chatkit")?).build()?;
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
//! loop {
//!     let (tcp, _) = listener.accept().await?;
//!     // An error of the service closes the client's connection without an answer; a gateway
//!     // turns it into one first.
//!     let service = TowerToHyperService::new(upstream.clone());
//!     tokio::spawn(async move {
//!         let server = auto::Builder::new(TokioExecutor::new());
//!         server.serve_connection(TokioIo::new(tcp), service).await.ok();
//!     });
//! }
//! # }
//! ```
//!
//! With other limits, and the headers of a verified user:
//!
//! ```
//! use std::time::Duration;
//!
//! use chatkit_rest::forward::{HttpUpstream, IdentityHeaders, UpstreamUrl};
//! use chatkit_rest::principal::UserId;
//! use http::header::{HeaderMap, HeaderName};
//!
//! let upstream = HttpUpstream::builder(UpstreamUrl::parse("http://127.0.0.1:8000/chatkit")?)
//!     .connect_timeout(Duration::from_millis(500))
//!     .idle_timeout(Duration::from_secs(60))
//!     .build()?;
//! let identity = IdentityHeaders::new(HeaderName::from_static("x-user-id"))?;
//!
//! let mut request = http::Request::post("/ignored").body(())?;
//! *request.headers_mut() = identity.outbound(&HeaderMap::new(), &UserId::parse("ada")?);
//! assert_eq!(request.headers()["x-user-id"], "ada");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![cfg_attr(not(feature = "forward"), doc = "\n[`HttpUpstream`]: crate#features")]
#![cfg_attr(
    not(any(feature = "config", feature = "forward", feature = "operation")),
    doc = "\n[`ClientHeaders`]: crate#features\n[`PublicAddress`]: crate#features"
)]
#![cfg_attr(
    not(any(feature = "forward", feature = "operation")),
    doc = "\n[`IdentityHeaders`]: crate#features"
)]

mod error;

#[cfg(feature = "forward")]
mod body;
#[cfg(feature = "forward")]
mod breaker;
#[cfg(feature = "forward")]
mod builder;
#[cfg(any(feature = "config", feature = "forward", feature = "operation"))]
mod client_headers;
#[cfg(feature = "forward")]
mod connect;
#[cfg(feature = "forward")]
mod connection;
#[cfg(any(feature = "forward", feature = "operation"))]
mod doubtful;
#[cfg(feature = "forward")]
mod future;
#[cfg(feature = "forward")]
mod gate;
#[cfg(feature = "forward")]
mod guard;
#[cfg(any(feature = "forward", feature = "stream"))]
mod headers;
#[cfg(any(feature = "forward", feature = "operation"))]
mod identity;
#[cfg(any(feature = "forward", feature = "operation"))]
mod left_out;
#[cfg(any(feature = "config", feature = "forward", feature = "operation"))]
mod names;
#[cfg(feature = "forward")]
mod places;
#[cfg(feature = "forward")]
mod pool;
#[cfg(any(feature = "config", feature = "forward", feature = "operation"))]
mod public;
#[cfg(feature = "forward")]
mod retry;
#[cfg(feature = "forward")]
mod service;
#[cfg(feature = "forward")]
mod timeouts;
#[cfg(feature = "tls")]
mod tls;
#[cfg(feature = "forward")]
mod uri;

#[cfg(feature = "server")]
pub(crate) use error::CertificateFault;
pub use error::{ForwardError, ForwardErrorKind};

#[cfg(feature = "forward")]
pub use body::UpstreamBody;
#[cfg(feature = "forward")]
pub use builder::HttpUpstreamBuilder;
#[cfg(feature = "config")]
pub(crate) use client_headers::DEFAULT as DEFAULT_CLIENT_HEADERS;
#[cfg(any(feature = "config", feature = "forward", feature = "operation"))]
pub use client_headers::{ClientHeaders, InvalidClientHeader};
#[cfg(feature = "operation")]
pub(crate) use doubtful::Doubtful;
#[cfg(feature = "forward")]
pub use future::ResponseFuture;
#[cfg(feature = "stream")]
pub(crate) use headers::is_event_stream;
#[cfg(any(feature = "openai", feature = "operation"))]
pub(crate) use headers::is_json;
#[cfg(feature = "operation")]
pub(crate) use headers::listed;
#[cfg(any(feature = "forward", feature = "operation"))]
pub use identity::{IdentityHeaders, user_value};
#[cfg(feature = "config")]
pub(crate) use names::never_fixed;
#[cfg(feature = "operation")]
pub(crate) use names::{dashed, is_order};
#[cfg(any(feature = "config", feature = "forward", feature = "operation"))]
pub use public::{InvalidPublicUrl, PublicAddress, PublicUrl};
#[cfg(feature = "forward")]
pub use service::HttpUpstream;
#[cfg(feature = "openai")]
pub(crate) use timeouts::after;
#[cfg(all(feature = "server", feature = "tls"))]
pub(crate) use tls::client_config;
#[cfg(feature = "forward")]
pub use uri::{InvalidUpstreamUrl, UpstreamUrl};
