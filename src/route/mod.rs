//! Which operation is asked for.
//!
//! Needs the feature `route`.
//!
//! A [`Router`] is made of an application's operations, each of which says where it is
//! ([`Routable`]); it is a pure function of method and path. [`RouteLayer`] puts it in front of
//! services: a path of ours goes on as `Request<Routed<O, B>>`, any other path reaches the fallback
//! unchanged, and a wrong method is answered with 405 and `Allow`. A handler that doesn't name its
//! request's type finds the operation and the path's ids in the request's extensions, as [`Matched`].
//!
//! Path parameters are percent-decoded one segment at a time, so `%2F` never becomes a
//! separator. Paths are compared exactly: a trailing slash, a doubled slash or another case is
//! another path.
//!
//! What this room does not do: it knows no operation of the gateway's by name; the
//! list of them is given to it.
//!
//! # Order
//! Outside of it are those who decide for every path, and inside those who want to know which
//! operation it is. Layers between it and the handler may make another body of the request's: what
//! is in the extensions stays.
//!
//! # Alone
//! ```
//! use chatkit_rest::route::{Routable, Router};
//! use chatkit_rest::surface::Surfaces;
//! use http::Method;
//!
//! #[derive(Clone, Copy, Debug, PartialEq, Eq)]
//! enum Shop {
//!     Order,
//!     GetOrder,
//! }
//!
//! impl Routable for Shop {
//!     fn method(self) -> Method {
//!         match self {
//!             Self::Order => Method::POST,
//!             Self::GetOrder => Method::GET,
//!         }
//!     }
//!
//!     fn path(self) -> &'static str {
//!         match self {
//!             Self::Order => "/orders",
//!             Self::GetOrder => "/orders/{order_id}",
//!         }
//!     }
//! }
//!
//! let router = Router::new([Shop::Order, Shop::GetOrder], &Surfaces::rest("/shop"))?;
//! let target = router.route(&Method::GET, "/shop/orders/s%2F1").unwrap();
//! assert_eq!(target.operation(), Shop::GetOrder);
//! assert_eq!(target.parameter("order_id"), Some("s/1"));
//! # Ok::<(), chatkit_rest::error::Error>(())
//! ```
//!
//! In front of handlers, here axum's:
//! ```
//! use axum::{Extension, handler::HandlerWithoutStateExt};
//! use chatkit_rest::route::{Matched, Routable, RouteLayer, Router};
//! use chatkit_rest::surface::Surfaces;
//! # use http::{Method, Request};
//! # use http_body_util::{BodyExt, Full};
//! # use tower::{Layer, ServiceExt};
//! #
//! # #[derive(Clone, Copy, Debug, PartialEq, Eq)]
//! # enum Shop {
//! #     GetOrder,
//! # }
//! #
//! # impl Routable for Shop {
//! #     fn method(self) -> Method {
//! #         Method::GET
//! #     }
//! #
//! #     fn path(self) -> &'static str {
//! #         "/orders/{order_id}"
//! #     }
//! # }
//!
//! async fn handler(Extension(matched): Extension<Matched<Shop>>) -> String {
//!     let order = matched.parameter("order_id").unwrap_or_default();
//!     format!("{:?} {order}", matched.operation())
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let router = Router::new([Shop::GetOrder], &Surfaces::rest("/shop"))?;
//! let service = RouteLayer::new(router).layer(handler.into_service());
//! let response = service.oneshot(Request::get("/shop/orders/s%2F1").body(Full::default())?).await?;
//! # let body = response.into_body().collect().await.map_err(|_| "cut")?.to_bytes();
//! # assert_eq!(body, "GetOrder s/1");
//! # Ok(())
//! # }
//! ```

mod layer;
#[cfg(feature = "server")]
mod look_up;
mod matched;
mod overlap;
mod service;
#[cfg(feature = "server")]
mod signpost;
mod surface;
mod table;

pub use layer::RouteLayer;
#[cfg(feature = "server")]
pub(crate) use look_up::{AimLayer, LookUpLayer};
pub use matched::Matched;
#[cfg(any(feature = "config", all(test, feature = "operation")))]
pub(crate) use overlap::{Overlap, setting};
pub use service::{NotFound, ResponseFuture, Route, Routed};
#[cfg(feature = "server")]
pub(crate) use signpost::Signposts;
pub use surface::{SurfaceLayer, SurfaceService};
pub use table::{Miss, Routable, Router, Target};
