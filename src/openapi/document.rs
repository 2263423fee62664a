//! Operations, schemas and settings → the document.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::facts::{Callers, Facts};
use super::operations::{self, TAGS};
use super::responses::{self, Refusals};
use super::{schemas, service};
use crate::error::Error;
use crate::operation::{Name, Takes};
use crate::rejection::Code;

use crate::surface::{Surface, Surfaces};
use crate::validate::UnknownRequests;

/// Gives the OpenAPI 3.1 document of a gateway of which this is so. Its members are sorted by name,
/// and the same facts always give the same document.
///
/// # Errors
/// If an embedded schema is not what it should be; a test rules that out.
pub fn document(facts: &Facts) -> Result<Value, Error> {
    let surfaces = &facts.surfaces;
    let mut schemas = schemas::components(facts)?;
    let mut paths: Map<String, Value> = Map::new();
    let mut refusals = Map::new();
    for operation in Name::ALL {
        let Some(path) = path(surfaces, operation) else { continue };
        let method = operation.method();
        let described = describe(operation, facts, surfaces, &schemas, &mut refusals);
        add(&mut paths, &path, &method.as_str().to_ascii_lowercase(), described);
    }
    for (path, described) in service::paths(facts) {
        add(&mut paths, path, "get", described);
    }
    for (path, described) in service::resources(facts) {
        add(&mut paths, path, "get", described);
    }
    refusals.insert("404.NOT_FOUND".into(), responses::alone(facts, Code::NotFound));
    let wrong_method = responses::alone(facts, Code::MethodNotAllowed);
    refusals.insert("405.METHOD_NOT_ALLOWED".into(), wrong_method);
    let used = used(&paths, &refusals, &schemas);
    schemas.retain(|name, _| used.contains(name));
    let tags: Vec<Value> = TAGS
        .iter()
        .filter(|(name, _)| paths.values().any(|path| has_tag(path, name)))
        .map(|(name, description)| json!({ "name": name, "description": description }))
        .collect();
    Ok(json!({
        "openapi": "3.1.0",
        "info": {
            "title": "chatkit-rest",
            "summary": "A REST gateway for self-hosted ChatKit servers.",
            "description": introduction(facts),
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "servers": [if facts.is_elsewhere {
            json!({ "url": "/", "description":
                "This gateway's public address. This document is on another listener." })
        } else {
            // Relative to where this document is, so that whatever leads there leads here.
            json!({ "url": ".", "description": "This gateway." })
        }],
        "tags": tags,
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": refusals,
            "headers": responses::headers(),
            "securitySchemes": security_schemes(facts),
        },
    }))
}

/// Gives the full path of an operation, if its surface is served.
fn path(surfaces: &Surfaces, operation: Name) -> Option<String> {
    let path = format!("{}{}", surfaces.prefix(operation.surface())?, operation.path());
    Some(if path.is_empty() { "/".to_owned() } else { path })
}

fn add(paths: &mut Map<String, Value>, path: &str, method: &str, described: Value) {
    let methods = paths.entry(path).or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(methods) = methods {
        methods.insert(method.to_owned(), described);
    }
}

fn describe(
    operation: Name,
    facts: &Facts,
    surfaces: &Surfaces,
    schemas: &Map<String, Value>,
    components: &mut Map<String, Value>,
) -> Value {
    let words = operation.row();
    let query = query_parameters(operation, schemas);
    let Refusals { by_status: mut answers, components: used } =
        responses::refusals(operation, facts, !query.is_empty());
    components.extend(used);
    let links = links(operation, surfaces);
    answers.insert("200".into(), responses::success(operation, facts, links));
    let mut parameters = path_parameters(operation);
    parameters.extend(query);
    let mut described = json!({
        "operationId": operation.as_str(),
        "tags": [words.tag],
        "summary": words.summary,
        "description": words.description,
        "parameters": parameters,
        "responses": answers,
        "security": security(operation.surface(), facts),
    });
    if let (Some(body), Value::Object(members)) = (body(operation, facts), &mut described) {
        members.insert("requestBody".into(), body);
    }
    described
}

