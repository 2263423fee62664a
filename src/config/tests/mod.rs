//! Layers in, settings or faults out.

mod every_setting;
mod faults;
mod schema;
mod words;

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use self::every_setting::toml_of;
use super::layers::variable;
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
        AuthConfig::Anonymous(anonymous) => panic!("{anonymous:?}"),
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
fn a_single_underscore_is_noted() {
    let loaded = complete()
        .environment([("CHATKIT_REST_STORE_URL", "memory:"), ("CHATKIT_REST_PORT", "tcp://x")])
        .load()
        .unwrap();
    let notes: Vec<_> = loaded.notes.iter().map(ToString::to_string).collect();
    assert_eq!(
        notes,
        ["store.url (environment variable CHATKIT_REST_STORE_URL): not looked at; the variable's \
          name is CHATKIT_REST__STORE__URL"]
    );
}

#[test]
fn names_that_are_nearly_those_of_settings_are_noted_and_others_are_not() {
    for (name, key) in [
        ("CHATKIT_REST_LISTEN", Some("listen")),
        ("CHATKIT_REST_LISTNE", Some("listen")),
        ("chatkit_rest__listen", Some("listen")),
        ("CHATKIT-REST__LISTEN", Some("listen")),
        ("CHATKITREST__LISTEN", Some("listen")),
        ("CHATKIT__UPSTREAM__URL", Some("upstream.url")),
        ("CHATKIT_REST.UPSTREAM.URL", Some("upstream.url")),
        ("CHATKIT_REST_UPSTREAM__URI", Some("upstream.url")),
        ("CHAT_KIT_REST__STORE__URL", Some("store.url")),
        ("CHATKIT_REST_PREFIX", Some("rest.prefix")),
        ("CHATKIT_REST_AUTH_SECERT", Some("auth.secret")),
        ("CHATKIT_REST_UPSTREAM", Some("upstream.url")),
        ("CHATKIT_REST_STORE", Some("store.url")),
        ("CHATKIT_REST_HOST", Some("listen")),
        ("CHATKIT_REST_ADDR", Some("listen")),
        // A client's.
        ("CHATKIT_REST_API_KEY", None),
        ("CHATKIT_REST_BASE_URL", None),
        ("CHATKIT_REST_MODEL", None),
        // As Kubernetes has them for a service of that name, and others for themselves.
        ("CHATKIT_REST_PORT", None),
        ("CHATKIT_REST_PORT_8080_TCP", None),
        ("CHATKIT_REST_PORT_8080_TCP_ADDR", None),
        ("CHATKIT_REST_SERVICE_HOST", None),
        ("CHATKIT_REST_SERVICE_PORT", None),
        ("CHATKIT_REST_SERVICE_PORT_HTTP", None),
        ("CHATKIT_REST_VENV", None),
        ("CHATKIT_REST_URL", None),
        ("CHATKIT_REST_", None),
        ("CHATKIT_API_KEY", None),
        ("CHATGPT_LISTEN", None),
        ("LISTEN", None),
    ] {
        let loaded = complete().environment([(name, "planted")]).load().unwrap();
        let notes: Vec<_> = loaded.notes.iter().map(Note::key).collect();
        assert_eq!(notes, key.into_iter().collect::<Vec<_>>(), "{name}");
        if let Some(key) = key {
            let right = format!("CHATKIT_REST__{}", key.replace('.', "__").to_uppercase());
            let note = loaded.notes[0].to_string();
            assert!(note.ends_with(&right) && note.contains(name), "{note}");
            assert!(!note.contains("planted"), "{note}");
        }
    }
    for (port, noted) in [("8080", 1), ("tcp://10.0.0.1:8080", 0)] {
        let loaded = complete().environment([("CHATKIT_REST_PORT", port)]).load().unwrap();
        assert_eq!(loaded.notes.len(), noted, "{port}");
    }
    let faults = Sources::new().environment([("CHATKIT_REST_AUTH_SECRET", "planted")]).load();
    let said = faults.unwrap_err().to_string();
    assert!(said.contains("the variable's name is CHATKIT_REST__AUTH__SECRET"), "{said}");
    assert!(!said.contains("planted"), "{said}");
}

