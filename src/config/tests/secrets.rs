//! Secrets and keys: where they come from, and that they show nowhere.

use super::every_setting::toml_of;
use super::*;
use crate::config::layers::variable;

#[test]
fn what_is_listed_as_set_has_no_secret() {
    let loaded = complete()
        .set("test", "upstream.url", "http://host/chatkit?token=planted")
        .set("test", "auth.secret", "planted")
        .load()
        .unwrap();
    let shown: Vec<_> = loaded.settings.iter().map(|s| (s.name, s.shown.as_str())).collect();
    let url = "\"http://host/chatkit\"";
    assert_eq!(shown, [("upstream.url", url), ("auth.secret", "(hidden)")]);
    assert!(!format!("{loaded:?}").contains("planted"));
}

#[test]
fn secrets_come_from_files_and_the_later_layer_wins() {
    let file = TemporaryFile::new("from-file-0123456789abcdef01234567\r\n");
    let path = file.path.to_str().unwrap();
    let secret = |sources: Sources| {
        let loaded = sources.load().unwrap_or_else(|faults| panic!("{faults}"));
        assert!(!format!("{loaded:?}").contains("0123456789"), "{loaded:?}");
        match &jwt(&loaded.config).key {
            AuthKey::Secret(secret) => secret.expose().to_owned(),
            other => panic!("{other:?}"),
        }
    };
    let from_file = "from-file-0123456789abcdef01234567";
    let toml = toml_of("auth.secret_file", path);
    assert_eq!(secret(Sources::new().toml("x.toml", toml.clone())), from_file);
    let variable = |name, value| [(variable(name), value)];
    assert_eq!(secret(Sources::new().environment(variable("auth.secret_file", path))), from_file);
    assert_eq!(
        secret(Sources::new().toml("x", toml.clone()).environment(variable("auth.secret", SECRET))),
        SECRET
    );
    assert_eq!(
        secret(
            Sources::new()
                .toml("x", toml_of("auth.secret", SECRET))
                .environment(variable("auth.secret_file", path))
        ),
        from_file
    );
    // An empty variable, as container set-ups leave them behind, hides nothing.
    assert_eq!(
        secret(Sources::new().toml("x", toml).environment(variable("auth.secret", ""))),
        from_file
    );
}

#[test]
fn files_from_windows_are_read_as_they_are_meant() {
    let of = |key, file: &TemporaryFile| {
        let path = file.path.to_str().unwrap();
        complete().set("test", "auth.secret", "").set("test", key, path).load()
    };
    let secret = |loaded: &Loaded| match &jwt(&loaded.config).key {
        AuthKey::Secret(secret) => secret.expose().to_owned(),
        other => panic!("{other:?}"),
    };
    for text in [SECRET.to_owned(), format!("\u{FEFF}{SECRET}"), format!("\u{FEFF}{SECRET}\r\n")] {
        let loaded = of("auth.secret_file", &TemporaryFile::new(&text)).unwrap();
        assert_eq!(secret(&loaded), SECRET);
        assert!(loaded.notes.is_empty(), "{:?}", loaded.notes);
    }
    let pem = format!("\u{FEFF}{}", RSA_PUBLIC.replace('\n', "\r\n"));
    let pem = TemporaryFile::new(pem);
    let loaded = complete()
        .set("test", "auth.secret", "")
        .set("test", "auth.algorithms", "RS256")
        .set("test", "auth.public_key_file", pem.path.to_str().unwrap())
        .load()
        .unwrap();
    assert!(
        matches!(&jwt(&loaded.config).key, AuthKey::PublicKey { pem, .. } if pem.starts_with("-----"))
    );
    let toml = TemporaryFile::new("\u{FEFF}[auth]\r\nuser_claim = \"uid\"\r\n");
    assert_eq!(jwt(&complete().file(&toml.path).load().unwrap().config).user_claim, "uid");

    let utf16: Vec<u8> =
        format!("\u{FEFF}{SECRET}\r\n").encode_utf16().flat_map(u16::to_le_bytes).collect();
    let utf16 = TemporaryFile::new(utf16);
    for key in ["auth.secret_file", "auth.shared_secret_file", "embedded.api_key_file"] {
        let text = of(key, &utf16).unwrap_err().to_string();
        assert!(text.contains(&format!("{key} (set by test): the file \"/")), "{text}");
        assert!(text.contains("save it as UTF-8"), "{text}");
    }
    let text = complete().file(&utf16.path).load().unwrap_err().to_string();
    assert!(text.contains("can't be read: not UTF-8 but UTF-16"), "{text}");
}

