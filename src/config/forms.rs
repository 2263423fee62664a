//! What the texts of settings look like, as far as regular expressions tell, for the schema of the
//! file.
//!
//! They have no look-around, which not every editor's engine knows: what a text can't be although it
//! has the form is an expression of its own.

use std::time::Duration;

use super::proof::MAX_NAME_CHARS;
use super::web::TAKEN_HEADERS;
use crate::authenticate::{CLIENT_SECRET_PREFIX, MAX_REQUIREMENT_CHARS, MAX_TEMPLATE_CHARS};
use crate::principal::MAX_USER_ID_CHARS;

/// What a text looks like, or each of a list. Never narrower than what is read; where it is wider, a
/// test says why.
#[derive(Default)]
pub(super) struct Form {
    /// What is found in it.
    pub(super) pattern: Option<String>,
    /// What is not.
    pub(super) never: Option<String>,
    /// The most characters that it has.
    pub(super) max_chars: Option<usize>,
}

impl Form {
    fn of(pattern: impl Into<String>) -> Self {
        Self { pattern: Some(pattern.into()), ..Self::default() }
    }

    fn never(self, pattern: impl Into<String>) -> Self {
        Self { never: Some(pattern.into()), ..self }
    }

    fn at_most(self, chars: usize) -> Self {
        Self { max_chars: Some(chars), ..self }
    }
}

const SCHEME: &str = "[Hh][Tt][Tt][Pp][Ss]?://";

/// A host's name in a URL, as its parser takes it.
const HOST: &str = "[A-Za-z0-9._~!$&'()*+,;=-]+";

/// The path of a URL, as its parser takes it.
const PATH: &str = r"(/[^\u0000-\u0020#<>?`\u007F]*)?";

/// The query of a URL, as its parser takes it.
const QUERY: &str = r"(\?[^\u0000-\u0020\u0022#<>\u007F]*)?";

/// A token of HTTP (RFC 9110 section 5.6.2).
const TOKEN: &str = "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$";

/// Either part of a media type (RFC 6838 section 4.2).
const RESTRICTED_NAME: &str = "[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}";

/// A segment of a path that leads elsewhere.
const DOTS: &str = r"/\.{1,2}(/|$)";

const BYTE_ORDER_MARK: &str = r"^\uFEFF";

/// Nothing that could split a header or a line of the log.
pub(super) const NO_CONTROL: &str = r"^[^\u0000-\u001F\u007F-\u009F]*$";

/// The value of a header that every request has.
pub(super) const HEADER_VALUE: &str = "^[!-~]([ -~]*[!-~])?$";

/// The SHA-256 of a key, and the beginning of that of an empty one.
pub(super) const SHA256: (&str, &str) = ("^[0-9A-Fa-f]{64}$", "^[Ee]3[Bb]0[Cc]442");

/// Headers that are the connection's or the body's, and how such begin.
const REPLACED: [&str; 25] = [
    "accept",
    "accept-charset",
    "accept-encoding",
    "connection",
    "cookie",
    "cookie2",
    "digest",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy",
    "range",
    "repr-digest",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-method",
    "x-original-uri",
    "x-original-url",
    "x-rewrite-url",
];
const REPLACED_FAMILIES: [&str; 4] = ["content", "if", "proxy", "sec-websocket"];

/// Where a store is not, although tools name one so.
const NO_STORE: [&str; 7] = [
    "^sqlite:(.*/)?:?memory:$",
    r"^sqlite:.*\?",
    "^sqlite:/*file:",
    r"^sqlite:(//)?\s|\s$|[\u0000-\u001F\u007F-\u009F]",
    r"^sqlite:(.*/)?\.{0,2}$",
    "^sqlite://localhost/",
    "^sqlite:///[^/]*$",
];

