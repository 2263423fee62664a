//! What a fault says to do next, and that it shows what is no secret.

use super::*;

fn faults_of(text: &str) -> String {
    Sources::new().toml("x.toml", text).load().unwrap_err().to_string()
}

#[test]
fn a_value_that_is_no_secret_is_shown_with_what_was_meant() {
    let url = |url: &str| faults_of(&format!("[upstream]\nurl = {url}\n[auth]\nsecret = \"x\""));
    assert_eq!(
        url("\"localhost:8000\""),
        "upstream.url (file x.toml, line 2): \"localhost:8000\" does not begin with http:// or \
         https://; expected \"embedded\" or a URL such as \"http://127.0.0.1:8000/chatkit\"; did you \
         mean \"http://localhost:8000/chatkit\"?"
    );
    for (value, expected) in [
        ("\"http://localhost:0/x\"", "\"http://localhost:0/x\" has a port that is not one"),
        ("\"Embedded\"", "; did you mean \"embedded\"?"),
        ("\"ws://h:1/x\"", "neither http nor https; expected"),
        ("\"ws://h:1/x\"", "; did you mean \"http://h:1/x\"?"),
        ("8000", "found 8000; expected"),
        ("\"u:planted@h:1\"", "a text that is not shown here"),
        ("\"h:1?planted\"", "a text that is not shown here"),
        ("\"sk-planted-planted-planted\"", "a text that is not shown here"),
    ] {
        let said = url(value);
        assert!(said.contains(expected), "{expected}\n\nnot in\n\n{said}");
        assert!(!said.contains("planted"), "{said}");
    }
    for (name, value, expected) in [
        ("embedded.base_url", "localhost:11434/v1", "did you mean \"http://localhost:11434/v1\"?"),
        ("server.public_url", "localhost:8443", "did you mean \"https://localhost:8443\"?"),
        ("store.url", ":memory:", "did you mean \"memory:\"?"),
        ("listen", ":8080", "\":8080\" has a port but no address: 127.0.0.1 is for this machine"),
        ("listen", ":8080", "did you mean \"127.0.0.1:8080\"?"),
        ("admin.listen", "9090", "did you mean \"127.0.0.1:9090\"?"),
    ] {
        let said = complete().set("test", name, value).load().unwrap_err().to_string();
        assert!(said.contains(expected), "{expected}\n\nnot in\n\n{said}");
    }
    let said = complete().toml("x.toml", "listen = 8080").load().unwrap_err().to_string();
    assert!(said.contains("found 8080; expected an address"), "{said}");
    assert!(said.ends_with("; did you mean \"127.0.0.1:8080\"?"), "{said}");
}

#[test]
fn a_key_file_that_is_not_there_is_named_with_where_its_path_starts() {
    let here = std::env::current_dir().unwrap();
    let here = format!("; relative paths start at the working directory, {}", here.display());
    for (path, shown) in [
        ("nowhere/issuer.pem", "the file \"nowhere/issuer.pem\" can't be used: No such file"),
        ("/nowhere/planted", "the file \"/nowhere/planted\" can't be used: No such file"),
        ("planted", "the file (whose path is not shown, as it may be a secret) can't be used"),
    ] {
        let relative = !path.starts_with('/');
        for (name, companion) in [
            ("auth.secret_file", None),
            ("auth.shared_secret_file", None),
            ("embedded.api_key_file", None),
            ("auth.public_key_file", Some(("auth.algorithms", "RS256"))),
        ] {
            let mut sources = Sources::new().set("test", name, path);
            if let Some((name, value)) = companion {
                sources = sources.set("test", name, value);
            }
            let said = sources.load().unwrap_err().to_string();
            assert!(said.contains(&format!("{name} (set by test): {shown}")), "{said}");
            assert_eq!(said.contains(&here), relative, "{said}");
            assert_eq!(said.contains("planted"), shown.contains("planted"), "{said}");
        }
    }
    let said = Sources::new().file("nowhere.toml").load().unwrap_err().to_string();
    assert!(said.contains("file nowhere.toml: can't be read: No such file"), "{said}");
    assert!(said.contains(&here), "{said}");
}

#[test]
fn a_path_that_was_read_is_shown_and_what_may_be_a_secret_is_not() {
    let file = TemporaryFile::new(SECRET);
    let path = file.path.to_str().unwrap();
    let loaded = Sources::new().set("test", "auth.secret_file", path).load().unwrap();
    assert_eq!(loaded.settings[0].shown, format!("{path:?}"));
    // Tests run in the package's folder.
    let loaded = Sources::new().set("test", "auth.secret_file", "LICENSE-MIT").load().unwrap();
    assert_eq!(loaded.settings[0].shown, "\"LICENSE-MIT\"");
    let said =
        Sources::new().set("test", "auth.secret_file", "src").load().unwrap_err().to_string();
    assert!(said.contains("the file \"src\" can't be used: Is a directory"), "{said}");
    // It doesn't count, and so nobody has read it.
    let loaded = complete().toml("x.toml", "[auth]\nsecret_file = \"planted\"").load().unwrap();
    assert!(loaded.settings.iter().all(|setting| setting.shown == "(hidden)"));
}

