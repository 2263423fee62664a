//! What is said of a request, in words.

use std::fmt::Write as _;

use bytes::Bytes;
use chatkit_rest::config::{Config, Upstream};
use chatkit_rest::forward::UpstreamUrl;
use chatkit_rest::operation::Name;
use chatkit_rest::proof::PROOF;
use chatkit_rest::route::Target;
use chatkit_rest::surface::Surface;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};

/// The largest answer that is shown.
const MAX_SHOWN_BYTES: usize = 4096;

pub(super) fn what_it_is(
    text: &mut String,
    (method, path): (&Method, &str),
    target: Option<&Target<Name>>,
) -> std::fmt::Result {
    let Some(target) = target else {
        writeln!(text, "{method} {path} is no operation.")?;
        let capitals = method.as_str().to_ascii_uppercase();
        if capitals != method.as_str() {
            writeln!(text, "Methods are case-sensitive: write {capitals}.")?;
        }
        return Ok(());
    };
    let surface = match target.operation().surface() {
        Surface::Rest => "REST",
        Surface::Chat => "one-shot chat",
        Surface::OpenAi => "the OpenAI-compatible API",
        _ => "another surface",
    };
    writeln!(text, "{method} {path} is {} ({surface}).", target.operation())
}

/// Lists the checks as the rooms are passed.
pub(super) fn checks(
    text: &mut String,
    config: &Config,
    target: &Target<Name>,
) -> std::fmt::Result {
    let operation = target.operation();
    let limits = &config.limits;
    let mut steps: Vec<String> = Vec::new();
    steps.push(match operation.surface() {
        Surface::OpenAi if config.openai.api_keys.is_empty() => {
            "a service's key: none is configured (openai.api_keys), so that everybody is refused (401)"
                .into()
        }
        Surface::OpenAi => "a service's key, of openai.api_keys (401)".into(),
        _ => "the user's token, by [auth]; 503 if limits.max_unauthenticated are looked up (401)".into(),
    });
    steps.push(format!(
        "a place among {} requests: limits.max_in_flight (503)",
        limits.max_in_flight
    ));
    if let Some(rate) = limits.requests_per_minute {
        steps.push(format!("{rate} requests a minute: limits.requests_per_minute (429)"));
    }
    if operation.names_user() {
        steps.push("{user_id} is the caller (403)".into());
    }
    if operation.has_body() {
        steps.push(format!(
            "the body's type, size and JSON: limits.max_body_bytes is {} (400, 408, 413, 415)",
            limits.max_body_bytes
        ));
    }
    let as_form = if operation.surface() == Surface::Chat { "400 or 422" } else { "400" };
    steps.push(format!(
        "body and query by their schemas, and what the client accepts ({as_form}, 406): /openapi.json \
         has them"
    ));
    for (name, _) in target.parameters() {
        let owned = match name {
            "session_id" if operation.surface() == Surface::OpenAi => {
                "the client session is known (404)"
            }
            "session_id" => "the session is the caller's (404, or 403; session.hide_foreign)",
            "thread_id" if operation.surface() == Surface::OpenAi => {
                "the thread is known here (404)"
            }
            "thread_id" => "the thread is the session's (404)",
            "conversation_id" => "the conversation is the caller's (404)",
            "attachment_id" => "the attachment is the caller's (404, or 403; attachments.unknown)",
            _ => continue,
        };
        steps.push(owned.into());
    }
    if matches!(operation, Name::Passthrough | Name::Chat | Name::ChatForUser) || operation.is_run()
    {
        steps
            .push("threads and attachments that the body names are the caller's (403, 404)".into());
    }
    if operation.is_run() {
        steps.push(format!(
            "a place among {} open streams (429), and among the session's messages (429); no first run \
             is under way (409)",
            limits.max_streams_per_user
        ));
    }
    writeln!(text, "\nChecked, in this order:")?;
    for (number, step) in (1..).zip(&steps) {
        writeln!(text, "  {number}. {step}")?;
    }
    Ok(())
}