/// Gives the form of a setting's text, or of the entries of its list; of any text, nothing.
pub(super) fn of(name: &str) -> Form {
    match name {
        "listen" | "admin.listen" => Form::of(format!(
            r"^({}|\[{}(%0*({}))?\]):0*({})$",
            ipv4(),
            ipv6(),
            between(0, u32::MAX.into()),
            between(0, u16::MAX.into()),
        )),
        "server.public_url" => {
            let segment = "[A-Za-z0-9._~!$&'()*+;=:@%-]+";
            let host = authority("[A-Za-z0-9._-]+", "0*");
            Form::of(format!("^{SCHEME}{host}(/{segment})*/?$")).never(r"/\.{1,2}(/|$)|//[^/]{256}")
        }
        "rest.prefix" | "chat.path" | "openai.path" => {
            Form::of("^(/[A-Za-z0-9._~!$&'()*+,;=:@-]+)+$").never(DOTS)
        }
        "upstream.url" => {
            Form::of(format!("^(embedded|{SCHEME}{}{PATH}{QUERY})$", authority(HOST, "0*")))
        }
        "embedded.base_url" => Form::of(format!("^{SCHEME}{}{PATH}$", authority(HOST, "0*"))),
        "upstream.user_header" => {
            let names: Vec<_> = TAKEN_HEADERS.iter().map(|name| in_any_case(name)).collect();
            let families = ["content", "chatkit-gateway"].map(in_any_case).join("|");
            let never = format!("^({})$|^({families})-", names.join("|"));
            Form::of(TOKEN).never(never)
        }
        "upstream.forward_headers" => {
            let dashed = |name: &&str| in_any_case(name).replace('-', "[-_]");
            let names: Vec<_> = REPLACED.iter().map(dashed).collect();
            let families: Vec<_> = REPLACED_FAMILIES.iter().map(dashed).collect();
            let (names, families) = (names.join("|"), families.join("|"));
            Form::of(TOKEN).never(format!(r"\*.|^({names})$|^({families})[-_]"))
        }
        "upstream.headers" => {
            let own = ["forwarded", "incremental", "traceparent", "tracestate", "x-request-id"];
            let names = REPLACED.iter().chain(&own).map(|name| in_any_case(name));
            let families = REPLACED_FAMILIES.iter().chain(&["chatkit-gateway"]);
            let families = families.map(|name| in_any_case(name)).collect::<Vec<_>>().join("|");
            let addresses = ["for", "host", "port", "prefix", "proto"].map(in_any_case).join("|");
            let names = names.collect::<Vec<_>>().join("|");
            let forwarded = in_any_case("x-forwarded");
            Form::of(TOKEN).never(format!("_|^({names}|{forwarded}-({addresses}))$|^({families})-"))
        }
        "upstream.proof_secret" => Form::of("^[!-~]{32,}$"),
        "upstream.proof_issuer" => Form::of(r"^[\s\S]").at_most(MAX_NAME_CHARS),
        "upstream.proof_audience" => Form::default().at_most(MAX_NAME_CHARS),
        "upstream.utc_offset" => Form::of("^(Z|[+-](0[0-9]|1[0-8]):[0-5][0-9])$"),
        "embedded.api_key" => Form::of("^[!-~]+$"),
        "embedded.model" => Form::of(NO_CONTROL),
        "auth.anonymous_user" => Form::of(NO_CONTROL).at_most(MAX_USER_ID_CHARS),
        "auth.shared_secret" => {
            Form::of("^[A-Za-z0-9._~+/-]+=*$").never(format!("^{CLIENT_SECRET_PREFIX}"))
        }
        "auth.secret" => Form::default().never(BYTE_ORDER_MARK),
        "auth.jwks_url" => Form::of(format!("^{SCHEME}{}{PATH}{QUERY}$", authority(HOST, "0*"))),
        "auth.user_claim" => Form::of(r"^[\s\S]"),
        "auth.user" => {
            const PLAIN: &str = r"[^{}%\u0000-\u001F\u007F-\u009F]";
            let claim = format!(r"\{{{PLAIN}+\}}");
            let mark = r"[!-$&-/:-@\[-`|~]";
            Form::of(format!("^{PLAIN}*{claim}({mark}{PLAIN}*{claim})*{PLAIN}*$"))
                .never(r"\{(aud|exp|iat|nbf)\}|^[^{]*(\{iss\}[^{]*)+$")
                .at_most(MAX_TEMPLATE_CHARS)
        }
        "auth.require" => {
            const SCOPE: &str = r"!#-\[\]-~";
            const TEXT: &str = r"\u0000-\u001F\u007F-\u009F";
            Form::of(format!("^(scope:[{SCOPE}]+|[^={TEXT}]+=[^{TEXT}]+)$"))
                .never(format!("^scope:(.*[^{SCOPE}]|$)|^/="))
                .at_most(MAX_REQUIREMENT_CHARS)
        }
        "auth.token_type" => Form::of(format!("^{RESTRICTED_NAME}(/{RESTRICTED_NAME})?$")),
        "auth.cookie" => Form::of(TOKEN),
        "store.url" => {
            let (database, none) = database();
            let never = format!("{}|{none}", NO_STORE.join("|"));
            Form::of(format!("^(memory:|sqlite:.+|{database})$")).never(never)
        }
        "store.schema" => {
            Form::of("^[a-z_][a-z0-9_]*$").never("^pg_|^information_schema$").at_most(48)
        }
        "chat.acted" => Form::default().at_most(super::meaning::MAX_SENTENCE_CHARS),
        "cors.allowed_origins" => {
            let host = authority("[a-z0-9._~!$&'()+,;=-]+", "");
            Form::of(format!("^[a-z][a-z0-9+.-]*://{host}$"))
                .never("^http://.*:80$|^https://.*:443$|[A-Z]")
        }
        "log.level" => {
            let level: Vec<_> =
                super::meaning::LEVELS.iter().map(|level| in_any_case(level)).collect();
            // One more is a blank here than in JavaScript.
            let blank = r"[\s\u0085]*";
            let target = format!("([A-Za-z0-9_:.-]+{blank}={blank})?");
            let directive = format!("{blank}{target}({}){blank}", level.join("|"));
            Form::of(format!("^{directive}(,{directive})*$"))
        }
        _ => Form::default(),
    }
}

