//! The service endpoints in the document.

use serde_json::{Value, json};

use super::facts::Facts;
use super::operations::SERVICE;
use super::responses;
use crate::authenticate::ProtectedResource;
use crate::proof::KEY_SET_PATH;
use crate::rejection::Code;

/// Lists their paths, and what `GET` does there.
pub(super) fn paths(facts: &Facts) -> Vec<(&'static str, Value)> {
    let status = |is: &str| {
        json!({ "application/json": { "schema": {
            "type": "object",
            "properties": { "status": { "const": is } },
            "required": ["status"],
            "additionalProperties": false,
        } } })
    };
    let mut ready_now = status("ready");
    let properties = ready_now.pointer_mut("/application~1json/schema/properties");
    if let Some(Value::Object(properties)) = properties {
        let advice = "What to do about an upstream that does not answer like a ChatKit server.";
        properties.insert("upstream".into(), json!({ "type": "string", "description": advice }));
    }
    let mut ready = endpoint(
        "readyz",
        "Can it serve a request now?",
        "The store works, the chat server accepts connections, and the gateway is not draining. If it can't, \
         `details.check` says which of them it is: `store`, `upstream` or `draining`; `details.upstream`, what to do about a chat \
         server that can't be reached. A chat server that can be reached \
         and does not answer like one keeps no gateway from being ready: `upstream` says what to do.",
        "It can.",
        &ready_now,
    );
    if let Some(Value::Object(answers)) = ready.get_mut("responses") {
        answers.insert("503".into(), responses::alone(facts, Code::ServiceUnavailable));
    }
    let mut paths = vec![
        (
            "/healthz",
            endpoint(
                "healthz",
                "Is the process up?",
                "Says nothing about what it needs to serve.",
                "It is.",
                &status("ok"),
            ),
        ),
        ("/readyz", ready),
        (
            "/openapi.json",
            cached(endpoint(
                "openapi",
                "This document",
                "Made of the gateway's operations and its configuration when it starts.",
                "The document.",
                &json!({ "application/json": { "schema": { "type": "object" } } }),
            )),
        ),
        (
            "/docs",
            cached(endpoint(
                "docs",
                "This document, to read and to try out",
                "One page, which asks nobody but this gateway for anything.",
                "The page.",
                &json!({ "text/html": { "schema": { "type": "string" } } }),
            )),
        ),
    ];
    if facts.has_key_set {
        paths.push((KEY_SET_PATH, key_set()));
    }
    paths
}

/// Describes the keys of the gateway's own.
fn key_set() -> Value {
    let key = json!({
        "type": "object",
        "properties": {
            "kty": { "const": "OKP" },
            "crv": { "const": "Ed25519" },
            "x": { "type": "string" },
            "kid": { "type": "string" },
            "alg": { "const": "EdDSA" },
            "use": { "const": "sig" },
        },
        "required": ["kty", "crv", "x", "kid", "alg", "use"],
        "additionalProperties": false,
    });
    endpoint(
        "jwks",
        "The gateway's public keys",
        "By which the chat server verifies the statement in `chatkit-gateway-proof`, that it is this gateway \
         that calls: a JWK Set (RFC 7517), which may be kept for five minutes.",
        "The keys, by their thumbprints: the one that signs now, and one that will or did.",
        &json!({ "application/json": { "schema": {
            "type": "object",
            "properties": { "keys": { "type": "array", "minItems": 1, "items": key } },
            "required": ["keys"],
            "additionalProperties": false,
        } } }),
    )
}

/// Lists where clients find out whose tokens are taken, and what `GET` does there.
pub(super) fn resources(facts: &Facts) -> Vec<(&str, Value)> {
    let texts = json!({ "type": "array", "items": { "type": "string" } });
    let schema = json!({
        "type": "object",
        "properties": {
            "resource": { "type": "string", "format": "uri" },
            "authorization_servers": texts,
            "bearer_methods_supported": texts,
            "scopes_supported": texts,
        },
        "required": ["resource", "authorization_servers", "bearer_methods_supported"],
    });
    let paths = facts.resource.iter().flat_map(ProtectedResource::paths);
    paths
        .enumerate()
        .map(|(at, path)| {
            let name = match at {
                0 => "protected_resource".to_owned(),
                at => format!("protected_resource_{}", at + 1),
            };
            let described = endpoint(
                &name,
                "Whose tokens are taken?",
                "The metadata of RFC 9728, for clients that get a token by themselves. A page of any \
                 origin may read it.",
                "The metadata.",
                &json!({ "application/json": { "schema": schema } }),
            );
            (path, described)
        })
        .collect()
}

fn endpoint(name: &str, summary: &str, description: &str, answer: &str, content: &Value) -> Value {
    json!({
        "operationId": name,
        "tags": [SERVICE],
        "summary": summary,
        "description": description,
        "responses": { "200": { "description": answer, "content": content } },
        "security": [],
    })
}

/// Adds that what has an `ETag` may be asked for again with it.
fn cached(mut endpoint: Value) -> Value {
    let etag = json!({ "ETag": { "$ref": "#/components/headers/ETag" } });
    if let Some(Value::Object(answers)) = endpoint.get_mut("responses") {
        if let Some(Value::Object(found)) = answers.get_mut("200") {
            found.insert("headers".into(), etag.clone());
        }
        let unchanged =
            json!({ "description": "It is what `If-None-Match` says.", "headers": etag });
        answers.insert("304".into(), unchanged);
    }
    if let Value::Object(members) = &mut endpoint {
        let parameter = json!({
            "name": "If-None-Match",
            "in": "header",
            "description": "The `ETag` of what is known already.",
            "schema": { "type": "string" },
        });
        members.insert("parameters".into(), json!([parameter]));
    }
    endpoint
}
