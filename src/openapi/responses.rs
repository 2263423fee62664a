//! Responses: what an operation gives, and how it is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::facts::{Callers, Facts};
use super::operations;
use super::schemas;
use crate::operation::{Gives, Name, Takes};
use crate::protocol::RequestType;
use crate::rejection::Code;

use crate::surface::Surface;

/// The statuses of its own that an upstream may refuse a request with.
const REJECTED: [StatusCode; 6] = [
    StatusCode::BAD_REQUEST,
    StatusCode::NOT_FOUND,
    StatusCode::CONFLICT,
    StatusCode::PAYLOAD_TOO_LARGE,
    StatusCode::UNPROCESSABLE_ENTITY,
    StatusCode::TOO_MANY_REQUESTS,
];

/// Gives the headers that responses have, by name.
pub(super) fn headers() -> Value {
    let header =
        |description: &str, schema: Value| json!({ "description": description, "schema": schema });
    let text = || json!({ "type": "string" });
    json!({
        "Allow": header("The methods that the path has.", text()),
        "ETag": header("Changes when the document does.", text()),
        "Location": header("Where what was made is, relative to the request's own URL.", json!({ "type": "string", "format": "uri-reference" })),
        "Proxy-Status": header("Why there is no answer of the chat server's to pass on (RFC 9209).", text()),
        "RateLimit": header("What is left of the limit (`r`), and the seconds until all of it is there again (`t`).", text()),
        "RateLimit-Policy": header("The limit: requests (`q`) in so many seconds (`w`).", text()),
        "Retry-After": header("Seconds to wait before trying again.", json!({ "type": "string", "pattern": "^[0-9]+$" })),
        "WWW-Authenticate": header("What is missing (RFC 6750).", text()),
        "X-Conversation-Id": header("The id of the conversation.", text()),
        "X-Request-Id": header("The id under which the gateway's log has this request. A request may bring its own.", text()),
        "X-Should-Retry": header("Whether the official clients should try again by themselves.", json!({ "enum": ["true", "false"] })),
    })
}

fn header(name: &str, required: bool) -> Value {
    // What stands beside a reference counts for nothing here, so `required` needs a copy.
    if !required {
        return json!({ "$ref": format!("#/components/headers/{name}") });
    }
    let mut header = headers().get(name).cloned().unwrap_or_default();
    if let Value::Object(members) = &mut header {
        members.insert("required".into(), true.into());
    }
    header
}

/// Gives the response of an operation that did what was asked.
pub(super) fn success(operation: Name, facts: &Facts, links: Map<String, Value>) -> Value {
    let events = json!({
        "schema": {
            "type": "string",
            "description": "Server-sent events; the data of each is a ChatKit event in JSON, as \
                the chat server wrote it.",
        },
        "example": EVENTS,
    });
    let json = json!({ "schema": schemas::reference(&format!("{operation}.reply")) });
    let (description, content) = match operation.row().gives {
        Gives::Json => ("Done.", json!({ "application/json": json })),
        Gives::Run => (
            "ChatKit's events, or one JSON object at the end.",
            json!({ "application/json": json, "text/event-stream": events }),
        ),
        Gives::ChatKit => (
            "The chat server's answer.",
            json!({ "application/json": { "schema": {} }, "text/event-stream": events }),
        ),
    };
    let mut headers = common_headers(facts, operation.surface());
    match operation {
        Name::CreateSession => {
            headers.insert("Location".into(), header("Location", true));
        }
        Name::Chat | Name::ChatForUser => {
            headers.insert("X-Conversation-Id".into(), header("X-Conversation-Id", false));
        }
        _ => {}
    }
    let mut response =
        json!({ "description": description, "headers": headers, "content": content });
    if let (false, Value::Object(members)) = (links.is_empty(), &mut response) {
        members.insert("links".into(), Value::Object(links));
    }
    response
}

