//! The rooms as they are configured: each layer made of its part of the settings.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, Method, header};
use tower_http::cors::{self, AllowHeaders, AllowOrigin};

use super::auth::{AnonymousConfig, AuthConfig, AuthKey, JwtConfig};
use super::issuers::IssuersConfig;
use super::settings::Config;
use super::web::AllowedOrigins;
use crate::authenticate::{
    AuthenticateLayer, ClientSecrets, FetchKeys, Issuers, ProtectedResource, Requirement,
    ServiceKeys, Trust, Verifier, VerifierBuilder,
};
use crate::chatkit::ChatKitSettings;
use crate::cors::{CorsLayer, StrangePageLayer};
use crate::error::Error;
use crate::forward::{IdentityHeaders, PublicAddress};
use crate::limit::{BufferedBytes, PerUserStreams, RateLimitLayer};
use crate::openapi::{Callers, DocsLayer, Facts, Listener};
use crate::operation::{Name, OperationLayer};
use crate::principal::UserId;
use crate::proof::KeySetLayer;
use crate::route::{LookUpLayer, Router, Signposts};
use crate::session::{ChatSettings, Desk, SessionLimits, SessionStore};
use crate::stream::HoldPolicy;
use crate::validate::{BodyLimits, Reader, Schemas};

impl Config {
    /// Gives what the document tells of this gateway.
    pub fn facts(&self) -> Facts {
        Facts {
            surfaces: self.surfaces(),
            is_elsewhere: self.admin.listen.is_some(),
            resource: self.protected_resource().ok().flatten(),
            callers: match &self.auth {
                AuthConfig::Anonymous(anonymous) => {
                    Callers::Believed { by_shared_secret: anonymous.shared_secret.is_some() }
                }
                AuthConfig::Jwt(_) | AuthConfig::Issuers(_) => {
                    Callers::Tokens { cookie: self.auth.cookie().map(str::to_owned) }
                }
            },
            has_key_set: self.key_set_is_published(),
            requires_more: self.auth.issuers().iter().any(|jwt| !jwt.require.is_empty()),
            has_client_secrets: self.openai.enabled && !self.openai.api_keys.is_empty(),
            bodies: self.body_limits(),
            unknown_requests: self.passthrough.unknown,
            sessions: self.session_limits(),
            chat: self.chat_settings(),
            requests_per_minute: self.limits.requests_per_minute,
            max_streams_per_user: self.limits.max_streams_per_user,
        }
    }

    /// Gives what clients need to get a token, where that is known: who the issuer is, and where they
    /// reach the gateway.
    pub(crate) fn protected_resource(&self) -> Result<Option<ProtectedResource>, Error> {
        let all = self.auth.issuers();
        let issuers: Vec<_> = self.auth.servers().collect();
        let Some(url) = self.server.public_url.as_ref().filter(|_| !issuers.is_empty()) else {
            return Ok(None);
        };
        let mut scopes: Vec<_> =
            all.iter().flat_map(|jwt| &jwt.require).filter_map(Requirement::scope).collect();
        // In the order of the settings; of several issuers each may ask for the same.
        let mut seen = Vec::new();
        scopes.retain(|scope| {
            !seen.contains(scope) && {
                seen.push(*scope);
                true
            }
        });
        let resource =
            ProtectedResource::new(&url.to_string(), &self.surfaces(), &issuers, &scopes);
        resource.map(Some)
    }

    /// Makes the layer that has the document, unless it is on a listener of its own.
    pub(crate) fn docs_layer(&self) -> Result<DocsLayer, Error> {
        match self.admin.listen {
            None => DocsLayer::new(&self.facts()),
            Some(_) => Ok(DocsLayer::elsewhere()),
        }
    }

    /// Makes the layer that has the pages of a server's listener for requests.
    pub(crate) fn docs_layer_of_server(&self) -> Result<DocsLayer, Error> {
        match self.admin.listen {
            None => DocsLayer::of_listener(Listener::Only(&self.facts())),
            Some(_) => DocsLayer::of_listener(Listener::Main),
        }
    }

    /// Makes the layer that has the keys by which the upstream verifies who calls.
    pub(crate) fn key_set_layer(&self) -> KeySetLayer {
        KeySetLayer::new(self.upstream.proof.as_ref())
    }

    fn key_set_is_published(&self) -> bool {
        self.upstream.proof.as_ref().is_some_and(|signer| signer.key_set().is_some())
    }

