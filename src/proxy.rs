//! THE MAP: a request's way through the gateway, outermost room first.
//!
//! Needs the feature `server`.
//!
//! [`Rooms`] are the layers, which the configuration makes of its parts; [`Rooms::around`] puts
//! them around an upstream, in the one order that holds. What a room needs from those before it
//! is in the type of the request's body, so most other orders don't compile.
//!
//! [`Server`](crate::server::Server) is these rooms with a listener. A program with a listener of
//! its own puts them around any service that speaks ChatKit:
//!
//! ```
//! use std::sync::Arc;
//!
//! use bytes::Bytes;
//! use chatkit_rest::config::Sources;
//! use chatkit_rest::embedded::Embedded;
//! use chatkit_rest::proxy::Rooms;
//! use chatkit_rest::health::HealthLayer;
//! use chatkit_rest::session::MemoryStore;
//! use http::Request;
//! use http_body_util::Full;
//! use tower::ServiceExt;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let settings = "auth.secret = \"0123456789abcdef0123456789abcdef\"";
//! let config = Sources::new().toml("settings", settings).load()?.config;
//! let sessions = Arc::new(MemoryStore::new());
//! let rooms = Rooms::from_config(&config, sessions, HealthLayer::elsewhere())?;
//! let gateway = rooms.around(Embedded::in_memory()?);
//!
//! let request = Request::post("/api/v1/chatkit/sessions").body(Full::<Bytes>::default())?;
//! let response = gateway.oneshot(request).await.map_err(|_| "the gateway failed")?;
//! assert_eq!(response.status(), 401);
//! # Ok(())
//! # }
//! ```

use std::error::Error as StdError;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use tower::util::option_layer;
use tower::{Service, ServiceBuilder};

use crate::authenticate::{AuthenticateLayer, ProtectedResourceLayer};
use crate::client_secret::StoredSecrets;
use crate::config::Config;
use crate::cors::{CorsLayer, StrangePageLayer};
use crate::error::{BoxError, Error};
use crate::health::HealthLayer;
use crate::limit::{InFlightLayer, RateLimitLayer};
use crate::openapi::DocsLayer;
use crate::operation::{Name, OperationLayer};
use crate::proof::KeySetLayer;
use crate::route::{AimLayer, LookUpLayer, SurfaceLayer};
use crate::session::SessionStore;
use crate::telemetry::{Ending, UserLayer};

/// The rooms of the gateway.
#[derive(Clone, Debug)]
pub struct Rooms {
    ending: Ending,
    surface: SurfaceLayer,
    resource: ProtectedResourceLayer,
    strange_pages: StrangePageLayer,
    cors: Option<CorsLayer>,
    health: HealthLayer,
    docs: DocsLayer,
    key_set: KeySetLayer,
    look_up: LookUpLayer<Name>,
    in_flight: InFlightLayer,
    authenticate: AuthenticateLayer,
    rate: RateLimitLayer,
    operations: OperationLayer,
}

impl Rooms {
    /// Makes the rooms as configured. `health` answers on this listener; so do the document
    /// and its page, unless there is an `admin.listen` for them.
    ///
    /// # Errors
    /// If a key can't be read or a setting can't be used.
    pub fn from_config(
        config: &Config,
        store: Arc<dyn SessionStore>,
        health: HealthLayer,
    ) -> Result<Self, Error> {
        let in_flight = InFlightLayer::new(config.limits.max_in_flight);
        Self::from_config_with(config, store, (health, config.docs_layer()?), in_flight)
    }

    /// Makes them with these answers to those without a token, and with places that somebody else
    /// looks at, too.
    pub(crate) fn from_config_with(
        config: &Config,
        store: Arc<dyn SessionStore>,
        (health, docs): (HealthLayer, DocsLayer),
        in_flight: InFlightLayer,
    ) -> Result<Self, Error> {
        let secrets = Arc::new(StoredSecrets::new(Arc::clone(&store)));
        let rate = config.rate_limit_layer(Arc::<dyn SessionStore>::clone(&store));
        let desk = config.desk(store).with_client_secrets(Arc::<StoredSecrets>::clone(&secrets));
        Ok(Self {
            ending: Ending::default(),
            surface: SurfaceLayer::new(config.surfaces()),
            resource: ProtectedResourceLayer::new(config.protected_resource()?),
            strange_pages: config.strange_page_layer(),
            cors: config.cors_layer(),
            health,
            docs,
            key_set: config.key_set_layer(),
            look_up: config.look_up_layer()?,
            in_flight,
            authenticate: config.authenticate_layer(secrets)?,
            rate,
            operations: config.operation_layer(desk)?,
        })
    }

