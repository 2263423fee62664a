//! The schema of the file and what reads it, held against each other value by value.

use std::collections::BTreeSet;

use jsonschema::Validator;
use serde_json::{Value, json};

use super::every_setting::{ROWS, companions};
use super::*;
use crate::config::key::{KEYS, ValueShape};

/// What is refused by what one setting says and can't be told by a schema: the setting or `*`, a part
/// of what is said, and why.
#[rustfmt::skip] // one of them, one line
const UNTOLD: &[(&str, &str, &str)] = &[
    ("*", "can't be used: ", "what is in a file, or that there is none, is not in the schema"),
    ("*", "missing; embedded.responder = ", "depends on that setting"),
    ("auth.secret", "is empty, so no token", "the key may be in a file"),
    ("auth.secret", "expected random bytes", "a key in another form is known by parsing it"),
    ("openai.api_keys", "too long (64)", "a schema counts characters, and names are as long as their bytes"),
    ("auth.algorithms", "mixes ES256", "a key set may have keys of both"),
    ("auth.jwks_url", "is http, so whoever", "depends on `auth.danger_plain_http`"),
    ("openai.api_keys", "has two keys named", "a schema compares whole entries, not their names"),
    ("upstream.forward_headers", "tells servers who is calling", "the names are hundreds, and grow with the proxies that are known"),
    ("upstream.forward_headers", "is passed on by upstream.forward_authorization", "depends on that setting"),
    ("upstream.headers", "has two headers named", "a schema compares whole entries, not their names"),
    ("upstream.headers", "is said by upstream.", "depends on those settings"),
    ("upstream.url", "is the gateway's own address", "depends on `listen`"),
    ("store.url", "asks for channel_binding=require", "depends on another of its parameters"),
    ("store.url", "names a file of Windows", "on Windows it is one"),
    ("*", "is not in this build", "the schema is of every build"),
    ("*", "not in this version", "the schema refuses it, or has no reason to"),
];

/// What is tried of every setting.
fn of_any_type() -> Vec<Value> {
    vec![
        json!(true),
        json!(-1),
        json!(0),
        json!(1.5),
        json!(""),
        json!("x y"),
        json!([]),
        json!([7]),
        json!([[]]),
        json!([""]),
        json!([{}]),
        json!({}),
        json!({"a": 1}),
    ]
}

/// What is tried of a setting beside that and what its [row](ROWS) says.
fn of_setting(name: &str) -> Vec<&'static str> {
    match name {
        "listen" | "admin.listen" => vec![
            "127.0.0.1:65535",
            "127.0.0.1:65536",
            "127.0.0.1:00080",
            "127.0.0.256:1",
            "1.2.3:4",
            "[::]:0",
            "[1:2:3:4:5:6:7:8]:1",
            "[1:2:3:4:5:6:7::]:1",
            "[::1.2.3.4]:1",
            "[::ffff:1.2.3.4%7]:1",
            "[1::2::3]:1",
        ],
        "server.public_url" => {
            vec!["HTTP://a.b:00080", "https://[::1]:8443/a", "http://a/..", "http://a/b/../c"]
        }
        "auth.jwks_url" | "upstream.url" | "embedded.base_url" => vec![
            "HTTPS://A.b:65535/x?y=z#",
            "http://[::1]",
            "http://[1::x]:80/",
            "http://a[b]/",
            "http://a:+80/",
            "http://a:0/",
            "http://a:99999/",
            "http://u:p@a/",
            "http://127.0.0.1:8080/",
        ],
        "rest.prefix" | "chat.path" | "openai.path" => {
            vec!["/a/../b", "/..", "/./a", "/a.b/..c", "/%41"]
        }
        "upstream.user_header" => {
            vec![
                "Host",
                "COOKIE",
                "content-x",
                "x-request-id",
                "X-Forwarded-For",
                "x-forwarded-user",
                "chatkit-gateway-proof",
                "Chatkit-Gateway-X",
                "chatkit-x",
            ]
        }
        "upstream.utc_offset" => vec!["+18:59", "-19:00", "+00:60", "Z", "z", "+24:00"],
        "embedded.model" | "auth.anonymous_user" => vec!["é", "a\u{85}b", "a\u{0}", "a b"],
        "auth.shared_secret" => vec!["ek_0123456789", "==", "a==", "a=b", "\u{FEFF}a"],
        "auth.secret" => vec!["\u{FEFF}a", RSA_PUBLIC],
        "auth.user" => {
            vec!["{sub}", "x:{a b}.", "{iss}", "{iss}|{iss}", "{exp}", "{iss}a{sub}", "{a}`{b}"]
        }
        "auth.token_type" => vec!["any", "ANY", "application/at+jwt", "a/b/c", "+a"],
        "store.url" => vec![
            "memory:",
            "sqlite::memory:",
            "sqlite:///a.db",
            "sqlite:///v/a.db",
            "sqlite://localhost/a.db",
            "sqlite:file:a.db",
            "sqlite:a?b",
            "sqlite:v/..",
            "sqlite:C:\\a",
            "postgres://",
            "postgres:///d",
            "postgres://u@/d",
            "postgres://u@/d?host=/run/x&user=u",
            "postgres://h:99999/d",
            "postgres://[::1/d",
            "postgres://u%40:p@h/d%40abc",
            "postgres://u@h/d?sslmode=x",
            "postgres://u@h/d?sslmode=verify-full",
            "postgres://u@h/d?foo=1",
            "postgres://u@h/d?connect_timeout=x",
            "postgres://u@h/d?channel_binding=require&sslmode=disable",
            "postgres:h/d",
        ],
        "store.schema" => {
            vec![
                "pg_",
                "pg_x",
                "pgx",
                "_pg_x",
                "information_schema",
                "information_schemas",
                "_",
                "1a",
            ]
        }
        "log.level" => vec![" WARN , hyper = Debug", "a b=info", "info,", "=info", "a=b=info"],
        "embedded.api_key_file"
        | "auth.jwks_file"
        | "auth.secret_file"
        | "auth.shared_secret_file"
        | "auth.public_key_file"
        | "upstream.proof_key_file"
        | "upstream.proof_published_key_file"
        | "upstream.proof_secret_file" => vec!["/nowhere/x"],
        _ => vec![],
    }
}

