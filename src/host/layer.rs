//! Everything from *route* inwards, for a host application.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Request;
use tower_layer::Layer;
use tower_service::Service;

use super::limits::{Counts, HostLimits};
use super::theirs::{RequirePrincipal, Theirs};
use crate::allowance::Allowances;
use crate::chatkit::ChatKitSettings;
use crate::error::Error;
use crate::limit::{InFlight, RateLimit};
use crate::operation::{Name, OperationLayer, Operations};
use crate::route::{NotFound, Route, RouteLayer, Router};
use crate::session::{Desk, SessionLimits, SessionStore};
use crate::surface::{InvalidStatus, Surfaces};
use crate::validate::{BodyLimits, Reader, Schemas};

/// REST, and [one-shot chat](Self::with_chat), in front of a service that speaks ChatKit.
///
/// The host verifies its callers and puts a [`Principal`](crate::principal::Principal) into the
/// request's extensions; a request for one of our paths without one is refused with 401. What is
/// wrapped is the ChatKit server alone, the *upstream*: `forward`'s HTTP upstream, the embedded
/// one, or a handler of the host's own. All that it ever gets are the ChatKit requests that are
/// made here, to its endpoint ([`ChatKitSettings::endpoint`], `/chatkit`), with the caller's
/// verified id in `x-user-id`, which it may believe.
///
/// The OpenAI-compatible surface is not here: it knows its callers by keys of services, which a
/// host's principals are not. `proxy::Rooms` (feature `server`) has it.
///
/// # Other paths
/// A path that is none of ours is answered here, with 404, and one with another method with 405
/// and `Allow`; neither reaches the upstream, whoever asks. A host with paths of its own gives the
/// service that has them [as the fallback](Self::with_fallback), which gets such a request as it
/// came. 405 stays: a path of ours is never the fallback's.
///
/// # The endpoint is closed to the outside
/// One application may be both the upstream and the fallback. Whoever could reach its endpoint
/// through the fallback would pass by every check, so there a request for the endpoint's path,
/// whatever its case, slashes and percent-encoding, is answered with 404, too.
/// ChatKit's own clients (the web component) use `POST {prefix}`, which takes the same requests and
/// checks what they name. A host that wants them to keep their address gives the layer the
/// endpoint's path as its prefix.
///
/// The upstream may trust the identity header (`x-user-id`) of what comes from here. Of a client's own
/// headers it gets those that [`ChatKitSettings::identity`] lists
/// ([`ClientHeaders`](crate::forward::ClientHeaders)).
///
/// # Where it goes
/// Around the upstream, and inside of what puts the principal in. [`service`](Self::service) makes
/// a service that can't fail: axum's `Router::fallback_service` takes it, `Router::nest_service`
/// too (which takes its path off the request, so the layer's prefix is what is left: `""`), and
/// hyper's connections by way of `TowerToHyperService`.
///
/// It is nothing for axum's `Router::layer`. That puts a layer around each of the router's routes
/// and around its fallback, one by one, so that each of these would be taken for a ChatKit server:
/// REST paths, which are no routes, come to the fallback, where sessions can be made and every run
/// is a 404 (the log says why), and the application's own routes are answered with 404 here.
/// `examples/axum_app.rs` is a whole application.
///
/// `B` is the body of the requests that come in. It follows from where the service is used, so it
/// need not be named.
///
/// # Example
/// ```
/// use std::sync::Arc;
///
/// use bytes::Bytes;
/// use chatkit_rest::principal::{Principal, UserId};
/// use chatkit_rest::session::MemoryStore;
/// use chatkit_rest::host::ChatKitRestLayer;
/// # type Upstream = tower::util::BoxCloneService<
/// #     Request<Full<Bytes>>, http::Response<Full<Bytes>>, std::convert::Infallible>;
/// use http::Request;
/// use http_body_util::Full;
/// use tower::Service;
///
/// # async fn example(upstream: Upstream) -> Result<(), Box<dyn std::error::Error>> {
/// let layer = ChatKitRestLayer::new("/api/v1/chatkit", Arc::new(MemoryStore::new()))?
///     .with_chat("/api")?;
/// let mut service = layer.service(upstream);
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
/// // What is none of ours, whoever asks:
/// assert_eq!(service.call(Request::post("/chatkit").body(Full::default())?).await?.status(), 404);
/// # Ok(())
/// # }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// #     let never = tower::service_fn(|_| async { unreachable!("no ChatKit request was due") });
/// #     example(Upstream::new(never)).await
/// # }
/// ```
///
/// With paths of the application's own:
/// ```
/// # use std::convert::Infallible;
/// # use std::sync::Arc;
/// #
/// # use bytes::Bytes;
/// # use chatkit_rest::session::MemoryStore;
/// # use chatkit_rest::host::ChatKitRestLayer;
/// # use http::{Request, Response};
/// # use http_body_util::Full;
/// # use tower::{Layer, Service, service_fn};
/// #
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let upstream = service_fn(|_| async {
/// #     Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
/// # });
/// let app = service_fn(|request: Request<Full<Bytes>>| async move {
///     let said = format!("you are at {}", request.uri().path());
///     Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(said))))
/// });
/// let layer = ChatKitRestLayer::new("/api/v1/chatkit", Arc::new(MemoryStore::new()))?
///     .with_fallback(app);
/// let mut service = layer.layer(upstream);
///
/// assert_eq!(service.call(Request::get("/about").body(Full::default())?).await?.status(), 200);
/// # Ok(())
/// # }
/// ```
pub struct ChatKitRestLayer<B, F = NotFound> {
    surfaces: Surfaces,
    route: RouteLayer<Name>,
    fallback: F,
    operations: OperationLayer,
    counts: Counts,
    endpoint_is_open: bool,
    body: PhantomData<fn(B)>,
}

impl<B> ChatKitRestLayer<B> {
    /// Serves REST below `prefix`, with sessions in `store`, the default bounds of bodies and sessions, and no
    /// limits of requests or streams; those are [`with_limits`](Self::with_limits)'s.
    ///
    /// # Errors
    /// If `prefix` is not a path prefix.
    pub fn new(prefix: &str, store: Arc<dyn SessionStore>) -> Result<Self, Error> {
        let surfaces = Surfaces::rest(prefix);
        Ok(Self {
            route: RouteLayer::of_rooms(Router::new(Name::ALL, &surfaces)?),
            surfaces,
            fallback: NotFound,
            operations: OperationLayer::new(
                Reader::new(Schemas::compile()?, BodyLimits::default()),
                Desk::new(store, SessionLimits::default()),
                ChatKitSettings::default(),
            ),
            counts: Counts::unlimited(),
            endpoint_is_open: false,
            body: PhantomData,
        })
    }
}

impl<B, F> ChatKitRestLayer<B, F> {
    /// Sends each request for a path that is none of ours to `fallback`, with its path, headers and
    /// body as they came. What `fallback` fails with is answered here, with 502 or 504.
    pub fn with_fallback<G>(self, fallback: G) -> ChatKitRestLayer<B, G> {
        let Self { surfaces, route, fallback: _, operations, counts, endpoint_is_open, body } =
            self;
        ChatKitRestLayer { surfaces, route, fallback, operations, counts, endpoint_is_open, body }
    }

    /// Serves one-shot chat as well: `POST {prefix}/chat`, and `POST {prefix}/{user_id}/chat` for
    /// the user who is calling, and what was said by `GET {prefix}/conversations` and the paths below
    /// it, of that user's too. Conversations are sessions, under the rules of
    /// [`Desk::with_chat`]; the longest message is
    /// [`BodyLimits::max_chat_chars`].
    ///
    /// # Errors
    /// If `prefix` is not a path prefix, or if its paths and REST's can meet
    /// ([`Router::new`]).
    pub fn with_chat(self, prefix: &str) -> Result<Self, Error> {
        let surfaces = self.surfaces.with_chat(prefix);
        let route = RouteLayer::of_rooms(Router::new(Name::ALL, &surfaces)?);
        Ok(Self { surfaces, route, ..self })
    }

    /// Says how one-shot chat refuses what it doesn't expect.
    #[must_use]
    pub fn with_invalid_status(self, invalid: InvalidStatus) -> Self {
        Self { surfaces: self.surfaces.with_invalid_status(invalid), ..self }
    }

    /// Limits what one user, and all of them together, may ask for, over all services of this layer and
    /// of its clones.
    ///
    /// Counted is who is known and what is ours: not the fallback's requests, nor what is answered with
    /// 401, 404 or 405 because it is nobody's or no operation. What the limits count replaces what a
    /// desk, a reader and settings would, whichever was given first.
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use chatkit_rest::host::{ChatKitRestLayer, HostLimits};
    /// use chatkit_rest::session::MemoryStore;
    /// # type B = http_body_util::Full<bytes::Bytes>;
    ///
    /// let limits = HostLimits::default().with_requests_per_minute(120);
    /// let layer = ChatKitRestLayer::new("/api/v1/chatkit", Arc::new(MemoryStore::new()))?
    ///     .with_limits(limits);
    /// # drop::<ChatKitRestLayer<B>>(layer);
    /// # Ok::<(), chatkit_rest::error::Error>(())
    /// ```
    #[must_use]
    pub fn with_limits(self, limits: HostLimits) -> Self {
        let counts = self.counts.with_limits(limits);
        Self { operations: counts.inside_of(self.operations), counts, ..self }
    }

    /// Has the limits of requests hold over all processes that have the same `source`, such as the session
    /// store that they share: see [`RateLimitLayer::with_shared`](crate::limit::RateLimitLayer::with_shared).
    /// A process that ends [gives back](Self::give_back_limits) what it has.
    #[must_use]
    pub fn with_shared_limits(self, source: Arc<dyn Allowances>) -> Self {
        Self { counts: self.counts.with_shared(source), ..self }
    }

    /// Replaces the bounds of bodies, or what unknown request types meet.
    #[must_use]
    pub fn with_reader(self, reader: Reader) -> Self {
        let operations = self.counts.inside_of(self.operations.with_reader(reader));
        Self { operations, ..self }
    }

    /// Replaces the store or its limits.
    #[must_use]
    pub fn with_desk(self, desk: Desk) -> Self {
        let operations = self.counts.inside_of(self.operations.with_desk(desk));
        Self { operations, ..self }
    }

    /// Replaces the endpoint, the identity header, the hold.
    #[must_use]
    pub fn with_settings(self, settings: ChatKitSettings) -> Self {
        let operations = self.counts.inside_of(self.operations.with_settings(settings));
        Self { operations, ..self }
    }

    /// Gives the service of these settings in front of `upstream`, for who has no stack of layers.
    ///
    /// Its error is [`Infallible`](std::convert::Infallible): whatever fails has an answer.
    pub fn service<S>(&self, upstream: S) -> ChatKitRest<S, B, F>
    where
        F: Clone,
    {
        let rooms = self.counts.layer(self.operations.layer(upstream));
        let closed = (!self.endpoint_is_open).then(|| self.operations.endpoint().path());
        let fallback = Theirs::new(self.fallback.clone(), closed);
        let route = self.route.clone().with_fallback(fallback);
        ChatKitRest {
            route: route.layer(RequirePrincipal::new(Arc::new(self.surfaces.clone()), rooms)),
            body: PhantomData,
        }
    }

    /// Waits for what is finished though its client has left; see
    /// [`OperationLayer::finished`].
    pub async fn finished(&self) {
        self.operations.finished().await;
    }

    /// Gives back what is held of limits that are [shared](Self::with_shared_limits), when no more requests
    /// come; see [`RateLimitLayer::give_back`](crate::limit::RateLimitLayer::give_back).
    pub async fn give_back_limits(&self) {
        self.counts.give_back().await;
    }

    /// Lets requests from outside reach the endpoint's path in the fallback. Where the fallback is
    /// the upstream, too, nothing checks there whose threads they name, and their `x-user-id` is
    /// whatever they say. For a host that guards that path itself.
    #[must_use]
    pub fn danger_open_endpoint(self) -> Self {
        Self { endpoint_is_open: true, ..self }
    }
}

impl<B, F: Clone> Clone for ChatKitRestLayer<B, F> {
    fn clone(&self) -> Self {
        Self {
            surfaces: self.surfaces.clone(),
            route: self.route.clone(),
            fallback: self.fallback.clone(),
            operations: self.operations.clone(),
            counts: self.counts.clone(),
            endpoint_is_open: self.endpoint_is_open,
            body: PhantomData,
        }
    }
}

impl<B, F> fmt::Debug for ChatKitRestLayer<B, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChatKitRestLayer")
            .field("operations", &self.operations)
            .field("counts", &self.counts)
            .finish_non_exhaustive()
    }
}