    /// Makes the layer that answers calls from web pages; `None`: there are none.
    pub(crate) fn cors_layer(&self) -> Option<CorsLayer> {
        let origins = match &self.cors.allowed_origins {
            AllowedOrigins::List(origins) if origins.is_empty() => return None,
            AllowedOrigins::List(origins) => AllowOrigin::list(origins.iter().cloned()),
            AllowedOrigins::Any => AllowOrigin::any(),
        };
        let any = matches!(self.cors.allowed_origins, AllowedOrigins::Any);
        let cookie = self.auth.cookie().is_some();
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
                .max_age(Duration::from_secs(7200))
                .vary([header::ORIGIN]),
        ))
    }

    /// Makes the layer that names whose pages may not call.
    pub(crate) fn strange_page_layer(&self) -> StrangePageLayer {
        match &self.cors.allowed_origins {
            AllowedOrigins::Any => StrangePageLayer::nobody_is(),
            AllowedOrigins::List(origins) => StrangePageLayer::new(
                origins.clone(),
                self.server.public_url.clone(),
                self.surfaces(),
            ),
        }
    }

    /// Makes the layer that verifies callers, client sessions by `secrets`.
    pub(crate) fn authenticate_layer(
        &self,
        secrets: Arc<dyn ClientSecrets>,
    ) -> Result<AuthenticateLayer, Error> {
        let layer = match &self.auth {
            AuthConfig::Anonymous(anonymous) => trusting(anonymous, self),
            AuthConfig::Jwt(jwt) => AuthenticateLayer::new(Arc::new(verifier(jwt)?.build()?)),
            AuthConfig::Issuers(several) => of_issuers(several)?,
        };
        let layer = match self.auth.cookie() {
            Some(cookie) => layer.cookie(cookie),
            None => layer,
        };
        let layer = match self.protected_resource()? {
            Some(resource) => layer.resource(resource),
            None => layer,
        };
        Ok(allow_origins(layer, self)
            .service_keys(service_keys(self)?)
            .client_secrets(secrets)
            .max_unauthenticated(self.limits.max_unauthenticated))
    }

    /// Makes the layer that counts a user's requests, with others on that store if they are to share.
    pub(crate) fn rate_limit_layer(&self, store: Arc<dyn SessionStore>) -> RateLimitLayer {
        let requests_per_minute = self.limits.requests_per_minute.map_or(0, NonZeroU32::get);
        let max_users = self.limits.max_tracked_users;
        let layer = RateLimitLayer::with_max_users(requests_per_minute, max_users);
        if self.shares_limits() { layer.with_shared(store) } else { layer }
    }

    /// Makes the layer that finds operations on the surfaces that are served.
    pub(crate) fn look_up_layer(&self) -> Result<LookUpLayer<Name>, Error> {
        let surfaces = self.surfaces();
        let router = Router::new(Name::ALL, &surfaces)?;
        Ok(LookUpLayer::new(router, Signposts::new(surfaces, self.admin.listen.is_some())))
    }

    /// Makes the layer that carries operations out, for whom `desk` lets.
    pub(crate) fn operation_layer(&self, desk: Desk) -> Result<OperationLayer, Error> {
        let limits = &self.limits;
        // One count, of what is read of requests and of what is read of the upstream's answers.
        let buffered =
            BufferedBytes::new(limits.max_buffered_bytes, limits.max_buffered_bytes_per_user);
        let reader = Reader::new(Schemas::compile()?, self.body_limits())
            .with_unknown_requests(self.passthrough.unknown)
            .with_buffered_bytes(buffered.clone());
        Ok(OperationLayer::new(reader, desk, self.chatkit_settings(buffered)?))
    }

    fn body_limits(&self) -> BodyLimits {
        BodyLimits {
            max_body_bytes: self.limits.max_body_bytes,
            max_json_values: self.limits.max_json_values,
            max_audio_bytes: self.limits.max_audio_bytes,
            max_message_chars: self.limits.max_message_chars,
            max_chat_chars: self.chat.max_message_chars,
            body_timeout: self.server.body_timeout,
        }
    }

    /// Makes the desk that knows whose is what, by `store`.
    pub(crate) fn desk(&self, store: Arc<dyn SessionStore>) -> Desk {
        Desk::new(store, self.session_limits())
            .with_unknown_attachments(self.attachments.unknown)
            .with_chat(self.chat_settings())
            .with_streams(PerUserStreams::new(self.limits.max_streams_per_user))
    }

    fn session_limits(&self) -> SessionLimits {
        SessionLimits {
            max_sessions: self.limits.max_sessions,
            max_messages: self.limits.max_messages,
            hide_foreign: self.session.hide_foreign,
            lease: self.upstream.first_run_lease(),
        }
    }

    fn chat_settings(&self) -> ChatSettings {
        ChatSettings {
            ids: self.chat.id_format,
            max_sessions: self.chat.max_sessions,
            max_messages: self.chat.max_messages,
        }
    }

    fn chatkit_settings(&self, buffered: BufferedBytes) -> Result<ChatKitSettings, Error> {
        let (limits, upstream, stream) = (&self.limits, &self.upstream, &self.stream);
        let identity = IdentityHeaders::new(upstream.user_header.clone())?
            .forward_authorization(upstream.forward_authorization)
            .forward_headers(upstream.forward_headers.clone())?;
        let public_address = match &self.server.public_url {
            _ if !upstream.forwarded => PublicAddress::Untold,
            Some(url) => PublicAddress::Known(url.clone()),
            None if self.server.tls.is_some() => PublicAddress::OfSecureRequest,
            None => PublicAddress::OfRequest,
        };
        Ok(ChatKitSettings {
            identity,
            proof: upstream.proof.clone(),
            public_address,
            utc_offset: upstream.utc_offset,
            max_reply_bytes: upstream.max_reply_bytes,
            buffered: Some(buffered),
            max_detached_tasks: limits.max_in_flight,
            hold: HoldPolicy {
                hold_for: stream.hold_for,
                hold_bytes: stream.hold_bytes,
                preamble_bytes: HoldPolicy::echo_of(limits.max_body_bytes, stream.hold_bytes),
            },
            acted: self.chat.acted.clone(),
            ..ChatKitSettings::default()
        })
    }
}

