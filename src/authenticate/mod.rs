//! Who is calling: a JSON Web Token in, a [`Principal`](crate::principal::Principal) out.
//!
//! Needs the feature `authenticate`.
//!
//! [`AuthenticateLayer`] looks for a token, has a [`Verifier`] check it, and hands the request on
//! as `Request<Authenticated<B>>`. A request without a good token never reaches the inner
//! service: it is answered with 401 and a `WWW-Authenticate` challenge (RFC 6750 section 3).
//!
//! What is checked (RFC 7515, 7519 and 8725): the signature, by an algorithm and a key that the
//! configuration pins; `exp`, which must be there; `nbf`; `iss` and `aud`, where configured; that
//! it is no token for something else, such as a refresh token ([`TokenType`]); and that the claim
//! which names the user can be a [`UserId`](crate::principal::UserId). Tokens that
//! bring a key of their own (`jwk`, `jku`, `x5c`, `x5u`), extensions marked `crit`, encrypted
//! tokens, and objects with a name twice are refused. Nothing that a token says is ever fetched.
//!
//! Keys are a secret, a public key, a key set, or a [key set that is fetched](VerifierBuilder::remote_key_set)
//! from its issuer, by whatever implements [`FetchKeys`]: over HTTP with the feature `forward`. That set
//! is named by the configuration, too. Tokens of keys that are known never wait for it; one of a key that
//! isn't may, as the holders of client sessions do.
//!
//! Headers are read and signatures checked by jsonwebtoken, with a `DecodingKey` and its `aws_lc_rs`
//! backend; the process's default `CryptoProvider` is neither asked nor set. Whatever is taken here
//! its `decode` takes under the same `Validation`, but for the name `Ed25519` (RFC 9864). It is not
//! so the other way round. Refused here and not there are, besides the above: a header with `null`
//! for a text, a name that comes twice, an `exp` that is no date of this age or that is over by
//! just the leeway, the begun second of an `nbf`, an `aud` that is `null`, an `iss` that is a list,
//! no user or one that can't be one, and a token longer than [`MAX_TOKEN_BYTES`].
//!
//! A token that is good and lacks what is [required](VerifierBuilder::require) is answered with 403.
//!
//! The client reads that the token is not valid, that it has expired or that it is for something
//! else than access, and no more; the log is told why by [`Rejection::because`](crate::rejection::Rejection::because). Nothing of a token
//! is in either.
//!
//! # Several issuers
//! [`Issuers`] has a [`Verifier`] for each: what a token says of its issuer picks one, which then checks
//! all of it.
//!
//! # What it does not do
//! - It doesn't say what a caller may do; ownership is checked where the thing is known.
//! - It doesn't watch the clock once it has let a request in: a stream may outlive its token.
//! - It doesn't take the token off the request, nor fields in which a client says who it is
//!   (`x-user-id`). Whoever forwards it decides about that: `forward::IdentityHeaders`.
//! - It can't revoke: a stolen token is good until it expires. Whose it is can be shut out, behind this
//!   room: `session::Directory::block`. The secrets of client sessions, below, can be revoked.
//!
//! # Services and client sessions
//! On the OpenAI-compatible surface only the [keys of services](ServiceKeys) count: a JSON Web
//! Token is refused there, and what comes out is a [service](crate::principal::Principal::service)
//! and no user. On every other surface a bearer token that begins with [`CLIENT_SECRET_PREFIX`] is
//! put to the [`ClientSecrets`], which may take a look-up; from a cookie it is not taken. Nothing of
//! this costs a request with a JSON Web Token anything. Everybody else is known, or refused, at
//! once, so these alone wait while nobody knows who they are: at most
//! [so many](AuthenticateLayer::max_unauthenticated), and of one
//! [connection](ConnectionCallers) at most 128. Those who wait for the keys of an issuer have places
//! of that issuer's, 256. Who is over that is answered with 503.
//!
//! # Order
//! Before everything that asks for a principal. The type sees to it: those rooms take
//! `Request<B>` where `B: Identified`, and only this layer makes such a body. After CORS, because
//! preflight requests carry no token.
//!
//! # Example
//! ```
//! use std::convert::Infallible;
//! use std::sync::Arc;
//!
//! use chatkit_rest::authenticate::{Algorithm, AuthenticateLayer, Verifier};
//! use chatkit_rest::principal::Authenticated;
//! use http::{Request, Response, StatusCode};
//! use http_body_util::Empty;
//! use tower::{Layer, ServiceExt, service_fn};
//!
//! async fn hello(request: Request<Authenticated<Empty<bytes::Bytes>>>) -> Result<Response<String>, Infallible> {
//!     Ok(Response::new(format!("hello {}", request.body().principal().user_id())))
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let verifier = Verifier::builder()
//!     .algorithms([Algorithm::Hs256])
//!     .secret("a secret of at least thirty-two bytes")
//!     .build()?;
//! let service = AuthenticateLayer::new(Arc::new(verifier)).layer(service_fn(hello));
//!
//! let response = service.oneshot(Request::new(Empty::new())).await?;
//! assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
//! assert_eq!(response.headers()["www-authenticate"], "Bearer realm=\"chatkit-rest\"");
//! # Ok(())
//! # }
//! ```
//!
//! A browser application may keep its token in a cookie instead:
//! ```
//! # use std::sync::Arc;
//! # use chatkit_rest::authenticate::{AuthenticateLayer, Verifier};
//! # fn layer(verifier: Arc<Verifier>) -> AuthenticateLayer {
//! AuthenticateLayer::new(verifier).cookie("session").allowed_origins(["https://app.example"])
//! # }
//! ```