/// What is tried of a list, entry by entry.
fn of_list(name: &str) -> Vec<Vec<&'static str>> {
    match name {
        "upstream.forward_headers" => vec![
            vec!["*"],
            vec!["**"],
            vec!["x-*-y"],
            vec!["x-user-id"],
            vec!["Authorization"],
            vec!["Content-*"],
            vec!["content_length"],
            vec!["proxy"],
            vec!["If-Match"],
            vec!["x-rewrite-url", "x-a"],
        ],
        "auth.algorithms" => {
            vec![vec!["HS256", "RS256"], vec!["HS256", "HS512"], vec!["ES256", "ES384"]]
        }
        "auth.require" => vec![
            vec!["scope:é=x"],
            vec!["scope:a=b", "/a/b=c", "a==", "é b=c d"],
            vec!["/=a"],
            vec!["="],
            vec!["a=1"; 32],
            vec!["a=1"; 33],
        ],
        "cors.allowed_origins" => vec![
            vec!["*"],
            vec!["*", "https://a"],
            vec!["https://a", "http://b:8080"],
            vec!["https://a:443"],
            vec!["http://a:80"],
            vec!["http://a:443"],
            vec!["http://a:99999"],
            vec!["http://a:080"],
            vec!["http://[::1]:3000"],
            vec!["http://[x]"],
            vec!["chrome-extension://abc"],
            vec!["null"],
        ],
        _ => vec![],
    }
}

/// What is tried of `upstream.headers`.
fn of_headers() -> Vec<Value> {
    let mut values = Vec::new();
    let header = |name: &str, value: &str| json!({"name": name, "value": value});
    let names = [
        "X-Api-Key",
        "Host",
        "HOST",
        "content-type",
        "x_api_key",
        "te",
        "x y",
        "",
        "proxy",
        "Proxy-X",
        "if-match",
        "Sec-WebSocket-Key",
        "sec-fetch",
        "contents",
        "cookie",
        "authorization",
        "x-request-id",
        "TraceParent",
        "forwarded",
        "X-Forwarded-Host",
        "x-forwarded-user",
        "x-user-id",
        "chatkit-gateway-proof",
        "Chatkit-Gateway-X",
        "chatkit-x",
        "incremental",
        "user-agent",
        "accept-language",
    ];
    values.extend(names.map(|name| json!([header(name, "k")])));
    let texts = ["", " ", "a", "a b", " a", "a ", "a\tb", "é", "a\u{7f}", "\n", "~!"];
    values.extend(texts.map(|text| json!([header("x-a", text)])));
    values.extend([8192, 8193].map(|bytes| json!([header("x-a", &"k".repeat(bytes))])));
    values.extend([
        json!([header("x-a", "k"), header("x-b", "k")]),
        json!([header("x-a", "k"), header("X-A", "l")]),
        json!([{"name": "x-a", "value_file": "/nowhere/x"}]),
        json!([{"name": "x-a", "value_file": ""}]),
        json!([{"name": "x-a"}]),
        json!([{"value": "k"}]),
        json!([{"name": "x-a", "value": "k", "value_file": "/nowhere/x"}]),
        json!([{"name": "x-a", "value": "k", "key": "x"}]),
        json!([{"name": 7, "value": "k"}]),
        json!([{"name": "x-a", "value": 7}]),
        json!(["x-a=k"]),
    ]);
    let many = |count: usize| (0..count).map(|at| header(&format!("x-{at}"), "k"));
    values.extend([16, 17].map(|count| many(count).collect()));
    values
}