#[test]
fn a_secret_with_more_around_it_than_was_meant_does_not_go_unnoticed() {
    let with = |secret: String| Sources::new().environment([(variable("auth.secret"), secret)]);
    let text = with(format!("\u{FEFF}{SECRET}")).load().unwrap_err().to_string();
    assert!(text.contains("begins with a byte order mark") && !text.contains(SECRET), "{text}");
    for secret in [format!("{SECRET}\r"), format!("{SECRET}\n"), format!(" {SECRET}")] {
        let notes = with(secret).load().unwrap().notes;
        assert!(notes.iter().any(|note| note.to_string().contains("part of the secret")));
    }
}

#[test]
fn what_proves_who_calls_is_read_from_files_and_shown_nowhere() {
    let sources = |settings: &[(&'static str, &str)]| {
        let all = settings.iter();
        all.fold(complete(), |sources, (key, value)| sources.set("test", key, *value)).load()
    };
    let secret = TemporaryFile::new(format!("{SECRET}\r\n"));
    let key = TemporaryFile::new("planted key\n");
    let (path, key_path) = (secret.path.to_str().unwrap(), key.path.to_str().unwrap());
    let headers = format!("x-api-key@{key_path}");
    let loaded = sources(&[("upstream.proof_secret_file", path), ("upstream.headers", &headers)]);
    let loaded = loaded.unwrap();
    assert!(loaded.config.upstream.proof.is_some());
    assert_eq!(loaded.config.upstream.headers[0].value.expose(), "planted key");
    let shown = format!("{:?} {:?}", loaded.config.upstream, loaded.settings);
    assert!(!shown.contains(SECRET) && !shown.contains("planted"), "{shown}");
    let of = |name| loaded.settings.iter().find(|setting| setting.name == name).unwrap();
    assert_eq!(of("upstream.headers").shown, "(hidden)");

    let file = format!("[upstream]\nheaders = [{{ name = \"x-a\", value_file = {key_path:?} }}]");
    let config = complete().toml("x.toml", file).load().unwrap().config;
    assert_eq!(config.upstream.headers[0].value.expose(), "planted key");

    let keys = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/keys");
    let encrypted = TemporaryFile::new("-----BEGIN ENCRYPTED PRIVATE KEY-----\nplanted\n");
    let der = TemporaryFile::new(b"\x30\x2E\x02\x01\x00planted");
    let [encrypted, der] = [&encrypted, &der].map(|file| file.path.to_str().unwrap().to_owned());
    let [private, rsa] = ["ed25519", "rsa"].map(|name| format!("{keys}/{name}.private.pem"));
    for (settings, refused, said) in [
        (&[("upstream.proof_secret", "planted")][..], "proof_secret", "at least 32 visible ASCII"),
        (
            &[("upstream.proof_secret", "planted with blanks and 32 bytes"), ("listen", "[::1]:1")],
            "proof_secret",
            "visible ASCII",
        ),
        (&[("upstream.proof_secret_file", key_path)], "proof_secret_file", "visible ASCII"),
        (
            &[("upstream.proof_secret", SECRET), ("upstream.proof_key_file", &private)],
            "proof_secret",
            "set beside upstream.proof_key_file",
        ),
        (&[("upstream.proof_key_file", &rsa)], "proof_key_file", "is no Ed25519 key"),
        (&[("upstream.proof_key_file", key_path)], "proof_key_file", "is no private key in PEM"),
        (&[("upstream.proof_key_file", &encrypted)], "proof_key_file", "openssl pkey -in FILE"),
        (&[("upstream.proof_key_file", &der)], "proof_key_file", "DER, not PEM"),
        (
            &[
                ("upstream.proof_key_file", &private),
                ("upstream.proof_published_key_file", key_path),
            ],
            "proof_published_key_file",
            "is no key in PEM",
        ),
        (&[("upstream.headers", "x-a@/nowhere/x")], "headers", "the value of x-a can't be used"),
        (&[("upstream.headers", "x-a=planted,X-A=b")], "headers", "two headers named \"x-a\""),
        (&[("upstream.headers", "x-user-id=planted")], "headers", "said by upstream.user_header"),
        (
            &[("upstream.headers", "authorization=x"), ("upstream.forward_authorization", "true")],
            "headers",
            "said by upstream.forward_authorization",
        ),
        (
            &[("upstream.headers", "X-Tenant=x"), ("upstream.forward_headers", "x-tenant")],
            "headers",
            "said by upstream.forward_headers",
        ),
        (&[("upstream.headers", "chatkit-gateway-proof=x")], "headers", "the gateway's own to say"),
        (&[("upstream.headers", "Host=planted")], "headers", "belongs to the connection"),
    ] {
        let faults = sources(settings).unwrap_err();
        let text = faults.to_string();
        let of = format!("upstream.{refused}");
        assert!(faults.iter().any(|fault| fault.key() == Some(&of)), "{text}");
        assert!(text.contains(said) && !text.contains("planted"), "{text}");
    }
}

#[test]
fn a_shared_secret_lets_the_gateway_listen_anywhere() {
    let none = || Sources::new().set("test", "auth.mode", "none").set("test", "listen", "[::]:80");
    let text = none().load().unwrap_err().to_string();
    assert!(
        text.contains("expected a loopback address such as 127.0.0.1:8080, auth.shared_secret")
    );

    let file = TemporaryFile::new("file-0123456789abcdef0123456789abcdef\n");
    let path = file.path.to_str().unwrap();
    for (key, value, secret, notes) in [
        ("auth.shared_secret", SECRET, SECRET, 1),
        ("auth.shared_secret", "short+/~0123456=", "short+/~0123456=", 2),
        ("auth.shared_secret_file", path, "file-0123456789abcdef0123456789abcdef", 1),
    ] {
        let loaded = none().set("test", key, value).load().unwrap();
        assert!(!format!("{loaded:?}").contains("0123456789"), "{loaded:?}");
        assert_eq!(loaded.notes.len(), notes, "{value}");
        let AuthConfig::Anonymous(anonymous) = loaded.config.auth else { panic!("a mode") };
        assert_eq!(anonymous.shared_secret, Some(Secret::new(secret)));
    }
    for planted in ["planted secret", "planted;", "=", "plänted", "a=b"] {
        let text = none().set("test", "auth.shared_secret", planted).load().unwrap_err();
        let text = text.to_string();
        assert!(text.contains("auth.shared_secret (set by test)"), "{text}");
        assert!(text.contains("has a character that a bearer token can't have"), "{text}");
        assert!(!text.contains(planted) || planted == "=", "{text}");
    }
    let short = "short+/~012345=";
    let file = TemporaryFile::new(short);
    let path = file.path.to_str().unwrap();
    for (key, value) in [("auth.shared_secret", short), ("auth.shared_secret_file", path)] {
        let set = none().set("test", key, value);
        let text = set.load().unwrap_err().to_string();
        assert!(text.contains(&format!("{key} (set by test): has 15 bytes")), "{text}");
        assert!(
            text.contains("listen is [::]:80 (set by test)") && !text.contains(short),
            "{text}"
        );
        // Nobody else can try it there.
        let set = none().set("test", key, value).set("test", "listen", "[::1]:80");
        assert_eq!(set.load().unwrap().notes.len(), 2);
    }
    let taken = "ek_0123456789abcdef0123456789abcdef";
    let set = none().set("test", "auth.shared_secret", taken);
    let text = set.load().unwrap_err().to_string();
    assert!(text.contains("auth.shared_secret (set by test): begins with \"ek_\""), "{text}");
    assert!(!text.contains("0123"), "{text}");
    let forwarding = none().set("test", "auth.shared_secret", SECRET).set(
        "test",
        "upstream.forward_authorization",
        "true",
    );
    let notes = forwarding.load().unwrap().notes;
    assert!(notes.iter().any(|note| note.key() == "upstream.forward_authorization"));
}

#[test]
fn a_public_key_file_is_read_and_looked_at() {
    let load = |content: &str| {
        let file = TemporaryFile::new(content);
        complete()
            .set("test", "auth.secret", "")
            .set("test", "auth.algorithms", "RS256,PS512")
            .set("test", "auth.public_key_file", file.path.to_str().unwrap())
            .load()
    };
    let loaded = load(RSA_PUBLIC).unwrap();
    assert!(matches!(&jwt(&loaded.config).key, AuthKey::PublicKey { pem, .. } if pem.len() > 40));
    for (content, expected) in [
        ("-----BEGIN PRIVATE KEY-----\nplanted\n-----END PRIVATE KEY-----\n", "a private key"),
        ("planted", "is not PEM"),
        (&"x".repeat(65_537), "larger than 65536 bytes"),
    ] {
        let text = load(content).unwrap_err().to_string();
        assert!(text.contains(expected), "{text}");
        assert!(text.contains("auth.public_key_file (set by test)") && !text.contains("planted"));
    }
}
