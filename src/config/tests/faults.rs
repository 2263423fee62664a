//! What is wrong, where, and all of it at once.

use super::*;

#[test]
fn every_fault_is_found_in_one_go() {
    let file = "\
        lisen = \"127.0.0.1:1\"\n\
        [auth]\n\
        secert = \"planted-1\"\n\
        secret = 17\n\
        [upstrem]\n\
        url = \"http://planted-2/\"\n\
        [upstream]\n\
        url = \"http://user:planted-3@host/\"\n\
        idle_timeout = 120\n\
        [limits]\n\
        hold_bytes = 5\n\
        max_sessions = \"many\"\n\
        max_in_flight = 0\n\
        [rest]\n\
        prefix = \"/api/\"\n\
        [chat]\n\
        invalid_status = 409\n\
        acted = 7\n\
        [log]\n\
        format = \"jsn\"\n";
    let variables = [
        ("CHATKIT_REST__AUTH__SECRETT", "planted-4"),
        ("CHATKIT_REST__STORE__URL", "postgresql+asyncpg://user:planted-5@host/db"),
        ("CHATKIT_REST__OPENAI__API_KEYS", "planted-6"),
        // Hidden by the next layer, and a fault all the same.
        ("CHATKIT_REST__SERVER__DRAIN_TIMEOUT", "soon"),
    ];
    let faults = Sources::new()
        .toml("x.toml", file)
        .environment(variables)
        .set("test", "server.drain_timeout", "1s")
        .load()
        .unwrap_err();
    let text = faults.to_string();
    for expected in [
        "lisen (file x.toml, line 1): not a setting; expected listen, or a section of server, rest",
        "; did you mean listen?",
        "auth.secert (file x.toml, line 3): not a setting; expected one of mode, ",
        "; did you mean auth.secret?",
        "auth.secret (file x.toml, line 4): found an integer; expected a text",
        "upstrem (file x.toml, line 5): not a section; expected listen",
        "; did you mean [upstream]?",
        "upstream.url (file x.toml, line 8): a text that is not shown here has a user or password",
        "upstream.idle_timeout (file x.toml, line 9): 120 has no unit (ms, s, m or h); expected a \
         duration such as \"5s\", from 1ms to 24h; did you mean \"120s\"?",
        "limits.hold_bytes (file x.toml, line 11): not a setting",
        "; did you mean stream.hold_bytes?",
        "limits.max_sessions (file x.toml, line 12): found \"many\"; expected a whole number from \
         0 to 4294967295",
        "limits.max_in_flight (file x.toml, line 13): 0 is out of range; expected a whole number \
         from 1 to",
        "rest.prefix (file x.toml, line 15): \"/api/\" ends with \"/\"; expected a path such as",
        "chat.invalid_status (file x.toml, line 17): found 409; expected 422 or 400",
        "chat.acted (file x.toml, line 18): found 7; expected a text of at most 500 characters",
        "log.format (file x.toml, line 20): found \"jsn\"; expected \"auto\" or \"text\" or \
         \"json\"; did you mean \"json\"?",
        "auth.secrett (environment variable CHATKIT_REST__AUTH__SECRETT): not a setting",
        "; did you mean CHATKIT_REST__AUTH__SECRET?",
        "store.url (environment variable CHATKIT_REST__STORE__URL): a text that is not shown here names another \
         program's driver (write \"postgres://\" in its place); expected \"sqlite:FILE\", ",
        "openai.api_keys (environment variable CHATKIT_REST__OPENAI__API_KEYS): a text \
         that is not shown here has entry 1",
        "server.drain_timeout (environment variable CHATKIT_REST__SERVER__DRAIN_TIMEOUT): \"soon\"",
    ] {
        assert!(text.contains(expected), "{expected}\n\nnot in\n\n{text}");
    }
    assert_eq!(faults.len(), 17, "{text}");
    assert!(!text.contains("planted"), "{text}");
    assert!(!format!("{faults:?}").contains("planted"));
}

#[test]
fn broken_toml_is_told_by_line_and_without_its_text() {
    let file = "listen = \"127.0.0.1:1\"\n[auth]\nsecret = \"planted\nissuer = planted\nsecret = 'planted'\n";
    let faults = Sources::new().toml("x.toml", file).load().unwrap_err();
    let text = faults.to_string();
    assert!(text.contains("file x.toml, line 3: not TOML: "), "{text}");
    assert!(!text.contains("planted") && !format!("{faults:?}").contains("planted"), "{text}");
    assert!(faults.iter().all(|fault| fault.key().is_none()), "{text}");
}

