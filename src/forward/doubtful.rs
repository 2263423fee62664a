//! Requests whose failure says nothing.

/// Among a request's extensions: an upstream in good health may fail at it, so that its 500 is no sign
/// of anything.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Doubtful;