const LETTERS: &str = " /.:09Aazé\n?#@*%[]-_=,+~\"\\\u{0}\u{7f}\u{85}";

/// Gives a text with one letter more or less, at each place near its ends.
fn slips(text: &str) -> Vec<String> {
    let letters: Vec<_> = text.chars().collect();
    let mut slips = Vec::new();
    for at in (0..=letters.len()).filter(|at| *at < 9 || *at + 3 > letters.len()) {
        let (before, after) = letters.split_at(at);
        let with = |new: Option<char>, after: &[char]| {
            before.iter().copied().chain(new).chain(after.iter().copied()).collect::<String>()
        };
        slips.extend(LETTERS.chars().map(|new| with(Some(new), after)));
        slips.extend(after.split_first().map(|(_, rest)| with(None, rest)));
    }
    slips
}

fn durations(min: Duration, max: Duration) -> Vec<Value> {
    let mut texts = Vec::new();
    for (unit, millis) in [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)] {
        for of in [min.as_millis() / millis, max.as_millis() / millis] {
            let near = [of.saturating_sub(1), of, of + 1, of * 10];
            texts.extend(near.iter().map(|number| json!(format!("{number}{unit}"))));
        }
    }
    texts.extend(["00005s", "99999999999999999999h", "1d", "1.5s", "1m30s"].map(|it| json!(it)));
    texts
}

fn values(name: &str, shape: ValueShape) -> Vec<Value> {
    let mut values = of_any_type();
    let row = ROWS.iter().find(|(row, ..)| *row == name).map(|(_, word, _)| *word);
    match shape {
        ValueShape::Count(min, max) => {
            let near = [min.saturating_sub(1), min, min + 1, max - 1, max, max + 1, 1 << 62];
            values.extend(near.map(|number| json!(number)));
        }
        ValueShape::Duration(min, max) => values.extend(durations(min, max)),
        ValueShape::Switch(word) => {
            values.push(json!(word));
            values.extend(slips(word).into_iter().map(|slip| json!(slip)));
        }
        ValueShape::Status(_) => values.extend([422, 400, 409, 500].map(|status| json!(status))),
        ValueShape::Issuers => {
            let issuer = |more: Value| {
                let mut issuer = json!({"issuer": "https://a", "secret": SECRET});
                issuer.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
                json!([issuer])
            };
            let each = |(name, value): (&str, Value)| issuer(json!({name: value}));
            values.extend(
                [
                    ("audience", json!("x")),
                    ("audience", json!(7)),
                    ("leeway", json!("1h")),
                    ("leeway", json!("1m")),
                    ("user", json!("{iss}|{sub}")),
                    ("user", json!("{iss}{sub}")),
                    ("require", json!(["scope:a"])),
                    ("require", json!(["a"])),
                    ("require", json!("a=b")),
                    ("algorithms", json!(["HS512", "HS256"])),
                    ("algorithms", json!([])),
                    ("token_type", json!("a/b/c")),
                    ("cookie", json!("c")),
                    ("mode", json!("none")),
                    ("issuers", json!([])),
                    ("key", json!("x")),
                ]
                .map(each),
            );
            values.push(json!([{"secret": SECRET}]));
        }
        ValueShape::ApiKeys => {
            let hex = "00ff".repeat(16);
            let nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
            let key = |name: &str, sha256: &str| json!({"name": name, "sha256": sha256});
            values.extend([
                json!([key("a", &hex)]),
                json!([key("a", &hex), key("b", &hex)]),
                json!([key("a", &hex), key("a", nothing)]),
                json!([key("a", &hex), key("a", &"11".repeat(32))]),
                json!([key("", &hex)]),
                json!([key("a\n", &hex)]),
                json!([key("a\u{85}", &hex)]),
                json!([key(&"a".repeat(64), &hex)]),
                json!([key(&"a".repeat(65), &hex)]),
                json!([key(&"é".repeat(33), &hex)]),
                json!([key("a", nothing)]),
                json!([key("a", &nothing.to_uppercase())]),
                json!([key("a", &hex[1..])]),
                json!([{"name": "a"}]),
                json!([{"name": "a", "sha256": hex, "key": "x"}]),
                json!([{"name": 7, "sha256": hex}]),
                json!(["a"]),
            ]);
        }
        ValueShape::Headers => values.extend(of_headers()),
        ValueShape::List(_) | ValueShape::Words(_) => {
            let entries: Vec<_> = row.unwrap_or_default().split(',').collect();
            values.push(json!(entries));
            values.extend(entries.iter().flat_map(|entry| slips(entry)).map(|slip| json!([slip])));
            values.extend(of_list(name).into_iter().map(|list| json!(list)));
        }
        ValueShape::Boolean => values.push(json!("true")),
        ValueShape::Choice(words) => {
            values.extend(words.iter().flat_map(|word| slips(word)).map(|slip| json!(slip)));
        }
        ValueShape::KeyFile
        | ValueShape::Place(_)
        | ValueShape::Secret
        | ValueShape::Text(_)
        | ValueShape::Url(_) => {
            let texts = of_setting(name).into_iter().chain(row);
            for text in texts {
                values.push(json!(text));
                if text.len() < 60 && shape != ValueShape::KeyFile {
                    values.extend(slips(text).into_iter().map(|slip| json!(slip)));
                }
            }
            values.extend([127, 128, 255, 256, 500, 501].map(|chars| json!("a".repeat(chars))));
            values.push(json!("é".repeat(255)));
        }
    }
    values
}

