//! Layers in, settings or faults out.

mod bad_values;
#[cfg(feature = "postgres")]
mod database;
mod every_setting;
mod faults;
mod issuers;
mod key_set;
mod model;
mod notes;
mod schema;
mod secrets;
mod tls;
mod variables;
mod words;

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use super::*;
use crate::authenticate::TokenType;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

const RSA_PUBLIC: &str = include_str!("../../../fixtures/keys/rsa.public.pem");

/// Sources that lack nothing.
fn complete() -> Sources {
    Sources::new().set("test", "auth.secret", SECRET)
}

fn jwt(config: &Config) -> &JwtConfig {
    match &config.auth {
        AuthConfig::Jwt(jwt) => jwt,
        other => panic!("{other:?}"),
    }
}

fn model(config: &Config) -> Option<&OpenAiResponderConfig> {
    match &config.embedded.responder {
        ResponderConfig::Echo => None,
        ResponderConfig::OpenAi(model) => Some(model),
    }
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn some(number: u32) -> Option<NonZeroU32> {
    NonZeroU32::new(number)
}

/// A file that is removed when the test ends.
struct TemporaryFile {
    path: PathBuf,
}

impl TemporaryFile {
    fn new(content: impl AsRef<[u8]>) -> Self {
        let name = format!("chatkit-rest-config-{}", uuid::Uuid::new_v4());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, content).unwrap();
        Self { path }
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

#[test]
fn later_layers_win_in_whatever_order_they_are_named() {
    let file = "[store]\nurl = \"sqlite:file.db\"\n[limits]\nmax_sessions = 1\nmax_messages = 1";
    let variables = [
        ("CHATKIT_REST__STORE__URL", "sqlite:environment.db"),
        ("CHATKIT_REST__LIMITS__MAX_SESSIONS", "2"),
        ("OTHER", "x"),
    ];
    let config = complete()
        .flag("--store", "store.url", "memory:")
        .environment(variables)
        .toml("x.toml", file)
        .load()
        .unwrap()
        .config;
    assert_eq!(config.store.url, StoreUrl::Memory);
    assert_eq!(config.limits.max_sessions, some(2));
    assert_eq!(config.limits.max_messages, some(1));
    assert_eq!(config.limits.requests_per_minute, some(30));
}

#[test]
fn a_token_type_is_one_that_a_token_can_have() {
    let load = |text: &str| complete().set("test", "auth.token_type", text).load();
    let only = |text: &str| TokenType::Only(text.into());
    let longest = "a".repeat(127);
    for (text, is) in [
        ("", TokenType::NotAnother),
        ("any", TokenType::DangerAny),
        ("ANY", TokenType::DangerAny),
        ("Any", TokenType::DangerAny),
        ("at+jwt", only("at+jwt")),
        ("JWT", only("JWT")),
        ("Application/At+JWT", only("Application/At+JWT")),
        (&longest, only(&longest)),
    ] {
        let loaded = load(text).unwrap();
        assert_eq!(jwt(&loaded.config).token_type, is, "{text}");
        assert!(loaded.notes.is_empty(), "{:?}", loaded.notes);
    }
    let long = "a".repeat(128);
    for text in ["/", "application/", "/at+jwt", "a/b/c", "+jwt", " any", "at+jwt;a=b", "é", &long]
    {
        let faults = load(text).unwrap_err().to_string();
        assert!(faults.contains("is no media type; expected a type such as"), "{text}: {faults}");
    }
    for text in ["id+jwt", "application/logout+jwt", "Refresh", "id_token"] {
        let notes = load(text).unwrap().notes;
        assert_eq!(notes.iter().map(Note::key).collect::<Vec<_>>(), ["auth.token_type"], "{text}");
    }
}

#[test]
fn a_users_id_is_a_claim_or_a_template() {
    let load = |toml: &str| complete().toml("x.toml", format!("[auth]\n{toml}")).load();
    // Who writes the default down has said nothing by it.
    let both = load("user_claim = \"sub\"\nuser = \"{iss}|{sub}\"").unwrap().config;
    assert_eq!(jwt(&both).user.as_ref().unwrap().to_string(), "{iss}|{sub}");
    let faults = load("user_claim = \"uid\"\nuser = \"{iss}|{sub}\"").unwrap_err().to_string();
    assert!(
        faults.contains("auth.user (file x.toml, line 3): set beside auth.user_claim"),
        "{faults}"
    );
    for (toml, said) in [
        ("user = \"{iss}{sub}\"", "has two claims without a mark, such as |"),
        ("user = \"{iss}\"", "has no claim that differs from user to user"),
        ("require = [\"chat\"]", "neither scope:NAME nor CLAIM=VALUE: \"chat\"; expected a list"),
        ("require = [\"scope:a b\"]", "names no scope after scope:"),
    ] {
        let faults = load(toml).unwrap_err().to_string();
        assert!(faults.contains(said), "{faults}");
    }
}

#[test]
fn a_lease_outlasts_the_waits_of_a_first_run() {
    let config = complete().load().unwrap().config;
    assert_eq!(config.upstream.first_run_lease(), secs(1 + 2 + 30 + 120 + 5));
}

#[test]
fn limits_are_shared_as_the_setting_and_the_store_say() {
    let shares = |url: &str, shared: &str| {
        let settings = complete().set("test", "store.url", url);
        let loaded = settings.set("test", "limits.shared", shared).load().unwrap();
        let noted = loaded.notes.iter().any(|note| note.key() == "limits.shared");
        (loaded.config.shares_limits(), noted)
    };
    assert_eq!(shares("sqlite:a.db", "auto"), (false, false));
    assert_eq!(shares("sqlite:a.db", "true"), (true, false));
    assert_eq!(shares("sqlite:a.db", "false"), (false, false));
    assert_eq!(shares("memory:", "auto"), (false, false));
    assert_eq!(shares("memory:", "true"), (false, true));
    #[cfg(feature = "postgres")]
    for (shared, is_shared) in [("auto", true), ("true", true), ("false", false)] {
        assert_eq!(shares("postgres://h/d", shared), (is_shared, false));
    }
    for wrong in ["shared = \"yes\"", "shared = 1", "shared = [\"auto\"]"] {
        let said = complete().toml("x.toml", format!("[limits]\n{wrong}")).load().unwrap_err();
        assert!(said.to_string().contains("expected true, false or \"auto\""), "{said}");
    }
}
