//! Every setting through every layer.

use super::*;
use crate::authenticate::TokenType;
use crate::config::key::{KEYS, ValueShape};
use crate::config::layers::variable;
use crate::forward::ClientHeaders;
use crate::session::{ConversationIds, UnknownAttachments};
use crate::surface::InvalidStatus;
use crate::validate::UnknownRequests;

/// A key's name, a value other than its default, and whether a configuration has that value.
pub(super) type Row = (&'static str, &'static str, fn(&Config) -> bool);

#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    ("listen", "127.0.0.2:9", |c| c.listen == "127.0.0.2:9".parse().unwrap()),
    ("server.public_url", "https://a.example/ai/", |c| c.server.public_url.as_ref().is_some_and(|u| u.to_string() == "https://a.example/ai")),
    ("server.header_timeout", "11s", |c| c.server.header_timeout == secs(11)),
    ("server.body_timeout", "12s", |c| c.server.body_timeout == secs(12)),
    ("server.idle_timeout", "13s", |c| c.server.idle_timeout == secs(13)),
    ("server.write_timeout", "14s", |c| c.server.write_timeout == secs(14)),
    ("server.drain_timeout", "0s", |c| c.server.drain_timeout == secs(0)),
    ("server.max_connections", "7", |c| c.server.max_connections == 7),
    ("server.max_header_bytes", "4096", |c| c.server.max_header_bytes == 4096),
    ("server.worker_threads", "3", |c| c.server.worker_threads == some(3)),
    ("rest.prefix", "/v2", |c| c.rest.prefix.as_str() == "/v2"),
    ("upstream.url", "embedded", |c| c.upstream.url == Upstream::Embedded),
    ("upstream.connect_timeout", "500ms", |c| c.upstream.connect_timeout.as_millis() == 500),
    ("upstream.first_byte_timeout", "2m", |c| c.upstream.first_byte_timeout == secs(120)),
    ("upstream.idle_timeout", "1h", |c| c.upstream.idle_timeout == secs(3600)),
    ("upstream.json_timeout", "14s", |c| c.upstream.json_timeout == secs(14)),
    ("upstream.pool_idle_timeout", "0s", |c| c.upstream.pool_idle_timeout == secs(0)),
    ("upstream.max_idle_connections", "8", |c| c.upstream.max_idle_connections == 8),
    ("upstream.max_concurrent", "0", |c| c.upstream.max_concurrent.is_none()),
    ("upstream.max_queued", "9", |c| c.upstream.max_queued == 9),
    ("upstream.queue_timeout", "300ms", |c| c.upstream.queue_timeout.as_millis() == 300),
    ("upstream.breaker", "false", |c| !c.upstream.breaker),
    ("upstream.max_reply_bytes", "9", |c| c.upstream.max_reply_bytes == 9),
    ("upstream.user_header", "X-Who", |c| c.upstream.user_header == "x-who"),
    ("upstream.forward_authorization", "true", |c| c.upstream.forward_authorization),
    ("upstream.forward_headers", "X-Tenant,x-acme-*", |c| c.upstream.forward_headers == ClientHeaders::parse(["x-tenant", "x-acme-*"]).unwrap()),
    ("upstream.headers", "x-api-key=k-1,X-Zone=a b", |c| c.upstream.headers.iter().map(|h| (h.name.as_str(), h.value.expose())).eq([("x-api-key", "k-1"), ("x-zone", "a b")])),
    ("upstream.proof_secret", "0123456789abcdef0123456789ABCDEF", |c| c.upstream.proof.as_ref().is_some_and(|p| p.key_set().is_none())),
    ("upstream.proof_issuer", "us", |c| proof(c).contains("issuer: \"us\"")),
    ("upstream.proof_audience", "them", |c| proof(c).contains("audience: \"them\"")),
    ("upstream.forwarded", "false", |c| !c.upstream.forwarded),
    ("upstream.utc_offset", "+05:30", |c| c.upstream.utc_offset.seconds() == 19_800),
    ("embedded.responder", "openai", |c| model(c).is_some()),
    ("embedded.base_url", "http://[::1]:1/v2", |c| model(c).is_some_and(|m| m.base_url == "http://[::1]:1/v2")),
    ("embedded.api_key", "sk-1", |c| model(c).is_some_and(|m| m.api_key == Some(Secret::new("sk-1")))),
    ("embedded.model", "gpt", |c| model(c).is_some_and(|m| m.model == "gpt")),
    ("embedded.system_prompt", "Be brief.", |c| model(c).is_some_and(|m| m.system_prompt.as_deref() == Some("Be brief."))),
    ("embedded.token_delay", "30ms", |c| c.embedded.token_delay == Duration::from_millis(30)),
    ("auth.mode", "none", |c| matches!(&c.auth, AuthConfig::Anonymous(a) if a.user.as_str() == "ada")),
    ("auth.anonymous_user", "bob", |c| matches!(&c.auth, AuthConfig::Anonymous(a) if a.user.as_str() == "bob")),
    ("auth.shared_secret", "open~sesame", |c| matches!(&c.auth, AuthConfig::Anonymous(a) if a.shared_secret == Some(Secret::new("open~sesame")))),
    ("auth.algorithms", "HS384,HS512", |c| jwt(c).algorithms == [Algorithm::Hs384, Algorithm::Hs512]),
    ("auth.secret", "another", |c| matches!(&jwt(c).key, AuthKey::Secret(s) if s.expose() == "another")),
    ("auth.danger_short_secret", "true", |c| jwt(c).danger_short_secret),
    ("auth.jwks_url", "https://issuer.example/keys?v=1",
        |c| matches!(&jwt(c).key, AuthKey::KeySetUrl { url, danger_plain_http: false } if url == "https://issuer.example/keys?v=1")),
    ("auth.discovery", "true", |c| matches!(&jwt(c).key, AuthKey::Discovery { danger_plain_http: false })),
    ("auth.danger_plain_http", "true", |c| matches!(&jwt(c).key, AuthKey::KeySetUrl { danger_plain_http: true, .. })),
    ("auth.issuer", "me", |c| jwt(c).issuer.as_deref() == Some("me")),
    ("auth.audience", "you", |c| jwt(c).audience.as_deref() == Some("you")),
    ("auth.user_claim", "uid", |c| jwt(c).user_claim == "uid"),
    ("auth.user", "{iss}|{sub}", |c| jwt(c).user.as_ref().is_some_and(|u| u.to_string() == "{iss}|{sub}")),
    ("auth.require", "scope:chat,email_verified=true", |c| jwt(c).require.iter().map(ToString::to_string).eq(["scope:chat", "email_verified=true"])),
    ("auth.token_type", "at+jwt", |c| jwt(c).token_type == TokenType::Only("at+jwt".into())),
    ("auth.leeway", "0s", |c| jwt(c).leeway == secs(0)),
    ("auth.cookie", "session", |c| jwt(c).cookie.as_deref() == Some("session")),
    ("auth.issuers", "[{ issuer = \"https://a\", secret = \"0123456789abcdef0123456789abcdef\" }]",
        |c| matches!(&c.auth, AuthConfig::Issuers(i) if i.issuers[0].issuer.as_deref() == Some("https://a"))),
    ("auth.danger_shared_users", "true", |c| matches!(&c.auth, AuthConfig::Issuers(i) if i.danger_shared_users)),
    ("store.url", "memory:", |c| c.store.url == StoreUrl::Memory),
    ("store.schema", "other", |c| c.store.schema == "other"),
    ("store.pool_size", "24", |c| c.store.pool_size.get() == 24),
    ("store.connect_timeout", "3s", |c| c.store.connect_timeout == secs(3)),
    ("store.wait_timeout", "4s", |c| c.store.wait_timeout == secs(4)),
    ("store.statement_timeout", "6s", |c| c.store.statement_timeout == secs(6)),
    ("store.pooler", "true", |c| c.store.pooler),
    ("session.hide_foreign", "true", |c| c.session.hide_foreign),
    ("attachments.unknown", "forward", |c| c.attachments.unknown == UnknownAttachments::Forward),
    ("limits.requests_per_minute", "0", |c| c.limits.requests_per_minute.is_none()),
    ("limits.shared", "true", |c| c.limits.shared == Some(true)),
    ("limits.max_sessions", "0", |c| c.limits.max_sessions.is_none()),
    ("limits.max_messages", "5", |c| c.limits.max_messages == some(5)),
    ("limits.max_message_chars", "15", |c| c.limits.max_message_chars == 15),
    ("limits.max_body_bytes", "16000", |c| c.limits.max_body_bytes == 16_000),
    ("limits.max_json_values", "160", |c| c.limits.max_json_values == 160),
    ("limits.max_audio_bytes", "17", |c| c.limits.max_audio_bytes == 17),
    ("limits.max_buffered_bytes", "2000000", |c| c.limits.max_buffered_bytes == 2_000_000),
    ("limits.max_buffered_bytes_per_user", "1500000", |c| c.limits.max_buffered_bytes_per_user == 1_500_000),
    ("limits.max_in_flight", "18", |c| c.limits.max_in_flight == 18),
    ("limits.max_unauthenticated", "21", |c| c.limits.max_unauthenticated == 21),
    ("limits.max_streams_per_user", "19", |c| c.limits.max_streams_per_user == 19),
    ("limits.max_tracked_users", "20", |c| c.limits.max_tracked_users == 20),
    ("stream.hold_for", "0s", |c| c.stream.hold_for == secs(0)),
    ("stream.hold_bytes", "0", |c| c.stream.hold_bytes == 0),
    ("chat.enabled", "false", |c| !c.chat.enabled),
    ("chat.path", "/talk", |c| c.chat.path.as_str() == "/talk"),
    ("chat.id_format", "conv", |c| c.chat.id_format == ConversationIds::Conv),
    ("chat.acted", "Done.", |c| c.chat.acted == "Done."),
    ("chat.invalid_status", "400", |c| c.chat.invalid_status == InvalidStatus::BadRequest),
    ("chat.max_message_chars", "21", |c| c.chat.max_message_chars == 21),
    ("chat.max_sessions", "22", |c| c.chat.max_sessions == some(22)),
    ("chat.max_messages", "23", |c| c.chat.max_messages == some(23)),
    ("openai.enabled", "false", |c| !c.openai.enabled),
    ("openai.path", "/v1/other", |c| c.openai.path.as_str() == "/v1/other"),
    ("openai.api_keys", "billing=00000000000000000000000000000000000000000000000000000000000000ff",
        |c| c.openai.api_keys.first().is_some_and(|k| k.name == "billing" && k.sha256[31] == 255)),
    ("cors.allowed_origins", "https://a.example,https://b.example",
        |c| matches!(&c.cors.allowed_origins, AllowedOrigins::List(l) if l[..] == ["https://a.example", "https://b.example"])),
    ("passthrough.unknown", "forward", |c| c.passthrough.unknown == UnknownRequests::Forward),
    ("log.format", "json", |c| c.log.format == LogFormat::Json),
    ("log.level", "warn,hyper=debug", |c| c.log.level.as_str() == "warn,hyper=debug"),
    ("admin.listen", "127.0.0.1:9090", |c| c.admin.listen == Some("127.0.0.1:9090".parse().unwrap())),
];