fn path_parameters(operation: Name) -> Vec<Value> {
    let template = operation.path();
    let names = template.split('/').filter_map(|segment| {
        segment.strip_prefix('{').and_then(|segment| segment.strip_suffix('}'))
    });
    names
        .map(|name| {
            let (description, format) = operations::path_parameter(operation.surface(), name);
            let mut schema = json!({ "type": "string", "minLength": 1 });
            if let (Some(format), Value::Object(members)) = (format, &mut schema) {
                members.insert("format".into(), format.into());
            }
            json!({
                "name": name,
                "in": "path",
                "required": true,
                "description": description,
                "schema": schema,
            })
        })
        .collect()
}

/// Gives the members of an operation's query schema.
fn query_parameters(operation: Name, schemas: &Map<String, Value>) -> Vec<Value> {
    let Some(query) = schemas.get(&format!("{operation}.query")) else { return Vec::new() };
    let required = |name: &str| {
        let names = query.get("required").and_then(Value::as_array);
        names.is_some_and(|names| names.iter().any(|required| required == name))
    };
    let properties = query.get("properties").and_then(Value::as_object);
    properties
        .into_iter()
        .flatten()
        .map(|(name, schema)| {
            let mut schema = schema.clone();
            // Whatever it looks like, a value in a query is a text.
            if let Some(kind) = schema.get_mut("type")
                && kind.as_array().is_some_and(|kinds| kinds.iter().any(|kind| kind == "string"))
            {
                *kind = "string".into();
            }
            let description = schema.as_object_mut().and_then(|s| s.remove("description"));
            json!({
                "name": name,
                "in": "query",
                "required": required(name),
                "description": description.unwrap_or_else(|| "".into()),
                "schema": schema,
            })
        })
        .collect()
}

fn body(operation: Name, facts: &Facts) -> Option<Value> {
    let max = facts.bodies.max_body_bytes;
    let json = |schema: Value| json!({ "application/json": { "schema": schema } });
    let own = || schemas::reference(&format!("{operation}.request"));
    let (required, content, description) = match operation.row().takes {
        Takes::Nothing => return None,
        Takes::AnyJson => (false, json(json!({})), format!("Not looked at. At most {max} bytes.")),
        Takes::MaybeJson => (false, json(own()), format!("May be left out. At most {max} bytes.")),
        Takes::Json => (true, json(own()), format!("At most {max} bytes.")),
        Takes::ChatKit => {
            let forwards = facts.unknown_requests == UnknownRequests::Forward;
            (true, json(responses::chatkit(forwards)), format!("At most {max} bytes."))
        }
        Takes::Audio => {
            let audio = facts.bodies.max_audio_bytes;
            let mut content = json(own());
            if let Value::Object(types) = &mut content {
                types.insert("audio/*".into(), json!({}));
            }
            (true, content, format!("At most {audio} bytes."))
        }
    };
    Some(json!({ "required": required, "content": content, "description": description }))
}

/// Tells where the ids of a reply lead to: every operation whose path has nothing else.
fn links(operation: Name, surfaces: &Surfaces) -> Map<String, Value> {
    let known = operation.row().links;
    let mut links = Map::new();
    if known.is_empty() {
        return links;
    }
    for target in Name::ALL {
        if target.surface() != operation.surface() || path(surfaces, target).is_none() {
            continue;
        }
        let mut parameters = Map::new();
        let template = target.path();
        let mut names = template.split('/').filter_map(|segment| {
            segment.strip_prefix('{').and_then(|segment| segment.strip_suffix('}'))
        });
        let all = names.all(|name| {
            let found = known.iter().find(|(known, _)| *known == name);
            if let Some((name, pointer)) = found {
                parameters.insert((*name).into(), format!("$response.body#{pointer}").into());
            }
            found.is_some()
        });
        if all && !parameters.is_empty() {
            let link = json!({ "operationId": target.as_str(), "parameters": parameters });
            links.insert(target.as_str().into(), link);
        }
    }
    links
}

