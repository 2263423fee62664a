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

#[cfg(all(test, feature = "operation"))]
mod tests {
    use proptest::prelude::*;

    use super::super::{Miss, Router};
    use super::*;
    use crate::operation::Name as Operation;

    fn surfaces(rest: &str, chat: &str, openai: &str) -> Surfaces {
        Surfaces::rest(rest).with_chat(chat).with_openai(openai)
    }

    #[test]
    fn paths_that_meet_are_refused_by_the_names_of_both_settings() {
        use Surface::{Chat, OpenAi, Rest};
        for (rest, chat, openai, met) in [
            ("/v1", "/api", "/v1/sessions", [OpenAi, Rest]),
            ("/rest", "/api", "/api/chat", [OpenAi, Chat]),
            ("/v1/threads", "/api", "/v1", [Rest, OpenAi]),
            ("/a", "/a", "/v1", [Chat, Rest]),
            ("", "/sessions", "/v1", [Chat, Rest]),
            ("", "", "/v1/chatkit", [Chat, Rest]),
            ("/api/conversations", "/api", "/v1", [Rest, Chat]),
        ] {
            let surfaces = surfaces(rest, chat, openai);
            let [overlap] = Overlap::all(&Operation::ALL, &surfaces)[..] else {
                panic!("{surfaces:?}")
            };
            assert_eq!([overlap.inner, overlap.outer], met, "{surfaces:?}");
            let error = Router::new(Operation::ALL, &surfaces).unwrap_err();
            assert!(error.is_config());
            for surface in met {
                assert!(error.to_string().contains(setting(surface)), "{error}");
            }
        }
    }

    #[test]
    fn paths_that_cannot_meet_may_be_below_one_another() {
        for (rest, chat, openai) in [
            ("/api/v1/chatkit", "/api", "/v1/chatkit"),
            ("/api/v1/chatkit", "/api", "/api/v1/chatkit/openai"),
            ("", "/api", "/v1/chatkit"),
            ("/api/v1/chatkit", "", "/v1/chatkit"),
            ("/api", "/api/one", "/api/v1"),
            ("/v1x", "/v1", "/openai/v1"),
            // Only by one id.
            ("/api/v1", "/api", "/v1/chatkit"),
            ("/api/v1/chat", "/api", "/openai"),
            ("/rest", "/v1", "/v1/chatkit"),
            ("/v1", "/api", "/v1/attachments/x"),
            ("/v1", "/api", "/v1/sessions/s/threads/t/runs"),
            ("/a", "", "/v1/chatkit"),
            ("/rest", "/api", "/api/a/conversations"),
        ] {
            let surfaces = surfaces(rest, chat, openai);
            assert_eq!(Overlap::all(&Operation::ALL, &surfaces), [], "{surfaces:?}");
            assert!(Router::new(Operation::ALL, &surfaces).is_ok(), "{surfaces:?}");
        }
    }

    /// Makes one of a few names, so that paths often meet, among them those of the operations.
    fn segment() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec![
            "a",
            "v1",
            "chat",
            "conversations",
            "sessions",
            "threads",
            "items",
            "s",
        ])
    }

    fn prefix() -> impl Strategy<Value = String> {
        prop::collection::vec(segment(), 0..5)
            .prop_map(|names| names.into_iter().flat_map(|name| ["/", name]).collect())
    }

    proptest! {
        #[test]
        fn what_is_accepted_is_known_by_its_path(
            prefixes in (prefix(), prefix(), prefix()),
            ids in prop::collection::vec(segment(), 8),
        ) {
            let surfaces = surfaces(&prefixes.0, &prefixes.1, &prefixes.2);
            let Ok(router) = Router::new(Operation::ALL, &surfaces) else { return Ok(()) };
            for operation in Operation::ALL {
                let (method, template) = (operation.method(), operation.path());
                let mut ids = ids.iter();
                let below = template.split('/').map(|name| {
                    if name.starts_with('{') { *ids.next().unwrap() } else { name }
                });
                let below = below.collect::<Vec<_>>().join("/");
                let path = format!("{}{below}", surfaces.prefix(operation.surface()).unwrap());
                let path = if path.is_empty() { "/" } else { &path };
                // Another operation may be nearer: `/chat` and `/{user_id}/chat`. An id may be
                // another surface's prefix, which then has the path.
                match router.route(&method, path) {
                    Ok(target) => {
                        let found = target.operation().surface();
                        prop_assert_eq!(surfaces.of_path(path), found, "{}", path);
                    }
                    // It may be the path of a user who is called `conversations`, too.
                    Err(Miss::Method(_)) if path.ends_with("/conversations/chat") => {}
                    Err(_) => {
                        prop_assert_ne!(surfaces.of_path(path), operation.surface(), "{}", path);
                    }
                }
            }
        }
    }
}
