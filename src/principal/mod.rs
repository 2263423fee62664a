//! Who is calling, once that has been proved.
//!
//! [`Principal`] is what every room after *authenticate* knows of the caller, and
//! [`Authenticated`] is the request body that proves one was verified: a service that takes
//! `Request<Authenticated<B>>` can't be put in front of the check by mistake, because it then
//! doesn't compile.
//!
//! A host application that verifies its callers itself puts [`IdentifyLayer`] behind that. It takes
//! the [`Principal`] that the host put into the request's extensions, or asks a closure for the
//! user. Without a stack of layers, the host builds a [`Principal`] from what it knows and wraps the
//! body:
//!
//! ```
//! use chatkit_rest::principal::{Authenticated, Principal, UserId};
//!
//! let user = UserId::parse("ada")?;
//! let request = http::Request::new(String::from("{}"));
//! let request = request.map(|body| Authenticated::new(Principal::new(user), body));
//! assert_eq!(request.body().principal().user_id().as_str(), "ada");
//! # Ok::<(), chatkit_rest::principal::InvalidUserId>(())
//! ```

use std::fmt;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

mod identify;

pub use identify::{Identify, IdentifyFuture, IdentifyLayer};

/// The longest user id that is accepted, in Unicode scalar values.
pub const MAX_USER_ID_CHARS: usize = 255;

/// A user's id: 1 to 255 characters, none of them a control character.
///
/// Compared byte for byte: look-alikes (case, Unicode normal forms, blanks) are different users.
/// Cloning is a reference count.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserId(Arc<str>);

impl UserId {
    /// Checks `id` and takes a copy of it.
    ///
    /// # Errors
    /// [`InvalidUserId`] if `id` is empty, longer than [`MAX_USER_ID_CHARS`], or has a control
    /// character (which could split a header or a log line).
    pub fn parse(id: &str) -> Result<Self, InvalidUserId> {
        if id.is_empty() {
            return Err(InvalidUserId::Empty);
        }
        if id.len() > MAX_USER_ID_CHARS && id.chars().count() > MAX_USER_ID_CHARS {
            return Err(InvalidUserId::TooLong);
        }
        if id.chars().any(char::is_control) {
            return Err(InvalidUserId::ControlCharacter);
        }
        Ok(Self(id.into()))
    }

    /// Gives the id as it was in the claim.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a string is not a [`UserId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidUserId {
    /// It has a control character.
    ControlCharacter,
    /// It is empty.
    Empty,
    /// It has more than [`MAX_USER_ID_CHARS`] characters.
    TooLong,
}

impl fmt::Display for InvalidUserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ControlCharacter => "a user id must not contain control characters",
            Self::Empty => "a user id must not be empty",
            Self::TooLong => "a user id must have at most 255 characters",
        })
    }
}

impl std::error::Error for InvalidUserId {}

/// The verified caller: a user, or a service that acts for users.
///
/// A service is admitted to the OpenAI-compatible API and to nothing else, where a user is not:
/// the name of its key may well be the id of some user, who is somebody else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    user_id: UserId,
    grant: CallerKind,
}

/// On the strength of what a caller was let in.
#[derive(Clone, Debug, PartialEq, Eq)]
enum CallerKind {
    /// They are that user.
    User,
    /// A service gave them a secret for that user, with an allowance of its own.
    Allowance(Allowance),
    /// They hold a service's key.
    Service,
}

/// How many requests a minute a client session may make, in place of what its user may.
/// Cloning is a reference count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowance {
    session: Arc<str>,
    requests_per_minute: NonZeroU32,
}

impl Allowance {
    /// Allows what the client session of that id may do.
    pub fn new(session: impl Into<Arc<str>>, requests_per_minute: NonZeroU32) -> Self {
        Self { session: session.into(), requests_per_minute }
    }

    /// Gives the client session's id.
    pub fn session(&self) -> &Arc<str> {
        &self.session
    }

    /// Gives its requests a minute.
    pub fn requests_per_minute(&self) -> NonZeroU32 {
        self.requests_per_minute
    }
}

impl Principal {
    /// Makes a caller whose identity the program vouches for.
    pub fn new(user_id: UserId) -> Self {
        Self { user_id, grant: CallerKind::User }
    }

    /// Makes a user's client that holds the secret of a client session.
    pub fn with_allowance(user_id: UserId, allowance: Allowance) -> Self {
        Self { user_id, grant: CallerKind::Allowance(allowance) }
    }

    /// Makes a service that holds the key of that name.
    pub fn service(key: UserId) -> Self {
        Self { user_id: key, grant: CallerKind::Service }
    }

    /// Gives the id under which sessions, limits and the upstream know this caller. Of a service,
    /// the name of its key, which is for the log and no user's id.
    pub fn user_id(&self) -> &UserId {
        &self.user_id
    }

    /// Tells whether this is a service and no user.
    pub fn is_service(&self) -> bool {
        self.grant == CallerKind::Service
    }

    /// Gives the allowance that counts in place of the user's.
    pub fn allowance(&self) -> Option<&Allowance> {
        match &self.grant {
            CallerKind::Allowance(allowance) => Some(allowance),
            CallerKind::User | CallerKind::Service => None,
        }
    }
}

/// A body whose request has a verified [`Principal`].
///
/// Inner services can tell by its type that the check was made. `Identified` is the trait the
/// rooms ask for, so that a host may use a body type of its own.
pub trait Identified {
    /// Gives the verified caller.
    fn principal(&self) -> &Principal;
}

pin_project! {
    /// A request body together with the proof of who sent it.
    ///
    /// As a [`Body`] it is exactly the body inside.
    #[derive(Clone, Debug)]
    pub struct Authenticated<B> {
        principal: Principal,
        #[pin]
        body: B,
    }
}

impl<B> Authenticated<B> {
    /// Vouches for `principal` as the sender of `body`.
    pub fn new(principal: Principal, body: B) -> Self {
        Self { principal, body }
    }

    /// Gives the verified caller.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// Takes the proof apart.
    pub fn into_parts(self) -> (Principal, B) {
        (self.principal, self.body)
    }
}

impl<B> Identified for Authenticated<B> {
    fn principal(&self) -> &Principal {
        &self.principal
    }
}

impl<B: Body> Body for Authenticated<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        self.project().body.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_id_is_counted_in_characters_and_kept_as_it_is() {
        let longest = "ö".repeat(MAX_USER_ID_CHARS);
        assert_eq!(UserId::parse(&longest).unwrap().as_str(), longest);
        assert_eq!(UserId::parse(&format!("{longest}x")), Err(InvalidUserId::TooLong));
        assert_eq!(UserId::parse(""), Err(InvalidUserId::Empty));
        assert_eq!(UserId::parse("a\r\nb"), Err(InvalidUserId::ControlCharacter));
        assert_eq!(UserId::parse("a\u{85}b"), Err(InvalidUserId::ControlCharacter));
        assert_ne!(UserId::parse("Ada").unwrap(), UserId::parse("ada").unwrap());
        assert_eq!(UserId::parse(" ada ").unwrap().as_str(), " ada ");
    }
}