/// Gives a value as it is written in TOML.
fn literal(value: &Value) -> String {
    match value {
        Value::Null => unreachable!("TOML has none"),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) => {
            let escaped = text.chars().map(|c| match c {
                '"' | '\\' => format!("\\{c}"),
                c if c.is_control() => format!("\\u{:04X}", u32::from(c)),
                c => c.to_string(),
            });
            format!("\"{}\"", escaped.collect::<String>())
        }
        Value::Array(entries) => {
            format!("[{}]", entries.iter().map(literal).collect::<Vec<_>>().join(", "))
        }
        Value::Object(fields) => {
            let field = |(name, value): (&String, &Value)| format!("{name} = {}", literal(value));
            format!("{{ {} }}", fields.iter().map(field).collect::<Vec<_>>().join(", "))
        }
    }
}

/// Gives what is said of the value of a setting alone.
fn refused(name: &str, value: &Value) -> Option<String> {
    let mut sources = Sources::new();
    for (other, word) in companions(name) {
        sources = sources.set("test", other, word);
    }
    let (section, leaf) = name.rsplit_once('.').unwrap_or(("", name));
    let section = if section.is_empty() { String::new() } else { format!("[{section}]\n") };
    let file = format!("{section}{leaf} = {}\n", literal(value));
    let faults = sources.toml("x.toml", file).load().err()?;
    faults.iter().find(|fault| fault.key() == Some(name)).map(ToString::to_string)
}

#[test]
fn what_is_refused_of_a_setting_is_refused_by_the_schema_and_nothing_else_is() {
    let schema = schema();
    let (mut wrong, mut untold) = (Vec::new(), BTreeSet::new());
    for key in KEYS {
        let pointer = format!("/properties/{}", key.name.replace('.', "/properties/"));
        let own: Validator =
            jsonschema::draft202012::new(schema.pointer(&pointer).unwrap()).unwrap();
        for value in values(key.name, key.shape) {
            let (refused, valid) = (refused(key.name, &value), own.is_valid(&value));
            match refused {
                Some(why) if valid => {
                    let known = UNTOLD.iter().find(|(name, said, _)| {
                        ["*", key.name].contains(name) && why.contains(said)
                    });
                    match known {
                        Some(known) => drop(untold.insert(known)),
                        None => wrong.push(format!("takes {} = {value}\n    {why}", key.name)),
                    }
                }
                None if !valid => wrong.push(format!("refuses {} = {value}", key.name)),
                Some(_) | None => {}
            }
        }
    }
    let count = wrong.len();
    wrong.truncate(40);
    assert!(wrong.is_empty(), "{count}: the schema\n{}", wrong.join("\n"));
    // What is said of any setting depends on the build, as does what is said of a database.
    let is_tried = |(name, said, _): &&(&str, &str, &str)| {
        *name != "*" && (cfg!(feature = "postgres") || !said.contains("channel_binding"))
    };
    for case in UNTOLD.iter().filter(is_tried) {
        assert!(untold.contains(case), "{case:?} is told by now, or isn't tried");
    }
}
