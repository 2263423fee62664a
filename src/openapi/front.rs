//! What is at `/`, where nothing of the API can be: where things are.

use std::fmt::Write as _;

use http::header::{self, HeaderValue};
use http::{HeaderMap, Request};
use serde_json::{Map, Value};

use super::facts::Facts;
use super::page::{ServedPage, policy};
use crate::accept::quality;
use crate::error::Error;
use crate::surface::Surface;

const HTML: &str = include_str!("front.html");
const STYLE: &str = include_str!("front.css");
const ICON: &str = include_str!("icon.svg");

/// What a listener has, as the page at its `/` tells it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Listener<'a> {
    /// The API, the document and health.
    Only(&'a Facts),
    /// The API, beside an `admin.listen`: where it is, is told there and not here.
    Main,
    /// The document and health.
    Admin(&'a Facts),
}

impl<'a> Listener<'a> {
    /// Gives what the document that it has is made of.
    pub(super) fn facts(self) -> Option<&'a Facts> {
        match self {
            Self::Only(facts) | Self::Admin(facts) => Some(facts),
            Self::Main => None,
        }
    }
}

/// The page at `/`, for people and for programs, and its icon.
#[derive(Debug)]
pub(super) struct Front {
    html: ServedPage,
    json: ServedPage,
    icon: ServedPage,
}

impl Front {
    pub(super) fn new(listener: Listener<'_>) -> Result<Self, Error> {
        let places = places(listener);
        let members = places.iter().map(|place| (place.name.to_owned(), place.path.into()));
        let name = ("name".to_owned(), Value::from("chatkit-rest"));
        let json: Map<_, _> = [name].into_iter().chain(members).collect();
        let json = serde_json::to_vec(&json)
            .map_err(|error| Error::config("the page at / could not be written").with(error))?;
        let html = HTML.replace("/*style*/", STYLE).replace("<!--places-->", &list(&places));
        let vary = (header::VARY, HeaderValue::from_static("accept"));
        let headers = vec![
            vary.clone(),
            (header::CONTENT_SECURITY_POLICY, policy(None, STYLE)?),
            (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        ];
        let day = HeaderValue::from_static("public, max-age=86400");
        Ok(Self {
            html: ServedPage::new("text/html; charset=utf-8", html.into_bytes(), headers)?,
            json: ServedPage::new("application/json", json, vec![vary])?,
            icon: ServedPage::new("image/svg+xml", ICON.into(), Vec::new())?.kept(day),
        })
    }

    pub(super) fn icon(&self) -> &ServedPage {
        &self.icon
    }

    /// Gives the page for people to who asks for it, as browsers do, and else that for programs.
    pub(super) fn page<B>(&self, request: &Request<B>) -> &ServedPage {
        if prefers_html(request.headers()) { &self.html } else { &self.json }
    }
}

fn prefers_html(headers: &HeaderMap) -> bool {
    let of = |media_type| {
        let accepts = headers.get_all(header::ACCEPT).iter();
        accepts.filter_map(|value| Some(quality(value.to_str().ok()?, media_type))).max()
    };
    of("text/html") > of("application/json")
}

/// Something that can be asked for.
struct Place<'a> {
    name: &'static str,
    path: &'a str,
    /// What it is; `true`: to be looked at in a browser.
    what: (&'static str, bool),
}

fn places(listener: Listener<'_>) -> Vec<Place<'_>> {
    let place = |name, path, what| Place { name, path, what };
    let surfaces = match listener {
        Listener::Main => return Vec::new(),
        Listener::Admin(_) => None,
        Listener::Only(facts) => Some(&facts.surfaces),
    };
    let mut places = vec![
        place("docs", "/docs", ("The API, to read and to try.", true)),
        place("openapi", "/openapi.json", ("The same as an OpenAPI document.", true)),
        place("health", "/healthz", ("The gateway is up.", true)),
        place(
            "readiness",
            "/readyz",
            ("It can serve requests: its upstream and store are there.", true),
        ),
    ];
    for (name, surface, what) in [
        ("rest", Surface::Rest, "Sessions, threads and runs, and ChatKit’s own requests."),
        ("chat", Surface::Chat, "One-shot chat."),
        ("openai", Surface::OpenAi, "What clients of hosted ChatKit’s API call."),
    ] {
        if let Some(path) = surfaces.and_then(|surfaces| surfaces.prefix(surface)) {
            places.push(place(name, path, (what, false)));
        }
    }
    places
}

/// Writes them for people. Paths are those of settings, which have nothing but `&` and `'` that means
/// something to HTML.
fn list(places: &[Place<'_>]) -> String {
    if places.is_empty() {
        return "<p>Whoever runs it tells where its API is, and how to call it.</p>".into();
    }
    let mut html = String::from("<dl>\n");
    for Place { path, what: (what, is_page), .. } in places {
        let path = path.replace('&', "&amp;").replace('<', "&lt;");
        // Relative, as a proxy in front may have put a path before them.
        let link = path.trim_start_matches('/');
        // Writing to a `String` does not fail.
        let _ = if *is_page {
            writeln!(html, "<dt><a href=\"{link}\">{path}</a></dt><dd>{what}</dd>")
        } else {
            writeln!(html, "<dt><code>{path}/…</code></dt><dd>{what}</dd>")
        };
    }
    html.push_str("</dl>");
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_get_a_page_and_programs_get_json() {
        for (accept, html) in [
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", true),
            ("text/html", true),
            ("*/*", false),
            ("application/json", false),
            ("text/html;q=0.5, application/json", false),
            ("text/plain", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accept.parse().unwrap());
            assert_eq!(prefers_html(&headers), html, "{accept}");
        }
        assert!(!prefers_html(&HeaderMap::new()));
    }
}
