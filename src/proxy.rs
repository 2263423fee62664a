//! THE MAP: a request's way through the gateway, outermost room first.
//!
//! [`Rooms`] are the layers, each made of its part of the configuration; [`Rooms::around`] puts
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
//! let rooms = Rooms::furnish(&config, sessions, HealthLayer::elsewhere())?;
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
use http::{HeaderName, Method, Request, Response};
use http_body::Body;
use http_body_util::Full;
use tower::util::option_layer;
use tower::{Service, ServiceBuilder};
use tower_http::cors::{self, AllowHeaders, AllowOrigin};

use crate::authenticate::{AuthenticateLayer, ServiceKeys, Trust, Verifier};
use crate::client_secret::StoredSecrets;
use crate::config::{AllowedOrigins, AnonymousConfig, AuthConfig, AuthKey, Config};
use crate::cors::CorsLayer;
use crate::error::{BoxError, Error};
use crate::forward::{IdentityHeaders, PublicAddress};
use crate::health::HealthLayer;
use crate::limit::{BufferedBytes, InFlightLayer, PerUserStreams, RateLimitLayer};
use crate::openapi::DocsLayer;
use crate::operation::OperationLayer;
use crate::principal::UserId;
use crate::route::{Operation, RouteLayer, Router, SurfaceLayer};
use crate::session::{ChatSettings, Desk, SessionLimits, SessionStore};
use crate::stream::HoldPolicy;
use crate::telemetry::{TraceLayer, UserLayer};
use crate::translate::TranslateSettings;
use crate::validate::{BodyLimits, Reader, Schemas};

/// The rooms of the gateway, furnished.
#[derive(Clone, Debug)]
pub struct Rooms {
    surface: SurfaceLayer,
    cors: Option<CorsLayer>,
    health: HealthLayer,
    docs: DocsLayer,
    in_flight: InFlightLayer,
    authenticate: AuthenticateLayer,
    rate: RateLimitLayer,
    route: RouteLayer,
    operations: OperationLayer,
}

impl Rooms {
    /// Furnishes the rooms as configured. `health` answers on this listener; so do the document
    /// and its page, unless there is an `admin.listen` for them.
    ///
    /// # Errors
    /// If a key can't be read or a setting can't be used.
    pub fn furnish(
        config: &Config,
        store: Arc<dyn SessionStore>,
        health: HealthLayer,
    ) -> Result<Self, Error> {
        let in_flight = InFlightLayer::new(config.limits.max_in_flight);
        Self::furnish_with(config, store, health, in_flight)
    }

