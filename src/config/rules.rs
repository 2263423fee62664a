//! What settings of different sections demand of one another.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

use http::HeaderName;
use http::header::AUTHORIZATION;

use super::auth::{self, AuthConfig};
use super::embedded;
use super::error::Note;
use super::headers::{self, FixedHeader};
use super::proof;
use super::reader::SettingsReader;
use super::secret;
use super::settings::Config;
use super::store::{self, StoreUrl};
use super::tls;
use super::web::{AllowedOrigins, Upstream};
use crate::operation::Name;
use crate::route::{Overlap, setting};

/// Records the contradictions in a configuration whose settings are right one by one.
pub(super) fn contradictions(config: &Config, read: &mut SettingsReader<'_>) {
    if let AuthConfig::Anonymous(anonymous) = &config.auth
        && anonymous.shared_secret.is_none()
        && !config.listen.ip().is_loopback()
    {
        let listen = config.listen;
        read.refuse(
            "auth.mode",
            format!(
                "\"none\" while listen is {listen} ({}), which others can reach; expected a \
                 loopback address such as 127.0.0.1:8080, auth.shared_secret, or auth.mode = \
                 \"jwt\"",
                read.layers.origin("listen")
            ),
        );
    }
    auth::check_exposed(&config.auth, config.listen, read);
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
    if config.upstream.url == Upstream::Embedded
        && let StoreUrl::Postgres(_) = config.store.url
    {
        let store = read.layers.origin(store::setting_of_url(read));
        let problem = format!(
            "\"embedded\" while sessions are in PostgreSQL ({store}), where the built-in server \
             can't keep its threads; expected a ChatKit server's URL, or store.url = \"sqlite:FILE\""
        );
        read.refuse("upstream.url", problem);
    }
    if config.upstream.forward_headers.names(&config.upstream.user_header) {
        let problem = format!(
            "has {:?}, which is upstream.user_header ({}) and carries the verified user's id; \
             expected a list without it",
            config.upstream.user_header.as_str(),
            read.layers.origin("upstream.user_header")
        );
        read.refuse("upstream.forward_headers", problem);
    }
    fixed_headers(config, read);
    if config.auth.cookie().is_some() && config.cors.allowed_origins == AllowedOrigins::Any {
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

/// Refuses a header that always has one value, and that something else is said in, too.
fn fixed_headers(config: &Config, read: &mut SettingsReader<'_>) {
    let upstream = &config.upstream;
    for FixedHeader { name, .. } in &upstream.headers {
        let other = if *name == upstream.user_header {
            "upstream.user_header"
        } else if *name == AUTHORIZATION && upstream.forward_authorization {
            "upstream.forward_authorization"
        } else if upstream.forward_headers.names(name) {
            "upstream.forward_headers"
        } else {
            continue;
        };
        let problem = format!(
            "has {:?}, which is said by {other} ({}) already; expected one of the two",
            name.as_str(),
            read.layers.origin(other)
        );
        read.refuse(headers::NAME, problem);
    }
}

/// Refuses a path that is on two surfaces.
fn surfaces(config: &Config, read: &mut SettingsReader<'_>) {
    let surfaces = config.surfaces();
    for Overlap { inner, outer, operation } in Overlap::all(&Name::ALL, &surfaces) {
        let [Some(here), Some(prefix)] = [inner, outer].map(|it| surfaces.prefix(it)) else {
            continue;
        };
        let (other, path) = (setting(outer), operation.path());
        let problem = format!(
            "{here} is where {prefix}{path} of {other} ({}) can be; expected another path",
            read.layers.origin(other)
        );
        read.refuse(setting(inner), problem);
    }
}

/// Tells whether two listeners can't both have what they ask for.
fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    let all = a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() == b.port() && a.port() != 0 && (a.ip() == b.ip() || all)
}

/// Gives what is allowed but probably not what was meant.
pub(super) fn notes(config: &Config, read: &SettingsReader<'_>) -> Vec<Note> {
    let mut notes = Vec::new();
    let mut note = |key: &'static str, text: String| {
        notes.push(Note { key, origin: read.layers.origin(key), text });
    };
    for (key, text) in auth::notes(&config.auth) {
        note(key, text);
    }
    let (mode, idle) = auth::without_effect(&config.auth);
    for key in idle.iter().filter(|key| read.differs(key)) {
        note(key, format!("has no effect with auth.mode = {mode:?}"));
    }
    if !matches!(config.auth, AuthConfig::Issuers(_)) && read.differs("auth.danger_shared_users") {
        note("auth.danger_shared_users", "has no effect without auth.issuers".into());
    }
    if matches!(&config.auth, AuthConfig::Anonymous(auth) if auth.shared_secret.is_some())
        && config.upstream.forward_authorization
    {
        let text = "passes auth.shared_secret on to the upstream";
        note("upstream.forward_authorization", text.into());
    }
    if !config.upstream.forward_headers.lists(&HeaderName::from_static("x-request-id")) {
        let text = "leaves out \"x-request-id\", by which the upstream's log is matched with the \
                    gateway's";
        note("upstream.forward_headers", text.into());
    }
    for (key, text) in embedded::notes(config, read) {
        note(key, text);
    }
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    for (key, text) in tls::notes(config, now) {
        note(key, text);
    }
    for (unused, used) in secret::PAIRS.iter().filter_map(|pair| out_of_place(read, *pair)) {
        let used = format!("{used} ({})", read.layers.origin(used));
        note(unused, format!("is not looked at: {used} stands in its place"));
    }
    if config.server.public_url.is_some() && config.auth.servers().next().is_some() {
        // Clients are told of it, whatever the upstream is told.
    } else if config.server.public_url.is_some() && config.upstream.url == Upstream::Embedded {
        note("server.public_url", "has no effect on the built-in server".into());
    } else if config.server.public_url.is_some() && !config.upstream.forwarded {
        note("server.public_url", "has no effect without upstream.forwarded".into());
    }
    if let Some(url) = &config.server.public_url
        && url.path().ends_with(config.rest.prefix.as_str())
    {
        let text = format!(
            "ends with rest.prefix ({}), which is not part of it: the upstream would make URLs \
             with that prefix twice",
            config.rest.prefix.as_str()
        );
        note("server.public_url", text);
    }
    for (key, text) in of_trust(config, read) {
        note(key, text);
    }
    if let Some(text) = config.store.url.note() {
        note("store.url", text);
    }
    if let Some(kind) = config.store.url.without_database() {
        for key in store::OF_DATABASES.into_iter().filter(|key| read.differs(key)) {
            note(key, format!("has no effect on a store {kind}: it is of PostgreSQL"));
        }
    }
    if config.limits.shared == Some(true) && !config.shares_limits() {
        note(
            "limits.shared",
            "has no effect on a store in memory, which no other gateway has".into(),
        );
    }
    if config.upstream.pool_idle_timeout >= Duration::from_secs(5) {
        let text = "many servers (uvicorn among them) close an unused connection after 5s; a \
                    request that meets that fails";
        note("upstream.pool_idle_timeout", text.into());
    }
    for (key, chars) in [
        ("limits.max_message_chars", config.limits.max_message_chars),
        ("chat.max_message_chars", config.chat.max_message_chars),
    ] {
        if chars > config.limits.max_body_bytes {
            let text = format!(
                "a message of that many characters does not fit in limits.max_body_bytes ({})",
                config.limits.max_body_bytes
            );
            note(key, text);
        }
    }
    for (key, text) in unreadable(config) {
        note(key, text);
    }
    if config.openai.enabled && config.openai.api_keys.is_empty() {
        for key in ["openai.enabled", "openai.path"] {
            // Who says nothing of them has no use for them.
            if read.set_by(key).is_some() {
                let text = "nobody may call the OpenAI-compatible routes: openai.api_keys is empty";
                note(key, text.into());
                break;
            }
        }
    }
    notes
}