/// Gives the URL of a PostgreSQL database, and what has the form although it is none: it names no host,
/// or an `@` in its place or the database's, or in a parameter that would be taken for the login. What is percent-encoded may be anything.
fn database() -> (String, String) {
    const SCHEME: &str = "postgres(ql)?://";
    // The parameters but for the host's.
    let parameter = |value: &str| {
        let one_of = [
            "sslmode=(allow|disable|prefer|require|verify-ca|verify-full)",
            "sslnegotiation=(direct|postgres)",
            "channel_binding=(disable|prefer|require)",
            "target_session_attrs=(any|read-only|read-write)",
            "load_balance_hosts=(disable|random)",
            "(connect_timeout|tcp_user_timeout|keepalives(_(idle|interval|retries))?)=[+-]?[0-9]+",
        ];
        let texts = "application_name|dbname|hostaddr|options|password|port|user";
        format!("{}|({texts})={value}|sslrootcert(={value})?", one_of.join("|"))
    };
    let list = |one: &str| format!(r"(\?[?&]*(({one})(&+({one}))*&*)?)?");
    let encoded = |but: &str| format!(r"[^\s{but}]*%[0-9A-Fa-f]{{2}}[^\s{but}]*");

    let port = between(0, u16::MAX.into());
    let port = format!(r"(:(\+?0*({port})|{})?)?", encoded("@/?,"));
    let host = format!(r"([^\s@/?,:\[][^\s@/?,:]*|\[[^\s@/?,\]]*\])?{port}");
    let any = format!(r"{}|host=[^\s&]*|{}", parameter(r"[^\s&]*"), encoded("&"));
    let form = format!(r"{SCHEME}([^\s@]*@)?{host}(,{host})*(/[^\s?@]*)?{}", list(&any));

    let hostless = list(&parameter(r"[^\s&@]*"));
    // Up to the first @ it is the login, and a user's name has neither of those marks.
    let at_of_parameter = format!("^{SCHEME}[^@:]*[/?][^@]*@");
    let none = format!(
        "^{SCHEME}([^@?]*@)?(/[^?@]*)?{hostless}$|^{SCHEME}([^@?]*@)?[^@?]*%40[^@]*$|{at_of_parameter}"
    );
    (form, none)
}

