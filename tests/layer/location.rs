//! Wherever the layer is, and whatever was taken off the path on the way to it, a `Location` leads
//! to what was made.

use axum::Router;
use axum::body::Body;
use chatkit_rest::operation::Name;
use chatkit_rest::surface::Surface;
use fluent_uri::{Uri, UriRef};
use http::Request;
use proptest::prelude::*;

use crate::support::{Answer, ada, ask, embedded, layer};

/// Tells where a `Location` leads whoever has asked for `url`.
fn resolve(url: &str, answer: &Answer) -> Option<String> {
    let reference = answer.headers.get("location")?.to_str().unwrap();
    let base = Uri::parse(url).unwrap();
    Some(UriRef::parse(reference).unwrap().resolve_against(&base).unwrap().into_string())
}

/// Gives the path of a URL that a client sees.
fn path(url: &str) -> &str {
    match url.strip_prefix("https://chat.example").unwrap() {
        "" => "/",
        path => path,
    }
}

async fn go(app: &Router, method: &str, path: &str, body: &str) -> Answer {
    let mut request = Request::builder().method(method).uri(path).extension(ada());
    if !body.is_empty() {
        request = request.header("content-type", "application/json");
    }
    ask(app, request.body(Body::from(body.to_owned())).unwrap()).await
}

/// Gives an application in which the layer, with this prefix, is below another path.
fn app(outer: &str, prefix: &str) -> Router {
    let rest = layer(prefix).service(embedded());
    if outer.is_empty() {
        Router::new().fallback_service(rest)
    } else {
        Router::new().nest_service(outer, rest)
    }
}

/// Follows the `Location`. It was the path of the request as the layer saw it, which isn't the
/// client's where `nest_service`, or a proxy, takes a part of it off.
async fn leads_to_what_was_made(outer: &str, prefix: &str) {
    let app = app(outer, prefix);
    let base = format!("https://chat.example{outer}{prefix}");
    let made = go(&app, "POST", &format!("{outer}{prefix}/sessions"), "").await;
    let id = made.json()["data"]["id"].as_str().unwrap().to_owned();
    let mut seen = Vec::new();
    for operation in Name::ALL {
        if operation.surface() != Surface::Rest || operation == Name::DeleteSession {
            continue;
        }
        let (method, template) = (operation.method(), operation.path());
        let url = format!("{base}{template}").replace("{session_id}", &id);
        let url = url.replace("{thread_id}", &id).replace(['{', '}'], "");
        let body = if operation.has_body() { "{}" } else { "" };
        let answer = go(&app, method.as_str(), path(&url), body).await;
        if let Some(location) = resolve(&url, &answer) {
            let found = go(&app, "GET", path(&location), "").await;
            assert_eq!(found.status, 200, "{operation:?} {url} {location}");
            assert_eq!(found.json()["data"]["id"], answer.json()["data"]["id"]);
            seen.push(operation);
        }
    }
    assert_eq!(seen, [Name::CreateSession]);
}

fn paths() -> impl Strategy<Value = String> {
    // axum takes no segment that begins with a colon: that was a parameter once.
    let segment = "[a-zA-Z0-9_~!$&'()+,;=@.-][a-zA-Z0-9_~!$&'()+,;=@.:-]{0,5}|[a-z]%2F[a-z]";
    let segment = segment.prop_filter("a dot segment", |segment| segment != "." && segment != "..");
    let segments = prop::collection::vec(segment, 0..4);
    segments.prop_map(|segments| segments.into_iter().flat_map(|of| ["/".to_owned(), of]).collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_location_leads_to_what_was_made(outer in paths(), prefix in paths()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(leads_to_what_was_made(&outer, &prefix));
    }
}