const EVENTS: &str = "data: {\"type\":\"thread.item.updated\",\"item_id\":\"msg_1\",\"update\":\
    {\"type\":\"assistant_message.content_part.text_delta\",\"content_index\":0,\"delta\":\"Hello\"}}\
    \n\n";

fn common_headers(facts: &Facts, surface: Surface) -> Map<String, Value> {
    let mut headers = Map::new();
    headers.insert("X-Request-Id".into(), header("X-Request-Id", true));
    if has_rate(facts, surface) {
        for name in ["RateLimit", "RateLimit-Policy"] {
            headers.insert(name.into(), header(name, false));
        }
    }
    headers
}

/// Tells whether requests are counted: every user's, or those of client sessions. Services' are
/// not.
fn has_rate(facts: &Facts, surface: Surface) -> bool {
    let has_limit = facts.requests_per_minute.is_some() || facts.has_client_secrets;
    has_limit && surface != Surface::OpenAi
}

/// The refusals of an operation, as references by status, and the components that these refer to.
pub(super) struct Refusals {
    pub(super) by_status: Map<String, Value>,
    pub(super) components: Map<String, Value>,
}

pub(super) fn refusals(operation: Name, facts: &Facts, has_query: bool) -> Refusals {
    let surface = operation.surface();
    let mut statuses: BTreeMap<u16, BTreeSet<Code>> = BTreeMap::new();
    for code in codes(operation, facts, has_query) {
        for status in statuses_of(code) {
            let status = surface.status(code, status, facts.surfaces.invalid_status());
            statuses.entry(status.as_u16()).or_default().insert(code);
        }
    }
    let mut refusals = Refusals { by_status: Map::new(), components: Map::new() };
    for (status, codes) in statuses {
        let codes: Vec<Code> = Code::ALL.into_iter().filter(|code| codes.contains(code)).collect();
        let prefix = if surface == Surface::OpenAi { "openai." } else { "" };
        let mut name = format!("{prefix}{status}");
        for code in &codes {
            // Writing to a `String` does not fail.
            let _ = write!(name, ".{code}");
        }
        let reference = json!({ "$ref": format!("#/components/responses/{name}") });
        refusals.by_status.insert(status.to_string(), reference);
        refusals.components.insert(name, refusal(facts, surface, status, &codes));
    }
    refusals
}

/// Gives every code that an operation can be refused with.
fn codes(operation: Name, facts: &Facts, has_query: bool) -> Vec<Code> {
    use Code as C;
    let mut codes = operations::refusals(operation.row());
    codes.extend([C::ServiceUnavailable, C::Internal]);
    if operation.surface() == Surface::Chat && operation.is_run() {
        codes.extend(facts.chat.max_sessions.map(|_| C::SessionLimit));
        codes.extend(facts.chat.max_messages.map(|_| C::MessageLimit));
    }
    let body = operation.row().takes;
    if body != Takes::Nothing {
        codes.extend([C::RequestTimeout, C::PayloadTooLarge, C::UnsupportedMediaType]);
        codes.push(C::RateLimited);
        // A body that breaks off before its end is one that isn't JSON.
        codes.push(C::InvalidJson);
    }
    if !matches!(body, Takes::Nothing | Takes::AnyJson) || has_query {
        codes.push(C::InvalidInput);
    }
    // A parameter that can be no id is a path that doesn't exist.
    if operation.path().contains('{') {
        codes.push(C::NotFound);
    }
    // The pass-through's clients send any `Accept` with any request.
    if operation != Name::Passthrough {
        codes.push(C::NotAcceptable);
    }
    if has_rate(facts, operation.surface()) {
        codes.push(C::RateLimited);
    }
    let on_openai = operation.surface() == Surface::OpenAi;
    let (is_verified, refuses_pages) = match &facts.callers {
        Callers::Tokens { cookie } => {
            (true, cookie.is_some() && !on_openai && !operation.method().is_safe())
        }
        Callers::Believed { by_shared_secret } => {
            let has_secret = *by_shared_secret;
            (has_secret || facts.has_client_secrets || on_openai, !has_secret && !on_openai)
        }
    };
    if is_verified {
        codes.push(C::Unauthorized);
    }
    if facts.requires_more && !on_openai {
        codes.push(C::InsufficientScope);
    }
    let is_foreign = operation.row().may_be_foreign && !facts.sessions.hide_foreign;
    // Another user's path is refused as such even where what is in it is hidden.
    if is_foreign || operation.names_user() || refuses_pages {
        codes.push(C::Forbidden);
    }
    // A service is nobody's, but for the client sessions that it makes.
    if !on_openai {
        codes.push(C::UserBlocked);
    }
    codes
}

