//! [`Matched`].

use std::sync::Arc;

use super::table::Target;

/// What a request is aimed at, as its extensions tell it: the operation, and the path's parameters.
///
/// [`RouteLayer`](super::RouteLayer) puts it there for handlers that don't name the type of their
/// request's body; for those that do, it is in [`Routed`](super::Routed), too. A request that goes to
/// the fallback has none. Cloning is a reference count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matched<O> {
    target: Arc<Target<O>>,
}

impl<O: Copy> Matched<O> {
    pub(super) fn new(target: Target<O>) -> Self {
        Self { target: Arc::new(target) }
    }

    /// Gives the operation.
    pub fn operation(&self) -> O {
        self.target.operation()
    }

    /// Gives the path's parameter of that name, decoded.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.target.parameter(name)
    }

    /// Gives all of the path's parameters, decoded, in the order of the path.
    pub fn parameters(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.target.parameters()
    }
}
