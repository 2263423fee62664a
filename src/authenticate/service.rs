//! [`Authenticate`].

use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::{AUTHORIZATION, COOKIE, HeaderMap};
use http::{Request, Response};
use tower_service::Service;

use super::challenge::Unauthenticated;
use super::future::Pending;
use super::issuers::Trusted;
use super::jwks::FetchEnd;
use super::layer::{OtherCredentials, Verification};
use super::secret::{CLIENT_SECRET_PREFIX, CallerFuture, SecretError};
use super::slip;
use super::token::{self, TokenSource};
use super::verify::Unsettled;
use super::waiting::{CallerPlaces, ConnectionCallers};
use super::{ProtectedResource, ResponseFuture};
use crate::principal::{Authenticated, Principal};
use crate::rejection::{Code, RefusalStyle, RefusedOr, Rejection};
use crate::surface::Surface;

/// Verifies a request's token, and either hands the request on as `Request<Authenticated<B>>` or
/// answers it with 401.
///
/// Made by [`AuthenticateLayer`](super::AuthenticateLayer).
#[derive(Clone, Debug)]
pub struct Authenticate<S> {
    pub(super) inner: S,
    pub(super) check: Verification,
    pub(super) source: Arc<TokenSource>,
    pub(super) other: OtherCredentials,
    pub(super) resource: Option<ProtectedResource>,
}

/// What is known of a caller right away.
pub(super) enum Identity {
    Known(Principal),
    /// By the cookie.
    OfCookie(Principal),
    /// It takes a look-up.
    Asked(CallerFuture),
    /// It takes keys that aren't there, for which the caller waits in a place of their issuer's, or
    /// not at all.
    OfKeys {
        caller: CallerFuture,
        place: Option<CallerPlaces>,
        from_cookie: bool,
    },
}

impl<S> Authenticate<S> {
    pub(super) fn identify<B>(&self, request: &Request<B>) -> Result<Identity, Unauthenticated> {
        if Surface::of_extensions(request.extensions()) == Surface::OpenAi {
            let key = token::authorization(request)?.ok_or(Unauthenticated::NoToken)?;
            let keys = &self.other.service_keys;
            let service =
                keys.holder(key).ok_or(Unauthenticated::InvalidKey { any: !keys.is_empty() })?;
            return Ok(Identity::Known(service));
        }
        match &self.check {
            // Who shows a secret means to be the user it was made for.
            Verification::Trust(trust) => {
                let token = token::authorization(request);
                // It may hold a secret, whose holder must not become whom the path names.
                if let Err(
                    fault @ (Unauthenticated::EmptyBearer | Unauthenticated::InvalidRequest(_)),
                ) = &token
                    && self.other.client_secrets.is_some()
                {
                    return Err(fault.clone());
                }
                if let Ok(Some(token)) = &token
                    && let Some(asked) = self.ask_about(token)
                {
                    return Ok(asked);
                }
                if !trust.asks_for_secret() {
                    self.source.check_is_local(request, trust)?;
                }
                let token = || token.and_then(|token| token.ok_or(Unauthenticated::NoToken));
                trust.identify(request.uri().path(), token).map(Identity::Known)
            }
            Verification::Token(trusted) => {
                let found = self.source.find(request)?;
                if !found.from_cookie
                    && let Some(asked) = self.ask_about(found.token)
                {
                    return Ok(asked);
                }
                let from_cookie = found.from_cookie;
                let unavailable = match trusted.look(found.token) {
                    Ok(principal) if from_cookie => return Ok(Identity::OfCookie(principal)),
                    Ok(principal) => return Ok(Identity::Known(principal)),
                    Err(Unsettled::Invalid(invalid)) => {
                        return Err(Unauthenticated::InvalidToken(invalid));
                    }
                    Err(Unsettled::Wait(end)) => match end.enter() {
                        Ok(place) => {
                            let caller = wait_for_key(trusted, found.token, end);
                            let place = Some(place);
                            return Ok(Identity::OfKeys { caller, place, from_cookie });
                        }
                        Err(unavailable) => unavailable,
                    },
                    Err(
                        Unsettled::TooSoon(_, unavailable) | Unsettled::Unavailable(unavailable),
                    ) => unavailable,
                };
                let error = SecretError::NoKeys(unavailable);
                let caller: CallerFuture = Box::pin(std::future::ready(Err(error)));
                Ok(Identity::OfKeys { caller, place: None, from_cookie })
            }
        }
    }

