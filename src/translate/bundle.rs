//! Everything from *route* to *translate*, for a host application.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::layer::{TranslateLayer, TranslateSettings};
use super::service::Translate;
use crate::error::{BoxError, Error};
use crate::principal::{Authenticated, Principal};
use crate::rejection::{Code, RefusalStyle, RefusedOr, Rejection};
use crate::route::{Route, RouteLayer, Routed, Router};
use crate::session::{Session, SessionLayer, SessionLimits, SessionStore};
use crate::validate::{BodyLimits, Schemas, Validate, ValidateLayer};

/// REST in front of a host application's own ChatKit endpoint.
///
/// The host verifies its callers and puts a [`Principal`] into the request's extensions; a
/// REST request without one is refused with 401. Requests for the REST paths become ChatKit
/// requests to the inner service's endpoint; any other request reaches the inner service
/// unchanged. The endpoint itself is one of those: whoever may reach it from outside is not
/// checked by this layer, so a host either mounts it for the inside only or under a path that
/// its own router refuses.
///
/// ```
/// use std::sync::Arc;
/// use chatkit_rest::session::MemoryStore;
/// use chatkit_rest::translate::ChatKitRestLayer;
///
/// let layer = ChatKitRestLayer::<axum::body::Body>::new("/api/v1/chatkit", Arc::new(MemoryStore::new()))?;
/// # let _ = layer;
/// # Ok::<(), chatkit_rest::error::Error>(())
/// ```
pub struct ChatKitRestLayer<B> {
    route: RouteLayer,
    validate: ValidateLayer,
    session: SessionLayer,
    translate: TranslateLayer,
    body: PhantomData<fn(B)>,
}

impl<B> ChatKitRestLayer<B> {
    /// REST below `prefix`, with sessions in `store` and default limits.
    ///
    /// # Errors
    /// If `prefix` is not a path prefix.
    pub fn new(prefix: &str, store: Arc<dyn SessionStore>) -> Result<Self, Error> {
        Ok(Self {
            route: RouteLayer::new(Router::new(prefix)?),
            validate: ValidateLayer::new(Schemas::compile()?, BodyLimits::default()),
            session: SessionLayer::new(store, SessionLimits::default()),
            translate: TranslateLayer::new(TranslateSettings::default()),
            body: PhantomData,
        })
    }

    /// Replaces the bounds of bodies, or what unknown request types meet.
    #[must_use]
    pub fn with_validation(self, validate: ValidateLayer) -> Self {
        Self { validate, ..self }
    }

    /// Replaces the store or its limits.
    #[must_use]
    pub fn with_sessions(self, session: SessionLayer) -> Self {
        Self { session, ..self }
    }

    /// Replaces the endpoint, the identity header, the hold.
    #[must_use]
    pub fn with_translation(self, settings: TranslateSettings) -> Self {
        Self { translate: TranslateLayer::new(settings), ..self }
    }
}

impl<B> Clone for ChatKitRestLayer<B> {
    fn clone(&self) -> Self {
        Self {
            route: self.route.clone(),
            validate: self.validate.clone(),
            session: self.session.clone(),
            translate: self.translate.clone(),
            body: PhantomData,
        }
    }
}

impl<B> fmt::Debug for ChatKitRestLayer<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChatKitRestLayer").field("session", &self.session).finish_non_exhaustive()
    }
}

impl<S: Clone, B> Layer<S> for ChatKitRestLayer<B> {
    type Service = ChatKitRest<S, B>;

    fn layer(&self, inner: S) -> Self::Service {
        let ours = Ours { inner: inner.clone(), body: PhantomData };
        let rooms = self.validate.layer(self.session.layer(self.translate.layer(ours)));
        let route = self.route.clone().with_fallback(Theirs { inner });
        ChatKitRest { route: route.layer(RequirePrincipal { inner: rooms }) }
    }
}

/// The rooms of [`ChatKitRest`], outermost first.
pub type Rooms<S, B> = Route<RequirePrincipal<Validate<Session<Translate<Ours<S, B>>>>>, Theirs<S>>;

/// The service of [`ChatKitRestLayer`].
pub struct ChatKitRest<S, B> {
    route: Rooms<S, B>,
}

impl<S, B> Service<Request<B>> for ChatKitRest<S, B>
where
    Rooms<S, B>: Service<Request<B>>,
{
    type Response = <Rooms<S, B> as Service<Request<B>>>::Response;
    type Error = <Rooms<S, B> as Service<Request<B>>>::Error;
    type Future = <Rooms<S, B> as Service<Request<B>>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.route.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        self.route.call(request)
    }
}

