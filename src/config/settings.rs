//! The configuration as the rest of the program sees it: typed, and right from then on.

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use http::HeaderName;
use jiff::tz::Offset;

use super::auth::AuthConfig;
use super::embedded::EmbeddedConfig;
use super::headers::FixedHeader;
use super::meaning::{ApiKey, LogFormat, LogLevel};
use super::store::StoreUrl;
use super::tls::{CertificateConfig, TlsConfig};
use super::web::{AllowedOrigins, BasePath, Upstream};
#[cfg(feature = "postgres")]
use crate::error::Error;
use crate::forward::{ClientHeaders, PublicUrl};
use crate::proof::Signer;
#[cfg(feature = "postgres")]
use crate::session::PostgresOptions;
use crate::session::{ConversationIds, UnknownAttachments};
use crate::surface::{InvalidStatus, Surfaces};
use crate::validate::UnknownRequests;

/// All settings, made by [`Sources::load`](super::Sources::load). The reference in the
/// [module's documentation](super#reference) has their names in files, defaults and ranges.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Address and port the gateway listens on.
    pub listen: SocketAddr,
    /// The listener's own limits.
    pub server: ServerConfig,
    /// The REST routes.
    pub rest: RestConfig,
    /// The backing server and how long to wait for it.
    pub upstream: UpstreamConfig,
    /// The server that is built in.
    pub embedded: EmbeddedConfig,
    /// Who callers are.
    pub auth: AuthConfig,
    /// Where sessions are kept.
    pub store: StoreConfig,
    /// Sessions.
    pub session: SessionConfig,
    /// Attachments.
    pub attachments: AttachmentsConfig,
    /// What one user, and all together, may do.
    pub limits: LimitsConfig,
    /// Runs' streams.
    pub stream: StreamConfig,
    /// The one-shot chat routes.
    pub chat: ChatConfig,
    /// The OpenAI-compatible routes.
    pub openai: OpenAiConfig,
    /// Calls from web pages.
    pub cors: CorsConfig,
    /// Raw ChatKit requests.
    pub passthrough: PassthroughConfig,
    /// Log lines.
    pub log: LogConfig,
    /// Health and the document.
    pub admin: AdminConfig,
}

impl Config {
    /// Tells whether limits of requests hold over all gateways on the store. One in memory has none
    /// beside this.
    pub fn shares_limits(&self) -> bool {
        match self.store.url {
            StoreUrl::Memory => false,
            StoreUrl::Sqlite(_) => self.limits.shared == Some(true),
            StoreUrl::Postgres(_) => self.limits.shared != Some(false),
        }
    }

    /// Gives the surfaces that are served, and where.
    pub(crate) fn surfaces(&self) -> Surfaces {
        let mut surfaces = Surfaces::rest(self.rest.prefix.as_str());
        if self.chat.enabled {
            surfaces = surfaces
                .with_chat(self.chat.path.as_str())
                .with_invalid_status(self.chat.invalid_status);
        }
        if self.openai.enabled {
            surfaces = surfaces.with_openai(self.openai.path.as_str());
        }
        surfaces
    }
}

/// `[server]`: the listener's own limits.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerConfig {
    /// Where clients reach the gateway; `None`: where each request was sent to.
    pub public_url: Option<PublicUrl>,
    /// How clients are spoken to in TLS; `None`: without.
    pub tls: Option<TlsConfig>,
    /// For a request's head to arrive.
    pub header_timeout: Duration,
    /// For a request's body to arrive.
    pub body_timeout: Duration,
    /// A client's connection without a request is closed after this.
    pub idle_timeout: Duration,
    /// For a client to take at least 1 KiB of what waits for it.
    pub write_timeout: Duration,
    /// Open streams may take this long to end once the gateway drains.
    pub drain_timeout: Duration,
    /// Client connections at once.
    pub max_connections: usize,
    /// Bytes of a request's head.
    pub max_header_bytes: usize,
    /// Threads that serve requests; `None`: one per core.
    pub worker_threads: Option<NonZeroU32>,
}