fn security_schemes(facts: &Facts) -> Value {
    let mut schemes = Map::new();
    let bearer = |description: &str| json!({ "type": "http", "scheme": "bearer", "description": description });
    match &facts.callers {
        Callers::Tokens { cookie } => {
            let token = json!({
                "type": "http",
                "scheme": "bearer",
                "bearerFormat": "JWT",
                "description": "A token that says who the caller is.",
            });
            schemes.insert("token".into(), token);
            if let Some(cookie) = cookie {
                let cookie = json!({
                    "type": "apiKey",
                    "in": "cookie",
                    "name": cookie,
                    "description": "The same token in a cookie. Requests that change something \
                        must come from a page of the gateway's own origin, or of one that is \
                        allowed.",
                });
                schemes.insert("cookie".into(), cookie);
            }
        }
        Callers::Believed { by_shared_secret } => {
            if *by_shared_secret {
                let secret = bearer("The secret that callers who are believed have in common.");
                schemes.insert("shared_secret".into(), secret);
            }
        }
    }
    if facts.has_client_secrets {
        let secret = bearer("A `client_secret` of `openai_create_session`.");
        schemes.insert("client_secret".into(), secret);
    }
    if facts.surfaces.prefix(Surface::OpenAi).is_some() {
        let key = bearer("The key of a service, one of `openai.api_keys`.");
        schemes.insert("service_key".into(), key);
    }
    Value::Object(schemes)
}

/// Gives the ways in which a caller may prove who they are; an empty list is that nobody has to.
fn security(surface: Surface, facts: &Facts) -> Vec<Value> {
    if surface == Surface::OpenAi {
        return vec![json!({ "service_key": [] })];
    }
    let mut ways = Vec::new();
    match &facts.callers {
        Callers::Tokens { cookie } => {
            ways.push(json!({ "token": [] }));
            if cookie.is_some() {
                ways.push(json!({ "cookie": [] }));
            }
        }
        Callers::Believed { by_shared_secret: true } => {
            ways.push(json!({ "shared_secret": [] }));
        }
        Callers::Believed { .. } if facts.has_client_secrets => ways.push(json!({})),
        Callers::Believed { .. } => {}
    }
    if facts.has_client_secrets {
        ways.push(json!({ "client_secret": [] }));
    }
    ways
}

fn has_tag(path: &Value, tag: &str) -> bool {
    let mut operations = path.as_object().into_iter().flat_map(Map::values);
    operations.any(|operation| operation.pointer("/tags/0").is_some_and(|first| first == tag))
}

/// Gives the schemas that are referred to, directly or not.
fn used(
    paths: &Map<String, Value>,
    refusals: &Map<String, Value>,
    schemas: &Map<String, Value>,
) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    let mut open: Vec<&Value> = paths.values().chain(refusals.values()).collect();
    while let Some(value) = open.pop() {
        match value {
            Value::Object(members) => {
                open.extend(members.values());
                let name = members
                    .get("$ref")
                    .and_then(Value::as_str)
                    .and_then(|reference| reference.strip_prefix("#/components/schemas/"));
                if let Some(name) = name
                    && used.insert(name.to_owned())
                {
                    open.extend(schemas.get(name));
                }
            }
            Value::Array(values) => open.extend(values),
            _ => {}
        }
    }
    used
}

fn introduction(facts: &Facts) -> String {
    let mut text = String::from(
        "Bodies are JSON in UTF-8, without duplicate keys and at most 64 levels deep; times are \
         RFC 3339 in UTC. Every response has an `X-Request-Id`.\n\n\
         A refusal is `{\"success\": false, \"error\": {\"code\", \"message\", \"details\", \
         \"request_id\"}}`, or RFC 9457 problem details where `Accept` asks for \
         `application/problem+json`. Paths that are not in this document are answered with \
         `NOT_FOUND`, and methods that a path doesn't have with `METHOD_NOT_ALLOWED`; the other \
         codes are at the operations that give them.\n\n\
         | limit | |\n|---|---|\n",
    );
    let number = |limit: Option<std::num::NonZeroU32>| match limit {
        Some(limit) => limit.to_string(),
        None => "none".to_owned(),
    };
    for (what, limit) in [
        ("requests of a user in a minute", number(facts.requests_per_minute)),
        ("sessions of a user", number(facts.sessions.max_sessions)),
        ("messages of a session", number(facts.sessions.max_messages)),
        (
            "characters of a message, all its parts together",
            facts.bodies.max_message_chars.to_string(),
        ),
        ("bytes of a body", facts.bodies.max_body_bytes.to_string()),
        ("open streams of a user", facts.max_streams_per_user.to_string()),
    ] {
        // Writing to a `String` does not fail.
        let _ = writeln!(text, "| {what} | {limit} |");
    }
    text
}