#[test]
fn what_a_broken_file_would_have_said_is_no_fault() {
    for file in ["listen = ", "listen = \n[limits]\nmax_sessions = 3", "[auth\nsecert = 1"] {
        let faults = Sources::new().toml("x.toml", file).load().unwrap_err();
        assert!(faults.to_string().starts_with("file x.toml, line 1: not TOML: "), "{faults}");
        assert!(faults.iter().all(|fault| fault.key().is_none()), "{faults}");
        let faults = Sources::new().toml("x.toml", file).load_store().unwrap_err();
        assert!(faults.iter().all(|fault| fault.key().is_none()), "{faults}");
    }
}

#[test]
fn every_entry_at_fault_of_a_list_is_named() {
    let faults = |key: &'static str, list: &str| {
        let (section, leaf) = key.split_once('.').unwrap();
        let text = format!("[{section}]\n{leaf} = {list}");
        complete().toml("x.toml", &text).load().unwrap_err().to_string()
    };
    let names = faults("upstream.forward_headers", r#"["x y", "x-a", "", "cookie", "host", 7]"#);
    for part in ["\"x y\", which", "\"\", which", "\"cookie\", which", "\"host\", which", "no text"]
    {
        assert_eq!(names.matches(&format!("has {part}")).count(), usize::from(part != "no text"));
        assert!(names.contains(part), "{part}\n\nnot in\n\n{names}");
    }
    let origins = faults("cors.allowed_origins", r#"["*", "null", "https://a", "https://b/"]"#);
    for part in ["\"null\", which is no origin", "goes on after the host", "beside other origins"] {
        assert!(origins.contains(part), "{part}\n\nnot in\n\n{origins}");
    }
    let algorithms = faults("auth.algorithms", r#"["HS256", "none", "hs256"]"#);
    assert!(algorithms.contains("has \"none\"") && algorithms.contains("has \"hs256\""));
    assert!(!faults("auth.algorithms", "[7]").contains("is empty"));
    let keys = faults("openai.api_keys", r#"[{ name = "a" }, "sk-planted", 7]"#);
    assert!(keys.contains("has entry 1") && keys.contains("has entry 3"), "{keys}");
    assert!(!keys.contains("planted"), "{keys}");
    let many: Vec<_> = (0..20).map(|number| format!("\"x {number}\"")).collect();
    let many = faults("upstream.forward_headers", &format!("[{}]", many.join(", ")));
    assert_eq!(many.matches("which is not a header's name").count(), 8, "{many}");
    assert!(many.contains(", and 12 more; expected a list of"), "{many}");
}

#[test]
fn a_section_that_is_none_and_a_table_that_is_no_section_are_faults() {
    let text = complete()
        .toml("x.toml", "auth = \"planted\"\n[listen]\nport = 1")
        .load()
        .unwrap_err()
        .to_string();
    assert!(text.contains("listen (file x.toml, line 2): found a table; expected an address"));
    let text = complete().toml("x.toml", "auth = \"planted\"").load().unwrap_err().to_string();
    assert_eq!(
        text,
        "auth (file x.toml, line 1): is a section: expected [auth] and its keys below"
    );
    let text = complete().toml("x.toml", "[auth.extra]\na = 1").load().unwrap_err().to_string();
    assert!(text.starts_with("auth.extra (file x.toml, line 1): not a setting"), "{text}");
}

#[test]
fn a_file_that_cannot_be_read_is_a_fault_beside_the_others() {
    let sources = Sources::new().file("/nowhere/x.toml").set("test", "auth.leeway", "x");
    let text = sources.load().unwrap_err().to_string();
    assert!(text.starts_with("file /nowhere/x.toml: can't be read: No such file"), "{text}");
    assert!(text.contains("\nauth.leeway (set by test): \"x\" is not a duration"), "{text}");
}

#[test]
fn a_key_that_may_have_been_said_is_no_second_fault() {
    let variable = |name: &str| Sources::new().environment([(name, "planted")]);
    for sources in [
        Sources::new().file("/nowhere/x.toml"),
        Sources::new().set("test", "auth.jwks_url", "issuer.example/jwks.json"),
        Sources::new().set("test", "auth.jwks_file", "/nowhere/jwks.json"),
        Sources::new().set("test", "auth.discovery", "yes"),
        Sources::new().toml("x.toml", "[auth]\nsecrt = \"planted\""),
        Sources::new()
            .toml("x.toml", "[auth]\nalgorithms = [\"ES256\"]\npublic_keyfile = \"planted\""),
        Sources::new().toml("x.toml", "[auht]\nsecret = \"planted\""),
        variable("CHATKIT_REST__AUTH__SECRT"),
    ] {
        let faults = sources.load().unwrap_err();
        assert_eq!(faults.len(), 1, "{faults}");
    }
    // Another fault hides nothing.
    let faults = Sources::new().set("test", "auth.leeway", "x").load().unwrap_err();
    assert!(faults.to_string().contains("auth.secret (default): missing"), "{faults}");
}

#[test]
fn a_key_that_is_set_to_nothing_is_empty() {
    for (settings, said) in [
        (&["auth.secret"][..], "auth.secret (set by test): is empty, so no token"),
        (&["auth.secret_file"], "auth.secret_file (set by test): is empty, so no token"),
        (
            &["auth.algorithms", "auth.public_key_file"],
            "auth.public_key_file (set by test): is empty",
        ),
        (&[], "auth.secret (default): missing, so no token could be made or verified"),
    ] {
        let set = |sources: Sources, name: &&'static str| {
            sources.set("test", name, if *name == "auth.algorithms" { "RS256" } else { "" })
        };
        let text = settings.iter().fold(Sources::new(), set).load().unwrap_err().to_string();
        assert!(text.starts_with(said), "{text}");
    }
}

#[test]
#[cfg(unix)]
fn a_value_that_is_not_utf8_is_a_fault() {
    use std::os::unix::ffi::OsStringExt as _;
    let value = std::ffi::OsString::from_vec(vec![0xff]);
    let faults = complete().environment([("CHATKIT_REST__AUTH__ISSUER", value)]).load();
    assert!(faults.unwrap_err().to_string().contains("not UTF-8; expected a text"));
}

#[test]
fn contradictions_name_both_sides() {
    let file = |text: &str| Sources::new().toml("x.toml", text).load().unwrap_err().to_string();
    let pem = TemporaryFile::new("-----BEGIN PUBLIC KEY-----\nx\n-----END PUBLIC KEY-----\n");
    let pem = pem.path.display();
    for (text, expected) in [
        ("", "auth.secret (default): missing, so no token could be made or verified"),
        ("", "`openssl rand -hex 32`"),
        ("", "`chatkit-rest demo`"),
        (
            "[auth]\nmode = \"none\"\nanonymous_user = \"\"",
            "auth.mode (file x.toml, line 2): \"none\" makes everyone one user; expected \
             auth.anonymous_user",
        ),
        (
            "listen = \"0.0.0.0:1\"\n[auth]\nmode = \"none\"\nanonymous_user = \"ada\"",
            "auth.mode (file x.toml, line 3): \"none\" while listen is 0.0.0.0:1 (file x.toml, \
             line 1), which others can reach; expected a loopback address",
        ),
        (
            "[auth]\nalgorithms = [\"RS256\"]\nsecret = \"planted\"",
            "auth.algorithms (file x.toml, line 2): RS256 takes a public key, but only \
             auth.secret is set",
        ),
        (
            &format!("[auth]\npublic_key_file = \"{pem}\""),
            "auth.algorithms (default): HS256 takes a secret, but only auth.public_key_file is set",
        ),
        (
            &format!("[auth]\nsecret = \"planted\"\npublic_key_file = \"{pem}\""),
            "auth.public_key_file (file x.toml, line 3): HS256 is checked with auth.secret; \
             expected only one",
        ),
        (
            &format!(
                "[auth]\nalgorithms = [\"ES256\"]\nsecret = \"planted\"\npublic_key_file = \"{pem}\""
            ),
            "auth.secret (file x.toml, line 3): ES256 is checked with auth.public_key_file",
        ),
        (
            "[auth]\nalgorithms = [\"HS256\", \"RS256\"]",
            "mixes HS256, which takes a secret, with RS256, which takes an RSA key",
        ),
        ("[auth]\nalgorithms = [\"hs256\"]", "has \"hs256\" (did you mean \"HS256\"?)"),
        ("[auth]\nalgorithms = [\"none\"]", "has \"none\", which is none that is accepted"),
        ("[auth]\nalgorithms = []", "is empty: no token could be verified"),
        ("[auth]\nalgorithms = [\"EdDSA\"]", "auth.public_key_file (default): missing"),
        (
            "[auth]\nsecret = \"planted\"\nsecret_file = \"planted\"",
            "auth.secret_file (file x.toml, line 3): set beside auth.secret in the same layer",
        ),
        (
            "[auth]\nsecret_file = \"planted\"",
            "auth.secret_file (file x.toml, line 2): the file (whose path is not shown, as it may be \
             a secret) can't be used: No such file",
        ),
        (
            "[auth]\nsecret = \"planted\"\n[admin]\nlisten = \"0.0.0.0:8080\"",
            "admin.listen (file x.toml, line 4): 0.0.0.0:8080 is taken by listen (default)",
        ),
        (
            "[auth]\nsecret = \"planted\"\n[upstream]\nurl = \"http://127.0.0.1:8080/planted\"",
            "upstream.url (file x.toml, line 4): is the gateway's own address",
        ),
        (
            "[auth]\nsecret = \"planted\"\ncookie = \"c\"\n[cors]\nallowed_origins = [\"*\"]",
            "cors.allowed_origins (file x.toml, line 5): \"*\" while auth.cookie (file x.toml, \
             line 3)",
        ),
        (
            "[embedded]\nresponder = \"openai\"",
            "embedded.base_url (default): missing; embedded.responder = \"openai\" expects",
        ),
        ("[embedded]\nresponder = \"openai\"", "embedded.model (default): missing"),
        (
            "[embedded]\nresponder = \"opnai\"",
            "expected \"echo\" or \"openai\"; did you mean \"openai\"?",
        ),
        (
            "[auth]\nsecret = \"planted\"\n[chat]\npath = \"/v1/chatkit\"",
            "openai.path (default): /v1/chatkit is where /v1/chatkit/chat of chat.path (file \
             x.toml, line 4) can be",
        ),
        (
            "[auth]\nsecret = \"planted\"\n[rest]\nprefix = \"/v1\"\n[openai]\npath = \"/v1/sessions\"",
            "openai.path (file x.toml, line 6): /v1/sessions is where /v1/sessions of rest.prefix \
             (file x.toml, line 4) can be",
        ),
    ] {
        let faults = file(text);
        assert!(faults.contains(expected), "{expected}\n\nnot in\n\n{faults}");
        assert!(!faults.contains("planted"), "{faults}");
    }
}

#[test]
fn an_algorithm_is_known_by_any_of_its_names() {
    for (text, expected) in [
        ("[auth]\nalgorithms = [\"Ed25519\"]", "auth.public_key_file (default): missing"),
        ("[auth]\nalgorithms = [\"ed25519\"]", "has \"ed25519\" (did you mean \"Ed25519\"?)"),
        (
            "[auth]\nalgorithms = [\"Ed448\"]",
            "has \"Ed448\"; the only Edwards curve here is Ed25519",
        ),
        (
            "[auth]\nalgorithms = [\"Ed25519\", \"ES256\"]",
            "mixes EdDSA, which takes an Ed25519 key, with ES256, which takes a P-256 key",
        ),
    ] {
        let text = Sources::new().toml("x.toml", text).load().unwrap_err().to_string();
        assert!(
            text.contains(expected) && !text.contains("planted"),
            "{expected}\n\nnot in\n\n{text}"
        );
    }
}

#[test]
fn a_wrong_public_address_is_told_by_its_part() {
    for (text, expected) in [
        (
            "[server]\npublic_url = \"https://host/?planted\"",
            "server.public_url (file x.toml, line 2): a text that is not shown here has a query; \
             expected a URL such as \"https://chat.example.org\"",
        ),
        (
            "[server]\npublic_url = \"chat.example.org\"",
            "server.public_url (file x.toml, line 2): \"chat.example.org\" does not begin with \
             http:// or https://; expected a URL such as \"https://chat.example.org\"; did you \
             mean \"https://chat.example.org\"?",
        ),
        (
            "[server]\npublic_url = \"ftp://chat.example.org/\"",
            "\"ftp://chat.example.org/\" does not begin with http:// or https://; expected",
        ),
        (
            "[server]\npublic_url = \"user:planted@host\"",
            "a text that is not shown here does not begin with http:// or https://; expected",
        ),
        (
            "[upstream]\nuser_header = \"X-Forwarded-Host\"",
            "upstream.user_header (file x.toml, line 2): \"X-Forwarded-Host\" already means",
        ),
    ] {
        let text = Sources::new().toml("x.toml", text).load().unwrap_err().to_string();
        assert!(
            text.contains(expected) && !text.contains("planted"),
            "{expected}\n\nnot in\n\n{text}"
        );
    }
}

#[test]
fn a_short_secret_is_refused_where_others_can_try_it() {
    let load = |algorithm: &str, length: usize, more: &str| {
        let secret = "p".repeat(length);
        let text = format!("{more}[auth]\nalgorithms = [\"{algorithm}\"]\nsecret = \"{secret}\"\n");
        Sources::new().toml("x.toml", &text).load()
    };
    let open = "listen = \"0.0.0.0:1\"\n";
    let one = load("HS256", 1, open).unwrap_err().to_string();
    assert!(one.contains("has 1 byte and can be guessed"), "{one}");
    for (algorithm, needed) in [("HS256", 32), ("HS384", 48), ("HS512", 64)] {
        let faults = load(algorithm, needed - 1, open).unwrap_err().to_string();
        let expected = format!(
            "auth.secret (file x.toml, line 4): has {} bytes and can be guessed, while listen is \
             0.0.0.0:1 (file x.toml, line 1), which others can reach; expected at least {needed} \
             (make one with `openssl rand -hex {needed}`), or auth.danger_short_secret = true",
            needed - 1
        );
        assert_eq!(faults, expected);
        load(algorithm, needed, open).unwrap();
        let loopback = load(algorithm, needed - 1, "").unwrap();
        assert!(loopback.notes.iter().any(|note| note.to_string().contains("can be guessed")));
        let danger = Sources::new()
            .set("test", "auth.danger_short_secret", "true")
            .set("test", "auth.algorithms", algorithm)
            .set("test", "auth.secret", "short")
            .set("test", "listen", "[::]:1")
            .load()
            .unwrap();
        assert!(danger.notes.iter().any(|note| note.to_string().contains("can be guessed")));
    }
    let file = TemporaryFile::new("planted\n");
    let text = complete()
        .set("test", "auth.secret", "")
        .set("test", "auth.secret_file", file.path.to_str().unwrap())
        .set("test", "listen", "192.0.2.1:1")
        .load()
        .unwrap_err()
        .to_string();
    assert!(text.starts_with("auth.secret_file (set by test): has 7 bytes"), "{text}");
    let shared = Sources::new()
        .set("test", "auth.mode", "none")
        .set("test", "auth.shared_secret", "short")
        .set("test", "listen", "192.0.2.1:1");
    assert!(shared.load().is_err());
    let shared = Sources::new()
        .set("test", "auth.mode", "none")
        .set("test", "auth.shared_secret", "short")
        .set("test", "auth.danger_short_secret", "true")
        .set("test", "listen", "192.0.2.1:1");
    assert!(shared.load().is_ok());
}

#[test]
fn a_key_that_does_not_fit_is_refused_with_what_to_do() {
    macro_rules! key {
        ($name:literal) => {
            include_str!(concat!("../../../fixtures/keys/", $name, ".pem"))
        };
    }
    let two = [key!("rsa.public"), key!("rsa.public")].concat();
    for (algorithm, text, expected) in [
        ("RS256", key!("p256.public"), "the file does not fit RS256, which needs an RSA key of"),
        ("ES256", key!("p384.public"), "which needs a P-256 key: it is a P-384 key"),
        ("EdDSA", key!("rsa.public"), "which needs an Ed25519 key: it is an RSA key"),
        ("PS512", key!("short-rsa.public"), "it is one of 1024 bits"),
        ("RS256", key!("rsa.private"), "the file holds a private key, which the gateway must not"),
        ("RS256", key!("rsa.private"), "`openssl pkey -in FILE -pubout`"),
        ("RS256", "-----BEGIN CERTIFICATE-----\nplanted", "`openssl x509 -in FILE -noout -pubkey`"),
        ("RS256", &two, "the file holds 2 keys"),
        ("RS256", "", "the file is empty"),
        ("RS256", "{\"kty\":\"RSA\",\"n\":\"planted\"}", "the file is JSON, as of a JSON Web Key"),
        ("RS256", "planted", "the file is not PEM"),
    ] {
        let file = TemporaryFile::new(text);
        let faults = Sources::new()
            .set("test", "auth.algorithms", algorithm)
            .set("test", "auth.public_key_file", file.path.to_str().unwrap())
            .load()
            .unwrap_err()
            .to_string();
        assert!(faults.starts_with("auth.public_key_file (set by test): "), "{faults}");
        assert!(faults.contains(expected), "{expected}\n\nnot in\n\n{faults}");
        assert!(!faults.contains("planted"), "{faults}");
    }
    for (setting, value) in [
        ("auth.secret", key!("rsa.public").to_owned()),
        ("auth.secret", "{\"kty\":\"oct\",\"k\":\"planted\"}".to_owned()),
    ] {
        let faults = Sources::new().set("test", setting, &value).load().unwrap_err().to_string();
        assert!(faults.starts_with("auth.secret (set by test): is a "), "{faults}");
        assert!(!faults.contains("planted"), "{faults}");
    }
    let file = TemporaryFile::new(key!("p256.public"));
    let faults = Sources::new()
        .set("test", "auth.secret_file", file.path.to_str().unwrap())
        .load()
        .unwrap_err()
        .to_string();
    assert!(faults.contains("auth.secret_file (set by test): is a public key, which"), "{faults}");
}

#[test]
fn a_header_that_never_passes_is_named() {
    let faults = |text: &str| {
        let text = format!("[upstream]\n{text}");
        complete().toml("x.toml", &text).load().unwrap_err().to_string()
    };
    for (name, why) in [
        ("X-User-Id", "tells servers who is calling"),
        ("x-auth-*", "tells servers who is calling"),
        ("x-role", "tells servers who is calling"),
        ("host", "belongs to the client's connection or body"),
        ("content-type", "belongs to the client's connection or body"),
        ("authorization", "is passed on by upstream.forward_authorization alone"),
        ("x-*-id", "has a * that is not at its end"),
        ("x tenant", "is not a header's name"),
    ] {
        let faults = faults(&format!("forward_headers = [\"x-tenant\", \"{name}\"]"));
        let expected = format!("has \"{name}\", which {why}");
        assert!(faults.starts_with("upstream.forward_headers (file x.toml, line 2): "), "{faults}");
        assert!(faults.contains(&expected), "{expected}\n\nnot in\n\n{faults}");
    }
    let own = faults("user_header = \"x-person\"\nforward_headers = [\"X_Person\"]");
    assert!(
        own.contains(
            "(file x.toml, line 3): has \"x-person\", which is upstream.user_header (file"
        ),
        "{own}"
    );
    let loaded = complete().set("test", "upstream.forward_headers", "x-tenant").load().unwrap();
    assert!(loaded.notes[0].to_string().contains("leaves out \"x-request-id\""));
    let loaded = complete().set("test", "upstream.forward_headers", "x-*").load().unwrap();
    assert!(loaded.notes.is_empty());
    let text = "[upstream]\nforward_authorization = true\nforward_headers = [\"Authorization\"]";
    complete().toml("x.toml", text).load().unwrap();
}

#[test]
fn a_store_without_a_scheme_is_shown_and_what_was_meant() {
    for (url, expected) in [
        (
            "chatkit.db",
            "\"chatkit.db\" names no store; expected \"sqlite:FILE\", \"postgres://USER@HOST/DATABASE\" or \"memory:\"; did you mean \"sqlite:chatkit.db\"?",
        ),
        ("/var/lib/a.db", "did you mean \"sqlite:/var/lib/a.db\"?"),
        ("memory", "did you mean \"memory:\"?"),
        ("mysql://host/db", "\"mysql://host/db\" names no store"),
        ("sqlite:data/", "\"sqlite:data/\" names a directory; expected \"sqlite:FILE\", "),
        ("mysql://user:planted@host/db", "a text that is not shown here names no store"),
        ("user:planted", "a text that is not shown here names no store"),
        ("sqlite:a.db?key=planted", "a text that is not shown here has parameters"),
        ("host=h password=planted", "a text that is not shown here is in libpq's notation"),
        ("postgres:planted", "a text that is not shown here has no \"//\""),
    ] {
        let text = complete().flag("--store", "store.url", url).load().unwrap_err().to_string();
        let text = text.strip_prefix("store.url (flag --store): ").unwrap();
        assert!(text.contains(expected), "{expected}\n\nnot in\n\n{text}");
        let has_hint = expected.contains("did you mean");
        assert_eq!(text.contains("did you mean"), has_hint, "{text}");
        assert!(!text.contains("planted"), "{text}");
    }
}

#[test]
fn who_writes_a_key_for_its_digest_is_told_how_to_make_one() {
    for keys in ["sk-planted", "support=sk-planted"] {
        let faults = complete().set("test", "openai.api_keys", keys).load().unwrap_err();
        let text = faults.to_string();
        assert!(text.contains("`chatkit-rest token --service NAME` makes a key and this setting"));
        assert!(!text.contains("planted"), "{text}");
    }
}
