//! The JSON Schema of the file, held to what is read.

use jsonschema::Validator;
use serde_json::Value;

use super::every_setting::{ROWS, toml_of};
use super::*;
use crate::config::key::{KEYS, SCHEMA};

fn validator() -> Validator {
    jsonschema::draft202012::new(&schema()).unwrap()
}

fn parsed(toml: &str) -> Value {
    toml::from_str(toml).unwrap_or_else(|error| panic!("{error}\n{toml}"))
}

/// Gives the names of all that isn't a section.
fn leaves(prefix: &str, table: &Value) -> Vec<String> {
    let each = table["properties"].as_object().unwrap().iter();
    let named = each.map(|(name, of)| match of["properties"].as_object() {
        Some(_) => leaves(&format!("{prefix}{name}."), of),
        None => vec![format!("{prefix}{name}")],
    });
    named.flatten().collect()
}

#[test]
fn every_setting_is_in_it_and_nothing_else() {
    jsonschema::meta::validate(&schema()).unwrap();
    let mut named = leaves("", &schema());
    named.retain(|name| name != SCHEMA);
    let mut keys: Vec<_> = KEYS.iter().map(|key| key.name.to_owned()).collect();
    named.sort();
    keys.sort();
    assert_eq!(named, keys);
    for key in KEYS {
        let pointer = format!("/properties/{}", key.name.replace('.', "/properties/"));
        let setting = schema().pointer(&pointer).unwrap().clone();
        assert!(setting["description"].as_str().unwrap().starts_with(key.about), "{}", key.name);
        let own = jsonschema::draft202012::new(&setting).unwrap();
        assert!(own.is_valid(&setting["default"]), "{}: {}", key.name, setting["default"]);
    }
}

#[test]
fn what_is_read_is_valid() {
    let validator = validator();
    for (name, word, _) in ROWS {
        let file = parsed(&toml_of(name, word));
        assert!(validator.is_valid(&file), "{name}: {:?}", validator.validate(&file));
    }
    for (name, word) in [
        ("listen", "[::1]:0"),
        ("upstream.url", "https://[::1]:80/x?y=z"),
        ("upstream.utc_offset", "Z"),
        ("auth.token_type", "application/at+jwt"),
        ("cors.allowed_origins", "*"),
        ("chat.acted", ""),
        ("upstream.forward_headers", "*"),
        ("store.url", "sqlite:my files/a.db"),
    ] {
        let toml = toml_of(name, word);
        complete().toml("x.toml", &toml).load().unwrap();
        let file = parsed(&toml);
        assert!(validator.is_valid(&file), "{name}: {:?}", validator.validate(&file));
    }
    let example = include_str!("../../../examples/chatkit-rest.toml");
    validator.validate(&parsed(example)).unwrap();
}

/// Whatever may be percent-encoded, or have an `@` in it.
#[cfg(feature = "postgres")]
#[test]
fn any_url_of_a_database_that_is_read_is_valid() {
    let validator = validator();
    for url in [
        "postgres://h",
        "postgres://h:+0080/d",
        "postgres://h:%35/d",
        "postgres://:1,,[::1]:2/d",
        "postgres://u%40:p%40@h/d",
        "postgres://u:p/q?r@h/d?user=@&password=%40",
        "postgres:///d?%68ost=h",
        "postgres:///d?host=/run/x&user=u",
        "postgres://h/d?sslmode=%72equire",
        "postgres://h/d?sslrootcert=/a%40b/c.pem",
        "postgres://h/d?sslrootcert&&&sslmode=allow&",
        "postgresql://h/d?keepalives_idle=-1&target_session_attrs=any",
    ] {
        let toml = toml_of("store.url", url);
        complete().toml("x.toml", &toml).load().unwrap_or_else(|faults| panic!("{faults}"));
        validator.validate(&parsed(&toml)).unwrap_or_else(|error| panic!("{url}: {error}"));
    }
}

