//! Which operation is asked for.
//!
//! A [`Router`] is made of an application's operations, each of which says where it is
//! ([`Routable`]); it is a pure function of method and path. [`RouteLayer`] puts it in front of
//! services: a path of ours goes on as `Request<Routed<O, B>>`, any other path reaches the fallback
//! unchanged, and a wrong method is answered with 405 and `Allow`.
//!
//! Path parameters are percent-decoded one segment at a time, so `%2F` never becomes a
//! separator. Paths are compared exactly: a trailing slash, a doubled slash or another case is
//! another path.
//!
//! What this room does not do: it knows no operation of the gateway's by name; the
//! list of them is given to it.
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

mod layer;
#[cfg(feature = "server")]
mod options;
mod overlap;
mod service;
mod surface;
mod table;

pub use layer::RouteLayer;
#[cfg(feature = "server")]
pub(crate) use options::OptionsLayer;
#[cfg(any(feature = "config", all(test, feature = "operation")))]
pub(crate) use overlap::{Overlap, setting};
pub use service::{NotFound, ResponseFuture, Route, Routed};
pub use surface::{SurfaceLayer, SurfaceService};
pub use table::{Miss, Routable, Router, Target};