#[test]
fn a_value_without_quotes_is_told_how_it_is_written() {
    for (text, expected) in [
        (
            "listen = 127.0.0.1:8080",
            "listen is a text, and has no quotes: write listen = \"127.0.0.1:8080\"",
        ),
        ("listen = localhost:8080 # here", "write listen = \"localhost:8080\""),
        (
            "[upstream]\nurl = http://h:1/x#y",
            "upstream.url is a text, and has no quotes: write url = \"…\"",
        ),
        ("[upstream]\nurl = http://h:1/x", "write url = \"http://h:1/x\""),
        ("[upstream]\nidle_timeout = 5s", "write idle_timeout = \"5s\""),
        ("[auth]\nmode = none", "write mode = \"none\""),
        (
            "[auth]\nsecret = planted!",
            "auth.secret is a text, and has no quotes: write secret = \"…\"",
        ),
        ("[auth] # x\nsecret_file = planted", "write secret_file = \"…\""),
        ("[cors]\nallowed_origins = https://a.b", "write allowed_origins = [\"https://a.b\"]"),
        ("[openai]\napi_keys = planted", "openai.api_keys is not a list: write api_keys = [{ … }]"),
        ("[chat]\nenabled = True", "chat.enabled is not true or false"),
        ("[limits]\nmax_sessions = 10k", "limits.max_sessions is not a whole number from 0"),
    ] {
        let said = faults_of(text);
        assert!(said.contains(": not TOML: "), "{said}");
        assert!(
            said.ends_with(expected) || said.contains("from 0"),
            "{expected}\n\nnot in\n\n{said}"
        );
        assert!(said.contains(expected) && !said.contains("planted"), "{said}");
    }
    // Each is told that ends with its line, and nothing that another fault may have brought about.
    let two = faults_of("listen = ::1\n[chat]\nenabled = yes\n[auth\nmode = jwt\n[auth]\nx");
    assert_eq!(two.matches("not TOML").count(), 3, "{two}");
    let one = faults_of("[auth]\nmode = \"jwt\"\n[auth]\nmode = \"none\"\n");
    assert_eq!(one, "file x.toml, line 3: not TOML: duplicate key");
    let unknown = faults_of("[auth]\nplanted = planted");
    assert!(unknown.contains("must be quoted") && !unknown.contains("planted"), "{unknown}");
}

#[test]
fn who_asks_for_a_key_set_is_told_what_to_do() {
    let said = faults_of("[auth]\njwks_uri = \"https://issuer.example/jwks.json\"");
    assert!(said.contains("; did you mean auth.jwks_url?"), "{said}");
}

#[test]
fn a_secret_in_the_wrong_place_is_shown_nowhere() {
    for (name, value) in [
        ("store.url", "plantedkJ3xYz0aBccD4eF5gH6iJ7kL8mN9oP0qR1sT2u"),
        ("store.url", "sk-planted-planted"),
        ("auth.secret_file", "/planted+bXkgdmVyeSBzZWNyZXQ"),
        ("auth.secret_file", "/plantedbXkgdmVyeSBzZWNyZXQga2V5IG9mIG1pbmU"),
        ("auth.secret_file", "plantedsecret0123456789.abcd"),
        ("cors.allowed_origins", "https://u:planted@h"),
        ("cors.allowed_origins", "https://a.example,https://h/?key=planted"),
        ("cors.allowed_origins", "sk-planted"),
        ("upstream.forward_headers", "x-tenant,sk-planted u@h"),
        ("auth.algorithms", "eyJhbGciOiJIUzI1NiJ9.planted"),
        ("auth.mode", "sk-planted"),
        ("chat.id_format", "https://u:planted@h"),
        ("listen", "user:planted@h"),
        ("listen", "eyJhbGciOiJIUzI1NiJ9.planted"),
        ("upstream.url", "sk.planted.0123456789"),
        ("limits.max_sessions", "sk-planted"),
        ("stream.hold_bytes", "https://u:planted@h"),
    ] {
        let Err(faults) = complete().set("test", name, value).load() else {
            panic!("{name} = {value} is taken");
        };
        let said = faults.to_string();
        assert!(said.contains(name) && !said.contains("planted"), "{said}");
    }
    for (file, key) in [
        ("[cors]\nallowed_origins = https://u:planted@h", "cors.allowed_origins"),
        ("[cors]\nallowed_origins = [\"https://u:planted@h\"]", "cors.allowed_origins"),
        ("[auth]\nissuer = https://u:planted@h", "auth.issuer"),
        ("listen = user:planted@h", "listen"),
        ("[store]\nurl = sk-planted", "store.url"),
        ("[upstream]\nurl = [\"https://u:planted@h\"]", "upstream.url"),
        ("[auth]\nissuer = [[\"https://u:planted@h\"]]", "auth.issuer"),
    ] {
        let said = faults_of(file);
        assert!(said.contains(key) && !said.contains("planted"), "{said}");
    }
    for (name, value) in [
        ("auth.issuer", "https://u:planted@h"),
        ("upstream.url", "https://h/plantedkJ3xYz0aBccD4eF5/chatkit"),
        ("store.url", "sqlite:plantedkJ3xYz0aBccD4eF5"),
    ] {
        let loaded = complete().set("test", name, value).load().unwrap();
        let setting = loaded.settings.iter().find(|setting| setting.name == name).unwrap();
        assert_eq!(setting.shown, "(hidden)");
    }
}
