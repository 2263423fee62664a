//! Whether every path belongs to one surface.

use super::table::Routable;
use crate::surface::{Surface, Surfaces};

/// Two surfaces that would both have a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Overlap<O> {
    /// The surface that a request for the path is taken to have come to.
    pub(crate) inner: Surface,
    /// The surface whose operation the path is.
    pub(crate) outer: Surface,
    /// That operation.
    pub(crate) operation: O,
}

impl<O: Routable> Overlap<O> {
    /// Lists every two surfaces that overlap, each pair once.
    ///
    /// [`Surfaces::of_path`] goes by the longest prefix. That is the surface of the operation
    /// that the router finds, unless another surface's prefix is at least as long and an
    /// operation's path leads through it. Where only a parameter could lead there, as
    /// `/api/{user_id}/chat` could to `/api/v1`, the prefix has the path and the operation is
    /// without that one id: the router sees to it.
    pub(crate) fn all(operations: &[O], surfaces: &Surfaces) -> Vec<Self> {
        let mut found: Vec<Self> = Vec::new();
        for &operation in operations {
            let outer = operation.surface();
            let Some(prefix) = surfaces.prefix(outer) else { continue };
            let template = format!("{prefix}{}", operation.path());
            for inner in [Surface::Rest, Surface::Chat, Surface::OpenAi] {
                let known = |it: &Self| {
                    (it.inner, it.outer) == (inner, outer) || (it.inner, it.outer) == (outer, inner)
                };
                if inner != outer
                    && let Some(other) = surfaces.prefix(inner)
                    && other.len() >= prefix.len()
                    && leads_through(&template, other)
                    && !found.iter().any(known)
                {
                    found.push(Self { inner, outer, operation });
                }
            }
        }
        found
    }
}

/// Tells whether an id in an operation's path may make it another surface's.
pub(super) fn by_an_id<O: Routable>(operations: &[O], surfaces: &Surfaces) -> bool {
    operations.iter().any(|operation| {
        let outer = operation.surface();
        let Some(prefix) = surfaces.prefix(outer) else { return false };
        let template = format!("{prefix}{}", operation.path());
        [Surface::Rest, Surface::Chat, Surface::OpenAi].into_iter().any(|inner| {
            let other = surfaces.prefix(inner).filter(|other| other.len() >= prefix.len());
            inner != outer && other.is_some_and(|other| may_lead_through(&template, other))
        })
    })
}

/// Tells whether some path of this template is `prefix` or below it.
fn may_lead_through(template: &str, prefix: &str) -> bool {
    let mut segments = template.split('/');
    prefix
        .split('/')
        .all(|wanted| segments.next().is_some_and(|it| it == wanted || it.starts_with('{')))
}

/// Tells whether every path of this template is `prefix` or below it.
fn leads_through(template: &str, prefix: &str) -> bool {
    let mut segments = template.split('/');
    prefix.split('/').all(|wanted| segments.next() == Some(wanted))
}

/// Gives the setting that says where a surface is.
pub(crate) fn setting(surface: Surface) -> &'static str {
    match surface {
        Surface::Rest => "rest.prefix",
        Surface::Chat => "chat.path",
        Surface::OpenAi => "openai.path",
    }
}
