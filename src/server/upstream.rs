//! Which upstream is behind the gateway: one over HTTP, or the one built in.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use pin_project_lite::pin_project;
use tower::Service;

use super::finding::Finding;
use crate::config::{
    AuthConfig, CertificateConfig, Config, FixedHeader, OpenAiResponderConfig, ResponderConfig,
    StoreUrl, Upstream,
};
use crate::embedded::openai::{OpenAiResponder, completions_url};
use crate::embedded::{Embedded, EmbeddedBody, EmbeddedFuture};
use crate::error::Error;
use crate::forward::{
    ForwardError, HttpUpstream, HttpUpstreamBuilder, ResponseFuture, UpstreamBody, UpstreamUrl,
};
use crate::health::{IsLeftInPeace, NotReached, Probe};

/// Why the built-in server doesn't start.
const NO_DATABASE: &str = "the built-in server keeps its threads in no database";

/// The upstream of a [`Server`](super::Server).
#[derive(Clone, Debug)]
pub(super) enum AnyUpstream {
    /// With what it asks a model by, if it does.
    Embedded(Embedded, Option<HttpUpstream>),
    Http(HttpUpstream),
}

impl AnyUpstream {
    pub(super) fn new(config: &Config) -> Result<Self, Error> {
        let settings = &config.upstream;
        match &settings.url {
            Upstream::Url(url) => {
                let url = UpstreamUrl::parse(&url.to_string())
                    .map_err(|error| Error::config("upstream.url can't be used").with(error))?;
                let shown = settings.client_certificate.as_ref();
                let mut builder = http(config, url, settings.ca.as_deref(), shown)?;
                for FixedHeader { name, value } in &settings.headers {
                    let value = HeaderValue::from_str(value.expose()).map_err(|error| {
                        Error::config("upstream.headers can't be used").with(error)
                    })?;
                    builder = builder.header(name.clone(), value)?;
                }
                builder.build().map(Self::Http)
            }
            Upstream::Embedded => {
                // The built-in server keeps its threads where the sessions are.
                let embedded = match &config.store.url {
                    StoreUrl::Memory => Embedded::in_memory()?,
                    StoreUrl::Sqlite(path) => Embedded::open(path)?,
                    // Refused where settings are read.
                    StoreUrl::Postgres(_) => return Err(Error::config(NO_DATABASE)),
                };
                Ok(match &config.embedded.responder {
                    ResponderConfig::Echo => {
                        Self::Embedded(embedded.with_token_delay(config.embedded.token_delay), None)
                    }
                    ResponderConfig::OpenAi(model) => {
                        let api = api(config, model)?;
                        let responder = responder(api.clone(), model)?;
                        let embedded = embedded
                            .with_responder(responder)
                            .with_user_header(settings.user_header.clone());
                        Self::Embedded(embedded, Some(api))
                    }
                })
            }
        }
    }

    /// Tells whether it can be made, without opening its store.
    pub(super) fn check(config: &Config) -> Result<(), Error> {
        match (&config.upstream.url, &config.embedded.responder) {
            (Upstream::Url(_), _) => Self::new(config).map(drop),
            (Upstream::Embedded, ResponderConfig::Echo) => Ok(()),
            (Upstream::Embedded, ResponderConfig::OpenAi(model)) => {
                responder(api(config, model)?, model).map(drop)
            }
        }
    }

    /// Gives the one over HTTP, of which it isn't known what it is.
    pub(super) fn stranger(&self) -> Option<&HttpUpstream> {
        match self {
            Self::Embedded(..) => None,
            Self::Http(upstream) => Some(upstream),
        }
    }

    /// Makes what tells whether it, or the model behind it, is left in peace because it fails.
    pub(super) fn left_in_peace(&self) -> IsLeftInPeace {
        let asked = match self {
            Self::Embedded(_, api) => api.clone(),
            Self::Http(upstream) => Some(upstream.clone()),
        };
        Arc::new(move || asked.as_ref().is_some_and(HttpUpstream::is_left_in_peace))
    }

    /// Makes what tells whether it can be reached.
    pub(super) fn probe(&self) -> Probe {
        match self {
            Self::Embedded(..) => Arc::new(|| Box::pin(async { Ok(()) })),
            Self::Http(upstream) => {
                let upstream = upstream.clone();
                Arc::new(move || {
                    let upstream = upstream.clone();
                    Box::pin(async move {
                        upstream.check_reachable().await.map_err(|error| NotReached {
                            why: crate::error::chain(&error),
                            advice: Finding::without_answer(&error).advice(),
                        })
                    })
                })
            }
        }
    }
}

