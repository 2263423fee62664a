//! What is allowed but probably not meant, or only where nobody else can reach the gateway.

use std::net::SocketAddr;

use super::{AnonymousConfig, AuthConfig, AuthKey, JwtConfig};
use crate::config::algorithm::Algorithm;
use crate::config::key_set;
use crate::config::reader::SettingsReader;

/// What a shared secret should have, so that it can't be guessed.
const MIN_SHARED_SECRET_BYTES: usize = 32;

/// What a shared secret must have where others than this machine can try to guess it.
const MIN_EXPOSED_SECRET_BYTES: usize = 16;

/// Refuses a secret that is short where others can reach the gateway.
pub(in crate::config) fn check_exposed(
    auth: &AuthConfig,
    listen: SocketAddr,
    read: &mut SettingsReader<'_>,
) {
    let (secret, inline, file, needed, danger) = match auth {
        AuthConfig::Anonymous(AnonymousConfig {
            shared_secret: Some(secret),
            danger_short_secret,
            ..
        }) => {
            let (inline, file) = ("auth.shared_secret", "auth.shared_secret_file");
            (secret, inline, file, MIN_EXPOSED_SECRET_BYTES, *danger_short_secret)
        }
        AuthConfig::Jwt(JwtConfig {
            key: AuthKey::Secret(secret),
            algorithms,
            danger_short_secret,
            ..
        }) => {
            let needed = needed_bytes(algorithms);
            (secret, "auth.secret", "auth.secret_file", needed, *danger_short_secret)
        }
        AuthConfig::Issuers(several) => {
            for (entry, jwt) in (1..).zip(&several.issuers) {
                let AuthKey::Secret(secret) = &jwt.key else { continue };
                let (is, needed) = (secret.expose().len(), needed_bytes(&jwt.algorithms));
                if listen.ip().is_loopback() || jwt.danger_short_secret || is >= needed {
                    continue;
                }
                let problem = format!(
                    "entry {entry} has a secret of {} that can be guessed, while listen is {listen} \
                     ({}), which others can reach; expected at least {needed} (make one with `openssl \
                     rand -hex {}`), or danger_short_secret = true",
                    bytes(is),
                    read.layers.origin("listen"),
                    needed.max(MIN_SHARED_SECRET_BYTES)
                );
                read.refuse("auth.issuers", problem);
            }
            return;
        }
        AuthConfig::Anonymous(_) | AuthConfig::Jwt(_) => return,
    };
    let is = secret.expose().len();
    if listen.ip().is_loopback() || danger || is >= needed {
        return;
    }
    let is_empty = read.layers.top(inline).is_some_and(|top| top.value.text() == Some(""));
    let from_file = is_empty || read.layers.rank(file) > read.layers.rank(inline);
    let (is, make) = (bytes(is), needed.max(MIN_SHARED_SECRET_BYTES));
    let problem = format!(
        "has {is} and can be guessed, while listen is {listen} ({}), which others can \
         reach; expected at least {needed} (make one with `openssl rand -hex {make}`), or \
         auth.danger_short_secret = true",
        read.layers.origin("listen")
    );
    read.refuse(if from_file { file } else { inline }, problem);
}

