//! Where the nearest is that is there, for who is at a path that is none.

use crate::surface::{Surface, Surfaces};

/// The service's own paths, which are below no prefix.
const SERVICE: [&str; 4] = ["/docs", "/healthz", "/openapi.json", "/readyz"];

/// What is not looked into further: no path of ours has so much.
const MAX_PATH_BYTES: usize = 1024;
const MAX_SEGMENTS: usize = 16;

/// What the official clients put behind their base URL themselves.
const OPENAI_CLIENTS_PATH: &str = "/chatkit";

/// Knows what is served where. What it says is made of the configuration and never of what was asked
/// for.
#[derive(Clone, Debug)]
pub(crate) struct Signposts {
    surfaces: Surfaces,
    /// Whether health and the document are on another listener.
    service_is_elsewhere: bool,
}

impl Signposts {
    pub(crate) fn new(surfaces: Surfaces, service_is_elsewhere: bool) -> Self {
        Self { surfaces, service_is_elsewhere }
    }

    /// Gives the surface as whose client somebody at `path` is answered: beside `/v1/chatkit`, below
    /// `/v1`, are clients of OpenAI's.
    pub(super) fn surface(&self, path: &str) -> Surface {
        let surface = self.surfaces.of_path(path);
        let on_rest = self.surfaces.prefix(Surface::Rest).is_some_and(|it| is_below(path, it));
        if surface == Surface::Rest && !on_rest && self.is_beside_openai(path) {
            return Surface::OpenAi;
        }
        surface
    }

    fn is_beside_openai(&self, path: &str) -> bool {
        let parent = self.surfaces.prefix(Surface::OpenAi).and_then(|it| it.rsplit_once('/'));
        parent.is_some_and(|(parent, _)| !parent.is_empty() && is_below(path, parent))
    }

    /// Tells somebody at `path`, which is none, what they may have meant. `has` knows the others.
    pub(super) fn message(&self, path: &str, has: impl Fn(&str) -> bool) -> String {
        let nearest = self.nearest(path, has);
        format!("There is nothing at this path. {}", nearest.unwrap_or_else(|| self.all()))
    }

    fn nearest(&self, path: &str, has: impl Fn(&str) -> bool) -> Option<String> {
        if path.len() > MAX_PATH_BYTES {
            return None;
        }
        let segments: Vec<&str> = path.split('/').filter(|it| !it.is_empty()).collect();
        if segments.len() > MAX_SEGMENTS {
            return None;
        }
        let clean = format!("/{}", segments.join("/"));
        if let Some(name) = SERVICE.iter().find(|name| clean.ends_with(**name)) {
            return Some(if self.service_is_elsewhere {
                "Health and the document are on another listener than this (admin.listen).".into()
            } else {
                format!("This is at {name}, below no prefix and without a slash at its end.")
            });
        }
        if clean != path && has(&clean) {
            return Some("Paths have no slash at their end here, and never two in a row.".into());
        }
        // Those of the surface that they are at, or look to be at, go first.
        let here = self.surface(path);
        let mut order = [Surface::Rest, Surface::Chat, Surface::OpenAi];
        order.sort_by_key(|surface| *surface != here);
        for skipped in 0..segments.len() {
            let rest = segments.get(skipped..).unwrap_or_default().join("/");
            for surface in order {
                let Some(prefix) = self.surfaces.prefix(surface) else { continue };
                let candidate = format!("{prefix}/{rest}");
                if candidate != path
                    && has(&candidate)
                    && self.surfaces.of_path(&candidate) == surface
                {
                    return self.about(surface);
                }
            }
        }
        // As the endpoint of a ChatKit server is called.
        let rest = self.surfaces.prefix(Surface::Rest).and_then(|it| it.rsplit('/').next());
        let is_endpoint = segments.last().copied().is_some_and(|last| Some(last) == rest);
        match here {
            Surface::Rest | Surface::Chat if is_endpoint => self.about(Surface::Rest),
            Surface::OpenAi if self.is_beside_openai(path) => self.about(Surface::OpenAi),
            Surface::Rest | Surface::Chat | Surface::OpenAi => None,
        }
    }

    fn about(&self, surface: Surface) -> Option<String> {
        let prefix = self.surfaces.prefix(surface)?;
        Some(match surface {
            Surface::Rest => format!(
                "The REST API is below {prefix}, and ChatKit's own requests are sent to {prefix} itself."
            ),
            Surface::Chat => format!("One-shot chat is below {prefix}."),
            Surface::OpenAi => match prefix.strip_suffix(OPENAI_CLIENTS_PATH) {
                Some("") => format!(
                    "For OpenAI's clients the base URL has no path, and of their API there is what is \
                     below {prefix}."
                ),
                Some(base) => format!(
                    "For OpenAI's clients the base URL ends with {base}, and of their API there is what \
                     is below {prefix}."
                ),
                None => format!("Of OpenAI's API there is what is below {prefix}."),
            },
        })
    }