impl<S: Clone, B> Clone for ChatKitRest<S, B> {
    fn clone(&self) -> Self {
        Self { route: self.route.clone() }
    }
}

impl<S, B> fmt::Debug for ChatKitRest<S, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChatKitRest").finish_non_exhaustive()
    }
}

pin_project! {
    /// The body of a request to the host's service: of one that the layer made, or of one that
    /// it let through.
    #[derive(Debug)]
    #[project = HostBodyProjection]
    #[allow(missing_docs, reason = "named for who made it")]
    pub enum HostBody<B> {
        Ours { #[pin] body: Full<Bytes> },
        Theirs { #[pin] body: B },
    }
}

impl<B: Body<Data = Bytes, Error: Into<BoxError>>> Body for HostBody<B> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.project() {
            HostBodyProjection::Ours { body } => {
                body.poll_frame(cx).map_err(|never| match never {})
            }
            HostBodyProjection::Theirs { body } => body.poll_frame(cx).map_err(Into::into),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Ours { body } => body.is_end_stream(),
            Self::Theirs { body } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Ours { body } => body.size_hint(),
            Self::Theirs { body } => body.size_hint(),
        }
    }
}

/// The host's service, as the translation sees it. A part of [`ChatKitRest`]'s type.
pub struct Ours<S, B> {
    inner: S,
    body: PhantomData<fn(B)>,
}

impl<S: Clone, B> Clone for Ours<S, B> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), body: PhantomData }
    }
}

impl<S, B> fmt::Debug for Ours<S, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ours").finish_non_exhaustive()
    }
}

impl<S, B> Service<Request<Full<Bytes>>> for Ours<S, B>
where
    S: Service<Request<HostBody<B>>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> S::Future {
        self.inner.call(request.map(|body| HostBody::Ours { body }))
    }
}

/// The host's service, as requests that are none of ours see it. A part of [`ChatKitRest`]'s
/// type.
#[derive(Clone, Debug)]
pub struct Theirs<S> {
    inner: S,
}

impl<S, B> Service<Request<B>> for Theirs<S>
where
    S: Service<Request<HostBody<B>>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> S::Future {
        self.inner.call(request.map(|body| HostBody::Theirs { body }))
    }
}

/// Turns the host's `Principal` extension into the proof that the rooms ask for. A part of
/// [`ChatKitRest`]'s type.
#[derive(Clone, Debug)]
pub struct RequirePrincipal<S> {
    inner: S,
}

impl<S, B, R> Service<Request<Routed<B>>> for RequirePrincipal<S>
where
    S: Service<Request<Routed<Authenticated<B>>>, Response = Response<R>>,
{
    type Response = Response<RefusedOr<R>>;
    type Error = S::Error;
    type Future = RequirePrincipalFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Routed<B>>) -> Self::Future {
        let Some(principal) = request.extensions().get::<Principal>().cloned() else {
            let rejection = Rejection::new(Code::Unauthorized)
                .header(http::header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
                .because("the host application put no Principal into the request's extensions");
            let style = RefusalStyle::of(&request);
            return RequirePrincipalFuture::Refused { refusal: Some((rejection, style)) };
        };
        let request = request.map(|routed| {
            let (target, body) = routed.into_parts();
            Routed::new(target, Authenticated::new(principal, body))
        });
        RequirePrincipalFuture::Calling { future: self.inner.call(request) }
    }
}

pin_project! {
    /// The future of [`RequirePrincipal`].
    #[derive(Debug)]
    #[project = RequirePrincipalProjection]
    #[allow(missing_docs, reason = "named for its state")]
    pub enum RequirePrincipalFuture<F> {
        Calling { #[pin] future: F },
        Refused { refusal: Option<(Rejection, RefusalStyle)> },
    }
}

impl<F, R, E> Future for RequirePrincipalFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = Result<Response<RefusedOr<R>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            RequirePrincipalProjection::Calling { future } => {
                future.poll(cx).map_ok(RefusedOr::pass)
            }
            RequirePrincipalProjection::Refused { refusal } => match refusal.take() {
                Some((rejection, style)) => Poll::Ready(Ok(RefusedOr::refuse(rejection, &style))),
                // A future that is polled after it was ready has no answer to give.
                None => Poll::Pending,
            },
        }
    }
}