/// `[rest]`: the REST routes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RestConfig {
    /// Path below which they are.
    pub prefix: BasePath,
}

/// `[upstream]`: the backing server and how long to wait for it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct UpstreamConfig {
    /// Who answers.
    pub url: Upstream,
    /// The authorities that an `https` upstream's certificate may be from, in PEM; `None`: those that
    /// the system trusts.
    pub ca: Option<PathBuf>,
    /// What is shown to an `https` upstream that asks for a certificate.
    pub client_certificate: Option<CertificateConfig>,
    /// For a connection to be made.
    pub connect_timeout: Duration,
    /// From the request to the answer's first body byte.
    pub first_byte_timeout: Duration,
    /// Between two frames of a stream. There is no total timeout on streams.
    pub idle_timeout: Duration,
    /// For the whole answer of an operation that doesn't stream.
    pub json_timeout: Duration,
    /// How long an unused connection is kept. Zero: it isn't.
    pub pool_idle_timeout: Duration,
    /// Unused connections kept. Zero: none.
    pub max_idle_connections: usize,
    /// Requests and open streams under way at once. `None`: any number.
    pub max_concurrent: Option<NonZeroUsize>,
    /// Requests that wait for one of those places.
    pub max_queued: usize,
    /// How long they wait.
    pub queue_timeout: Duration,
    /// Whether an upstream that fails is left in peace.
    pub breaker: bool,
    /// Bytes of an answer that doesn't stream.
    pub max_reply_bytes: usize,
    /// Header that tells the upstream who the verified user is.
    pub user_header: HeaderName,
    /// Whether the client's `authorization` goes to the upstream.
    pub forward_authorization: bool,
    /// Which headers of clients go to the upstream.
    pub forward_headers: ClientHeaders,
    /// Headers that every request to it has.
    pub headers: Vec<FixedHeader>,
    /// What proves to it that it is the gateway that calls; `None`: nothing does.
    pub proof: Option<Signer>,
    /// Whether the upstream is told where clients reach the gateway.
    pub forwarded: bool,
    /// Zone of the upstream's times, which name none.
    pub utc_offset: Offset,
}

impl UpstreamConfig {
    /// Tells how long a first run may hold its session's lease: until `thread.created` has come or
    /// one of the timeouts has ended the run, and a little more.
    pub fn first_run_lease(&self) -> Duration {
        self.queue_timeout
            .saturating_add(self.connect_timeout)
            .saturating_add(self.first_byte_timeout)
            .saturating_add(self.idle_timeout)
            .saturating_add(Duration::from_secs(5))
    }
}

/// `[store]`: where sessions are kept.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StoreConfig {
    /// Which store. What follows is of a PostgreSQL database alone.
    pub url: StoreUrl,
    /// Schema that its tables are in: lower-case letters, digits and `_`.
    pub schema: String,
    /// Connections of this process at most.
    pub pool_size: NonZeroU32,
    /// For a connection to be made, a database that sleeps to wake included.
    pub connect_timeout: Duration,
    /// For one of the connections to be free.
    pub wait_timeout: Duration,
    /// For the answer to a statement.
    pub statement_timeout: Duration,
    /// Whether a pooler in transaction mode stands between.
    pub pooler: bool,
    /// PEM file of the authorities that the database's certificate may be from; `None`: the system's.
    pub ca: Option<PathBuf>,
}

#[cfg(feature = "postgres")]
impl StoreConfig {
    /// Gives how the database is opened.
    ///
    /// # Errors
    /// If it is another store.
    pub fn postgres(&self) -> Result<PostgresOptions, Error> {
        let StoreUrl::Postgres(url) = &self.url else {
            return Err(Error::config("store.url names no PostgreSQL database"));
        };
        let mut options = url.options()?;
        options.schema.clone_from(&self.schema);
        options.pool_size = self.pool_size;
        options.connect_timeout = self.connect_timeout;
        options.wait_timeout = self.wait_timeout;
        options.statement_timeout = self.statement_timeout;
        options.pooler = self.pooler;
        options.ca.clone_from(&self.ca);
        Ok(options)
    }
}

