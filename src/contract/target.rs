//! What fixtures are run against.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use http_body::Body;
use tower::Service;

use super::client::{ClientBody, Peer};
use super::fixture::Fixture;
use super::format::{Need, TokenKind};
use super::script::Script;
use super::settings;
use super::socket::{AbortOnDrop, SocketUpstream};
use super::token;
use super::upstream::ScriptedUpstream;
use crate::config::Config;
use crate::error::BoxError;
use crate::forward::{InvalidUpstreamUrl, UpstreamUrl};
use crate::health::HealthLayer;
use crate::proxy::Rooms;
use crate::server::Server;
use crate::session::MemoryStore;

/// Where the REST routes are unless a base URL has a path.
const DEFAULT_PREFIX: &str = "/api/v1/chatkit";

/// What fixtures are run against. Cloning is cheap.
#[derive(Clone)]
pub struct Target {
    kind: TargetKind,
    token: Option<Arc<str>>,
}

type Factory = Arc<dyn Fn(ScriptedUpstream, &Config) -> Result<Peer, BoxError> + Send + Sync>;

#[derive(Clone)]
enum TargetKind {
    Service(Factory),
    Sockets,
    Url { host: Arc<str>, port: u16, prefix: Arc<str> },
}

impl Target {
    /// Takes the gateway's rooms in this process, around the scripted upstream: no sockets, and
    /// with a paused clock no waiting either. A new gateway for each fixture.
    pub fn in_process() -> Self {
        Self::service(|upstream, config| {
            let store = Arc::new(MemoryStore::new());
            let rooms = Rooms::from_config(config, store, HealthLayer::elsewhere())?;
            Ok::<_, crate::error::Error>(rooms.around(upstream))
        })
    }

    /// Takes any service. `build` is called once for each fixture and puts the service under test
    /// around the upstream; what of the fixture's settings it heeds is up to it. The REST routes
    /// must be below the configuration's `rest.prefix`, and tokens are to be verified with its
    /// `auth.secret`.
    pub fn service<F, S, E, R>(build: F) -> Self
    where
        F: Fn(ScriptedUpstream, &Config) -> Result<S, E> + Send + Sync + 'static,
        S: Service<http::Request<ClientBody>, Response = Response<R>> + Clone + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
        E: Into<BoxError>,
        R: Body<Data = Bytes> + Send + 'static,
        R::Error: Into<BoxError>,
    {
        Self::new(TargetKind::Service(Arc::new(move |upstream, config| {
            build(upstream, config).map(Peer::service).map_err(Into::into)
        })))
    }

    /// Takes a [`Server`] on a free port of the loopback address, in front of a scripted upstream
    /// on another. New ones for each fixture.
    pub fn sockets() -> Self {
        Self::new(TargetKind::Sockets)
    }

    /// Takes the gateway at `url`, such as `http://127.0.0.1:8080/api/v1/chatkit`. Without a path,
    /// the REST routes are taken to be below `/api/v1/chatkit`.
    ///
    /// Its upstream can't be scripted and its settings can't be changed, so fixtures that need
    /// that are skipped, and so are those that need a token until there is one. What fixtures
    /// create there is deleted again; where it limits the rate of requests, the run waits.
    ///
    /// # Errors
    /// If it is not an `http` URL.
    pub fn base_url(url: &str) -> Result<Self, InvalidBaseUrl> {
        let url =
            UpstreamUrl::parse(url).map_err(|error| InvalidBaseUrl(BaseUrlFlaw::Url(error)))?;
        if url.is_https() {
            return Err(InvalidBaseUrl(BaseUrlFlaw::Https));
        }
        let path = url.path().trim_end_matches('/');
        let prefix = if path.is_empty() { DEFAULT_PREFIX } else { path };
        let (host, prefix) = (url.host().into(), prefix.into());
        Ok(Self::new(TargetKind::Url { host, port: url.port(), prefix }))
    }

    /// Sets the bearer token for a [`base_url`](Self::base_url). Other targets make their own.
    #[must_use]
    pub fn with_token(self, token: &str) -> Self {
        Self { token: Some(token.into()), ..self }
    }

    fn new(kind: TargetKind) -> Self {
        Self { kind, token: None }
    }

    /// Tells whether all fixtures meet the same gateway.
    pub(super) fn is_shared(&self) -> bool {
        matches!(self.kind, TargetKind::Url { .. })
    }