impl JwtConfig {
    /// Makes what asks for the issuer's key set; `None`: there is none to be asked for.
    ///
    /// # Errors
    /// If its URL can't be used by this build.
    pub fn fetch_keys(&self) -> Result<Option<Arc<dyn FetchKeys>>, Error> {
        #[cfg(feature = "forward")]
        {
            use crate::authenticate::{HttpKeys, PlainHttp};
            let plain = |danger: &bool| match danger {
                true => PlainHttp::DangerAnywhere,
                false => PlainHttp::OnLoopback,
            };
            Ok(match &self.key {
                AuthKey::Discovery { danger_plain_http } => {
                    let issuer = self.issuer.as_deref().unwrap_or_default();
                    Some(Arc::new(HttpKeys::of_issuer(issuer, plain(danger_plain_http))?))
                }
                AuthKey::KeySetUrl { url, danger_plain_http } => {
                    Some(Arc::new(HttpKeys::at(url, plain(danger_plain_http))?))
                }
                AuthKey::KeySetFile { .. } | AuthKey::PublicKey { .. } | AuthKey::Secret(_) => None,
            })
        }
        #[cfg(not(feature = "forward"))]
        match &self.key {
            AuthKey::Discovery { .. } | AuthKey::KeySetUrl { .. } => {
                Err(Error::config("this build can't fetch key sets (feature `forward`)"))
            }
            AuthKey::KeySetFile { .. } | AuthKey::PublicKey { .. } | AuthKey::Secret(_) => Ok(None),
        }
    }
}

fn of_issuers(several: &IssuersConfig) -> Result<AuthenticateLayer, Error> {
    // What they have verified is remembered for all of them at once.
    let verifiers = several.issuers.iter().map(|jwt| verifier(jwt)?.cache_capacity(0).build());
    let issuers = Issuers::new(verifiers.collect::<Result<Vec<_>, _>>()?)?;
    Ok(AuthenticateLayer::of_issuers(Arc::new(issuers)))
}

fn verifier(jwt: &JwtConfig) -> Result<VerifierBuilder, Error> {
    let mut verifier = Verifier::builder()
        .algorithms(jwt.algorithms.iter().copied())
        .user_claim(&jwt.user_claim)
        .token_type(jwt.token_type.clone())
        .require(jwt.require.iter().cloned())
        .leeway(jwt.leeway);
    if let Some(template) = &jwt.user {
        verifier = verifier.user(template.clone());
    }
    verifier = match &jwt.key {
        AuthKey::PublicKey { pem, .. } => verifier.public_key_pem(pem.as_bytes()),
        AuthKey::KeySetFile { json, .. } => verifier.key_set(json.as_bytes()),
        AuthKey::Discovery { .. } | AuthKey::KeySetUrl { .. } => match jwt.fetch_keys()? {
            Some(fetch) => verifier.remote_key_set(fetch),
            None => verifier,
        },
        // Whether a short one will do was decided when the configuration was read.
        AuthKey::Secret(secret) => verifier.danger_short_secret(secret.expose().as_bytes()),
    };
    if let Some(issuer) = &jwt.issuer {
        verifier = verifier.issuer(issuer);
    }
    if let Some(audience) = &jwt.audience {
        verifier = verifier.audience(audience);
    }
    Ok(verifier)
}

fn trusting(anonymous: &AnonymousConfig, config: &Config) -> AuthenticateLayer {
    let mut trust = Trust::everyone_is(anonymous.user.clone());
    let surfaces = config.surfaces();
    for operation in Name::ALL.into_iter().filter(|operation| operation.names_user()) {
        if let Some(prefix) = surfaces.prefix(operation.surface()) {
            trust = trust.user_of_path(&format!("{prefix}{}", operation.path()));
        }
    }
    if let Some(secret) = &anonymous.shared_secret {
        trust = trust.shared_secret(secret.expose());
    }
    if config.cors.allowed_origins == AllowedOrigins::Any {
        trust = trust.danger_any_page();
    }
    AuthenticateLayer::danger_trust(trust)
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
