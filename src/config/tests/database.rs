//! A database as the store.

use super::*;

/// A file of one test, with a text.
struct TextFile(std::path::PathBuf);

impl TextFile {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("chatkit-rest-{}-{name}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for TextFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn a_databases_url_may_be_in_a_file() {
    let url = "postgres://ada:planted@h/d";
    let file = TextFile::new("store-url", &format!("{url}\r\n"));
    let is_it = |loaded: &Loaded| matches!(&loaded.config.store.url, StoreUrl::Postgres(it) if it.expose() == url);

    let loaded = complete().set("test", "store.url_file", file.path()).load().unwrap();
    assert!(is_it(&loaded) && !format!("{loaded:?}").contains("planted"));
    // The later layer's counts.
    let below = complete().toml("x.toml", "[store]\nurl = \"memory:\"");
    let loaded = below.set("test", "store.url_file", file.path()).load().unwrap();
    assert!(is_it(&loaded));
    let below = complete().environment([("CHATKIT_REST__STORE__URL_FILE", file.path())]);
    let loaded = below.flag("--store", "store.url", "memory:").load().unwrap();
    assert_eq!(loaded.config.store.url, StoreUrl::Memory);

    let beside = complete().set("test", "store.url_file", file.path());
    let said = beside.set("test", "store.url", "memory:").load().unwrap_err().to_string();
    assert!(said.contains("store.url_file") && said.contains("set beside store.url"), "{said}");
    let wrong = TextFile::new("store-wrong", "mysql://ada:planted@h/d");
    let said = complete().set("test", "store.url_file", wrong.path()).load().unwrap_err();
    let said = said.to_string();
    assert!(said.contains("the text of the file names no store; expected"), "{said}");
    assert!(!said.contains("planted"), "{said}");
}

#[test]
fn what_stands_in_a_settings_place_is_noted() {
    let (url, secret) =
        (TextFile::new("store-pair", "memory:"), TextFile::new("secret-pair", SECRET));
    let text = format!("[store]\nurl = \"sqlite:a.db\"\n[auth]\nsecret = \"{SECRET}\"");
    let sources = || Sources::new().toml("x.toml", text.clone());
    let noted = |sources: Sources| {
        let notes = sources.load().unwrap_or_else(|faults| panic!("{faults}")).notes;
        notes.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(noted(sources()), [""; 0]);
    let both = sources().set("test", "store.url_file", url.path()).set(
        "test",
        "auth.secret_file",
        secret.path(),
    );
    assert_eq!(
        noted(both),
        [
            "auth.secret (file x.toml, line 4): is not looked at: auth.secret_file (set by test) \
             stands in its place",
            "store.url (file x.toml, line 2): is not looked at: store.url_file (set by test) stands \
             in its place",
        ]
    );
    // The other way round, and one that is nothing.
    let text = format!("[store]\nurl_file = {:?}\n", url.path());
    let later = complete().toml("x.toml", text).set("test", "store.url", "memory:");
    let said = noted(later).join("\n");
    assert!(said.contains("store.url (set by test) stands in its place"), "{said}");
    assert_eq!(noted(sources().set("test", "store.url_file", "")), [""; 0]);
}

#[test]
fn a_databases_password_is_in_no_list() {
    for (url, shown) in [
        ("postgres://ada:planted@h:5432/d?sslmode=require", "\"postgres://ada@h:5432/d\""),
        ("postgres://ada@h/d?password=planted", "\"postgres://ada@h/d\""),
    ] {
        let loaded = complete().set("test", "store.url", url).load().unwrap();
        let setting = loaded.settings.iter().find(|setting| setting.name == "store.url").unwrap();
        assert_eq!(setting.shown, shown);
        assert!(!format!("{loaded:?}").contains("planted"));
    }
}

#[cfg(feature = "postgres")]
#[test]
fn a_slip_in_a_databases_url_is_told_with_what_was_meant() {
    for (url, meant) in [
        ("postgres://ada:planted@h/d?sslmod=require", "a parameter that is nearly \"sslmode\""),
        ("postgres://ada:planted@h/d?sslMode=require", "a parameter that is nearly \"sslmode\""),
        ("postgres://h/d?connect_timeot=3", "a parameter that is nearly \"connect_timeout\""),
        ("postgres://h/d?chanel_binding=require", "nearly \"channel_binding\""),
        ("postgres://ada:planted@h/d?sslmode=requir", "an sslmode that is nearly \"require\""),
        ("postgress://ada:planted@h/d", "nearly one (write \"postgres\" before the colon)"),
        ("postgre://h/d", "nearly one (write \"postgres\" before the colon)"),
        ("postgressql://h/d", "nearly one (write \"postgresql\" before the colon)"),
        ("sqlte:a.db", "nearly one (write \"sqlite\" before the colon)"),
        ("postgres://ada:planted@h/d?colour=planted", "a parameter or its value is none"),
        ("mysql://ada:planted@h/d", "names no store;"),
    ] {
        let faults = complete().set("test", "store.url", url).load().unwrap_err();
        let said = faults.to_string();
        assert!(said.contains(meant), "{url}: {said}");
        assert!(!said.contains("planted"), "{said}");
    }
}

#[test]
fn what_only_a_database_has_a_use_for_is_noted_elsewhere() {
    let settings =
        "[store]\nurl = \"memory:\"\npool_size = 9\npooler = true\nwait_timeout = \"2s\"";
    let notes = complete().toml("x.toml", settings).load().unwrap().notes;
    let keys: Vec<_> = notes.iter().map(Note::key).collect();
    assert_eq!(keys, ["store.pool_size", "store.pooler"]);
    assert!(notes[0].to_string().contains("no effect on a store in memory"), "{}", notes[0]);
}

#[test]
fn a_databases_settings_are_checked() {
    let with = |key: &'static str, value: &str| {
        let sources = complete().set("test", "store.url", "postgres://h/d").set("test", key, value);
        sources.load().map(|loaded| loaded.config.store)
    };
    let keys = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/keys/rsa.public.pem");
    for (key, value, why) in [
        ("store.schema", "Chat", "\"Chat\" is no such name; expected a name of lower-case letters"),
        ("store.schema", "pg_chat", "is PostgreSQL's own"),
        ("store.pool_size", "0", "out of range; expected a whole number from 1 to 1000"),
        ("store.statement_timeout", "0s", "is too short"),
        ("store.ca", "/nowhere/ca.pem", "/nowhere/ca.pem\" can't be used"),
        ("store.ca", keys, "has a public key and no certificate"),
        ("upstream.url", "embedded", "where the built-in server can't keep its threads"),
    ] {
        let said = with(key, value).unwrap_err().to_string();
        assert!(said.starts_with(key) && said.contains(why), "{said}");
    }
    let authority = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/forward/tls/authority.pem");
    assert_eq!(with("store.ca", authority).unwrap().ca, Some(authority.into()));
}

#[test]
fn what_a_databases_url_says_itself_holds_unless_a_setting_says_it() {
    let url = "postgres://h/d?connect_timeout=3&sslrootcert=/etc/ca.pem";
    let with_url = || complete().set("test", "store.url", url);
    let store = with_url().load().unwrap().config.store;
    assert_eq!((store.connect_timeout, store.ca), (secs(3), Some("/etc/ca.pem".into())));
    let authority = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/forward/tls/authority.pem");
    let sources = with_url().set("test", "store.connect_timeout", "7s");
    let store = sources.set("test", "store.ca", authority).load().unwrap().config.store;
    assert_eq!((store.connect_timeout, store.ca.clone()), (secs(7), Some(authority.into())));
    let options = store.postgres().unwrap();
    assert_eq!((options.connect_timeout, options.ca), (secs(7), Some(authority.into())));
    assert_eq!(options.schema, "chatkit_rest");
    assert!(complete().load().unwrap().config.store.postgres().unwrap_err().is_config());
}
