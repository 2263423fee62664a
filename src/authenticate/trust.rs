//! [`Trust`]: callers who are believed.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{Digest, SHA256, digest};
use percent_encoding::percent_decode_str;

use super::challenge::Fault;
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
    path: Option<(Box<str>, Box<str>)>,
    /// A digest, so that the time of a comparison tells nothing, the length included.
    secret: Option<Digest>,
    any_page: bool,
}

impl Trust {
    /// Takes every caller for `user`.
    pub fn everyone_is(user: UserId) -> Self {
        Self { everyone: Principal::new(user), path: None, secret: None, any_page: false }
    }

    /// On paths of one segment between `before` and `after`, takes the caller for the user that
    /// this segment names, percent-decoded. A segment that can't be a [`UserId`] names nobody.
    #[must_use]
    pub fn user_of_path(self, before: &str, after: &str) -> Self {
        Self { path: Some((before.into(), after.into())), ..self }
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

    /// The caller, on that path. `token` is asked only where one is needed.
    pub(super) fn identify<'t>(
        &self,
        path: &str,
        token: impl FnOnce() -> Result<&'t str, Fault>,
    ) -> Result<Principal, Fault> {
        if let Some(secret) = &self.secret {
            let shown = digest(&SHA256, token()?.as_bytes());
            verify_slices_are_equal(shown.as_ref(), secret.as_ref())
                .map_err(|_| Fault::WrongSecret)?;
        }
        Ok(self.named_by(path).map_or_else(|| self.everyone.clone(), Principal::new))
    }

    fn named_by(&self, path: &str) -> Option<UserId> {
        let (before, after) = self.path.as_ref()?;
        let segment = path.strip_prefix(&**before)?.strip_suffix(&**after)?;
        if segment.contains('/') {
            return None;
        }
        UserId::parse(&percent_decode_str(segment).decode_utf8().ok()?).ok()
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust")
            .field("everyone", &self.everyone)
            .field("path", &self.path)
            .field("needs_secret", &self.secret.is_some())
            .field("any_page", &self.any_page)
            .finish()
    }
}