    /// Hands the request on, or answers it.
    pub(super) fn answer<B, R>(
        &mut self,
        identified: Result<Identity, Unauthenticated>,
        mut request: Request<B>,
    ) -> ResponseFuture<S, B>
    where
        S: Service<Request<Authenticated<B>>, Response = Response<R>> + Clone,
    {
        match identified {
            Ok(Identity::Known(principal)) => {
                ResponseFuture::inner(self.inner.call(vouched_for(principal, request)))
            }
            Ok(Identity::OfCookie(principal)) => {
                remove_foreign(&mut request);
                ResponseFuture::inner(self.inner.call(vouched_for(principal, request)))
            }
            Ok(Identity::OfKeys { caller, place, from_cookie }) => {
                if from_cookie {
                    remove_foreign(&mut request);
                }
                self.wait_for(caller, place, request)
            }
            Ok(Identity::Asked(caller)) => {
                let connection = request.extensions().get::<ConnectionCallers>();
                let Some(places) = self.other.waiting.enter(connection) else {
                    let refusal = Rejection::new(Code::ServiceUnavailable)
                        .because("as many callers are looked up as may be");
                    return ResponseFuture::refused(refusal, RefusalStyle::of(&request));
                };
                self.wait_for(caller, Some(places), request)
            }
            Err(fault) => {
                let mut rejection = slip::explained(fault, &request).into();
                if let Some(resource) = &self.resource {
                    rejection = resource.tell(rejection, request.extensions());
                }
                ResponseFuture::refused(rejection, RefusalStyle::of(&request))
            }
        }
    }

    /// Hands the request on, or answers it, when it is known whose it is.
    fn wait_for<B, R>(
        &mut self,
        caller: CallerFuture,
        places: Option<CallerPlaces>,
        request: Request<B>,
    ) -> ResponseFuture<S, B>
    where
        S: Service<Request<Authenticated<B>>, Response = Response<R>> + Clone,
    {
        // The service that was found ready is the one that is called (tower#547).
        let clone = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, clone);
        let resource = self.resource.clone();
        ResponseFuture::asked(caller, Pending { request, inner, places, resource })
    }

    /// Asks who holds a secret, if it is one.
    fn ask_about(&self, token: &str) -> Option<Identity> {
        let secrets = self.other.client_secrets.as_ref()?;
        token.starts_with(CLIENT_SECRET_PREFIX).then(|| Identity::Asked(secrets.caller(token)))
    }
}

impl<S, B, R> Service<Request<B>> for Authenticate<S>
where
    S: Service<Request<Authenticated<B>>, Response = Response<R>> + Clone,
{
    type Response = Response<RefusedOr<R>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        hide_credentials(request.headers_mut());
        let identified = self.identify(&request);
        self.answer(identified, request)
    }
}

/// Waits for the keys that are being fetched, and verifies the token then.
fn wait_for_key(trusted: &Trusted, token: &str, end: FetchEnd) -> CallerFuture {
    let (trusted, token) = (trusted.clone(), token.to_owned());
    Box::pin(async move { Ok(trusted.verify_after(end, &token).await?) })
}

/// Takes off credentials beside the cookie. They are for whoever is in front, if it is there: nothing
/// further in may take them for the caller's, or hand them on.
fn remove_foreign<B>(request: &mut Request<B>) {
    request.headers_mut().remove(AUTHORIZATION);
}

/// Gives the request as the rooms after this one get it.
pub(super) fn vouched_for<B>(
    principal: Principal,
    mut request: Request<B>,
) -> Request<Authenticated<B>> {
    // For services that aren't ours. Whatever was there before was not verified.
    request.extensions_mut().insert(principal.clone());
    request.map(|body| Authenticated::new(principal, body))
}

/// Keeps credentials out of `Debug` output and out of HPACK's dynamic table, from here on inwards.
pub(super) fn hide_credentials(headers: &mut HeaderMap) {
    for (name, value) in headers.iter_mut() {
        if name == AUTHORIZATION || name == COOKIE {
            value.set_sensitive(true);
        }
    }
}
