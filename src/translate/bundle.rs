//! Everything from *route* to *translate*, for a host application.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Request;
use tower_layer::Layer;
use tower_service::Service;

use super::host::{Ours, RequirePrincipal, Theirs};
use super::layer::{TranslateLayer, TranslateSettings};
use super::service::Translate;
use crate::error::Error;
use crate::route::{Route, RouteLayer, Router};
use crate::session::{Session, SessionLayer, SessionLimits, SessionStore};
use crate::surface::{InvalidStatus, Surfaces};
use crate::validate::{BodyLimits, Schemas, Validate, ValidateLayer};

/// REST, and [one-shot chat](Self::with_chat), in front of a host application's own ChatKit endpoint.
///
/// The host verifies its callers and puts a [`Principal`](crate::principal::Principal) into the
/// request's extensions; a request for one of our paths without one is refused with 401. These
/// requests become ChatKit requests to the inner service's endpoint
/// ([`TranslateSettings::endpoint`], `/chatkit`); any other request reaches the inner service
/// unchanged.
///
/// The OpenAI-compatible surface is not here: it knows its callers by keys of services, which a
/// host's principals are not. `proxy::Rooms` (feature `server`) has it.
///
/// # The endpoint is closed to the outside
/// Whoever could reach the endpoint itself would pass by every check, so a request from outside
/// for its path, whatever its case, slashes and percent-encoding, is answered with 404.
/// ChatKit's own clients (the web component) use `POST {prefix}`, which takes the same requests and checks what they name. A
/// host that wants them to keep their address gives the layer the endpoint's path as its prefix.
/// The inner service may trust the identity header (`x-user-id`) of what arrives there. Of a client's
/// own headers it gets those that [`TranslateSettings::identity`] lists
/// ([`ClientHeaders`](crate::forward::ClientHeaders)).
///
/// # Where it goes
/// Around the whole application and inside of what puts the principal in. In axum that is not
/// `Router::layer`, which runs after routing, when the REST paths have already been answered
/// with 404; `examples/axum_app.rs` is a whole application.
///
/// `B` is the body of the requests that come in. It follows from the service that the layer is
/// put in, so it need not be named.
///
/// # Example
/// ```
/// use std::convert::Infallible;
/// use std::sync::Arc;
///
/// use bytes::Bytes;
/// use chatkit_rest::principal::{Principal, UserId};
/// use chatkit_rest::session::MemoryStore;
/// use chatkit_rest::translate::ChatKitRestLayer;
/// use http::{Request, Response};
/// use http_body_util::Full;
/// use tower::{Layer, Service, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // The host application: its ChatKit endpoint is `/chatkit`, and the rest is its own.
/// let app = service_fn(|request: Request<_>| async move {
///     let said = format!("you are at {}", request.uri().path());
///     Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(said))))
/// });
/// let layer = ChatKitRestLayer::new("/api/v1/chatkit", Arc::new(MemoryStore::new()))?
///     .with_chat("/api")?;
/// let mut service = layer.layer(app);
///
/// let mut request = Request::post("/api/v1/chatkit/sessions").body(Full::<Bytes>::default())?;
/// assert_eq!(service.call(request.clone()).await?.status(), 401);
///
/// let question = Request::post("/api/chat").body(Full::default())?;
/// assert_eq!(service.call(question).await?.status(), 401);
///
/// // What the host's own authentication does:
/// request.extensions_mut().insert(Principal::new(UserId::parse("ada")?));
/// assert_eq!(service.call(request).await?.status(), 200);
///
/// assert_eq!(service.call(Request::get("/about").body(Full::default())?).await?.status(), 200);
/// assert_eq!(service.call(Request::post("/chatkit").body(Full::default())?).await?.status(), 404);
/// # Ok(())
/// # }
/// ```
pub struct ChatKitRestLayer<B> {
    surfaces: Surfaces,
    route: RouteLayer,
    validate: ValidateLayer,
    session: SessionLayer,
    translate: TranslateLayer,
    endpoint_is_open: bool,
    body: PhantomData<fn(B)>,
}

impl<B> ChatKitRestLayer<B> {
    /// REST below `prefix`, with sessions in `store` and default limits.
    ///
    /// # Errors
    /// If `prefix` is not a path prefix.
    pub fn new(prefix: &str, store: Arc<dyn SessionStore>) -> Result<Self, Error> {
        let surfaces = Surfaces::rest(prefix);
        Ok(Self {
            route: RouteLayer::new(Router::with_surfaces(&surfaces)?),
            surfaces,
            validate: ValidateLayer::new(Schemas::compile()?, BodyLimits::default()),
            session: SessionLayer::new(store, SessionLimits::default()),
            translate: TranslateLayer::new(TranslateSettings::default()),
            endpoint_is_open: false,
            body: PhantomData,
        })
    }

    /// Serves one-shot chat as well: `POST {prefix}/chat`, and `POST {prefix}/{user_id}/chat` for
    /// the user who is calling, and what was said by `GET {prefix}/conversations` and the paths below
    /// it, of that user's too. Conversations are sessions, under the rules of
    /// [`SessionLayer::with_chat`]; the longest message is
    /// [`BodyLimits::max_chat_chars`].
    ///
    /// # Errors
    /// If `prefix` is not a path prefix, or if its paths and REST's can meet
    /// ([`Router::with_surfaces`]).
    pub fn with_chat(self, prefix: &str) -> Result<Self, Error> {
        let surfaces = self.surfaces.with_chat(prefix);
        let route = RouteLayer::new(Router::with_surfaces(&surfaces)?);
        Ok(Self { surfaces, route, ..self })
    }

    /// Says how one-shot chat refuses what it doesn't expect.
    #[must_use]
    pub fn with_invalid_status(self, invalid: InvalidStatus) -> Self {
        Self { surfaces: self.surfaces.with_invalid_status(invalid), ..self }
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

    /// Waits for what is finished though its client has left; see
    /// [`TranslateLayer::finished`].
    pub async fn finished(&self) {
        self.translate.finished().await;
    }

    /// Lets requests from outside reach the ChatKit endpoint, where nothing checks whose threads
    /// they name, and where their `x-user-id` is whatever they say. For a host that guards the
    /// endpoint itself.
    #[must_use]
    pub fn danger_open_endpoint(self) -> Self {
        Self { endpoint_is_open: true, ..self }
    }
}

impl<B> Clone for ChatKitRestLayer<B> {
    fn clone(&self) -> Self {
        Self {
            surfaces: self.surfaces.clone(),
            route: self.route.clone(),
            validate: self.validate.clone(),
            session: self.session.clone(),
            translate: self.translate.clone(),
            endpoint_is_open: self.endpoint_is_open,
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
        let ours = Ours::new(inner.clone());
        let rooms = self.validate.layer(self.session.layer(self.translate.layer(ours)));
        let closed = (!self.endpoint_is_open).then(|| self.translate.endpoint().path());
        let route = self.route.clone().with_fallback(Theirs::new(inner, closed));
        ChatKitRest {
            route: route.layer(RequirePrincipal::new(Arc::new(self.surfaces.clone()), rooms)),
        }
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