/// Writes what would have been sent, but for the host and the length, which are in the line above and the
/// body.
pub(super) fn sent(
    text: &mut String,
    config: &Config,
    head: &Parts,
    body: &Bytes,
) -> std::fmt::Result {
    let to = match &config.upstream.url {
        Upstream::Url(url) => UpstreamUrl::parse(&url.to_string())
            .map_or_else(|_| head.uri.to_string(), |url| url.to_string()),
        _ => "the built-in server".into(),
    };
    writeln!(text, "\nThe ChatKit server would be sent:\n\nPOST {to}")?;
    for (name, value) in &head.headers {
        // What is shown here is pasted elsewhere: it is a key, and for as long as it lives good for one.
        if *name == PROOF {
            writeln!(text, "{name}: (signed for each request)")?;
            continue;
        }
        writeln!(text, "{name}: {}", String::from_utf8_lossy(value.as_bytes()))?;
    }
    // Put on where it goes to another machine, in whatever `forward` sends.
    if matches!(config.upstream.url, Upstream::Url(_)) {
        writeln!(text, "accept-encoding: identity")?;
        for header in &config.upstream.headers {
            writeln!(text, "{}: (hidden)", header.name)?;
        }
    }
    writeln!(text, "\n{}", String::from_utf8_lossy(body))
}

pub(super) fn answered(text: &mut String, answer: &Response<Bytes>) -> std::fmt::Result {
    let status = answer.status();
    if is_refusal(status) {
        writeln!(text, "\nIt is refused, and the ChatKit server asked nothing:\n\n{status}")?;
    } else {
        writeln!(
            text,
            "\nThe ChatKit server is asked nothing. The answer, of a store with what is assumed:\n\n{status}"
        )?;
    }
    rest_of(text, answer)
}

/// Writes what the gateway says on the paths that are its own, and to a browser that asks first.
pub(super) fn own_answer(
    text: &mut String,
    (method, path): (&Method, &str),
    answer: &Response<Bytes>,
) -> std::fmt::Result {
    writeln!(
        text,
        "{method} {path} is answered by the gateway itself, whoever asks: {}",
        answer.status()
    )?;
    if path == "/readyz" {
        writeln!(
            text,
            "\nAssumed: it is ready; 503 while its places are taken, it drains, or the store or the \
             ChatKit server can't be reached"
        )?;
    }
    text.push('\n');
    rest_of(text, answer)
}

/// Says how the client is answered when the ChatKit server has been asked: `answer` is made of what the
/// recorder said.
pub(super) fn what_follows(
    text: &mut String,
    is_run: bool,
    answer: &Response<Bytes>,
) -> std::fmt::Result {
    let is = |media_type: &str| {
        let kind = answer.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes);
        kind.is_some_and(|kind| kind.starts_with(media_type.as_bytes()))
    };
    if !is_refusal(answer.status()) && is("text/event-stream") {
        return writeln!(text, "\nThe events of its answer are the client's, byte for byte.");
    }
    if is_run && !is_refusal(answer.status()) && is("application/json") {
        let said: serde_json::Map<_, _> = serde_json::from_slice(answer.body()).unwrap_or_default();
        let members: Vec<_> = said.keys().map(String::as_str).collect();
        return writeln!(
            text,
            "\nThe events of its answer are collected, and the client is answered at the end, in JSON \
             with: {}",
            members.join(", ")
        );
    }
    writeln!(
        text,
        "\nIts threads are taken for empty; whatever else follows from its answer is not shown."
    )
}

pub(super) fn is_refusal(status: StatusCode) -> bool {
    status.is_client_error() || status.is_server_error()
}

/// Writes what tells something of an answer's headers, and its body unless it is large.
fn rest_of(text: &mut String, answer: &Response<Bytes>) -> std::fmt::Result {
    for name in ["content-type", "allow", "location", "retry-after"] {
        if let Some(value) = answer.headers().get(name) {
            writeln!(text, "{name}: {}", String::from_utf8_lossy(value.as_bytes()))?;
        }
    }
    match answer.body().len() {
        0 => Ok(()),
        bytes if bytes > MAX_SHOWN_BYTES => writeln!(text, "\n({bytes} bytes, not shown)"),
        _ => writeln!(text, "\n{}", String::from_utf8_lossy(answer.body())),
    }
}