mod algorithm;
mod cache;
mod challenge;
mod claims;
mod future;
mod invalid;
mod issuers;
mod jwks;
mod jws;
mod keys;
mod layer;
mod material;
mod optional;
mod purpose;
mod require;
mod resource;
mod secret;
mod service;
mod slip;
mod token;
mod trust;
mod user;
mod verify;
mod waiting;

pub use algorithm::{Algorithm, UnknownAlgorithm};
pub use future::ResponseFuture;
pub use invalid::InvalidToken;
pub use issuers::Issuers;
pub use jwks::{
    FetchError, FetchFuture, FetchKeys, FetchedKeys, InvalidKeySet, JwkSet, KeysUnavailable,
    MAX_KEY_SET_BYTES, MAX_KEYS, UnusedKey, fetch_key_set,
};
#[cfg(feature = "forward")]
pub use jwks::{HttpKeys, PlainHttp};
#[cfg(feature = "config")]
pub(crate) use keys::{check_key_set, check_public_key, check_secret};
pub use layer::AuthenticateLayer;
pub use optional::{OptionalAuthenticate, OptionalAuthenticateLayer, OptionalFuture};
pub use purpose::TokenType;
pub use require::{InvalidRequirement, Missing, Requirement};
#[cfg(feature = "config")]
pub(crate) use require::{MAX_REQUIREMENT_CHARS, MAX_REQUIREMENTS};
pub use resource::{
    ProtectedResource, ProtectedResourceFuture, ProtectedResourceLayer, ProtectedResources,
};
pub use secret::{CLIENT_SECRET_PREFIX, CallerFuture, ClientSecrets, SecretError, ServiceKeys};
pub use service::Authenticate;
pub use trust::Trust;
#[cfg(feature = "config")]
pub(crate) use user::MAX_TEMPLATE_CHARS;
pub use user::{InvalidTemplate, UserTemplate};
pub use verify::{MAX_LEEWAY, MAX_TOKEN_BYTES, Verifier, VerifierBuilder, VerifyError};
pub use waiting::ConnectionCallers;

#[cfg(test)]
mod tests;