/// Gives the mode, and the settings that say nothing in it.
pub(in crate::config) fn without_effect(
    auth: &AuthConfig,
) -> (&'static str, &'static [&'static str]) {
    match auth {
        AuthConfig::Jwt(_) | AuthConfig::Issuers(_) => {
            ("jwt", &["auth.anonymous_user", "auth.shared_secret", "auth.shared_secret_file"])
        }
        AuthConfig::Anonymous(_) => (
            "none",
            &[
                "auth.algorithms",
                "auth.secret",
                "auth.secret_file",
                "auth.public_key_file",
                "auth.jwks_url",
                "auth.jwks_file",
                "auth.discovery",
                "auth.danger_plain_http",
                "auth.issuer",
                "auth.audience",
                "auth.user_claim",
                "auth.user",
                "auth.require",
                "auth.token_type",
                "auth.leeway",
                "auth.cookie",
                "auth.issuers",
                "auth.danger_shared_users",
            ],
        ),
    }
}

/// Gives the note on a permission to have a short secret, where there is no such secret.
fn needless_danger(auth: &AuthConfig) -> Option<(&'static str, String)> {
    let (danger, why) = match auth {
        AuthConfig::Anonymous(AnonymousConfig { shared_secret, danger_short_secret, .. }) => {
            let why = match shared_secret {
                None => Some("there is no auth.shared_secret"),
                Some(secret) => (secret.expose().len() >= MIN_EXPOSED_SECRET_BYTES)
                    .then_some("auth.shared_secret is long enough"),
            };
            (*danger_short_secret, why)
        }
        AuthConfig::Issuers(_) => return None,
        AuthConfig::Jwt(JwtConfig { key, algorithms, danger_short_secret, .. }) => {
            let why = match key {
                AuthKey::PublicKey { .. } => Some("tokens are verified with a public key"),
                AuthKey::Discovery { .. }
                | AuthKey::KeySetFile { .. }
                | AuthKey::KeySetUrl { .. } => Some("tokens are verified with a key set"),
                AuthKey::Secret(secret) => (secret.expose().len() >= needed_bytes(algorithms))
                    .then_some("the secret is long enough"),
            };
            (*danger_short_secret, why)
        }
    };
    let why = why.filter(|_| danger)?;
    Some(("auth.danger_short_secret", format!("has no effect: {why}")))
}

fn bytes(count: usize) -> String {
    if count == 1 { "1 byte".into() } else { format!("{count} bytes") }
}

/// Gives what the secret of these algorithms must have.
fn needed_bytes(algorithms: &[Algorithm]) -> usize {
    algorithms.iter().map(|it| it.min_secret_bytes()).max().unwrap_or(0)
}

/// Gives what is allowed but probably not meant, as setting and text.
pub(in crate::config) fn notes(auth: &AuthConfig) -> Vec<(&'static str, String)> {
    let mut notes = match auth {
        AuthConfig::Anonymous(AnonymousConfig { user, shared_secret: None, .. }) => {
            let user = user.as_str();
            vec![(
                "auth.mode",
                format!(
                    "everyone who can connect is {user:?}, or the user that a one-shot chat path \
                     names; tokens are not looked at"
                ),
            )]
        }
        AuthConfig::Anonymous(AnonymousConfig { shared_secret: Some(secret), .. }) => {
            let mut notes = vec![(
                "auth.shared_secret",
                "whoever has it is every user: whom a one-shot chat path names is believed".into(),
            )];
            let is = secret.expose().len();
            if is < MIN_SHARED_SECRET_BYTES {
                let (is, needed) = (bytes(is), MIN_SHARED_SECRET_BYTES);
                notes.push((
                    "auth.shared_secret",
                    format!(
                        "has {is} and can be guessed; use {needed} (make one with `openssl \
                         rand -hex {needed}`)"
                    ),
                ));
            }
            notes
        }
        AuthConfig::Jwt(jwt) => of_tokens(jwt),
        AuthConfig::Issuers(several) => {
            let entries = (1..).zip(&several.issuers);
            let noted = entries.flat_map(|(entry, jwt)| {
                of_tokens(jwt).into_iter().map(move |(key, text)| {
                    let name = key.trim_start_matches("auth.");
                    ("auth.issuers", format!("entry {entry}, {name}: {text}"))
                })
            });
            noted.collect()
        }
    };
    notes.extend(needless_danger(auth));
    notes
}

/// Gives the same of how tokens are verified.
fn of_tokens(jwt: &JwtConfig) -> Vec<(&'static str, String)> {
    let mut notes = key_set::notes(&jwt.key, jwt.issuer.as_deref());
    if jwt.token_type.asks_for_another() {
        notes.push((
            "auth.token_type",
            "is the type of tokens that are not for access, and lets in no others".into(),
        ));
    }
    if let AuthKey::Secret(secret) = &jwt.key {
        let (needed, is) = (needed_bytes(&jwt.algorithms), secret.expose().len());
        let at_an_end = |c: char| c.is_whitespace() || c.is_control();
        if secret.expose().starts_with(at_an_end) || secret.expose().ends_with(at_an_end) {
            notes.push((
                "auth.secret",
                "has a blank or a line end at an end of it, which is part of the secret".into(),
            ));
        }
        if is < needed {
            let is = bytes(is);
            notes.push((
                "auth.secret",
                format!(
                    "has {is} and can be guessed; RFC 7518 asks for {needed} (make \
                     one with `openssl rand -hex {needed}`)"
                ),
            ));
        }
    }
    notes
}