const PROOF_SECRET: &str = "0123456789abcdef0123456789abcdef";

/// Settings whose values are files, or nothing: they have tests of their own.
const WITHOUT_ROW: [&str; 17] = [
    "auth.jwks_file",
    "auth.public_key_file",
    "auth.secret_file",
    "auth.shared_secret_file",
    "embedded.api_key_file",
    "embedded.ca",
    "server.tls.certificate",
    "server.tls.client_ca",
    "server.tls.key",
    "store.ca",
    "store.url_file",
    "upstream.ca",
    "upstream.client_certificate",
    "upstream.client_key",
    "upstream.proof_key_file",
    "upstream.proof_published_key_file",
    "upstream.proof_secret_file",
];

/// Gives what is to be seen of what signs; nothing if nothing does.
fn proof(config: &Config) -> String {
    config.upstream.proof.as_ref().map_or_else(String::new, |signer| format!("{signer:?}"))
}

/// Gives what a row needs beside itself, from a layer that its own layer does not hide.
pub(super) fn companions(name: &str) -> Vec<(&'static str, &'static str)> {
    let mut companions = Vec::new();
    match name {
        "auth.mode" => companions.push(("auth.anonymous_user", "ada")),
        "upstream.proof_issuer" | "upstream.proof_audience" => {
            companions.push(("upstream.proof_secret", PROOF_SECRET));
        }
        "auth.anonymous_user" | "auth.shared_secret" => companions.push(("auth.mode", "none")),
        "auth.discovery" => companions.push(("auth.issuer", "https://issuer.example/")),
        "auth.danger_plain_http" => companions.push(("auth.jwks_url", "http://issuer/keys")),
        _ => {}
    }
    if name.starts_with("embedded.") && name != "embedded.token_delay" {
        let all = [
            ("embedded.responder", "openai"),
            ("embedded.base_url", "http://127.0.0.1:11434/v1"),
            ("embedded.model", "llama3.2"),
        ];
        companions.extend(all.into_iter().filter(|(other, _)| *other != name));
    }
    match name {
        // Each issuer has one of its own.
        "auth.issuers" => return companions,
        "auth.danger_shared_users" => {
            let issuers =
                "[{ issuer = \"https://a\", secret = \"0123456789abcdef0123456789abcdef\" }]";
            companions.push(("auth.issuers", issuers));
            return companions;
        }
        _ => {}
    }
    // Not beside a key set.
    let of_a_set = ["auth.jwks_url", "auth.discovery", "auth.danger_plain_http"];
    if name != "auth.secret" && !of_a_set.contains(&name) {
        companions.push(("auth.secret", SECRET));
    }
    companions
}

