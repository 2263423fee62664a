//! What is served: bytes with their headers, made once.

use std::fmt::Write as _;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{
    self, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue,
    IF_NONE_MATCH,
};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;

use super::document::document;
use super::facts::Facts;
use super::front::{Front, Listener};
use crate::error::Error;
use crate::rejection::{RefusalStyle, Rejection};

const HTML: &str = include_str!("docs.html");
const STYLE: &str = include_str!("docs.css");
const SCRIPT: &str =
    concat!(include_str!("docs.js"), "\n", include_str!("find.js"), "\n", include_str!("start.js"));

/// All of them, as far as they are to be had here.
#[derive(Debug)]
pub(super) struct Pages {
    docs: Option<Docs>,
    front: Option<Front>,
}

#[derive(Debug)]
struct Docs {
    document: ServedPage,
    page: ServedPage,
}

impl Docs {
    fn new(facts: &Facts) -> Result<Self, Error> {
        let document = serde_json::to_vec(&document(facts)?)
            .map_err(|error| Error::config("the document could not be written").with(error))?;
        let html = HTML.replace("/*style*/", STYLE).replace("/*script*/", SCRIPT);
        let headers = vec![
            (header::CONTENT_SECURITY_POLICY, policy(Some(SCRIPT), STYLE)?),
            (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        ];
        Ok(Self {
            document: ServedPage::new("application/json", document, Vec::new())?,
            page: ServedPage::new("text/html; charset=utf-8", html.into_bytes(), headers)?,
        })
    }
}

impl Pages {
    /// Makes the document and its page.
    pub(super) fn new(facts: &Facts) -> Result<Self, Error> {
        Ok(Self { docs: Some(Docs::new(facts)?), front: None })
    }

    /// Makes all that a listener has.
    pub(super) fn of_listener(listener: Listener<'_>) -> Result<Self, Error> {
        let docs = listener.facts().map(Docs::new).transpose()?;
        Ok(Self { docs, front: Some(Front::new(listener)?) })
    }

    /// Gives what a request asks for.
    pub(super) fn asked<B>(&self, request: &Request<B>) -> Option<&ServedPage> {
        match request.uri().path() {
            "/openapi.json" => self.docs.as_ref().map(|docs| &docs.document),
            "/docs" => self.docs.as_ref().map(|docs| &docs.page),
            "/" => self.front.as_ref().map(|front| front.page(request)),
            "/favicon.ico" => self.front.as_ref().map(Front::icon),
            _ => None,
        }
    }
}

/// Gives the policy of a page that consists of itself: with this script and style, and no other.
pub(super) fn policy(script: Option<&str>, style: &str) -> Result<HeaderValue, Error> {
    let script = script.map_or_else(String::new, |script| {
        format!("script-src 'sha256-{}'; connect-src 'self'; ", hash(script))
    });
    let policy = format!(
        "default-src 'none'; {script}style-src 'sha256-{}'; img-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
        hash(style),
    );
    HeaderValue::try_from(policy)
        .map_err(|_| Error::config("the policy of a page is no header value"))
}

/// One thing that is served as it is.
#[derive(Debug)]
pub(super) struct ServedPage {
    bytes: Bytes,
    headers: HeaderMap,
}

impl ServedPage {
    pub(super) fn new(
        media_type: &'static str,
        bytes: Vec<u8>,
        more: Vec<(HeaderName, HeaderValue)>,
    ) -> Result<Self, Error> {
        let mut etag = String::from("\"");
        for byte in digest(&SHA256, &bytes).as_ref().iter().take(16) {
            // Writing to a `String` does not fail.
            let _ = write!(etag, "{byte:02x}");
        }
        etag.push('"');
        let etag =
            HeaderValue::try_from(etag).map_err(|_| Error::config("an ETag is no header value"))?;
        let mut headers: HeaderMap = more.into_iter().collect();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
        headers.insert(ETAG, etag);
        // Kept, but never used without asking: it changes with the configuration.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        Ok(Self { bytes: Bytes::from(bytes), headers })
    }

    /// May be used again without asking, as this value of `Cache-Control` says.
    pub(super) fn kept(mut self, control: HeaderValue) -> Self {
        self.headers.insert(CACHE_CONTROL, control);
        self
    }

    /// Answers a request for it.
    pub(super) fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        let method = request.method();
        if !matches!(*method, Method::GET | Method::HEAD) {
            return Rejection::of_method(HeaderValue::from_static("GET, HEAD"))
                .into_response(&RefusalStyle::of(request));
        }
        let mut response = Response::new(Full::default());
        response.headers_mut().clone_from(&self.headers);
        if self.is_known(request.headers()) {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        } else if *method == Method::HEAD {
            response.headers_mut().insert(CONTENT_LENGTH, self.bytes.len().into());
        } else {
            *response.body_mut() = Full::new(self.bytes.clone());
        }
        response
    }

    /// Tells whether the client has it already: RFC 9110 section 13.1.2, by weak comparison.
    fn is_known(&self, headers: &HeaderMap) -> bool {
        let own = self.headers.get(ETAG).and_then(|etag| etag.to_str().ok()).unwrap_or_default();
        let lists = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
        lists
            .flat_map(|list| list.split(','))
            .map(str::trim)
            .any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == own)
    }
}

fn hash(text: &str) -> String {
    STANDARD.encode(digest(&SHA256, text.as_bytes()))
}