/// Gives what durations in a range look like.
pub(super) fn duration(min: Duration, max: Duration) -> String {
    let units = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)];
    let of_unit = |(unit, millis): (&str, u128)| {
        let (low, high) = (min.as_millis().div_ceil(millis), max.as_millis() / millis);
        let [low, high] = [low, high].map(|number| u64::try_from(number).unwrap_or(u64::MAX));
        (low <= high).then(|| format!("({}){unit}", between(low, high)))
    };
    let units: Vec<_> = units.into_iter().filter_map(of_unit).collect();
    format!("^0*({})$", units.join("|"))
}

/// Gives a host, or an IPv6 address in brackets, and a port after it or none; before its digits,
/// `zeros` may be.
fn authority(host: &str, zeros: &str) -> String {
    let port = between(1, u16::MAX.into());
    format!(r"({host}|\[{}\])(:{zeros}({port}))?", ipv6())
}

fn ipv4() -> String {
    let octet = between(0, u8::MAX.into());
    format!(r"(({octet})\.){{3}}({octet})")
}

fn ipv6() -> String {
    const GROUP: &str = "[0-9A-Fa-f]{1,4}";
    // The last two groups may be written as an IPv4 address.
    let last =
        |before: usize| format!("({GROUP}:){{0,{before}}}({GROUP}|{GROUP}:{GROUP}|{})", ipv4());
    // What may be after `::` where there is room for so many groups.
    let after = |room: usize| match room {
        0 => String::new(),
        1 => format!("({GROUP})?"),
        room => format!("({})?", last(room - 2)),
    };
    let mut forms = vec![format!("({GROUP}:){{6}}({GROUP}:{GROUP}|{})", ipv4())];
    forms.push(format!("::{}", after(7)));
    forms.extend((0..7).map(|more| format!("{GROUP}(:{GROUP}){{{more}}}::{}", after(6 - more))));
    format!("({})", forms.join("|"))
}

/// Gives the whole numbers of a range, without zeros in front.
fn between(mut low: u64, high: u64) -> String {
    let mut pieces = Vec::new();
    while low <= high {
        // As many of the last digits as may be any, at this number.
        let mut block = 1;
        let mut any = 0;
        while low >= block * 10 && low.is_multiple_of(block * 10) && high - low >= block * 10 - 1 {
            block *= 10;
            any += 1;
        }
        let digit = low / block % 10;
        let more = ((high - low + 1) / block - 1).min(9 - digit);
        let front = low / block / 10;
        let front = if front == 0 { String::new() } else { front.to_string() };
        let digits =
            if more == 0 { digit.to_string() } else { format!("[{digit}-{}]", digit + more) };
        pieces.push(match any {
            0 => format!("{front}{digits}"),
            1 => format!("{front}{digits}[0-9]"),
            any => format!("{front}{digits}[0-9]{{{any}}}"),
        });
        low += block * (more + 1);
    }
    pieces.join("|")
}

/// Gives a word in capitals or not.
fn in_any_case(word: &str) -> String {
    word.chars().fold(String::new(), |mut pattern, c| {
        if c.is_ascii_alphabetic() {
            pattern.extend(['[', c.to_ascii_uppercase(), c.to_ascii_lowercase(), ']']);
        } else {
            pattern.push(c);
        }
        pattern
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_has_its_numbers_and_no_others() {
        for (low, high) in [(0, 0), (0, 255), (1, 24), (5, 1234), (1, 65_535), (999, 1001)] {
            let schema = serde_json::json!({"pattern": format!("^({})$", between(low, high))});
            let range = jsonschema::draft202012::new(&schema).unwrap();
            for number in 0..=high + 1000 {
                let is_in = range.is_valid(&number.to_string().into());
                assert_eq!(is_in, (low..=high).contains(&number), "{number} of {low} to {high}");
            }
        }
        assert_eq!(between(0, 255), "[0-9]|[1-9][0-9]|1[0-9]{2}|2[0-4][0-9]|25[0-5]");
    }
}