/// Gives, of a setting and the file that may hold it, the one that is not looked at, and the one that is,
/// where both say something.
fn out_of_place(
    read: &SettingsReader<'_>,
    (inline, file): (&'static str, &'static str),
) -> Option<(&'static str, &'static str)> {
    let says = |name: &str| {
        read.set_by(name).is_some()
            && read.layers.top(name).is_some_and(|top| top.value.text() != Some(""))
    };
    let in_file = read.layers.rank(file) > read.layers.rank(inline);
    (says(inline) && says(file)).then_some(if in_file { (inline, file) } else { (file, inline) })
}

/// Gives what is to be said of how the upstream knows who calls.
fn of_trust(config: &Config, read: &SettingsReader<'_>) -> Vec<(&'static str, String)> {
    let upstream = &config.upstream;
    let mut notes = Vec::new();
    let Upstream::Url(url) = &upstream.url else {
        for key in proof::ALL.into_iter().chain([headers::NAME]).filter(|key| read.differs(key)) {
            notes.push((key, "has no effect on the built-in server".to_owned()));
        }
        return notes;
    };
    let has_keys = upstream.proof.as_ref().is_some_and(|signer| signer.key_set().is_some());
    for key in proof::ALL.into_iter().filter(|key| read.differs(key)) {
        if upstream.proof.is_none() {
            let text = "has no effect without upstream.proof_secret or upstream.proof_key_file";
            notes.push((key, text.to_owned()));
        } else if key == proof::PUBLISHED && !has_keys {
            let text = "has no effect: a secret signs, of which nothing is published";
            notes.push((key, text.to_owned()));
        }
    }
    let host = url.host().unwrap_or_default();
    let encrypted = url.scheme_str() == Some("https");
    let is_known = !upstream.headers.is_empty()
        || upstream.forward_authorization
        || upstream.client_certificate.is_some();
    if !upstream.headers.is_empty() && !encrypted && !is_loopback(host) {
        let text = "go to another machine unencrypted: upstream.url is http";
        notes.push((headers::NAME, text.to_owned()));
    }
    if upstream.proof.is_none() && !is_known && !is_loopback(host) {
        let unread = if encrypted { "" } else { ", and what goes there is not encrypted" };
        let text = format!(
            "is another machine, which can't tell the gateway from others that reach it: they are any \
             user there{unread}. upstream.proof_secret or upstream.proof_key_file proves who calls"
        );
        notes.push(("upstream.url", text));
    }
    notes
}

/// Tells whether a URL's host is this machine, as far as its name tells.
fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Gives the limits of a single body or answer for which there never is room, so that less is
/// allowed than they say.
fn unreadable(config: &Config) -> impl Iterator<Item = (&'static str, String)> {
    let limits = &config.limits;
    let of_all = ("limits.max_buffered_bytes", limits.max_buffered_bytes);
    let of_user = ("limits.max_buffered_bytes_per_user", limits.max_buffered_bytes_per_user);
    let (budget, room) = if of_all.1 < of_user.1 { of_all } else { of_user };
    let base64 = limits.max_audio_bytes.div_ceil(3).saturating_mul(4);
    let audio = base64.saturating_add(limits.max_body_bytes);
    [
        ("upstream.max_reply_bytes", config.upstream.max_reply_bytes, "an answer"),
        ("limits.max_body_bytes", limits.max_body_bytes, "a body"),
        ("limits.max_audio_bytes", audio, "a body with so much audio in base64"),
    ]
    .into_iter()
    .filter(move |(_, bytes, _)| *bytes > room)
    .map(move |(key, bytes, what)| {
        (
            key,
            format!("{what} of {bytes} bytes is never read: it does not fit in {budget} ({room})"),
        )
    })
}