/// Gives a key's value as it is written in TOML.
fn literal(name: &str, word: &str) -> String {
    let key = KEYS.iter().find(|key| key.name == name).unwrap();
    let list = |each: &dyn Fn(&str) -> String| {
        format!("[{}]", word.split(',').map(each).collect::<Vec<_>>().join(", "))
    };
    match key.shape {
        ValueShape::Boolean | ValueShape::Count(..) | ValueShape::Status(_) => word.into(),
        ValueShape::Switch(other) if word != other => word.into(),
        ValueShape::List(_) | ValueShape::Words(_) => list(&|entry| format!("{entry:?}")),
        ValueShape::Issuers => word.to_owned(),
        ValueShape::ApiKeys => list(&|entry| {
            let (name, sha256) = entry.split_once('=').unwrap();
            format!("{{ name = {name:?}, sha256 = {sha256:?} }}")
        }),
        ValueShape::Headers => list(&|entry| {
            let (name, value) = entry.split_once('=').unwrap();
            format!("{{ name = {name:?}, value = {value:?} }}")
        }),
        _ => format!("{word:?}"),
    }
}

/// Gives a TOML file of one setting.
pub(super) fn toml_of(name: &str, word: &str) -> String {
    let value = literal(name, word);
    match name.split_once('.') {
        None => format!("{name} = {value}\n"),
        Some((section, key)) => format!("[{section}]\n{key} = {value}\n"),
    }
}

