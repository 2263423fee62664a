//! What settings of different sections demand of one another.

use std::net::SocketAddr;
use std::time::Duration;

use super::auth::{self, AuthConfig};
use super::error::Note;
use super::reader::Reader;
use super::settings::Config;
use super::web::{AllowedOrigins, BasePath, Upstream};

/// Sections that are read and checked, but that nothing in this version looks at.
const WITHOUT_EFFECT: [(&str, &str); 2] =
    [("chat", "one-shot chat routes"), ("openai", "OpenAI-compatible routes")];

/// Records the contradictions in a configuration whose settings are right one by one.
pub(super) fn contradictions(config: &Config, read: &mut Reader<'_>) {
    if let AuthConfig::Anonymous(_) = config.auth
        && !config.listen.ip().is_loopback()
    {
        let listen = config.listen;
        read.refuse(
            "auth.mode",
            format!(
                "\"none\" while listen is {listen} ({}), which others can reach; expected a \
                 loopback address such as 127.0.0.1:8080, or auth.mode = \"jwt\"",
                read.layers.origin("listen")
            ),
        );
    }
    if let Some(admin) = config.admin.listen
        && collide(admin, config.listen)
    {
        read.refuse(
            "admin.listen",
            format!(
                "{admin} is taken by listen ({}); expected another port",
                read.layers.origin("listen")
            ),
        );
    }
    if let Upstream::Url(url) = &config.upstream.url
        && let Some(authority) = url.authority()
        && authority.as_str().parse() == Ok(config.listen)
    {
        let problem = "is the gateway's own address; expected the ChatKit server's";
        read.refuse("upstream.url", problem.into());
    }
    let AuthConfig::Jwt(jwt) = &config.auth else { return surfaces(config, read) };
    if jwt.cookie.is_some() && config.cors.allowed_origins == AllowedOrigins::Any {
        read.refuse(
            "cors.allowed_origins",
            format!(
                "\"*\" while auth.cookie ({}) lets browsers log in by themselves; expected the \
                 origins by name",
                read.layers.origin("auth.cookie")
            ),
        );
    }
    surfaces(config, read);
}

/// Two surfaces can't have the same path.
fn surfaces(config: &Config, read: &mut Reader<'_>) {
    let all: [(&'static str, &BasePath, bool); 3] = [
        ("rest.prefix", &config.rest.prefix, true),
        ("chat.path", &config.chat.path, config.chat.enabled),
        ("openai.path", &config.openai.path, config.openai.enabled),
    ];
    for (index, (name, path, on)) in all.iter().enumerate() {
        for (earlier, other, other_on) in all.iter().take(index) {
            if *on && *other_on && path == other {
                let origin = read.layers.origin(earlier);
                let problem = format!("{path} is {earlier} too ({origin}); expected another path");
                read.refuse(name, problem);
            }
        }
    }
}

/// Whether two listeners can't both have what they ask for.
fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    let all = a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() == b.port() && a.port() != 0 && (a.ip() == b.ip() || all)
}

/// What is allowed but probably not what was meant.
pub(super) fn notes(config: &Config, read: &Reader<'_>) -> Vec<Note> {
    let mut notes = Vec::new();
    let mut note = |key: &'static str, text: String| {
        notes.push(Note { key, origin: read.layers.origin(key), text });
    };
    for (key, text) in auth::notes(&config.auth) {
        note(key, text);
    }
    if matches!(config.auth, AuthConfig::Jwt(_)) && read.set_by("auth.anonymous_user").is_some() {
        note("auth.anonymous_user", "has no effect with auth.mode = \"jwt\"".into());
    }
    if config.upstream.pool_idle_timeout >= Duration::from_secs(5) {
        let text = "many servers (uvicorn among them) close an unused connection after 5s; a \
                    request that meets that fails";
        note("upstream.pool_idle_timeout", text.into());
    }
    if config.limits.max_message_chars > config.limits.max_body_bytes {
        let text = format!(
            "a message of that many characters does not fit in limits.max_body_bytes ({})",
            config.limits.max_body_bytes
        );
        note("limits.max_message_chars", text);
    }
    for (section, what) in WITHOUT_EFFECT {
        for key in super::key::KEYS {
            let ours = key.name.split_once('.').is_some_and(|(of, _)| of == section);
            // Who turned a surface off has what they wanted.
            let off = match section {
                "chat" => !config.chat.enabled,
                _ => !config.openai.enabled,
            };
            if ours && !off && read.set_by(key.name).is_some() {
                note(key.name, format!("has no effect: the {what} are not in this version"));
            }
        }
    }
    notes
}