    /// Tells why a fixture can't be run here.
    pub(super) fn skips(&self, fixture: &Fixture) -> Option<&'static str> {
        let needs = |need| fixture.inner.needs.contains(&need);
        if !self.is_shared() {
            let listens = matches!(self.kind, TargetKind::Sockets);
            return (needs(Need::Listener) && !listens).then_some("needs a listener");
        }
        if !fixture.inner.settings.is_empty() {
            return Some("needs settings of its own");
        }
        if needs(Need::OwnStore) {
            return Some("needs a store of its own");
        }
        let (mut scripted, mut users, mut forged, mut tokens) = (false, Vec::new(), false, false);
        let mut service = false;
        fixture.each_step(&mut |step| {
            scripted |= !step.exchanges.is_empty();
            match step.request.token {
                TokenKind::Valid => {
                    tokens = true;
                    if !users.contains(&&*step.request.user) {
                        users.push(&*step.request.user);
                    }
                }
                // Nobody's key is needed for these.
                TokenKind::None
                | TokenKind::Malformed
                | TokenKind::Unsigned
                | TokenKind::WrongKey => {}
                TokenKind::Expired
                | TokenKind::NoExpiry
                | TokenKind::NotYetValid
                | TokenKind::Refresh => {
                    forged = true;
                }
                TokenKind::Service => service = true,
            }
        });
        if scripted {
            return Some("scripts the upstream");
        }
        if service {
            return Some("needs a service's key");
        }
        if forged || users.len() > 1 {
            return Some("needs tokens that only the signer can make");
        }
        (tokens && self.token.is_none()).then_some("needs a token")
    }

    /// Sets the scene for one fixture.
    ///
    /// # Errors
    /// If what is to be tested can't be set up.
    pub(super) async fn stage(&self, fixture: &Fixture) -> Result<Stage, BoxError> {
        let script = Script::new();
        let settings = &fixture.inner.settings;
        match &self.kind {
            TargetKind::Service(build) => {
                let config = settings::config(settings, settings::NO_ADDRESS)?;
                let upstream = ScriptedUpstream::new(script.clone(), &config);
                let prefix = config.rest.prefix.as_str().to_owned();
                Ok(Stage::new(script, build(upstream, &config)?, prefix))
            }
            TargetKind::Sockets => {
                let socket = SocketUpstream::start(script.clone())?;
                let config = settings::config(settings, socket.url())?;
                let prefix = config.rest.prefix.as_str().to_owned();
                let server = Server::bind(config).await?;
                let peer = Peer::Socket(server.local_addr());
                let task = AbortOnDrop::spawn(async move {
                    // It has no error but those to come.
                    let _ = server.serve(std::future::pending()).await;
                });
                let mut stage = Stage::new(script, peer, prefix);
                stage.socket = Some(socket);
                stage.server = Some(task);
                Ok(stage)
            }
            TargetKind::Url { host, port, prefix } => {
                let peer = Peer::Name { host: Arc::clone(host), port: *port };
                let mut stage = Stage::new(script, peer, prefix.to_string());
                stage.host = if host.contains(':') {
                    format!("[{host}]:{port}")
                } else {
                    format!("{host}:{port}")
                };
                stage.given_token = Some(self.token.as_deref().unwrap_or_default().to_owned());
                Ok(stage)
            }
        }
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            TargetKind::Service(_) => f.write_str("Target::service"),
            TargetKind::Sockets => f.write_str("Target::sockets"),
            TargetKind::Url { host, port, prefix } => {
                write!(f, "Target http://{host}:{port}{prefix}")
            }
        }
    }
}

/// What one fixture is run on.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) script: Script,
    pub(super) peer: Peer,
    pub(super) prefix: String,
    pub(super) host: String,
    pub(super) socket: Option<SocketUpstream>,
    server: Option<AbortOnDrop>,
    /// The one token there is, in front of a gateway that is not ours.
    given_token: Option<String>,
}

impl Stage {
    fn new(script: Script, peer: Peer, prefix: String) -> Self {
        let host = "localhost".to_owned();
        Self { script, peer, prefix, host, socket: None, server: None, given_token: None }
    }

    /// Tells whether somebody else's data is there too.
    pub(super) fn is_shared(&self) -> bool {
        self.given_token.is_some()
    }

    /// Gives the token of that kind, and who the user is then.
    pub(super) fn token(&self, kind: TokenKind, user: &str) -> (Option<String>, String) {
        match (&self.given_token, kind) {
            (Some(token), TokenKind::Valid) => {
                let user = token::subject(token).unwrap_or_else(|| user.to_owned());
                (Some(token.clone()), user)
            }
            _ => (token::mint(kind, user), user.to_owned()),
        }
    }
}

/// A text is not the URL of a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidBaseUrl(BaseUrlFlaw);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BaseUrlFlaw {
    Https,
    Url(InvalidUpstreamUrl),
}

impl fmt::Display for InvalidBaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            BaseUrlFlaw::Https => f.write_str("fixtures are run over http; https is not supported"),
            BaseUrlFlaw::Url(error) => fmt::Display::fmt(&error, f),
        }
    }
}

impl std::error::Error for InvalidBaseUrl {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_without_a_path_means_the_default_prefix() {
        for (url, place) in [
            ("http://127.0.0.1:8080", "Target http://127.0.0.1:8080/api/v1/chatkit"),
            ("http://x.example/", "Target http://x.example:80/api/v1/chatkit"),
            ("http://x.example/rest/", "Target http://x.example:80/rest"),
        ] {
            assert_eq!(format!("{:?}", Target::base_url(url).unwrap()), place);
        }
        for url in ["https://x.example", "x.example", "ftp://x", ""] {
            assert!(Target::base_url(url).is_err(), "{url}");
        }
    }
}
