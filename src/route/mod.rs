//! Which operation is asked for.
//!
//! One [table](Operation::ALL) of operations drives the router, the schemas, the fixtures and
//! the tests. [`Router`] is a pure function of method and path; [`RouteLayer`] puts it in front
//! of services: a path of ours goes on as `Request<Routed<B>>`, any other path reaches the
//! fallback unchanged, and a wrong method is answered with 405 and `Allow`.
//!
//! Path parameters are percent-decoded one segment at a time, so `%2F` never becomes a
//! separator. Paths are compared exactly: a trailing slash, a doubled slash or another case is
//! another path.
//!
//! ```
//! use chatkit_rest::route::{Operation, Router};
//! use chatkit_rest::surface::Surfaces;
//! use http::Method;
//!
//! let router = Router::new(Operation::ALL, &Surfaces::rest("/api/v1/chatkit"))?;
//! let target = router.route(&Method::GET, "/api/v1/chatkit/sessions/s%2F1").unwrap();
//! assert_eq!(target.operation(), Operation::GetSession);
//! assert_eq!(target.parameter("session_id"), Some("s/1"));
//! # Ok::<(), chatkit_rest::error::Error>(())
//! ```

mod layer;
mod operation;
#[cfg(feature = "server")]
mod options;
mod overlap;
mod service;
mod surface;
mod table;

pub use layer::RouteLayer;
pub use operation::Operation;
#[cfg(feature = "server")]
pub(crate) use options::OptionsLayer;
#[cfg(feature = "config")]
pub(crate) use overlap::{Overlap, setting};
pub use service::{NotFound, ResponseFuture, Route, Routed};
pub use surface::{SurfaceLayer, SurfaceService};
pub use table::{Miss, Routable, Router, Target};