/// `[session]`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SessionConfig {
    /// Somebody else's session answers 404 in place of 403.
    pub hide_foreign: bool,
}

/// `[attachments]`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AttachmentsConfig {
    /// What happens to ids that nobody is known to own.
    pub unknown: UnknownAttachments,
}

/// `[limits]`: what one user, and all together, may do. `None` is "no limit".
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LimitsConfig {
    /// Requests per user and minute.
    pub requests_per_minute: Option<NonZeroU32>,
    /// Whether these hold over all gateways on the store; `None`: if that is PostgreSQL.
    pub shared: Option<bool>,
    /// Sessions per user.
    pub max_sessions: Option<NonZeroU32>,
    /// Messages per session.
    pub max_messages: Option<NonZeroU32>,
    /// Unicode scalar values of a message.
    pub max_message_chars: usize,
    /// Bytes of a request's body.
    pub max_body_bytes: usize,
    /// JSON values of a request's body, keys counted.
    pub max_json_values: usize,
    /// Bytes of a transcription's audio.
    pub max_audio_bytes: usize,
    /// Bytes of what is read whole in memory at once.
    pub max_buffered_bytes: usize,
    /// Those of one user.
    pub max_buffered_bytes_per_user: usize,
    /// Requests and open streams at once.
    pub max_in_flight: usize,
    /// Requests at once whose caller is still looked up.
    pub max_unauthenticated: usize,
    /// Open streams of one user.
    pub max_streams_per_user: usize,
    /// Users whose request rate is remembered at once.
    pub max_tracked_users: usize,
}

/// `[stream]`: how long a run's status waits for its first output.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StreamConfig {
    /// At most this long. Zero: not beyond the bookkeeping events.
    pub hold_for: Duration,
    /// And not beyond this many bytes.
    pub hold_bytes: usize,
}

/// `[chat]`: the one-shot chat routes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ChatConfig {
    /// Whether they are served.
    pub enabled: bool,
    /// Path below which they are.
    pub path: BasePath,
    /// What their conversation ids look like.
    pub id_format: ConversationIds,
    /// Their answer where the assistant did something and said nothing. Empty: none.
    pub acted: String,
    /// How they refuse what is JSON and not what is expected.
    pub invalid_status: InvalidStatus,
    /// Unicode scalar values of a message.
    pub max_message_chars: usize,
    /// Sessions of a user, however made, above which they start no conversation.
    pub max_sessions: Option<NonZeroU32>,
    /// Messages per conversation.
    pub max_messages: Option<NonZeroU32>,
}

/// `[openai]`: the OpenAI-compatible routes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OpenAiConfig {
    /// Whether they are served.
    pub enabled: bool,
    /// Path below which they are.
    pub path: BasePath,
    /// Keys of the services that may call them; names are unique.
    pub api_keys: Vec<ApiKey>,
}

/// `[cors]`: calls from web pages.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CorsConfig {
    /// Whose pages may call.
    pub allowed_origins: AllowedOrigins,
}

/// `[passthrough]`: raw ChatKit requests.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PassthroughConfig {
    /// What happens to those of a type that is not known.
    pub unknown: UnknownRequests,
}

/// `[log]`: log lines, which go to standard error.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LogConfig {
    /// How they are written.
    pub format: LogFormat,
    /// Which are written.
    pub level: LogLevel,
}

/// `[admin]`: health, `/docs` and the document.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AdminConfig {
    /// Address and port of their own listener; `None`: on the main one.
    pub listen: Option<SocketAddr>,
}