/// Gives what makes a server at `url`, with how long to wait for it and how much it is asked, whose
/// certificate it may have and which it is shown. Neither is taken of the settings: they are for one
/// server.
fn http(
    config: &Config,
    url: UpstreamUrl,
    ca: Option<&Path>,
    shown: Option<&CertificateConfig>,
) -> Result<HttpUpstreamBuilder, Error> {
    let settings = &config.upstream;
    let mut builder = HttpUpstream::builder(url);
    #[cfg(feature = "tls")]
    if ca.is_some() || shown.is_some() {
        let shown = shown.map(|pair| (&*pair.certificate, &*pair.key));
        builder = builder.tls_config(Arc::new(crate::forward::client_config(ca, shown)?));
    }
    // Refused where settings are read.
    #[cfg(not(feature = "tls"))]
    let _ = (ca, shown);
    if let Some(max) = settings.max_concurrent {
        builder = builder.max_concurrent(max.get(), settings.max_queued, settings.queue_timeout);
    }
    match &config.auth {
        // They are all one, who may have all of what there is.
        AuthConfig::Anonymous(_) => {}
        AuthConfig::Jwt(_) | AuthConfig::Issuers(_) => {
            builder = builder.user_header(settings.user_header.clone());
        }
    }
    Ok(builder
        .breaker(settings.breaker)
        .connect_timeout(settings.connect_timeout)
        .first_byte_timeout(settings.first_byte_timeout)
        .idle_timeout(settings.idle_timeout)
        .json_timeout(settings.json_timeout)
        .pool_idle_timeout(settings.pool_idle_timeout)
        .max_idle_connections(settings.max_idle_connections))
}

/// Gives the way to the model that answers in the server that is built in.
fn api(config: &Config, model: &OpenAiResponderConfig) -> Result<HttpUpstream, Error> {
    let url = completions_url(&model.base_url.to_string())
        .map_err(|error| Error::config("embedded.base_url can't be used").with(error))?;
    http(config, url, model.ca.as_deref(), None)?.build()
}

/// Gives that model.
fn responder(api: HttpUpstream, model: &OpenAiResponderConfig) -> Result<OpenAiResponder, Error> {
    let mut responder = OpenAiResponder::new(api, &*model.model);
    if let Some(key) = &model.api_key {
        responder = responder
            .with_api_key(key.expose())
            .map_err(|error| Error::config("embedded.api_key can't be used").with(error))?;
    }
    Ok(match &model.system_prompt {
        Some(text) => responder.with_system_prompt(&**text),
        None => responder,
    })
}

impl Service<Request<Full<Bytes>>> for AnyUpstream {
    type Response = Response<AnyUpstreamBody>;
    type Error = ForwardError;
    type Future = AnyUpstreamFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ForwardError>> {
        match self {
            Self::Embedded(embedded, _) => {
                Service::<Request<Full<Bytes>>>::poll_ready(embedded, cx)
            }
            Self::Http(upstream) => Service::<Request<Full<Bytes>>>::poll_ready(upstream, cx),
        }
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> AnyUpstreamFuture {
        match self {
            Self::Embedded(embedded, _) => {
                AnyUpstreamFuture::Embedded { future: embedded.call(request) }
            }
            Self::Http(upstream) => AnyUpstreamFuture::Http { future: upstream.call(request) },
        }
    }
}

pin_project! {
    #[project = AnyUpstreamFutureProjection]
    pub(super) enum AnyUpstreamFuture {
        Embedded { #[pin] future: EmbeddedFuture },
        Http { #[pin] future: ResponseFuture },
    }
}

impl Future for AnyUpstreamFuture {
    type Output = Result<Response<AnyUpstreamBody>, ForwardError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(match self.project() {
            AnyUpstreamFutureProjection::Embedded { future } => ready!(future.poll(cx))
                .map(|response| response.map(|body| AnyUpstreamBody::Embedded { body })),
            AnyUpstreamFutureProjection::Http { future } => ready!(future.poll(cx))
                .map(|response| response.map(|body| AnyUpstreamBody::Http { body })),
        })
    }
}

pin_project! {
    #[project = AnyUpstreamBodyProjection]
    pub(super) enum AnyUpstreamBody {
        Embedded { #[pin] body: EmbeddedBody },
        Http { #[pin] body: UpstreamBody },
    }
}

impl Body for AnyUpstreamBody {
    type Data = Bytes;
    type Error = ForwardError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ForwardError>>> {
        match self.project() {
            AnyUpstreamBodyProjection::Embedded { body } => body.poll_frame(cx),
            AnyUpstreamBodyProjection::Http { body } => body.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Embedded { body } => body.is_end_stream(),
            Self::Http { body } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Embedded { body } => body.size_hint(),
            Self::Http { body } => body.size_hint(),
        }
    }
}