    /// The same with places that somebody else looks at, too.
    pub(crate) fn furnish_with(
        config: &Config,
        store: Arc<dyn SessionStore>,
        health: HealthLayer,
        in_flight: InFlightLayer,
    ) -> Result<Self, Error> {
        let limits = &config.limits;
        let body_limits = BodyLimits {
            max_body_bytes: limits.max_body_bytes,
            max_json_values: limits.max_json_values,
            max_audio_bytes: limits.max_audio_bytes,
            max_message_chars: limits.max_message_chars,
            max_chat_chars: config.chat.max_message_chars,
            body_timeout: config.server.body_timeout,
        };
        let session_limits = SessionLimits {
            max_sessions: limits.max_sessions,
            max_messages: limits.max_messages,
            hide_foreign: config.session.hide_foreign,
            lease: config.upstream.first_run_lease(),
        };
        let chat = ChatSettings {
            ids: config.chat.id_format,
            max_sessions: config.chat.max_sessions,
            max_messages: config.chat.max_messages,
        };
        let identity = IdentityHeaders::new(config.upstream.user_header.clone())?
            .forward_authorization(config.upstream.forward_authorization)
            .forward_headers(config.upstream.forward_headers.clone())?;
        let public_address = match &config.server.public_url {
            _ if !config.upstream.forwarded => PublicAddress::Untold,
            Some(url) => PublicAddress::Known(url.clone()),
            None => PublicAddress::OfRequest,
        };
        let buffered =
            BufferedBytes::new(limits.max_buffered_bytes, limits.max_buffered_bytes_per_user);
        let translation = TranslateSettings {
            identity,
            public_address,
            utc_offset: config.upstream.utc_offset,
            max_reply_bytes: config.upstream.max_reply_bytes,
            buffered: Some(buffered.clone()),
            max_errands: limits.max_in_flight,
            hold: HoldPolicy {
                hold_for: config.stream.hold_for,
                hold_bytes: config.stream.hold_bytes,
                preamble_bytes: HoldPolicy::echo_of(
                    limits.max_body_bytes,
                    config.stream.hold_bytes,
                ),
            },
            acted: config.chat.acted.clone(),
            ..TranslateSettings::default()
        };
        let requests_per_minute = limits.requests_per_minute.map_or(0, std::num::NonZeroU32::get);
        let surfaces = config.surfaces();
        let secrets = Arc::new(StoredSecrets::new(Arc::clone(&store)));
        let authenticate = authenticate(config)?
            .service_keys(service_keys(config)?)
            .client_secrets(Arc::<StoredSecrets>::clone(&secrets))
            .max_unauthenticated(limits.max_unauthenticated);
        let reader = Reader::new(Schemas::compile()?, body_limits)
            .with_unknown_requests(config.passthrough.unknown)
            .with_buffered_bytes(buffered);
        let desk = Desk::new(store, session_limits)
            .with_unknown_attachments(config.attachments.unknown)
            .with_chat(chat)
            .with_streams(PerUserStreams::new(limits.max_streams_per_user))
            .with_client_secrets(secrets);
        Ok(Self {
            surface: SurfaceLayer::new(surfaces.clone()),
            cors: cors(config),
            health,
            docs: match config.admin.listen {
                None => DocsLayer::new(config)?,
                Some(_) => DocsLayer::elsewhere(),
            },
            in_flight,
            authenticate,
            rate: RateLimitLayer::with_max_users(requests_per_minute, limits.max_tracked_users),
            route: RouteLayer::new(Router::with_surfaces(&surfaces)?),
            operations: OperationLayer::new(reader, desk, translation),
        })
    }

    /// Waits for what is finished though its client has left; see
    /// [`OperationLayer::finished`].
    pub async fn finished(&self) {
        self.operations.finished().await;
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
            .layer(TraceLayer::new())
            // Before anything can refuse: a refusal is written as its surface writes it.
            .layer(self.surface.clone())
            // Before anything can refuse: a browser hides a refusal without these headers, and its
            // preflights have no token.
            .layer(option_layer(self.cors.clone()))
            // Before any limit: an orchestrator asks also when there is too much to do.
            .layer(self.health.clone())
            // Before tokens: who has none yet reads here how to get on.
            .layer(self.docs.clone())
            // Before tokens: what a path can do is asked by who has none yet.
            .layer(self.route.options())
            // Before any place is taken: who has no token must not keep out those who have. Those
            // who are still looked up it counts itself.
            .layer(self.authenticate.clone())
            // Before anything else can refuse: the line of that refusal says who was refused.
            .layer(UserLayer)
            // Before anything is counted or read: what is too much is shed at the least cost.
            .layer(self.in_flight.clone())
            // By verified user: a forged token costs nobody else anything.
            .layer(self.rate.clone())
            .layer(self.route.clone())
            // The body is read here, when it is known who sends it and what it is for; on the way
            // back, the stream room's work is done in here.
            .layer(self.operations.clone())
            .service(upstream)
    }
}

fn service_keys(config: &Config) -> Result<ServiceKeys, Error> {
    let keys: Result<Vec<_>, Error> = config
        .openai
        .api_keys
        .iter()
        .map(|key| {
            let name = UserId::parse(&key.name);
            let name =
                name.map_err(|_| Error::config("openai.api_keys has a name that is none"))?;
            Ok((name, key.sha256))
        })
        .collect();
    Ok(ServiceKeys::new(keys?))
}

