//! What is known of an operation before anybody asks for it.

use http::Method;

use crate::rejection::Code;
use crate::surface::Surface;
pub(crate) use crate::validate::negotiate::{Gives, Takes};

/// One row of the API's tables, and what the document says of it that its schemas don't.
#[derive(Debug)]
#[cfg_attr(not(feature = "server"), allow(dead_code, reason = "the document has the words"))]
pub(crate) struct Row {
    /// The name that threads through schemas, fixtures, logs, tests and the document.
    pub(crate) name: &'static str,
    pub(crate) surface: Surface,
    pub(crate) method: Method,
    /// Below the surface's prefix.
    pub(crate) path: &'static str,
    pub(crate) takes: Takes,
    pub(crate) gives: Gives,
    /// Whether the upstream may be asked.
    pub(crate) asks_upstream: bool,
    /// Whether it names things that may be somebody else's.
    pub(crate) may_be_foreign: bool,
    /// The refusals that are its own: those that come with its body, its path, its answer or its
    /// place in the gateway are added to them.
    pub(crate) refuses: &'static [Code],
    /// The group in which the document shows it.
    pub(crate) tag: &'static str,
    /// One line, without a full stop.
    pub(crate) summary: &'static str,
    /// A paragraph or two, in CommonMark.
    pub(crate) description: &'static str,
    /// What its reply has that others need: the parameter's name, and the JSON Pointer of its value
    /// in the reply.
    pub(crate) links: &'static [(&'static str, &'static str)],
}