impl<S, B, F: Clone> Layer<S> for ChatKitRestLayer<B, F> {
    type Service = ChatKitRest<S, B, F>;

    fn layer(&self, upstream: S) -> Self::Service {
        self.service(upstream)
    }
}

/// The rooms of [`ChatKitRest`], outermost first.
pub type Rooms<S, F> = Route<Name, RequirePrincipal<InFlight<RateLimit<Operations<S>>>>, Theirs<F>>;

/// The service of [`ChatKitRestLayer`].
pub struct ChatKitRest<S, B, F = NotFound> {
    route: Rooms<S, F>,
    body: PhantomData<fn(B)>,
}

impl<S, B, F> Service<Request<B>> for ChatKitRest<S, B, F>
where
    Rooms<S, F>: Service<Request<B>>,
{
    type Response = <Rooms<S, F> as Service<Request<B>>>::Response;
    type Error = <Rooms<S, F> as Service<Request<B>>>::Error;
    type Future = <Rooms<S, F> as Service<Request<B>>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.route.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        self.route.call(request)
    }
}

impl<S: Clone, B, F: Clone> Clone for ChatKitRest<S, B, F> {
    fn clone(&self) -> Self {
        Self { route: self.route.clone(), body: PhantomData }
    }
}

impl<S, B, F> fmt::Debug for ChatKitRest<S, B, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChatKitRest").finish_non_exhaustive()
    }
}