#[test]
fn every_setting_has_a_row() {
    let rows: Vec<_> = ROWS.iter().map(|(name, ..)| *name).collect();
    let keys = KEYS.iter().map(|key| key.name).filter(|name| !WITHOUT_ROW.contains(name));
    assert_eq!(rows, keys.collect::<Vec<_>>());
}

#[test]
fn the_environment_and_a_file_can_set_every_setting() {
    for (name, word, holds) in ROWS {
        let mut base = Sources::new();
        for (name, word) in companions(name) {
            base = base.set("test", name, word);
        }
        if !matches!(*name, "auth.mode" | "auth.anonymous_user" | "auth.secret") {
            let defaults = complete().load().unwrap().config;
            assert!(!holds(&defaults), "{name} has this value anyway");
        }
        let loaded = base.environment([(variable(name), *word)]).load();
        let loaded = loaded.unwrap_or_else(|faults| panic!("{faults}"));
        assert!(holds(&loaded.config), "{name} from the environment");
        let origin = Origin::Environment(variable(name));
        assert!(loaded.settings.iter().any(|s| s.name == *name && s.origin == origin));

        let mut base = Sources::new();
        for (name, word) in companions(name) {
            base = base.set("test", name, word);
        }
        let loaded = base.toml("x.toml", toml_of(name, word)).load();
        let loaded = loaded.unwrap_or_else(|faults| panic!("{faults}"));
        assert!(holds(&loaded.config), "{name} from a file");
        let line = Some(if name.contains('.') { 2 } else { 1 });
        let origin = Origin::File { path: "x.toml".into(), line };
        assert!(loaded.settings.iter().any(|s| s.name == *name && s.origin == origin), "{name}");
    }
}

#[test]
fn the_example_file_has_every_setting_at_its_default() {
    let text = include_str!("../../../examples/chatkit-rest.toml");
    let example = complete().toml("chatkit-rest.toml", text).load();
    let example = example.unwrap_or_else(|faults| panic!("{faults}"));
    let defaults = complete().load().unwrap();
    assert_eq!(format!("{:?}", example.config), format!("{:?}", defaults.config));
    let named: Vec<_> = example.settings.iter().map(|setting| setting.name).collect();
    assert_eq!(named, KEYS.iter().map(|key| key.name).collect::<Vec<_>>());
}

#[test]
fn the_reference_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/config/reference.md");
    if std::env::var_os("CHATKIT_REST_REWRITE").is_some() {
        std::fs::write(path, reference()).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap();
    assert_eq!(written, reference(), "rewrite it with CHATKIT_REST_REWRITE=1");
}
