//! The one list of settings.
//!
//! Everything that knows a setting's name gets it from here: the layers, the hints for a name
//! that is not known, the table in the documentation, the schema of the file, and the tests that hold them together.

use std::time::Duration;

use super::shown;
use super::store::EXPECTED;
use super::value::Value;
use crate::authenticate::MAX_LEEWAY;
use crate::forward::DEFAULT_CLIENT_HEADERS;
use crate::surface::ACTED;

/// The name at the top of a file under which editors find its schema. It is no setting.
pub(super) const SCHEMA: &str = "$schema";

/// One setting.
#[derive(Debug)]
pub(super) struct Key {
    /// `section.key`, or the bare key at the top of the file.
    pub(super) name: &'static str,
    /// As it would be written in the environment; read like any other layer.
    pub(super) default: &'static str,
    pub(super) shape: ValueShape,
    /// One line of documentation.
    pub(super) about: &'static str,
}

/// What a setting's value looks like before its meaning is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ValueShape {
    /// Names with SHA-256 digests.
    ApiKeys,
    Boolean,
    Choice(&'static [&'static str]),
    /// Names of headers with values, or files that have them.
    Headers,
    /// A whole number in this range.
    Count(u64, u64),
    /// A duration in this range.
    Duration(Duration, Duration),
    /// Tables, each with what there is to say of an issuer.
    Issuers,
    /// A file that holds a key. What doesn't look like a path is not shown: a secret is easily put
    /// in the place of one.
    KeyFile,
    /// Texts of which each is what this says.
    List(&'static str),
    /// What this says: a file or a server. Shown unless there may be a password in it.
    Place(&'static str),
    Secret,
    /// One of these numbers.
    Status(&'static [&'static str]),
    /// `true`, `false`, or a word for what other settings make of it.
    Switch(&'static str),
    /// What this says.
    Text(&'static str),
    /// A list of some of these words.
    Words(&'static [&'static str]),
    /// What this says. Shown unless there may be a password or a token in it, or in its place.
    Url(&'static str),
}

impl ValueShape {
    /// Gives what a fault says was expected.
    pub(super) fn expected(self) -> String {
        match self {
            Self::ApiKeys => {
                "a list of { name = \"…\", sha256 = \"64 hex digits\" } (NAME=SHA256,… in the \
                 environment); `chatkit-rest token --service NAME` makes a key and this setting"
                    .into()
            }
            Self::Headers => {
                "a list of { name = \"x-api-key\", value_file = \"/run/secrets/key\" }, or with value in \
                 the place of value_file (NAME@FILE,… or NAME=VALUE,… in the environment)"
                    .into()
            }
            Self::Boolean => "true or false".into(),
            Self::Choice(words) => {
                let words: Vec<_> = words.iter().map(|word| format!("{word:?}")).collect();
                words.join(" or ")
            }
            Self::Count(min, max) => format!("a whole number from {min} to {max}"),
            Self::Duration(min, max) => {
                format!("a duration such as \"5s\", from {} to {}", written(min), written(max))
            }
            Self::Issuers => "a list of tables, such as [[auth.issuers]] (in the environment, \
                 [{ issuer = \"…\", … }])"
                .into(),
            Self::KeyFile => "the path of a file".into(),
            Self::List(each) => format!("a list of {each}"),
            Self::Secret => "a text".into(),
            Self::Status(statuses) => statuses.join(" or "),
            Self::Switch(word) => format!("true, false or {word:?}"),
            Self::Words(words) => format!("a list of {}", words.join(", ")),
            Self::Place(what) | Self::Text(what) | Self::Url(what) => what.into(),
        }
    }

    /// Tells whether a value may be shown in errors.
    pub(super) fn shows(self, value: &Value) -> bool {
        let text = match value {
            Value::List(entries) => return entries.iter().all(|entry| self.shows(entry)),
            value => value.text(),
        };
        match self {
            Self::ApiKeys | Self::Headers | Self::Issuers | Self::Secret => false,
            Self::KeyFile => text.is_some_and(shown::is_path),
            Self::Place(_) => text.is_some_and(shown::is_place),
            Self::Url(_) => text.is_none_or(shown::is_url),
            Self::Boolean
            | Self::Choice(_)
            | Self::Count(..)
            | Self::Duration(..)
            | Self::List(_)
            | Self::Status(_)
            | Self::Switch(_)
            | Self::Text(_)
            | Self::Words(_) => text.is_none_or(shown::is_text),
        }
    }
}

/// Gives a duration in the notation of the configuration.
pub(super) fn written(duration: Duration) -> String {
    let millis = duration.as_millis();
    if millis == 0 {
        return "0s".into();
    }
    for (unit, length) in [("h", 3_600_000), ("m", 60_000), ("s", 1000)] {
        if millis.is_multiple_of(length) {
            return format!("{}{unit}", millis / length);
        }
    }
    format!("{millis}ms")
}

/// Gives the setting of that name.
pub(super) fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// Tells whether it is a section, or one within another.
pub(super) fn has_below(name: &str) -> bool {
    let is_below =
        |key: &Key| key.name.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
    KEYS.iter().any(is_below)
}

/// Gives the sections, in the order of the list, but those within others.
pub(super) fn sections() -> impl Iterator<Item = &'static str> {
    let mut last = "";
    KEYS.iter().filter_map(|key| key.name.split_once('.')).filter_map(move |(section, _)| {
        (section != std::mem::replace(&mut last, section)).then_some(section)
    })
}

const fn key(
    name: &'static str,
    default: &'static str,
    shape: ValueShape,
    about: &'static str,
) -> Key {
    Key { name, default, shape, about }
}

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A wait that must end, and not before it began.
const TIMEOUT: ValueShape = ValueShape::Duration(Duration::from_millis(1), DAY);
/// A time that may be nothing.
const SPAN: ValueShape = ValueShape::Duration(Duration::ZERO, DAY);
/// A limit that may be off.
const OR_NONE: ValueShape = ValueShape::Count(0, u32::MAX as u64);
/// A limit of something there must be at least one of.
const AT_LEAST_1: ValueShape = ValueShape::Count(1, u32::MAX as u64);
/// The size of something that is held in memory, up to 1 GiB.
const BYTES: ValueShape = ValueShape::Count(1, 1 << 30);
/// A setting that is known so that who sets it is told why it does nothing.
pub(super) const NOTHING: ValueShape = ValueShape::Url("nothing");
const ADDRESS: &str = "an address such as \"127.0.0.1:8080\" or \"[::1]:8080\"";
const PATH: ValueShape = ValueShape::Text("a path such as \"/api/v1/chatkit\"");
const ALGORITHMS: &[&str] = &[
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256",
    "ES384", "EdDSA", "Ed25519",
];

/// Every setting, by section, in the order of the reference.
#[rustfmt::skip] // one setting, one paragraph
pub(super) const KEYS: &[Key] = &[
    key("listen", "127.0.0.1:8080", ValueShape::Text(ADDRESS),
        "address and port the gateway listens on; port 0 takes a free one"),

    key("server.public_url", "", ValueShape::Place("a URL such as \"https://chat.example.org\""),
        "where clients reach the gateway, without `rest.prefix`: for the upstream and the URLs that it makes (uploads), and with `auth.issuer` for clients that look for the issuer (RFC 9728), not for `Location` and `/openapi.json`, which are relative; empty = where each request was sent to"),
    key("server.tls.certificate", "", ValueShape::KeyFile,
        "PEM file of the certificate that clients are shown, and behind it those of its authorities, in order; with it, `listen` speaks HTTPS and nothing else. It and the other two files are looked at every two seconds: a change holds for new connections"),
    key("server.tls.key", "", ValueShape::KeyFile,
        "PEM file of its private key, which is not encrypted; may be the same file"),
    key("server.tls.client_ca", "", ValueShape::KeyFile,
        "PEM file of the authorities that clients' certificates are from: who has none of theirs is not let in; empty = clients need none. Who the caller is comes from the token all the same"),
    key("server.header_timeout", "10s", TIMEOUT,
        "for a request's head to arrive, and for TLS to be agreed on before the first"),
    key("server.body_timeout", "15s", TIMEOUT,
        "for a request's body to arrive"),
    key("server.idle_timeout", "75s", TIMEOUT,
        "a client's connection without a request is closed after this"),
    key("server.write_timeout", "60s", TIMEOUT,
        "for a client to take at least 1 KiB of what waits for it"),
    key("server.drain_timeout", "25s", SPAN,
        "open streams may take this long to end after SIGTERM, SIGINT or SIGHUP; then they are cut"),
    key("server.max_connections", "20000", AT_LEAST_1,
        "client connections at once"),
    key("server.max_header_bytes", "65536", ValueShape::Count(1024, 1 << 20),
        "bytes of a request's head"),
    key("server.worker_threads", "0", ValueShape::Count(0, 1024),
        "threads that serve requests; 0 = one per core"),

    key("rest.prefix", "/api/v1/chatkit", PATH,
        "path below which the REST routes are"),

    key("upstream.url", "http://127.0.0.1:8000/chatkit",
        ValueShape::Url("\"embedded\" or a URL such as \"http://127.0.0.1:8000/chatkit\""),
        "ChatKit endpoint of the backing server, or `embedded` for the one built in"),
    key("upstream.ca", "", ValueShape::KeyFile,
        "PEM file of the authorities that the certificate of an `https` upstream may be from; empty = those that the system trusts"),
    key("upstream.client_certificate", "", ValueShape::KeyFile,
        "PEM file of the certificate that the gateway shows to an `https` upstream that asks for one, and behind it those of its authorities; empty = none"),
    key("upstream.client_key", "", ValueShape::KeyFile,
        "PEM file of its private key, which is not encrypted; may be the same file"),
    key("upstream.connect_timeout", "2s", TIMEOUT,
        "for a connection to be made"),
    key("upstream.first_byte_timeout", "30s", TIMEOUT,
        "from the request to the answer's first body byte"),
    key("upstream.idle_timeout", "120s", TIMEOUT,
        "between two frames of a stream; a stream has no total timeout"),
    key("upstream.json_timeout", "30s", TIMEOUT,
        "for the whole answer of an operation that doesn't stream"),
    key("upstream.pool_idle_timeout", "4s", SPAN,
        "an unused connection is kept for this long; keep it below the upstream's own (uvicorn: 5s)"),
    key("upstream.max_idle_connections", "1024", ValueShape::Count(0, 65536),
        "unused connections kept; 0 = none"),
    key("upstream.max_concurrent", "10000", ValueShape::Count(0, 1_000_000),
        "requests and open streams under way to it at once, and to the model's API behind the built-in server; 0 = no limit"),
    key("upstream.max_queued", "1000", ValueShape::Count(0, 1_000_000),
        "requests that wait for one of those places, a quarter of them one user's at most where users have tokens; more are a 503"),
    key("upstream.queue_timeout", "1s", TIMEOUT,
        "they wait for this long; then they are a 503"),
    key("upstream.breaker", "true", ValueShape::Boolean,
        "whether it is left in peace, and requests are a 503 at once, while it fails for most requests of at least three users; it is then tried with a request now and then"),
    key("upstream.max_reply_bytes", "33554432", BYTES,
        "bytes of an answer that doesn't stream"),
    key("upstream.user_header", "x-user-id", ValueShape::Text("a header's name such as \"x-user-id\""),
        "header that tells the upstream who the verified user is"),
    key("upstream.forward_authorization", "false", ValueShape::Boolean,
        "whether the client's `authorization` goes to the upstream"),
    key("upstream.forward_headers", DEFAULT_CLIENT_HEADERS,
        ValueShape::List("headers' names such as \"x-tenant\", their beginnings such as \"x-acme-*\", or \"*\""),
        "headers of clients that go to the upstream, in place of the default ones; `*` = all but those that are known to be never a client's to say: no list of the names from which servers take a user is complete, so list what is needed. Others are named in the log once"),
    key("upstream.headers", "", ValueShape::Headers,
        "headers that every request to the upstream has, such as a key that it asks for: visible ASCII, in the place of a client's of that name; one newline at a file's end is not part of it"),
    key("upstream.proof_secret", "", ValueShape::Secret,
        "secret that signs (HS256) who calls and with what body, in `chatkit-gateway-proof` with every request to the upstream, which has the secret too; at least 32 visible ASCII characters; empty = nothing is signed by it"),
    key("upstream.proof_secret_file", "", ValueShape::KeyFile,
        "file with it, in place of `upstream.proof_secret`; one newline at its end is not part of it"),
    key("upstream.proof_key_file", "", ValueShape::KeyFile,
        "PEM file with an Ed25519 private key that signs (EdDSA) in place of the secret; its public half is at `/.well-known/jwks.json`"),
    key("upstream.proof_published_key_file", "", ValueShape::KeyFile,
        "PEM file with another Ed25519 key, public or private, that is published there too: the next one before it signs, the last one after"),
    key("upstream.proof_issuer", "chatkit-rest", ValueShape::Text("a text"),
        "`iss` of what is signed"),
    key("upstream.proof_audience", "", ValueShape::Text("a text"),
        "`aud` of what is signed; empty = the origin of `upstream.url`, such as `http://127.0.0.1:8000`"),
    key("upstream.forwarded", "true", ValueShape::Boolean,
        "whether the upstream is told where clients reach the gateway, as `forwarded` and `x-forwarded-host`, `-proto` and `-prefix`"),
    key("upstream.utc_offset", "+00:00", ValueShape::Text("an offset such as \"+05:30\""),
        "zone of the upstream's times, which name none"),

    key("embedded.responder", "echo", ValueShape::Choice(&["echo", "openai"]),
        "who answers in the built-in server: an echo, or a model behind OpenAI's chat-completions API, within `upstream`'s time-outs"),
    key("embedded.base_url", "", ValueShape::Url("a URL such as \"http://127.0.0.1:11434/v1\""),
        "that API; requests go to `/chat/completions` below it"),
    key("embedded.ca", "", ValueShape::KeyFile,
        "PEM file of the authorities that its certificate may be from, where it is `https`; empty = those that the system trusts"),
    key("embedded.api_key", "", ValueShape::Secret,
        "key for that API; empty = none"),
    key("embedded.api_key_file", "", ValueShape::KeyFile,
        "file with the key, in place of `embedded.api_key`; one newline at its end is not part of it"),
    key("embedded.model", "", ValueShape::Text("a model's name such as \"llama3.2\""),
        "model that answers, whatever the user chose"),
    key("embedded.system_prompt", "", ValueShape::Text("a text"),
        "what the model is told before each conversation; empty = nothing"),
    key("embedded.token_delay", "0ms", SPAN,
        "pause between the words of the echo's answers"),

    key("auth.mode", "jwt", ValueShape::Choice(&["jwt", "none"]),
        "`none`: callers are believed; refused unless `listen` is a loopback address or there is `auth.shared_secret`"),
    key("auth.anonymous_user", "anonymous", ValueShape::Text("a user id"),
        "who everyone is with `auth.mode = \"none\"` whose path names no user"),
    key("auth.shared_secret", "", ValueShape::Secret,
        "bearer token that every caller must have with `auth.mode = \"none\"`, of at least 16 bytes where others can reach `listen`; empty = none. Whoever has it is every user"),
    key("auth.shared_secret_file", "", ValueShape::KeyFile,
        "file with it, in place of `auth.shared_secret`"),
    key("auth.algorithms", "HS256", ValueShape::Words(ALGORITHMS),
        "signatures that are accepted, all of one kind of key, but for a key set; if not set, of a key set RS256, ES256, ES384 and EdDSA"),
    key("auth.secret", "", ValueShape::Secret,
        "key of HS256, HS384 and HS512"),
    key("auth.secret_file", "", ValueShape::KeyFile,
        "file with the secret, in place of `auth.secret`; one newline at its end is not part of it"),
    key("auth.danger_short_secret", "false", ValueShape::Boolean,
        "takes a secret that is shorter than the hash (32, 48 or 64 bytes), or an `auth.shared_secret` of less than 16, on an address that others can reach, too"),
    key("auth.public_key_file", "", ValueShape::KeyFile,
        "PEM file with the public key of the RS, PS and ES algorithms and EdDSA"),
    key("auth.jwks_url", "", ValueShape::Url("a URL such as \"https://login.example.com/jwks.json\""),
        "key set (JWKS) of the issuer; fetched when the first token needs it, and again before it is old"),
    key("auth.jwks_file", "", ValueShape::KeyFile,
        "JSON file with a key set, in place of `auth.jwks_url`; read at the start"),
    key("auth.discovery", "false", ValueShape::Boolean,
        "asks `auth.issuer`, which is a URL then, where its key set is (OpenID Connect Discovery), in place of `auth.jwks_url`"),
    key("auth.danger_plain_http", "false", ValueShape::Boolean,
        "fetches the key set without TLS, from elsewhere than this machine too: whoever can answer for its host can sign for every user"),
    key("auth.issuer", "", ValueShape::Text("a text"),
        "`iss` that tokens must have; empty = any"),
    key("auth.audience", "", ValueShape::Text("a text"),
        "`aud` that tokens must have; empty = tokens may have none"),
    key("auth.user_claim", "sub", ValueShape::Text("a claim's name such as \"sub\""),
        "claim that holds the user's id"),
    key("auth.user", "", ValueShape::Text("a template such as \"{iss}|{sub}\""),
        "how the user's id is made of claims, in place of `auth.user_claim`: each name in braces stands for that claim. A mark such as `|` ends each but the last, and is percent-encoded in it, as `%` is, so that different claims are different users"),
    key("auth.require", "", ValueShape::List("scopes and claims such as \"scope:chat\" or \"email_verified=true\""),
        "what tokens must have: `scope:NAME`, in `scope` or `scp`; `CLAIM=VALUE`, or a claim's list that has it, where `/CLAIM/NAME` is what is in a claim. A good token without is a 403"),
    key("auth.token_type", "", ValueShape::Text("a type such as \"at+jwt\", or \"any\""),
        "`typ` that tokens must have in their header; empty = any but one that says, as claims may too, that it is an ID, refresh or logout token. `any` = those as well"),
    key("auth.leeway", "60s", ValueShape::Duration(Duration::ZERO, MAX_LEEWAY),
        "by which clocks may differ when `exp` and `nbf` are checked"),
    key("auth.cookie", "", ValueShape::Text("a cookie's name such as \"session\""),
        "cookie that may carry the token; empty = none"),
    key("auth.issuers", "", ValueShape::Issuers,
        "several issuers in place of one, as `[[auth.issuers]]`: a token's `iss` picks the one by whose key and rules alone it is checked. Each is as `[auth]` is for one (`issuer`, `audience`, `discovery`, `jwks_url`, `public_key_file`, `secret_file`, `user`, `require`, …), and its users' ids must differ from the others'"),
    key("auth.danger_shared_users", "false", ValueShape::Boolean,
        "whether issuers may name the same user: who has an id with one is then the user of that id with each"),

    key("store.url", "sqlite:chatkit-rest.db",
        ValueShape::Place(EXPECTED),
        "where sessions are kept: `sqlite:FILE`, a PostgreSQL database that several gateways may share, or `memory:`, which is gone with the process"),
    key("store.url_file", "", ValueShape::KeyFile,
        "file with the URL, in which there may be a password, in place of `store.url`; one newline at its end is not part of it"),
    key("store.schema", "chatkit_rest", ValueShape::Text("a name of lower-case letters, digits and \"_\""),
        "schema of the database that the tables are in; it is made if it is not there"),
    key("store.pool_size", "8", ValueShape::Count(1, 1000),
        "connections of this gateway to the database at most; all gateways' together must be fewer than the database's `max_connections`"),
    key("store.connect_timeout", "10s", TIMEOUT,
        "for a connection to the database to be made, and for a database that sleeps to wake"),
    key("store.wait_timeout", "2s", TIMEOUT,
        "for one of the connections to be free; then it is a 503"),
    key("store.statement_timeout", "5s", TIMEOUT,
        "for the database to answer a statement; then it is a 503"),
    key("store.pooler", "false", ValueShape::Boolean,
        "whether a pooler in transaction mode (PgBouncer, Neon's `-pooler`) stands between: nothing is kept on a connection then, prepared statements neither"),
    key("store.ca", "", ValueShape::KeyFile,
        "PEM file of the authorities that the database's certificate may be from; empty = those that the system trusts"),

    key("session.hide_foreign", "false", ValueShape::Boolean,
        "somebody else's session answers 404 in place of 403"),

    key("attachments.unknown", "refuse", ValueShape::Choice(&["refuse", "forward"]),
        "what happens to attachment ids that nobody is known to own, as those of files that were uploaded past the gateway"),

    key("limits.requests_per_minute", "30", OR_NONE,
        "per user; 0 = none"),
    key("limits.shared", "auto", ValueShape::Switch("auto"),
        "whether `limits.requests_per_minute`, and client sessions' own limits, hold over all gateways on one store, and in any minute; `auto` = with PostgreSQL. In place of it, each gateway counts for itself"),
    key("limits.max_sessions", "10", OR_NONE,
        "per user; 0 = none"),
    key("limits.max_messages", "100", OR_NONE,
        "per session; 0 = none"),
    key("limits.max_message_chars", "10000", AT_LEAST_1,
        "Unicode scalar values of a message"),
    key("limits.max_body_bytes", "1048576", BYTES,
        "bytes of a request's body"),
    key("limits.max_json_values", "10000", ValueShape::Count(100, 10_000_000),
        "JSON values of a request's body, keys counted; a tool's output, an action's payload and a tag's data are not"),
    key("limits.max_audio_bytes", "26214400", BYTES,
        "bytes of a transcription's audio"),
    key("limits.max_buffered_bytes", "268435456", ValueShape::Count(1 << 20, 1 << 40),
        "bytes of what is read whole, requests' bodies and the upstream's answers, and of what is held of runs, that are in memory at once; more are a 503, and no more is held"),
    key("limits.max_buffered_bytes_per_user", "67108864", ValueShape::Count(1 << 20, 1 << 40),
        "the same of one user: by default two answers of `upstream.max_reply_bytes` at once; more are a 429; what is larger by itself than this or all is never read"),
    key("limits.max_in_flight", "10000", AT_LEAST_1,
        "requests and open streams at once"),
    key("limits.max_unauthenticated", "512", AT_LEAST_1,
        "requests at once whose caller is still looked up; 128 of a connection; more are a 503"),
    key("limits.max_streams_per_user", "16", AT_LEAST_1,
        "open streams of one user, and REST runs that answer in JSON"),
    key("limits.max_tracked_users", "100000", AT_LEAST_1,
        "users whose request rate is remembered at once"),

    key("stream.hold_for", "5s", SPAN,
        "a run's status waits this long for its first output; 0s = not beyond the bookkeeping events"),
    key("stream.hold_bytes", "65536", ValueShape::Count(0, 16 << 20),
        "bytes of a run held back while its status waits, beside its bookkeeping events: those may have six times `limits.max_body_bytes`, as the message comes back in them"),

    key("chat.enabled", "true", ValueShape::Boolean,
        "whether the one-shot chat routes are served"),
    key("chat.path", "/api", PATH,
        "path below which they are"),
    key("chat.id_format", "uuid", ValueShape::Choice(&["uuid", "integer", "conv"]),
        "what the ids of their conversations look like: a UUID, 17, or `conv_0f3a91c2`"),
    key("chat.acted", ACTED, ValueShape::Text("a text of at most 500 characters"),
        "their answer where the assistant used a tool or showed something, and said nothing"),
    key("chat.invalid_status", "422", ValueShape::Status(&["422", "400"]),
        "their status for a message that is empty or too long, and for whatever else is JSON and not what is expected"),
    key("chat.max_message_chars", "10000", AT_LEAST_1,
        "Unicode scalar values of their messages"),
    key("chat.max_sessions", "0", OR_NONE,
        "sessions of a user, however made, above which they start no conversation; 0 = none"),
    key("chat.max_messages", "0", OR_NONE,
        "messages per conversation; 0 = none"),

    key("openai.enabled", "true", ValueShape::Boolean,
        "whether the OpenAI-compatible routes are served"),
    key("openai.path", "/v1/chatkit", PATH,
        "path below which they are"),
    key("openai.api_keys", "", ValueShape::ApiKeys,
        "keys of the services that may call them: a name and the key's SHA-256; empty = nobody may"),

    key("cors.allowed_origins", "", ValueShape::List("origins such as \"https://app.example.com\", or \"*\" alone"),
        "origins whose pages may call the gateway; empty = none"),

    key("passthrough.unknown", "refuse", ValueShape::Choice(&["refuse", "forward"]),
        "what happens to ChatKit requests of a type that is not known: their ids can't be checked"),

    key("log.format", "auto", ValueShape::Choice(&["auto", "text", "json"]),
        "`auto`: `text` on a terminal, else `json`"),
    key("log.level", "info", ValueShape::Text("a level such as \"info\", or directives such as \"info,hyper=debug\""),
        "`off`, `error`, `warn`, `info`, `debug` or `trace`, or directives `TARGET=LEVEL`"),

    key("admin.listen", "", ValueShape::Text(ADDRESS),
        "address and port of health, `/docs` and the OpenAPI document; empty = on `listen`"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_sections_are_together() {
        let mut names: Vec<_> = KEYS.iter().map(|key| key.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), KEYS.len());
        let mut seen: Vec<_> = sections().collect();
        let together = seen.len();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), together);
    }

    #[test]
    fn durations_are_written_in_their_largest_unit() {
        for (millis, text) in
            [(0, "0s"), (1, "1ms"), (1500, "1500ms"), (5000, "5s"), (120_000, "2m")]
        {
            assert_eq!(written(Duration::from_millis(millis)), text);
        }
        assert_eq!(written(DAY), "24h");
    }
}