#[test]
fn what_is_refused_is_not_valid_where_that_can_be_told() {
    let validator = validator();
    for toml in [
        "lisen = \"127.0.0.1:1\"",
        "listen = 8080",
        "listen = \":8080\"",
        "listen = \"localhost:8080\"",
        "auth = \"x\"",
        "[upstrem]\nurl = \"embedded\"",
        "[upstream]\nurl = \"localhost:8000\"",
        "[upstream]\nurl = \"ws://localhost:8000\"",
        "[upstream]\nurl = \"http://u@localhost:8000\"",
        "[upstream]\nurl = \"Embedded\"",
        "[upstream]\nidle_timeout = 5",
        "[upstream]\nidle_timeout = \"5\"",
        "[upstream]\nidle_timeout = \"0s\"",
        "[upstream]\nidle_timeout = \"1.5s\"",
        "[upstream]\nutc_offset = \"0530\"",
        "[upstream]\nuser_header = \"x user\"",
        "[upstream]\nforward_headers = [\"x y\"]",
        "[upstream]\nforward_headers = \"x-a\"",
        "[server]\npublic_url = \"chat.example.org\"",
        "[server]\nmax_connections = 0",
        "[server]\nmax_header_bytes = 1023",
        "[server]\nport = 1",
        "[rest]\nprefix = \"api\"",
        "[rest]\nprefix = \"/api/\"",
        "[chat]\nenabled = \"true\"",
        "[chat]\ninvalid_status = 409",
        "[chat]\nid_format = \"uid\"",
        "[limits]\nmax_sessions = -1",
        "[limits]\nmax_sessions = 4294967296",
        "[limits]\nmax_sessions = \"3\"",
        "[limits]\nmax_sessions = 1.5",
        "[auth]\nmode = \"jtw\"",
        "[auth]\nalgorithms = [\"none\"]",
        "[auth]\nalgorithms = []",
        "[auth]\nalgorithms = \"HS256\"",
        "[auth]\njwks_url = \"issuer.example/keys\"",
        "[auth]\nuser_claim = \"\"",
        "[auth]\ncookie = \"a b\"",
        "[auth]\ntoken_type = \"a b\"",
        "[auth]\nshared_secret = \"a b\"",
        "[auth]\nsecret_file = 7",
        "[openai]\napi_keys = [{ name = \"a\" }]",
        "[openai]\napi_keys = [{ name = \"a\", sha256 = \"sk-1\" }]",
        "[openai]\napi_keys = [\"sk-1\"]",
        "[cors]\nallowed_origins = [\"https://a.example/\"]",
        "[cors]\nallowed_origins = [\"a.example\"]",
        "[store]\nurl = \"chatkit.db\"",
        "[store]\nurl = \"postgres:x\"",
        "[store]\nschema = \"a-b\"",
        "[store]\npool_size = 0",
        "[log]\nformat = \"jsn\"",
        "[log]\nlevel = 3",
    ] {
        assert!(complete().toml("x.toml", toml).load().is_err(), "{toml}");
        assert!(!validator.is_valid(&parsed(toml)), "{toml}");
    }
}

#[test]
fn a_file_may_name_its_schema() {
    let file = "\"$schema\" = \"./chatkit-rest.schema.json\"\n";
    complete().toml("x.toml", file).load().unwrap_or_else(|faults| panic!("{faults}"));
    validator().validate(&parsed(file)).unwrap();
    for (file, said) in [
        ("\"$schema\" = 7\n", "$schema (file x.toml, line 1): found 7; expected a URL or a path"),
        (
            "$schema = \"x\"\n",
            "line 1: not TOML: $schema is a name that needs quotes: write \"$schema\"",
        ),
        ("[auth]\n\"$schema\" = \"x\"\n", "auth.$schema (file x.toml, line 2): not a setting"),
    ] {
        let faults = complete().toml("x.toml", file).load().unwrap_err().to_string();
        assert!(faults.contains(said), "{faults}");
    }
}

/// Editors find it by the first line of the example.
#[test]
fn the_file_of_the_schema_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/chatkit-rest.schema.json");
    let schema = format!("{}\n", serde_json::to_string_pretty(&schema()).unwrap());
    if std::env::var_os("CHATKIT_REST_REWRITE").is_some() {
        std::fs::write(path, &schema).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap();
    assert_eq!(written, schema, "rewrite it with CHATKIT_REST_REWRITE=1");
    let example = include_str!("../../../examples/chatkit-rest.toml");
    assert!(example.starts_with("#:schema ./chatkit-rest.schema.json\n"));
}