    /// Answers what a [`Server`](crate::server::Server) of this configuration answers by itself on the
    /// listener for requests, too: `/` and `/favicon.ico`, what clients need to get a token, and unless there is an `admin.listen` for
    /// them, the document, its page and health, which is that of a gateway that is ready. For a program
    /// that shows what a server would answer.
    ///
    /// # Errors
    /// If the document or a page can't be made; a test rules that out.
    pub fn with_own_paths(self, config: &Config) -> Result<Self, Error> {
        let health = match config.admin.listen {
            None => HealthLayer::ready(),
            Some(_) => HealthLayer::elsewhere(),
        };
        let resource = ProtectedResourceLayer::new(config.protected_resource()?);
        Ok(Self { health, docs: config.docs_layer_of_server()?, resource, ..self })
    }

    /// Gives what callers are known by.
    pub(crate) fn callers(&self) -> AuthenticateLayer {
        self.authenticate.clone()
    }

    /// Gives what the log is told of the server's end by.
    pub(crate) fn ending(&self) -> &Ending {
        &self.ending
    }

    /// Waits for what is finished though its client has left; see
    /// [`OperationLayer::finished`].
    pub async fn finished(&self) {
        self.operations.finished().await;
    }

    /// Gives back what is held of limits that gateways share, when no more requests come; see
    /// [`RateLimitLayer::give_back`].
    pub async fn give_back_limits(&self) {
        self.rate.give_back().await;
    }

    /// Puts the rooms around an upstream.
    pub fn around<S, B, R>(
        &self,
        upstream: S,
    ) -> impl Service<
        Request<B>,
        Response = Response<impl Body<Data = Bytes, Error = BoxError> + Send + use<S, B, R>>,
        Error: Into<BoxError>,
        Future: Send,
    > + Clone
    + Send
    + use<S, B, R>
    where
        S: Service<
                Request<Full<Bytes>>,
                Response = Response<R>,
                Error: Into<BoxError> + Send,
                Future: Send,
            > + Clone
            + Send
            + 'static,
        B: Body<Data = Bytes, Error: StdError> + Send + 'static,
        R: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        ServiceBuilder::new()
            // Outermost, so that every response has its request id and every request its log
            // line, whoever answers.
            .layer(self.ending.trace())
            // Before anything can refuse: a refusal is written as its surface writes it.
            .layer(self.surface.clone())
            // Before cross-origin rules: what it says is for pages of any origin.
            .layer(self.resource.clone())
            // Before preflights are answered, which are all that comes of some pages.
            .layer(self.strange_pages.clone())
            // Before anything can refuse: a browser hides a refusal without these headers, and its
            // preflights have no token.
            .layer(option_layer(self.cors.clone()))
            // Before any limit: an orchestrator asks also when there is too much to do.
            .layer(self.health.clone())
            // Before tokens: who has none yet reads here how to get on.
            .layer(self.docs.clone())
            // Before tokens: the upstream, which reads it, has none.
            .layer(self.key_set.clone())
            // Before tokens: what a path can do is asked by who has none yet, and who is at none has
            // the wrong URL, whatever their token.
            .layer(self.look_up.clone())
            // Before any place is taken: who has no token must not keep out those who have. Those
            // who are still looked up it counts itself.
            .layer(self.authenticate.clone())
            // Before anything else can refuse: the line of that refusal says who was refused.
            .layer(UserLayer)
            // Before anything is counted or read: what is too much is shed at the least cost.
            .layer(self.in_flight.clone())
            // By verified user: a forged token costs nobody else anything.
            .layer(self.rate.clone())
            // What was found further out, and by whom it was asked for: from here on it is in the type.
            .layer(AimLayer)
            // The body is read here, when it is known who sends it and what it is for; on the way
            // back, the stream room's work is done in here.
            .layer(self.operations.clone())
            .service(upstream)
    }
}
