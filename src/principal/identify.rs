//! [`IdentifyLayer`].

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::{HeaderValue, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::{Authenticated, Principal, UserId};
use crate::rejection::{Code, RefusalStyle, RefusedOr, Rejection};

/// Makes what a host's own authentication found out the proof that the rooms ask for.
///
/// The request goes on as `Request<Authenticated<B>>`, with the [`Principal`] in its extensions.
/// One of nobody is answered with 401. It goes inside of the host's authentication, and in front of
/// whatever takes a body that is [`Identified`](super::Identified), such as
/// [`limit::RateLimitLayer`].
///
/// # Example
/// ```
/// use std::convert::Infallible;
///
/// use chatkit_rest::principal::{Authenticated, IdentifyLayer, UserId};
/// use http::{Request, Response};
/// use tower::{Layer, ServiceExt, service_fn};
///
/// async fn hello(request: Request<Authenticated<String>>) -> Result<Response<String>, Infallible> {
///     Ok(Response::new(format!("hello {}", request.body().principal().user_id())))
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // A proxy in front verifies callers and says who they are.
/// let identify = IdentifyLayer::by(|head| {
///     UserId::parse(head.headers.get("x-verified-user")?.to_str().ok()?).ok()
/// });
/// let request = Request::get("/").header("x-verified-user", "ada").body(String::new())?;
/// let response = identify.layer(service_fn(hello)).oneshot(request).await?;
/// assert_eq!(response.status(), 200);
///
/// let nobody = Request::get("/").body(String::new())?;
/// assert_eq!(identify.layer(service_fn(hello)).oneshot(nobody).await?.status(), 401);
/// # Ok(())
/// # }
/// ```
#[cfg_attr(feature = "limit", doc = "\n[`limit::RateLimitLayer`]: crate::limit::RateLimitLayer")]
#[cfg_attr(not(feature = "limit"), doc = "\n[`limit::RateLimitLayer`]: crate#features")]
#[derive(Clone)]
pub struct IdentifyLayer {
    source: PrincipalSource,
}

#[derive(Clone)]
enum PrincipalSource {
    Extension,
    Head(Arc<Find>),
}

type Find = dyn Fn(&Parts) -> Option<UserId> + Send + Sync;

impl IdentifyLayer {
    /// Takes the [`Principal`] that is in the request's extensions.
    pub fn new() -> Self {
        Self { source: PrincipalSource::Extension }
    }

    /// Takes the user whom `find` finds in the request's head, and nobody else: a [`Principal`] in
    /// the extensions is replaced.
    pub fn by(find: impl Fn(&Parts) -> Option<UserId> + Send + Sync + 'static) -> Self {
        Self { source: PrincipalSource::Head(Arc::new(find)) }
    }
}

impl Default for IdentifyLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for IdentifyLayer {
    type Service = Identify<S>;

    fn layer(&self, inner: S) -> Identify<S> {
        Identify { inner, source: self.source.clone() }
    }
}

impl fmt::Debug for IdentifyLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdentifyLayer").finish_non_exhaustive()
    }
}

/// Hands requests on as `Request<Authenticated<B>>`, or answers them with 401.
///
/// Made by [`IdentifyLayer`].
#[derive(Clone)]
pub struct Identify<S> {
    inner: S,
    source: PrincipalSource,
}

impl<S, B, R> Service<Request<B>> for Identify<S>
where
    S: Service<Request<Authenticated<B>>, Response = Response<R>>,
{
    type Response = Response<RefusedOr<R>>;
    type Error = S::Error;
    type Future = IdentifyFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (mut head, body) = request.into_parts();
        let principal = match &self.source {
            PrincipalSource::Extension => head.extensions.get::<Principal>().cloned(),
            PrincipalSource::Head(find) => find(&head).map(|user| {
                let principal = Principal::new(user);
                head.extensions.insert(principal.clone());
                principal
            }),
        };
        let state = if let Some(principal) = principal {
            let request = Request::from_parts(head, Authenticated::new(principal, body));
            State::Inner { future: self.inner.call(request) }
        } else {
            let rejection = Rejection::new(Code::Unauthorized)
                .header(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
                .because("the host application found nobody to be calling");
            let style = RefusalStyle::of(&Request::from_parts(head, ()));
            State::Refused { refusal: Some((rejection, style)) }
        };
        IdentifyFuture { state }
    }
}

impl<S: fmt::Debug> fmt::Debug for Identify<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identify").field("inner", &self.inner).finish_non_exhaustive()
    }
}

pin_project! {
    /// The inner service's response, or the refusal.
    #[derive(Debug)]
    pub struct IdentifyFuture<F> {
        #[pin]
        state: State<F>,
    }
}

pin_project! {
    #[derive(Debug)]
    #[project = StateProjection]
    enum State<F> {
        Inner { #[pin] future: F },
        Refused { refusal: Option<(Rejection, RefusalStyle)> },
    }
}

impl<F, R, E> Future for IdentifyFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = Result<Response<RefusedOr<R>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProjection::Inner { future } => future.poll(cx).map_ok(RefusedOr::pass),
            StateProjection::Refused { refusal } => match refusal.take() {
                Some((rejection, style)) => Poll::Ready(Ok(RefusedOr::refuse(rejection, &style))),
                // Polled again after the end: there is nothing more to come.
                None => Poll::Pending,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use tower::{ServiceExt as _, service_fn};

    use super::*;

    /// Answers with the user's name, and checks that both ways to learn it agree.
    async fn whoami(request: Request<Authenticated<()>>) -> Result<Response<String>, Infallible> {
        let principal = request.body().principal();
        assert_eq!(request.extensions().get::<Principal>(), Some(principal));
        Ok(Response::new(principal.user_id().to_string()))
    }

    async fn ask(layer: &IdentifyLayer, request: Request<()>) -> Result<String, u16> {
        let response = layer.layer(service_fn(whoami)).oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let challenged = response.headers().contains_key(WWW_AUTHENTICATE);
        assert_eq!(challenged, status == 401);
        match response.into_body() {
            RefusedOr::Passthru { body } => Ok(body),
            RefusedOr::Refused { .. } => Err(status),
        }
    }

    fn request(header: Option<&str>, extension: Option<&str>) -> Request<()> {
        let mut request = Request::new(());
        if let Some(user) = header {
            request.headers_mut().insert("x-user", HeaderValue::from_str(user).unwrap());
        }
        if let Some(user) = extension.map(UserId::parse) {
            request.extensions_mut().insert(Principal::new(user.unwrap()));
        }
        request
    }

    #[tokio::test]
    async fn the_host_says_who_it_is_in_one_of_two_ways() {
        let extension = IdentifyLayer::default();
        let head = IdentifyLayer::by(|head| {
            UserId::parse(head.headers.get("x-user")?.to_str().ok()?).ok()
        });
        for (header, in_extension, by_extension, by_head) in [
            (None, None, Err(401), Err(401)),
            (Some("ada"), None, Err(401), Ok("ada")),
            (None, Some("eve"), Ok("eve"), Err(401)),
            (Some("ada"), Some("eve"), Ok("eve"), Ok("ada")),
            (Some(""), None, Err(401), Err(401)),
        ] {
            let found = ask(&extension, request(header, in_extension)).await;
            assert_eq!(found, by_extension.map(str::to_owned), "{header:?} {in_extension:?}");
            let found = ask(&head, request(header, in_extension)).await;
            assert_eq!(found, by_head.map(str::to_owned), "{header:?} {in_extension:?}");
        }
    }
}
