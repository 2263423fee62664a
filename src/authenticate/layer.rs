//! [`AuthenticateLayer`].

use std::sync::Arc;

use tower_layer::Layer;

use super::issuers::Trusted;
use super::secret::{ClientSecrets, ServiceKeys};
use super::token::TokenSource;
use super::waiting::LookupPlaces;
use super::{
    Authenticate, Issuers, KeysUnavailable, OptionalAuthenticateLayer, ProtectedResource, Trust,
    Verifier,
};
use crate::principal::UserId;

/// Lets only verified callers through to the services it wraps.
///
/// Cloning is a few reference counts.
#[derive(Clone, Debug)]
pub struct AuthenticateLayer {
    check: Verification,
    source: Arc<TokenSource>,
    other: OtherCredentials,
    resource: Option<ProtectedResource>,
}

/// What callers may hold in place of a token.
#[derive(Clone, Debug)]
pub(super) struct OtherCredentials {
    pub(super) service_keys: ServiceKeys,
    pub(super) client_secrets: Option<Arc<dyn ClientSecrets>>,
    pub(super) waiting: LookupPlaces,
}

/// How many callers are looked up at once, if nobody says otherwise.
const MAX_UNAUTHENTICATED: usize = 512;

impl Default for OtherCredentials {
    fn default() -> Self {
        Self {
            service_keys: ServiceKeys::default(),
            client_secrets: None,
            waiting: LookupPlaces::new(MAX_UNAUTHENTICATED),
        }
    }
}

/// How callers are told apart.
#[derive(Clone, Debug)]
pub(super) enum Verification {
    /// They are believed.
    Trust(Arc<Trust>),
    /// By their token.
    Token(Trusted),
}

impl AuthenticateLayer {
    /// Takes the token from `Authorization: Bearer`, and from nowhere else.
    pub fn new(verifier: Arc<Verifier>) -> Self {
        Self {
            check: Verification::Token(Trusted::One(verifier)),
            source: Arc::default(),
            other: OtherCredentials::default(),
            resource: None,
        }
    }

    /// Takes tokens of several issuers, from where [`new`](Self::new) takes them.
    pub fn of_issuers(issuers: Arc<Issuers>) -> Self {
        Self {
            check: Verification::Token(Trusted::Several(issuers)),
            source: Arc::default(),
            other: OtherCredentials::default(),
            resource: None,
        }
    }

    /// Looks at no token and takes every caller for `user`.
    ///
    /// For trying things out on a loopback address. Anyone who can connect is let in, web pages
    /// of elsewhere aside: see [`Trust`].
    pub fn danger_accept_anyone_as(user: UserId) -> Self {
        Self::danger_trust(Trust::everyone_is(user))
    }

    /// Takes callers for whom they say they are. Read [`Trust`] first.
    pub fn danger_trust(trust: Trust) -> Self {
        let check = Verification::Trust(Arc::new(trust));
        Self { check, source: Arc::default(), other: OtherCredentials::default(), resource: None }
    }

    /// Says in challenges where the metadata of this is (RFC 9728 section 5.1). A
    /// [`ProtectedResourceLayer`](super::ProtectedResourceLayer) has it there.
    #[must_use]
    pub fn resource(self, resource: ProtectedResource) -> Self {
        Self { resource: Some(resource), ..self }
    }

    /// Lets requests without credentials through as well. They have no principal; those with bad
    /// credentials are refused all the same.
    ///
    /// The inner service takes the request as it came, and finds the
    /// [`Principal`](crate::principal::Principal) in its extensions, if there is one. Services that
    /// ask for a body with a proof, such as a rate limit, go behind an
    /// [`IdentifyLayer`](crate::principal::IdentifyLayer), which lets only verified callers
    /// through. Credentials of another scheme are none of ours, and no token in the cookie is none.
    #[must_use]
    pub fn optional(self) -> OptionalAuthenticateLayer {
        OptionalAuthenticateLayer::new(self)
    }

    /// Lets the holders of these keys in to the OpenAI-compatible surface. Without any, nobody is.
    #[must_use]
    pub fn service_keys(mut self, keys: ServiceKeys) -> Self {
        self.other.service_keys = keys;
        self
    }

    /// Takes the secrets of client sessions as well, from `Authorization` and from nowhere else.
    #[must_use]
    pub fn client_secrets(mut self, secrets: Arc<dyn ClientSecrets>) -> Self {
        self.other.client_secrets = Some(secrets);
        self
    }

    /// Looks up the secrets of at most `max` callers at once, over all services made by this layer;
    /// 512 if not set. Who is over that is answered with 503 and `Retry-After`, and so is who is one of
    /// more than 256 that wait for the keys of one issuer.
    #[must_use]
    pub fn max_unauthenticated(mut self, max: usize) -> Self {
        self.other.waiting = LookupPlaces::new(max);
        self
    }

    /// Fetches the keys that tokens are verified with, if they are to be fetched and none is known, and
    /// waits for them.
    ///
    /// # Errors
    /// If no key is known, and none can be had now.
    pub async fn keys_ready(&self) -> Result<(), KeysUnavailable> {
        match &self.check {
            Verification::Trust(_) => Ok(()),
            Verification::Token(verifier) => verifier.keys_ready().await,
        }
    }

    /// Takes the token from the cookie `name` where `Authorization` has none. Credentials of
    /// another scheme there, such as those for a site in front, are taken off the request then.
    ///
    /// Browsers send a cookie with requests of any page, so an unsafe method with a cookie is
    /// refused (403) when its `Origin` is neither the request's own host nor one of
    /// [`allowed_origins`](Self::allowed_origins). Set the cookie with `HttpOnly`, `Secure` and
    /// `SameSite` all the same. An empty name means no cookie.
    #[must_use]
    pub fn cookie(mut self, name: impl Into<String>) -> Self {
        Arc::make_mut(&mut self.source).cookie = Some(name.into()).filter(|name| !name.is_empty());
        self
    }

    /// Origins besides the own host whose pages may use the cookie, or call where callers are
    /// [believed](Trust), such as `https://app.example`. They need CORS to be configured as well.
    #[must_use]
    pub fn allowed_origins<O: Into<String>>(
        mut self,
        origins: impl IntoIterator<Item = O>,
    ) -> Self {
        Arc::make_mut(&mut self.source).allowed_origins =
            origins.into_iter().map(Into::into).collect();
        self
    }
}

impl<S> Layer<S> for AuthenticateLayer {
    type Service = Authenticate<S>;

    fn layer(&self, inner: S) -> Authenticate<S> {
        Authenticate {
            inner,
            check: self.check.clone(),
            source: Arc::clone(&self.source),
            other: self.other.clone(),
            resource: self.resource.clone(),
        }
    }
}
