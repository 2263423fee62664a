//! Configuration: layers of text in, typed settings or every fault out.
//!
//! Needs the feature `config`.
//!
//! Four layers, later ones win: defaults, a TOML file, the environment, command-line flags.
//! [`Sources`] collects them and [`Sources::load`] reads them in two steps: first what each layer
//! says, with where it says so, then what it means. A [`Config`] that exists is right: nothing
//! later in the program checks a setting again.
//!
//! ```
//! use chatkit_rest::config::{Sources, Upstream};
//! use std::time::Duration;
//!
//! let loaded = Sources::new()
//!     .toml("chatkit-rest.toml", "[upstream]\nurl = \"embedded\"\nidle_timeout = \"1m\"")
//!     .environment([
//!         ("CHATKIT_REST__AUTH__SECRET", "0123456789abcdef0123456789abcdef"),
//!         ("CHATKIT_REST__UPSTREAM__IDLE_TIMEOUT", "90s"),
//!     ])
//!     .flag("--store", "store.url", "memory:")
//!     .load()?;
//! assert_eq!(loaded.config.upstream.url, Upstream::Embedded);
//! assert_eq!(loaded.config.upstream.idle_timeout, Duration::from_secs(90));
//! # Ok::<(), chatkit_rest::config::Faults>(())
//! ```
//!
//! # Faults
//!
//! A name that is not known, a value that is not what was expected, and settings that contradict
//! one another are errors; nothing is guessed or dropped. [`Faults`] has all of them at once, each
//! with the setting, the layer, what was expected, and the nearest known name:
//!
//! ```
//! use chatkit_rest::config::Sources;
//!
//! let faults = Sources::new()
//!     .toml("x.toml", "[auth]\nsecert = \"0123456789abcdef0123456789abcdef\"")
//!     .environment([("CHATKIT_REST__STREAM__HOLD_FOR", "5")])
//!     .load()
//!     .unwrap_err();
//! let text = faults.to_string();
//! assert!(text.contains("auth.secert (file x.toml, line 2)"));
//! assert!(text.contains("did you mean auth.secret?"));
//! assert!(text.contains("stream.hold_for (environment variable CHATKIT_REST__STREAM__HOLD_FOR)"));
//! assert!(text.contains("has no unit"));
//! ```
//!
//! Neither they nor `Debug` show a secret, or what may be one: what stands in the place of a file's
//! path and isn't one, a URL with a user or a query.
//!
//! # Notation
//!
//! - The environment variable of `section.key` is `CHATKIT_REST__SECTION__KEY`, that of `listen`
//!   is `CHATKIT_REST__LISTEN`. Lists are separated by commas.
//! - Durations are a whole number and a unit: `"500ms"`, `"5s"`, `"2m"`, `"1h"`.
//! - An empty text means "none" where the default is empty.
//! - Files are in UTF-8. A byte order mark at their beginning is not part of them.
//! - Relative paths are relative to the working directory, wherever they are written.
//! - `auth.secret` and `auth.secret_file` are one setting: the later layer's wins. So are
//!   `auth.shared_secret`, `embedded.api_key`, `upstream.proof_secret` and `store.url` with theirs.
//! - This is about the program's settings. A host application that uses the layers needs none of
//!   it: each room has its own builder.
//!
//! # Reference
//!
#![doc = include_str!("reference.md")]

mod address;
mod algorithm;
mod auth;
mod database;
mod embedded;
mod error;
mod file;
mod forms;
mod headers;
mod hint;
mod issuers;
mod key;
mod key_set;
mod layers;
mod meaning;
mod proof;
mod reader;
mod reference;
#[cfg(feature = "server")]
mod rooms;
mod rules;
mod schema;
mod secret;
mod sections;
mod settings;
mod shown;
mod sources;
mod store;
#[cfg(test)]
mod tests;
mod tls;
mod unquoted;
mod value;
mod web;

pub use algorithm::Algorithm;
pub use auth::{AnonymousConfig, AuthConfig, AuthKey, JwtConfig};
pub use database::DatabaseUrl;
pub use embedded::{EmbeddedConfig, OpenAiResponderConfig, ResponderConfig};
pub use error::{Fault, Faults, Note, Origin};
pub use headers::FixedHeader;
pub use issuers::IssuersConfig;
pub use meaning::{ApiKey, LogFormat, LogLevel, Secret, duration};
pub use reference::reference;
pub use schema::schema;
pub use settings::{
    AdminConfig, AttachmentsConfig, ChatConfig, Config, CorsConfig, LimitsConfig, LogConfig,
    OpenAiConfig, PassthroughConfig, RestConfig, ServerConfig, SessionConfig, StoreConfig,
    StreamConfig, UpstreamConfig,
};
pub use sources::{Loaded, Setting, Sources, StoreSettings};
pub use store::StoreUrl;
pub use tls::{CertificateConfig, TlsConfig};
pub use web::{AllowedOrigins, BasePath, Upstream};