/// Gives the texts below a folder that people read, without what was installed there.
fn texts(folder: &Path, texts: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if name.starts_with('.') || name == "node_modules" {
            continue;
        }
        if path.is_dir() {
            self::texts(&path, texts);
        } else if let Ok(text) = std::fs::read_to_string(&path) {
            texts.push(text);
        }
    }
}

#[test]
fn no_variable_that_a_reader_is_told_of_is_taken_for_another() {
    const BEGIN: &str = "CHATKIT_REST_";
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut told = vec![std::fs::read_to_string(root.join("README.md")).unwrap()];
    for folder in ["src/manual", "examples"] {
        texts(&root.join(folder), &mut told);
    }
    let mut names = std::collections::BTreeSet::new();
    for text in &told {
        for (at, _) in text.match_indices(BEGIN) {
            let is_of_name = |c: &char| c.is_ascii_uppercase() || c.is_ascii_digit() || *c == '_';
            let name: String = text[at..].chars().take_while(is_of_name).collect();
            if !name.starts_with("CHATKIT_REST__") {
                names.insert(name);
            }
        }
    }
    assert!(names.contains("CHATKIT_REST_API_KEY"), "{names:?}");
    let variables = names.iter().map(|name| (name, "planted"));
    let notes = complete().environment(variables).load().unwrap().notes;
    assert!(notes.is_empty(), "{notes:?}");
}

#[test]
fn the_byte_order_mark_of_a_file_of_variables_is_noted() {
    let loaded = complete().environment([("\u{FEFF}CHATKIT_REST__STORE__URL", "memory:")]);
    let notes = loaded.load().unwrap().notes;
    assert_eq!(notes.iter().map(Note::key).collect::<Vec<_>>(), ["store.url"]);
    assert!(notes[0].to_string().ends_with("the variable's name is CHATKIT_REST__STORE__URL"));
}

