//! The settings of key sets.

use super::*;

const KEYS: &str = r#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "a",
    "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

const URL: &str = "jwks_url = \"https://issuer.example/keys?planted\"";

fn load(auth: &str) -> Result<Loaded, Faults> {
    Sources::new().toml("x.toml", format!("[auth]\n{auth}")).load()
}

#[test]
fn what_contradicts_a_key_set_is_told_with_what_to_do() {
    let file = TemporaryFile::new(KEYS);
    let file = format!("jwks_file = {:?}", file.path);
    let discovery = "discovery = true";
    for (auth, expected) in [
        (
            format!("{URL}\nsecret = \"planted\""),
            "auth.secret (file x.toml, line 3): set beside auth.jwks_url; expected only one",
        ),
        (
            format!("{file}\nsecret = \"planted\""),
            "auth.secret (file x.toml, line 3): set beside auth.jwks_file",
        ),
        (
            format!("{URL}\n{file}"),
            "auth.jwks_file (file x.toml, line 3): set beside auth.jwks_url",
        ),
        (
            format!("{URL}\nissuer = \"https://a.example\"\n{discovery}"),
            "auth.discovery (file x.toml, line 4): set beside auth.jwks_url",
        ),
        (
            format!("{URL}\nalgorithms = [\"HS256\"]"),
            "auth.algorithms (file x.toml, line 3): HS256 takes a secret, but auth.jwks_url is set, whose keys anybody may know",
        ),
        (
            format!("{file}\nalgorithms = [\"RS256\"]"),
            "has no key that can be used: of 1, the first \"a\" is for EdDSA, and `algorithms` has none of it",
        ),
        (
            discovery.into(),
            "auth.discovery (file x.toml, line 2): is true, and there is no auth.issuer",
        ),
        (
            format!("{discovery}\nissuer = \"me\""),
            "auth.issuer (file x.toml, line 3): does not begin with http:// or https://, so auth.discovery can't ask it",
        ),
        (
            format!("{discovery}\nissuer = \"http://a.example\""),
            "auth.issuer (file x.toml, line 3): is http, so whoever is on the way",
        ),
        (
            "jwks_url = \"http://better-auth:3000/api/auth/jwks\"".into(),
            "auth.danger_plain_http = true",
        ),
        ("jwks_url = \"http://u:planted@a.example/\"".into(), "has a user or password"),
        (
            "algorithms = [\"RS256\", \"ES256\"]".into(),
            "mixes RS256, which takes an RSA key, with ES256",
        ),
    ] {
        let said = load(&auth).unwrap_err();
        assert_eq!(said.len(), 1, "{said}");
        let said = said.to_string();
        assert!(said.contains(expected), "{expected}\n\nnot in\n\n{said}");
        assert!(!said.contains("planted"), "{said}");
    }
}

#[test]
fn a_key_set_has_algorithms_of_its_own_and_never_a_secret() {
    for (auth, algorithms) in [
        (URL.to_owned(), "RS256 ES256 ES384 EdDSA"),
        (format!("{URL}\nalgorithms = [\"PS256\", \"ES256\"]"), "PS256 ES256"),
        ("discovery = true\nissuer = \"http://localhost:3000\"".into(), "RS256 ES256 ES384 EdDSA"),
        ("jwks_url = \"http://[::1]/\"".into(), "RS256 ES256 ES384 EdDSA"),
        ("jwks_url = \"http://a/\"\ndanger_plain_http = true".into(), "RS256 ES256 ES384 EdDSA"),
    ] {
        let loaded = load(&auth).unwrap_or_else(|faults| panic!("{faults}"));
        let names: Vec<_> = jwt(&loaded.config).algorithms.iter().map(|it| it.as_str()).collect();
        assert_eq!(names.join(" "), algorithms, "{auth}");
        assert!(!format!("{:?}", loaded.config).contains("planted"));
    }
}

#[test]
fn what_is_probably_not_meant_of_a_key_set_is_noted() {
    let issuer = "issuer = \"https://issuer.example\"";
    for (auth, key, is) in [
        (URL.to_owned(), "auth.issuer", true),
        (format!("{URL}\n{issuer}"), "auth.issuer", false),
        (format!("{URL}\n{issuer}\ndanger_plain_http = true"), "auth.danger_plain_http", true),
        (
            format!("jwks_url = \"http://a/\"\n{issuer}\ndanger_plain_http = true"),
            "auth.danger_plain_http",
            true,
        ),
        (format!("{URL}\n{issuer}\ndanger_short_secret = true"), "auth.danger_short_secret", true),
    ] {
        let loaded = load(&auth).unwrap_or_else(|faults| panic!("{faults}"));
        assert_eq!(loaded.notes.iter().any(|note| note.key() == key), is, "{auth}");
    }
}
