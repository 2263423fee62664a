//! How much one caller, and all of them together, may ask for.
//!
//! Needs the feature `limit`; all but [`RateLimitLayer`] is with `validate`, too.
//!
//! | limit | what is counted | refusal |
//! | --- | --- | --- |
//! | [`RateLimitLayer`] | requests of one user in a minute | 429 `RATE_LIMITED` with `Retry-After` |
//! | [`InFlightLayer`] | requests and open streams of everyone | 503 `SERVICE_UNAVAILABLE` with `Retry-After` |
//! | [`BufferedBytes`] | bytes that are kept at once, of everyone and of one user | 503 `SERVICE_UNAVAILABLE` and 429 `RATE_LIMITED`, with `Retry-After` |
//! | [`PerUserStreams`] | open streams of one user | whatever the room that asks makes of it |
//!
//! A request is counted by its verified user and by nothing that a client can choose: not by
//! address, not by token. What was let in counts until the last byte of the *body* is out or the
//! client has gone, which for a stream is long after the head: see [`Permitted`].
//!
//! A client that holds the secret of a client session (the OpenAI-compatible API makes those) has
//! that session's own requests a minute in place of its user's. A service that holds a key has no
//! limit of requests: it acts for all users, and only [`InFlightLayer`] bounds it.
//!
//! # What it does not do
//! - It doesn't queue. Who is over a limit is told when to come back, and costs nothing more.
//! - It shares counts of requests with other processes where [`RateLimitLayer`] is told of a store
//!   (`with_shared`), and no others: each replica has its own.
//! - It doesn't limit callers who aren't known yet. Those who are looked up are counted by
//!   *authenticate*; connections and slow heads are the server's.
//! - It doesn't know streams from other answers. Whoever does takes a [`StreamPermit`].
//!
//! # Order
//! [`RateLimitLayer`] comes after *authenticate*, which its bound `B: Identified` sees to. A host
//! with an authentication of its own puts an [`IdentifyLayer`](crate::principal::IdentifyLayer)
//! between the two; so does one that puts its layers around an `axum::Router` one by one, which takes
//! the body's type away in between. In one `tower::ServiceBuilder` it stays, and nothing is needed.
//! [`InFlightLayer`] may be anywhere, but goes after *authenticate* as well: outside of it, those
//! who have no token would take places of those who have. On either side of the rate limit a user
//! over their rate keeps no place that somebody else could have.
//!
//! # Example
//! ```
//! use std::convert::Infallible;
//!
//! use chatkit_rest::limit::{InFlightLayer, RateLimitLayer};
//! use chatkit_rest::principal::{Authenticated, Principal, UserId};
//! use http::{Request, Response, StatusCode};
//! use tower::{Layer, Service, ServiceExt, service_fn};
//!
//! async fn hello(_: Request<Authenticated<()>>) -> Result<Response<String>, Infallible> {
//!     Ok(Response::new("hello".to_owned()))
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let service = InFlightLayer::new(10_000).layer(service_fn(hello));
//! let mut service = RateLimitLayer::per_minute(1).layer(service);
//!
//! let ada = Principal::new(UserId::parse("ada")?);
//! let request = Request::new(Authenticated::new(ada, ()));
//! let first = service.ready().await?.call(request.clone()).await?;
//! assert_eq!(first.status(), StatusCode::OK);
//! assert_eq!(first.headers()["ratelimit-policy"], "\"user\";q=1;w=60");
//! assert_eq!(first.headers()["ratelimit"], "\"user\";r=0;t=60");
//!
//! let second = service.ready().await?.call(request).await?;
//! assert_eq!(second.status(), StatusCode::TOO_MANY_REQUESTS);
//! assert_eq!(second.headers()["retry-after"], "60");
//! # Ok(())
//! # }
//! ```
//!
//! A service that knows its answer is a stream keeps a permit in the body:
//! ```
//! use chatkit_rest::limit::{PerUserStreams, Permitted};
//! use chatkit_rest::principal::UserId;
//!
//! let streams = PerUserStreams::new(1);
//! let ada = UserId::parse("ada")?;
//! let permit = streams.try_acquire(&ada).expect("the first one");
//! let body = Permitted::new(String::from("data: 1\n\n"), permit);
//! assert!(streams.try_acquire(&ada).is_none());
//! drop(body);
//! assert!(streams.try_acquire(&ada).is_some());
//! # Ok::<(), chatkit_rest::principal::InvalidUserId>(())
//! ```

#![cfg_attr(not(feature = "limit"), doc = "\n[`RateLimitLayer`]: crate#features")]

mod body;
#[cfg(feature = "limit")]
mod bucket;
mod in_flight;
mod memory;
#[cfg(feature = "limit")]
mod rate;
#[cfg(feature = "limit")]
mod shared;
mod streams;

pub use body::Permitted;
pub use in_flight::{InFlight, InFlightFuture, InFlightLayer, InFlightPermit};
pub use memory::{BufferPermit, BufferedBytes};
#[cfg(feature = "limit")]
pub use rate::{MAX_USERS, RateLimit, RateLimitFuture, RateLimitLayer};
pub use streams::{PerUserStreams, StreamPermit};