    fn all(&self) -> String {
        let below = |surface, name: &str| {
            self.surfaces.prefix(surface).map(|prefix| format!("{name} below {prefix}"))
        };
        let served: Vec<_> = [
            below(Surface::Rest, "REST"),
            below(Surface::Chat, "one-shot chat"),
            below(Surface::OpenAi, "what OpenAI's clients ask for"),
        ]
        .into_iter()
        .flatten()
        .collect();
        let list = if self.service_is_elsewhere { "" } else { " /openapi.json has every path." };
        format!("Served are {}.{list}", served.join(", "))
    }
}

fn is_below(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::Name;
    use crate::route::Router;

    fn surfaces() -> Surfaces {
        Surfaces::rest("/api/v1/chatkit").with_chat("/api").with_openai("/v1/chatkit")
    }

    #[test]
    fn who_is_at_no_path_is_told_the_right_base() {
        const REST: &str = "The REST API is below /api/v1/chatkit, and";
        const CHAT: &str = "One-shot chat is below /api.";
        const OPENAI: &str = "the base URL ends with /v1, and";
        const SLASH: &str = "no slash at their end";
        const ALL: &str = "Served are REST below /api/v1/chatkit, one-shot chat below /api, what";
        let router = Router::new(Name::ALL, &surfaces()).unwrap();
        let signposts = Signposts::new(surfaces(), false);
        let long = format!("/{}/sessions", "a/".repeat(600));
        for (path, said, surface) in [
            ("/chatkit", REST, Surface::Rest),
            ("/api/chatkit", REST, Surface::Chat),
            ("/sessions", REST, Surface::Rest),
            ("/chatkit/sessions", REST, Surface::Rest),
            ("/api/chatkit/sessions/s/threads/t/runs", REST, Surface::Chat),
            ("/api/v1/sessions", REST, Surface::Chat),
            ("/api/v1/chatkit/api/v1/chatkit/sessions", REST, Surface::Rest),
            ("/api/v1/chatkit/sessions/", SLASH, Surface::Rest),
            ("//api/v1//chatkit/sessions", SLASH, Surface::Rest),
            ("/api/v1/chatkit/", SLASH, Surface::Rest),
            ("/api/chat/", SLASH, Surface::Chat),
            ("/v1/chatkit/threads/", SLASH, Surface::OpenAi),
            ("/chat", CHAT, Surface::Rest),
            ("/api/v1/chatkit/chat", CHAT, Surface::Rest),
            ("/v1", OPENAI, Surface::OpenAi),
            ("/v1/sessions", OPENAI, Surface::OpenAi),
            ("/v1/threads/t/items", OPENAI, Surface::OpenAi),
            ("/v1/models", OPENAI, Surface::OpenAi),
            ("/v1/chat/completions", OPENAI, Surface::OpenAi),
            ("/v1/v1/chatkit/sessions", OPENAI, Surface::OpenAi),
            ("/v1/chatkit/v1/chatkit/sessions", OPENAI, Surface::OpenAi),
            ("/api/v1/chatkit/docs", "This is at /docs, below no prefix", Surface::Rest),
            ("/healthz/", "This is at /healthz, below no prefix", Surface::Rest),
            ("/wp-login.php", ALL, Surface::Rest),
            ("/api/v1/chatkit/nothing", ALL, Surface::Rest),
            ("/v1beta/x", ALL, Surface::Rest),
            (&long, ALL, Surface::Rest),
        ] {
            assert!(!router.has(path), "{path}");
            let message = signposts.message(path, |path| router.has(path));
            assert!(message.contains(said), "{path}: {message}");
            assert_eq!(signposts.surface(path), surface, "{path}");
        }
    }

    #[test]
    fn what_is_not_served_is_not_pointed_to() {
        let surfaces = Surfaces::rest("/v1/chat");
        let router = Router::new(Name::ALL, &surfaces).unwrap();
        let signposts = Signposts::new(surfaces, true);
        for (path, said) in [
            ("/v1/models", "Served are REST below /v1/chat."),
            ("/api/v1/chatkit/sessions", "The REST API is below /v1/chat,"),
            ("/docs", "on another listener than this (admin.listen)."),
        ] {
            let message = signposts.message(path, |path| router.has(path));
            assert!(message.contains(said), "{path}: {message}");
            assert!(!message.contains("OpenAI") && !message.contains("openapi.json"), "{message}");
            assert_eq!(signposts.surface(path), Surface::Rest, "{path}");
        }
        let own = Surfaces::rest("/r").with_openai("/chatkit");
        let router = Router::new(Name::ALL, &own).unwrap();
        let message = Signposts::new(own, false).message("/v1/threads/x", |it| router.has(it));
        assert!(message.contains("the base URL has no path"), "{message}");
    }
}