#[test]
fn settings_without_effect_and_weak_ones_are_noted() {
    let text = "[auth]\nsecret = \"short\"\nanonymous_user = \"ada\"\nshared_secret = \"x\"\n\
                [chat]\npath = \"/x\"\n[upstream]\npool_idle_timeout = \"9s\"\n\
                [limits]\nmax_body_bytes = 10";
    let loaded = Sources::new().toml("x.toml", text).load().unwrap();
    let notes: Vec<_> = loaded.notes.iter().map(Note::key).collect();
    assert_eq!(
        notes,
        [
            "auth.secret",
            "auth.anonymous_user",
            "auth.shared_secret",
            "upstream.pool_idle_timeout",
            "limits.max_message_chars",
            "chat.max_message_chars",
        ]
    );
    let last = loaded.notes.last().unwrap().to_string();
    assert!(last.contains("does not fit in limits.max_body_bytes (10)"), "{last}");
    assert!(complete().load().unwrap().notes.is_empty());

    let keys = |set: &str| {
        let text = format!("auth.secret = \"{}\"\n[openai]\n{set}", "x".repeat(32));
        let notes = Sources::new().toml("x.toml", text).load().unwrap().notes;
        notes.iter().map(|note| note.key().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(keys("enabled = true\npath = \"/y\""), ["openai.enabled"]);
    assert_eq!(keys("path = \"/y\""), ["openai.path"]);
    let key = format!("api_keys = [{{ name = \"a\", sha256 = \"{}\" }}]", "0".repeat(64));
    assert_eq!(keys(&format!("enabled = true\n{key}")), [""; 0]);
}

#[test]
fn limits_of_what_there_never_is_room_for_are_noted() {
    let noted = |settings: &[(&'static str, &str)]| {
        let all = settings.iter();
        let sources =
            all.fold(complete(), |sources, (key, value)| sources.set("test", key, *value));
        let notes = sources.load().unwrap().notes;
        notes.iter().map(|note| (note.key().to_owned(), note.to_string())).collect::<Vec<_>>()
    };
    let (all, user) = ("limits.max_buffered_bytes", "limits.max_buffered_bytes_per_user");
    let (body, audio) = ("limits.max_body_bytes", "limits.max_audio_bytes");
    let reply = "upstream.max_reply_bytes";
    for (settings, budget, expected) in [
        (&[(user, "2000000")][..], user, &[reply, audio][..]),
        (&[(all, "2000000")], all, &[reply, audio]),
        (&[(all, "2000000"), (body, "3000000")], all, &[reply, body, audio]),
        (&[(all, "2000000"), (user, "1500000")], user, &[reply, audio]),
        (&[(reply, "67108864")], user, &[]),
        (&[(reply, "67108865")], user, &[reply]),
        // A third more, and what may be around it.
        (&[(audio, "49545216")], user, &[]),
        (&[(audio, "49545217")], user, &[audio]),
    ] {
        let said = noted(settings);
        let keys: Vec<_> = said.iter().map(|(key, _)| key).collect();
        assert_eq!(keys, expected, "{settings:?}");
        assert!(said.iter().all(|(_, text)| text.contains(&format!("fit in {budget} ("))));
    }
}

#[test]
fn a_public_address_that_is_told_to_nobody_is_noted() {
    let noted = |settings: &[(&'static str, &str)]| {
        let all = settings.iter();
        let sources =
            all.fold(complete(), |sources, (key, value)| sources.set("test", key, *value));
        let notes = sources.load().unwrap().notes;
        notes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    let url = ("server.public_url", "https://chat.example.org");
    let upstream = ("upstream.url", "http://127.0.0.1:8000/chatkit");
    assert_eq!(noted(&[url, upstream]), "");
    let text = noted(&[url, upstream, ("upstream.forwarded", "false")]);
    assert!(text.contains("server.public_url (set by test): has no effect without upstream.forw"));
    let text = noted(&[url, ("upstream.url", "embedded")]);
    assert!(text.contains("has no effect on the built-in server"));
    for (url, twice) in [
        ("https://chat.example.org/api/v1/chatkit", true),
        ("https://chat.example.org/ai/api/v1/chatkit/", true),
        ("https://chat.example.org/api/v1", false),
        ("https://chat.example.org/ai", false),
        ("https://v1/chatkit", false),
    ] {
        let text = noted(&[("server.public_url", url), upstream]);
        assert_eq!(text.contains("ends with rest.prefix (/api/v1/chatkit)"), twice, "{url} {text}");
    }
}

#[test]
fn what_another_mode_has_no_use_for_is_noted_unless_it_is_the_default() {
    let noted = |text: &str| {
        let loaded = Sources::new().toml("x.toml", format!("[auth]\n{text}")).load();
        let notes = loaded.unwrap_or_else(|faults| panic!("{faults}")).notes;
        let idle = notes.iter().filter(|note| note.to_string().contains("has no effect"));
        idle.map(|note| note.key().to_owned()).collect::<Vec<_>>()
    };
    let none = "mode = \"none\"\nalgorithms = [\"HS512\"]\nsecret = \"x\"\nissuer = \"x\"\n\
                audience = \"x\"\nuser_claim = \"uid\"\ntoken_type = \"at+jwt\"\nleeway = \"1s\"\n\
                cookie = \"c\"\ndanger_short_secret = true";
    assert_eq!(
        noted(none),
        [
            "auth.danger_short_secret",
            "auth.algorithms",
            "auth.secret",
            "auth.issuer",
            "auth.audience",
            "auth.user_claim",
            "auth.token_type",
            "auth.leeway",
            "auth.cookie",
        ]
    );
    let same = "mode = \"none\"\nalgorithms = [\"HS256\"]\nsecret = \"\"\nissuer = \"\"\n\
                leeway = \"60s\"\ndanger_short_secret = false";
    assert_eq!(noted(same), [""; 0]);
    let jwt =
        format!("secret = \"{SECRET}\"\nshared_secret = \"\"\nanonymous_user = \"anonymous\"");
    assert_eq!(noted(&jwt), [""; 0]);
}

#[test]
fn permission_for_a_short_secret_is_noted_beside_a_long_one() {
    let noted = |more: &[(&'static str, &str)]| {
        let set = Sources::new().set("test", "auth.danger_short_secret", "true");
        let set = more.iter().fold(set, |set, (key, value)| set.set("test", key, *value));
        let notes = set.load().unwrap_or_else(|faults| panic!("{faults}")).notes;
        notes.iter().any(|note| note.key() == "auth.danger_short_secret")
    };
    let none = ("auth.mode", "none");
    let pem = TemporaryFile::new(RSA_PUBLIC);
    let pem = ("auth.public_key_file", pem.path.to_str().unwrap());
    for (more, is) in [
        (&[("auth.secret", SECRET)][..], true),
        (&[("auth.secret", SECRET), ("auth.algorithms", "HS512")], false),
        (&[("auth.secret", "short")], false),
        (&[("auth.algorithms", "RS256"), pem], true),
        (&[none], true),
        (&[none, ("auth.shared_secret", "0123456789abcdef")], true),
        (&[none, ("auth.shared_secret", "0123456789abcde")], false),
    ] {
        assert_eq!(noted(more), is, "{more:?}");
    }
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
            AuthKey::PublicKey { .. } => panic!("a public key"),
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
        AuthKey::PublicKey { .. } => panic!("a public key"),
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

/// Makes a configuration with a model behind the built-in server, and these settings.
fn with_model(settings: &[(&'static str, &str)]) -> Result<Loaded, Faults> {
    let base = [
        ("upstream.url", "embedded"),
        ("embedded.responder", "openai"),
        ("embedded.base_url", "http://127.0.0.1:11434/v1"),
        ("embedded.model", "llama3.2"),
    ];
    let all = base.iter().chain(settings);
    all.fold(complete(), |sources, (key, value)| sources.set("test", key, *value)).load()
}

#[test]
fn the_key_of_a_model_comes_from_a_file_too_and_never_shows() {
    let file = TemporaryFile::new("planted-key\n");
    let path = file.path.to_str().unwrap();
    for settings in
        [("embedded.api_key_file", path), ("embedded.api_key", "planted-key")].map(|it| [it])
    {
        let loaded = with_model(&settings).unwrap();
        let key = model(&loaded.config).unwrap().api_key.as_ref().unwrap();
        assert_eq!(key.expose(), "planted-key");
        assert!(!format!("{loaded:?}").contains("planted"), "{loaded:?}");
        assert!(loaded.notes.is_empty(), "{:?}", loaded.notes);
    }
    let file = TemporaryFile::new("planted key");
    let path = file.path.to_str().unwrap();
    for (settings, problem) in [
        (&[("embedded.api_key", "planted key")][..], "embedded.api_key (set by test): has a char"),
        (&[("embedded.api_key_file", path)], "embedded.api_key_file (set by test): has a char"),
        (
            &[("embedded.api_key", "planted"), ("embedded.api_key_file", path)],
            "set beside embedded.api_key in the same layer",
        ),
        (&[("embedded.base_url", "http://u:planted@host")], "has a user or password"),
        (&[("embedded.base_url", "http://host/?key=planted")], "has a query; expected a URL such"),
        (&[("embedded.model", "a\nb")], "has a control character; expected a model's name"),
    ] {
        let faults = with_model(settings).unwrap_err();
        let text = faults.to_string();
        assert!(text.contains(problem), "{text}");
        assert!(!format!("{faults:?}").contains("planted"), "{text}");
    }
}

#[test]
fn a_model_that_answers_nobody_or_in_the_open_is_noted() {
    let notes = |loaded: Loaded| {
        let notes: Vec<_> = loaded.notes.iter().map(ToString::to_string).collect();
        notes.join("\n")
    };
    let elsewhere = with_model(&[("upstream.url", "http://127.0.0.1:8000/chatkit")]).unwrap();
    assert!(notes(elsewhere).contains("embedded.responder (set by test): has no effect"));
    let delayed = with_model(&[("embedded.token_delay", "1s")]).unwrap();
    assert!(notes(delayed).contains("embedded.token_delay (set by test): has no effect"));
    let echo = complete().set("test", "embedded.model", "llama3.2").load().unwrap();
    assert!(notes(echo).contains("embedded.model (set by test): has no effect without"));
    for (url, noted) in [
        ("http://model.example/v1", true),
        ("https://model.example/v1", false),
        ("http://localhost:1/v1", false),
        ("http://[::1]:1/v1", false),
    ] {
        let settings = [("embedded.api_key", "planted"), ("embedded.base_url", url)];
        let noted_here = notes(with_model(&settings).unwrap()).contains("unencrypted");
        assert_eq!(noted_here, noted, "{url}");
        assert_eq!(notes(with_model(&settings[1..]).unwrap()), "", "{url}");
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

#[test]
fn a_lease_outlasts_the_waits_of_a_first_run() {
    let config = complete().load().unwrap().config;
    assert_eq!(config.upstream.first_run_lease(), secs(2 + 30 + 120 + 5));
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