fn authenticate(config: &Config) -> Result<AuthenticateLayer, Error> {
    let jwt = match &config.auth {
        AuthConfig::Anonymous(anonymous) => return Ok(trusting(anonymous, config)),
        AuthConfig::Jwt(jwt) => jwt,
    };
    let mut verifier = Verifier::builder()
        .algorithms(jwt.algorithms.iter().copied())
        .user_claim(&jwt.user_claim)
        .token_type(jwt.token_type.clone())
        .leeway(jwt.leeway);
    verifier = match &jwt.key {
        AuthKey::PublicKey { pem, .. } => verifier.public_key_pem(pem.as_bytes()),
        // Whether a short one will do was decided when the configuration was read.
        AuthKey::Secret(secret) => verifier.danger_short_secret(secret.expose().as_bytes()),
    };
    if let Some(issuer) = &jwt.issuer {
        verifier = verifier.issuer(issuer);
    }
    if let Some(audience) = &jwt.audience {
        verifier = verifier.audience(audience);
    }
    let mut layer = AuthenticateLayer::new(Arc::new(verifier.build()?));
    if let Some(cookie) = &jwt.cookie {
        layer = layer.cookie(cookie);
    }
    Ok(allow_origins(layer, config))
}

fn allow_origins(layer: AuthenticateLayer, config: &Config) -> AuthenticateLayer {
    match &config.cors.allowed_origins {
        // Never with a cookie, and what it means without one is said where callers are believed.
        AllowedOrigins::Any => layer,
        AllowedOrigins::List(origins) => {
            layer.allowed_origins(origins.iter().filter_map(|origin| origin.to_str().ok()))
        }
    }
}

fn trusting(anonymous: &AnonymousConfig, config: &Config) -> AuthenticateLayer {
    let mut trust = Trust::everyone_is(anonymous.user.clone());
    let surfaces = config.surfaces();
    for operation in Operation::ALL.into_iter().filter(|operation| operation.names_user()) {
        if let Some(prefix) = surfaces.prefix(operation.surface()) {
            trust = trust.user_of_path(&format!("{prefix}{}", operation.route().1));
        }
    }
    if let Some(secret) = &anonymous.shared_secret {
        trust = trust.shared_secret(secret.expose());
    }
    if config.cors.allowed_origins == AllowedOrigins::Any {
        trust = trust.danger_any_page();
    }
    allow_origins(AuthenticateLayer::danger_trust(trust), config)
}

fn cors(config: &Config) -> Option<CorsLayer> {
    let origins = match &config.cors.allowed_origins {
        AllowedOrigins::List(origins) if origins.is_empty() => return None,
        AllowedOrigins::List(origins) => AllowOrigin::list(origins.iter().cloned()),
        AllowedOrigins::Any => AllowOrigin::any(),
    };
    let any = matches!(config.cors.allowed_origins, AllowedOrigins::Any);
    let cookie = matches!(&config.auth, AuthConfig::Jwt(jwt) if jwt.cookie.is_some());
    let headers = |names: &'static [&'static str]| {
        names.iter().map(|name| HeaderName::from_static(name)).collect::<Vec<_>>()
    };
    Some(CorsLayer(
        cors::CorsLayer::new()
            .allow_origin(origins)
            .allow_credentials(cookie && !any)
            .allow_methods([Method::GET, Method::POST, Method::PATCH, Method::DELETE])
            // Integrators send headers of their own; the origin is what decides.
            .allow_headers(AllowHeaders::mirror_request())
            .expose_headers(headers(&[
                "location",
                "ratelimit",
                "ratelimit-policy",
                "retry-after",
                "www-authenticate",
                "x-conversation-id",
                "x-request-id",
            ]))
            .max_age(std::time::Duration::from_secs(7200))
            .vary([http::header::ORIGIN]),
    ))
}
