//! What `serve` says of itself once it listens.

use std::net::SocketAddr;
use std::path::Path;

use chatkit_rest::config::{AllowedOrigins, Config, StoreConfig, StoreUrl, Upstream};
use chatkit_rest::forward::UpstreamUrl;

/// What is served, in front of what, in words. Nothing secret is in it.
#[derive(Debug)]
pub(super) struct Introduction {
    upstream: String,
    store: String,
    rest: String,
    chat: Option<String>,
    openai: Option<String>,
    origins: Option<String>,
}

impl Introduction {
    pub(super) fn of(config: &Config) -> Self {
        let path = |is_served: bool, path: &dyn ToString| is_served.then(|| path.to_string());
        Self {
            upstream: upstream(&config.upstream.url),
            store: store(&config.store),
            rest: config.rest.prefix.to_string(),
            chat: path(config.chat.enabled, &config.chat.path),
            openai: path(config.openai.enabled, &config.openai.path),
            origins: origins(&config.cors.allowed_origins),
        }
    }

    /// Logs it, for who reads what was started and for who looks for what was meant.
    pub(super) fn log(&self, scheme: &str, address: SocketAddr, admin: Option<SocketAddr>) {
        tracing::info!(upstream = self.upstream, "what answers is at upstream.url");
        tracing::info!(store = self.store, "sessions are kept at store.url");
        tracing::info!(
            rest = self.rest,
            chat = self.chat,
            openai = self.openai,
            "what is served is below these paths"
        );
        if let Some(origins) = &self.origins {
            tracing::info!(origins, "pages of these origins may call");
        } else {
            tracing::info!(
                "no page of another origin may call: cors.allowed_origins would name those that may"
            );
        }
        // A listener of its own has no TLS.
        let (scheme, pages) = admin.map_or((scheme, address), |admin| ("http", admin));
        tracing::info!("the API to read and to try out is at {scheme}://{pages}/docs");
        if let Some(admin) = admin {
            tracing::info!(
                "/healthz, /readyz, /docs and /openapi.json are on http://{admin} alone (admin.listen)"
            );
        }
    }
}

/// Gives the URL without its query, where keys do get put.
fn upstream(url: &Upstream) -> String {
    match url {
        Upstream::Embedded => "embedded".into(),
        Upstream::Url(url) => UpstreamUrl::parse(&url.to_string())
            .map_or_else(|_| url.host().unwrap_or_default().into(), |url| url.to_string()),
        // What is yet to come has a `Debug` that may be logged.
        other => format!("{other:?}"),
    }
}

/// Gives the file's whole path: it is often another than was meant, by another working directory.
fn store(store: &StoreConfig) -> String {
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.into());
    match &store.url {
        StoreUrl::Memory => "memory: (gone with the process)".into(),
        StoreUrl::Sqlite(path) => format!("sqlite:{}", absolute(path).display()),
        StoreUrl::Postgres(url) => format!("{url}, schema {}", store.schema),
        other => format!("{other:?}"),
    }
}

fn origins(allowed: &AllowedOrigins) -> Option<String> {
    match allowed {
        AllowedOrigins::Any => Some("*".into()),
        AllowedOrigins::List(origins) if origins.is_empty() => None,
        AllowedOrigins::List(origins) => {
            let origins: Vec<_> =
                origins.iter().filter_map(|origin| origin.to_str().ok()).collect();
            Some(origins.join(", "))
        }
        other => Some(format!("{other:?}")),
    }
}

#[cfg(test)]
mod tests {
    use chatkit_rest::config::Sources;

    use super::*;

    #[test]
    fn places_are_whole_and_nothing_secret_is_told() {
        let config = Sources::new()
            .set("test", "auth.secret", "0123456789abcdef0123456789abcdef")
            .set("test", "upstream.url", "https://chat.example:8443/chatkit?key=planted")
            .set("test", "store.url", "sqlite:sub/a.db")
            .set("test", "openai.enabled", "false")
            .set("test", "cors.allowed_origins", "https://a.example,http://b.example:3000")
            .load()
            .unwrap()
            .config;
        let said = Introduction::of(&config);
        assert_eq!(said.upstream, "https://chat.example:8443/chatkit");
        let here = std::env::current_dir().unwrap().join("sub").join("a.db");
        assert_eq!(said.store, format!("sqlite:{}", here.display()));
        assert_eq!(said.rest, "/api/v1/chatkit");
        assert_eq!((said.chat.as_deref(), said.openai), (Some("/api"), None));
        assert_eq!(said.origins.as_deref(), Some("https://a.example, http://b.example:3000"));
    }

    #[cfg(feature = "postgres")]
    #[test]
    fn a_database_is_told_without_its_password() {
        let config = Sources::new()
            .set("test", "auth.secret", "0123456789abcdef0123456789abcdef")
            .set("test", "store.url", "postgres://ada:planted@db:5433/chat?sslmode=require")
            .set("test", "store.schema", "other")
            .load()
            .unwrap()
            .config;
        let said = Introduction::of(&config);
        assert_eq!(said.store, "postgres://ada@db:5433/chat, schema other");
    }
}
