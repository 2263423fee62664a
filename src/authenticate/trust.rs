//! [`Trust`]: callers who are believed.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{Digest, SHA256, digest};
use percent_encoding::percent_decode_str;

use super::challenge::Unauthenticated;
use crate::principal::{Principal, UserId};

/// Whom to believe, and of whom, where callers have no tokens of their own.
///
/// For a gateway that only a program of yours can reach, which knows its users itself.
///
/// # Danger
/// Without a [`shared_secret`](Self::shared_secret), whoever can connect is let in: listen on a
/// loopback address. Web pages can connect, too, so a request is refused (403) whose `Host` is
/// neither a loopback address nor `localhost`, and so is one that may change something with an
/// `Origin` that is neither, nor one of the layer's
/// [`allowed_origins`](super::AuthenticateLayer::allowed_origins).
///
/// With a secret, whoever has it is let in. Whoever is let in is *every* user where
/// paths are [believed](Self::user_of_path): it reads and goes on with anybody's conversations.
#[derive(Clone)]
pub struct Trust {
    everyone: Principal,
    /// Templates, each with a segment `{user_id}`.
    paths: Vec<Box<str>>,
    /// A digest, so that the time of a comparison tells nothing, the length included.
    secret: Option<Digest>,
    any_page: bool,
}

impl Trust {
    /// Takes every caller for `user`.
    pub fn everyone_is(user: UserId) -> Self {
        Self { everyone: Principal::new(user), paths: Vec::new(), secret: None, any_page: false }
    }

    /// Takes the caller, on paths such as this one, `/api/{user_id}/chat`, for the user whom the
    /// segment in place of `{user_id}` names, percent-decoded. In place of any other name in braces
    /// stands any segment. A segment that can't be a [`UserId`] names nobody.
    ///
    /// To be called once for each kind of path.
    #[must_use]
    pub fn user_of_path(mut self, template: &str) -> Self {
        self.paths.push(template.into());
        self
    }

    /// Lets only those in whose bearer token is `secret`. It must be one that a header can carry:
    /// letters, digits and `-._~+/` (RFC 6750 section 2.1). At least 32 random bytes, please.
    #[must_use]
    pub fn shared_secret(self, secret: &str) -> Self {
        Self { secret: Some(digest(&SHA256, secret.as_bytes())), ..self }
    }

    /// Lets pages of any origin do what whoever can connect may do.
    #[must_use]
    pub fn danger_any_page(self) -> Self {
        Self { any_page: true, ..self }
    }

    pub(super) fn asks_for_secret(&self) -> bool {
        self.secret.is_some()
    }

    pub(super) fn believes_any_page(&self) -> bool {
        self.any_page
    }

    /// Gives the caller, on that path. `token` is asked only where one is needed.
    pub(super) fn identify<'t>(
        &self,
        path: &str,
        token: impl FnOnce() -> Result<&'t str, Unauthenticated>,
    ) -> Result<Principal, Unauthenticated> {
        if let Some(secret) = &self.secret {
            let shown = digest(&SHA256, token()?.as_bytes());
            verify_slices_are_equal(shown.as_ref(), secret.as_ref())
                .map_err(|_| Unauthenticated::WrongSecret)?;
        }
        Ok(self.named_by(path).map_or_else(|| self.everyone.clone(), Principal::new))
    }

    fn named_by(&self, path: &str) -> Option<UserId> {
        let segment = self.paths.iter().find_map(|template| user_segment(template, path))?;
        UserId::parse(&percent_decode_str(segment).decode_utf8().ok()?).ok()
    }
}

/// Gives what stands in a path in place of `{user_id}`, if the path is one of the template's.
fn user_segment<'p>(template: &str, path: &'p str) -> Option<&'p str> {
    let (mut expected, mut segments) = (template.split('/'), path.split('/'));
    let mut user = None;
    loop {
        match (expected.next(), segments.next()) {
            (None, None) => return user,
            (Some("{user_id}"), Some(segment)) => user = Some(segment),
            (Some(expected), Some(segment)) if expected.starts_with('{') || expected == segment => {
            }
            _ => return None,
        }
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust")
            .field("everyone", &self.everyone)
            .field("paths", &self.paths)
            .field("needs_secret", &self.secret.is_some())
            .field("any_page", &self.any_page)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_its_user_in_one_place() {
        let trust = Trust::everyone_is(UserId::parse("everyone").unwrap())
            .user_of_path("/api/{user_id}/chat")
            .user_of_path("/api/{user_id}/conversations")
            .user_of_path("/api/{user_id}/conversations/{conversation_id}");
        for (path, user) in [
            ("/api/ada/chat", Some("ada")),
            ("/api/a%2Fb/conversations", Some("a/b")),
            ("/api/ada/conversations/17", Some("ada")),
            ("/api/conversations/conversations", Some("conversations")),
            ("/api/conversations/chat", Some("conversations")),
            ("/api/conversations", None),
            ("/api/conversations/17", None),
            ("/api/ada/conversations/17/x", None),
            ("/api/ada/conversations/", Some("ada")),
            ("/api/ada/other", None),
            ("/api//chat", None),
            ("/api/%00/chat", None),
            ("/api/a/b/chat", None),
            ("/apix/ada/chat", None),
        ] {
            let named = trust.named_by(path);
            assert_eq!(named.as_ref().map(UserId::as_str), user, "{path}");
        }
    }
}
