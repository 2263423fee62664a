//! The faces that the gateway has: REST, one-shot chat, and the OpenAI-compatible API.
//!
//! Which one a request came to is known from its path alone, before anybody is asked who sent it,
//! because it decides how a refusal is written and whose credentials count.
//!
//! ```
//! use chatkit_rest::surface::{Surface, Surfaces};
//!
//! let surfaces = Surfaces::rest("/api/v1/chatkit").with_chat("/api").with_openai("/v1/chatkit");
//! assert_eq!(surfaces.of_path("/api/v1/chatkit/sessions"), Surface::Rest);
//! assert_eq!(surfaces.of_path("/api/chat"), Surface::Chat);
//! assert_eq!(surfaces.of_path("/v1/chatkit/threads"), Surface::OpenAi);
//! // What belongs to none of them is refused as REST refuses.
//! assert_eq!(surfaces.of_path("/"), Surface::Rest);
//! ```

use http::{Extensions, StatusCode};

/// One of the API's faces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Surface {
    /// Sessions, threads, runs and items, and ChatKit's own requests.
    #[default]
    Rest,
    /// One question, one answer.
    Chat,
    /// What the official `openai` clients call under `client.beta.chatkit`.
    OpenAi,
}

impl Surface {
    /// Gives the surface that a request came to, if its layer has said so; else REST.
    pub fn of_extensions(extensions: &Extensions) -> Self {
        extensions.get().copied().unwrap_or_default()
    }
}

/// What one-shot chat answers to a message that is empty or too long, and to whatever else is JSON
/// and not what is expected. What isn't JSON is 400 with either.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidStatus {
    /// 400.
    BadRequest,
    /// 422, as `FastAPI` answers.
    #[default]
    UnprocessableEntity,
}

impl InvalidStatus {
    /// Gives the one that a request's refusals have, if its layer has said so; else the default.
    pub fn of_extensions(extensions: &Extensions) -> Self {
        extensions.get().copied().unwrap_or_default()
    }

    /// Gives the status itself.
    pub fn status(self) -> StatusCode {
        match self {
            Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::UnprocessableEntity => StatusCode::UNPROCESSABLE_ENTITY,
        }
    }
}

/// What one-shot chat says for an assistant that acted and said nothing, unless something else is
/// set.
pub const ACTED: &str = "The assistant acted without a message.";

/// The path below which each surface is, and what else differs by surface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surfaces {
    rest: String,
    chat: Option<String>,
    openai: Option<String>,
    invalid: InvalidStatus,
}

impl Surfaces {
    /// Serves REST below `prefix`, and nothing else.
    pub fn rest(prefix: impl Into<String>) -> Self {
        Self { rest: prefix.into(), chat: None, openai: None, invalid: InvalidStatus::default() }
    }

    /// Serves one-shot chat as well, below `prefix`.
    #[must_use]
    pub fn with_chat(self, prefix: impl Into<String>) -> Self {
        Self { chat: Some(prefix.into()), ..self }
    }

    /// Serves the OpenAI-compatible API as well, below `prefix`.
    #[must_use]
    pub fn with_openai(self, prefix: impl Into<String>) -> Self {
        Self { openai: Some(prefix.into()), ..self }
    }

    /// Says how one-shot chat refuses what it doesn't expect.
    #[must_use]
    pub fn with_invalid_status(self, invalid: InvalidStatus) -> Self {
        Self { invalid, ..self }
    }

    /// Tells how one-shot chat refuses what it doesn't expect.
    pub fn invalid_status(&self) -> InvalidStatus {
        self.invalid
    }

    /// Gives the path below which a surface is, if it is served.
    pub fn prefix(&self, surface: Surface) -> Option<&str> {
        match surface {
            Surface::Rest => Some(&self.rest),
            Surface::Chat => self.chat.as_deref(),
            Surface::OpenAi => self.openai.as_deref(),
        }
    }

    /// Gives the surface that a path is on: the one with the longest prefix of it.
    pub fn of_path(&self, path: &str) -> Surface {
        self.serving(path).unwrap_or(Surface::Rest)
    }

    /// Gives the same, and nothing for a path that is on none.
    pub(crate) fn serving(&self, path: &str) -> Option<Surface> {
        [Surface::OpenAi, Surface::Chat, Surface::Rest]
            .into_iter()
            .filter_map(|surface| Some((surface, self.prefix(surface)?)))
            .filter(|(_, prefix)| {
                path.strip_prefix(prefix)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            })
            .max_by_key(|(_, prefix)| prefix.len())
            .map(|(surface, _)| surface)
    }

    /// Marks a request as one that came to `surface`, for whoever refuses it further in. What is
    /// the default needs no saying, and no allocation.
    #[cfg(feature = "route")]
    pub(crate) fn mark(&self, surface: Surface, extensions: &mut Extensions) {
        if surface != Surface::default() {
            extensions.insert(surface);
        }
        if surface == Surface::Chat && self.invalid != InvalidStatus::default() {
            extensions.insert(self.invalid);
        }
    }
}