fn statuses_of(code: Code) -> Vec<StatusCode> {
    match code {
        Code::UpstreamRejected => REJECTED.to_vec(),
        code => vec![code.status()],
    }
}

fn refusal(facts: &Facts, surface: Surface, status: u16, codes: &[Code]) -> Value {
    let mut description = String::new();
    for code in codes {
        let _ = writeln!(description, "- `{code}`: {}", code.message());
    }
    let mut headers = common_headers(facts, surface);
    let all = |these: &[Code]| codes.iter().all(|code| these.contains(code));
    match status {
        401 => {
            headers.insert("WWW-Authenticate".into(), header("WWW-Authenticate", true));
        }
        403 if codes.contains(&Code::InsufficientScope) => {
            let always = all(&[Code::InsufficientScope]);
            headers.insert("WWW-Authenticate".into(), header("WWW-Authenticate", always));
        }
        409 | 429 | 503 => {
            let always = all(&[Code::RateLimited, Code::ServiceUnavailable]);
            headers.insert("Retry-After".into(), header("Retry-After", always));
        }
        405 => {
            headers.insert("Allow".into(), header("Allow", true));
        }
        _ => {}
    }
    if status >= 500 {
        headers.insert("Proxy-Status".into(), header("Proxy-Status", false));
    }
    let names: Vec<&str> = codes.iter().map(|code| code.as_str()).collect();
    let content = if surface == Surface::OpenAi {
        headers.insert("X-Should-Retry".into(), header("X-Should-Retry", true));
        json!({ "application/json": { "schema": schemas::reference("openai_error") } })
    } else {
        json!({
            "application/json": { "schema": { "allOf": [
                schemas::reference("error"),
                { "properties": { "error": { "properties": { "code": { "enum": names } } } } },
            ] } },
            "application/problem+json": { "schema": { "allOf": [
                schemas::reference("problem"),
                { "properties": { "code": { "enum": names }, "status": { "const": status } } },
            ] } },
        })
    };
    json!({ "description": description.trim_end(), "headers": headers, "content": content })
}

/// Gives a refusal that stands alone.
pub(super) fn alone(facts: &Facts, code: Code) -> Value {
    refusal(facts, Surface::Rest, code.status().as_u16(), &[code])
}

/// Gives the body of the pass-through: one schema for each type that is known.
pub(super) fn chatkit(forwards_unknown: bool) -> Value {
    let mut any: Vec<Value> = RequestType::ALL
        .iter()
        .map(|kind| schemas::reference(&format!("chatkit/{kind}")))
        .collect();
    if !forwards_unknown {
        let mapping: Map<String, Value> = RequestType::ALL
            .iter()
            .map(|kind| {
                let name = schemas::component(&format!("chatkit/{kind}"));
                (kind.as_str().to_owned(), format!("#/components/schemas/{name}").into())
            })
            .collect();
        return json!({
            "oneOf": any,
            "discriminator": { "propertyName": "type", "mapping": mapping },
        });
    }
    let known: Vec<&str> = RequestType::ALL.iter().map(|kind| kind.as_str()).collect();
    any.push(json!({
        "type": "object",
        "description": "A type that is not known here is forwarded as it is.",
        "properties": { "type": { "type": "string", "not": { "enum": known } } },
        "required": ["type"],
    }));
    json!({ "oneOf": any })
}
