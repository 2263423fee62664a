//! Where clients find out whose tokens are taken here (RFC 9728).

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Extensions, Method, Request, Response, StatusCode};
use http_body_util::Full;
use pin_project_lite::pin_project;
use serde_json::json;
use tower_layer::Layer;
use tower_service::Service;

use crate::error::Error;
use crate::rejection::{Code, RefusalStyle, Rejection, made_of};
use crate::surface::{Surface, Surfaces};

/// Where the metadata is (RFC 9728 section 3): what names the resource follows.
const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// The authorization servers of what is served here, and what a client needs to get a token from one.
///
/// Every surface where users' tokens count is a resource of its own, whose identifier is the URL below
/// which it is; so is the gateway as a whole. Their metadata is at `/.well-known/oauth-protected-resource`,
/// followed by the path of the resource. Cloning is a reference count.
#[derive(Clone)]
pub struct ProtectedResource(Arc<Inner>);

struct Inner {
    /// Path and metadata.
    pages: Vec<(String, Bytes)>,
    /// Where the metadata of a surface is, as a challenge says it.
    parameters: Vec<(Surface, String)>,
}

impl ProtectedResource {
    /// Describes a gateway that clients reach at `public_url`, which ends without a slash.
    /// `authorization_servers` are issuers' URLs (RFC 8414), of which there should be one, and `scopes`
    /// what a token needs.
    ///
    /// # Errors
    /// If `public_url` is no URL of a host.
    pub fn new(
        public_url: &str,
        surfaces: &Surfaces,
        authorization_servers: &[&str],
        scopes: &[&str],
    ) -> Result<Self, Error> {
        let authority = public_url.find("://").map_or(public_url.len(), |at| at + 3);
        let (scheme, rest) = public_url.split_at(authority);
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if host.is_empty() {
            return Err(Error::config("the public URL of a protected resource has no host"));
        }
        let page = |resource: String| {
            let mut metadata = json!({
                "resource": resource,
                "authorization_servers": authorization_servers,
                "bearer_methods_supported": ["header"],
            });
            if let (false, Some(members)) = (scopes.is_empty(), metadata.as_object_mut()) {
                members.insert("scopes_supported".into(), json!(scopes));
            }
            Bytes::from(metadata.to_string())
        };
        let whole = page(public_url.to_owned());
        // Also without the path, where clients look that know no more than the host.
        let mut pages = vec![(WELL_KNOWN.to_owned(), whole.clone())];
        if !path.is_empty() {
            pages.push((format!("{WELL_KNOWN}{path}"), whole));
        }
        let mut parameters = Vec::new();
        for surface in [Surface::Rest, Surface::Chat] {
            let Some(prefix) = surfaces.prefix(surface) else { continue };
            let place = format!("{WELL_KNOWN}{path}{prefix}");
            parameters.push((surface, format!(", resource_metadata=\"{scheme}{host}{place}\"")));
            if !prefix.is_empty() {
                pages.push((place, page(format!("{public_url}{prefix}"))));
            }
        }
        Ok(Self(Arc::new(Inner { pages, parameters })))
    }

    /// Lists the paths of the metadata.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.0.pages.iter().map(|(path, _)| &**path)
    }

    fn find(&self, path: &str) -> Option<&Bytes> {
        if !path.starts_with(WELL_KNOWN) {
            return None;
        }
        self.0.pages.iter().find(|(known, _)| known == path).map(|(_, page)| page)
    }

    /// Adds to a refusal's challenge, if it has one, where the metadata is (RFC 9728 section 5.1).
    pub(super) fn tell(&self, rejection: Rejection, extensions: &Extensions) -> Rejection {
        let surface = Surface::of_extensions(extensions);
        match self.0.parameters.iter().find(|(known, _)| *known == surface) {
            Some((_, parameter)) => rejection.with_more(&header::WWW_AUTHENTICATE, parameter),
            // Users' tokens are nothing here.
            None => rejection,
        }
    }
}

impl fmt::Debug for ProtectedResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.paths()).finish()
    }
}

/// Answers with the metadata of a [`ProtectedResource`], to everybody and to pages of any origin, and
/// lets everything else pass.
///
/// It goes outside of any layer that answers for cross-origin requests.
#[derive(Clone, Debug)]
pub struct ProtectedResourceLayer(Option<ProtectedResource>);

impl ProtectedResourceLayer {
    /// Answers with the metadata of that; with none, it lets everything pass.
    pub fn new(resource: Option<ProtectedResource>) -> Self {
        Self(resource)
    }
}

impl<S> Layer<S> for ProtectedResourceLayer {
    type Service = ProtectedResources<S>;

    fn layer(&self, inner: S) -> ProtectedResources<S> {
        ProtectedResources { resource: self.0.clone(), inner }
    }
}

/// The service of [`ProtectedResourceLayer`].
#[derive(Clone, Debug)]
pub struct ProtectedResources<S> {
    resource: Option<ProtectedResource>,
    inner: S,
}

impl<S, B, R> Service<Request<B>> for ProtectedResources<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: From<Bytes>,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = ProtectedResourceFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let page = self.resource.as_ref().and_then(|all| all.find(request.uri().path()));
        match page {
            Some(page) => ProtectedResourceFuture::Answering {
                response: Some(Box::new(answer(page, &request))),
            },
            None => ProtectedResourceFuture::Passing { future: self.inner.call(request) },
        }
    }
}

fn answer<B>(page: &Bytes, request: &Request<B>) -> Response<Full<Bytes>> {
    let headers = request.headers();
    let is_preflight = headers.contains_key(header::ORIGIN)
        && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = match *request.method() {
        Method::GET => Response::new(Full::new(page.clone())),
        Method::HEAD => {
            let mut response = Response::new(Full::default());
            response.headers_mut().insert(header::CONTENT_LENGTH, page.len().into());
            response
        }
        Method::OPTIONS if is_preflight => preflight(),
        _ => Rejection::new(Code::MethodNotAllowed)
            .header(header::ALLOW, HeaderValue::from_static("GET, HEAD"))
            .into_response(&RefusalStyle::of(request)),
    };
    if response.status() == StatusCode::OK {
        for (name, value) in [
            (header::CONTENT_TYPE, "application/json"),
            (header::CACHE_CONTROL, "public, max-age=3600"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ] {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
    }
    let any = HeaderValue::from_static("*");
    response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, any);
    response
}

fn preflight() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers: HeaderMap = [
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD"),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "*"),
        (header::ACCESS_CONTROL_MAX_AGE, "7200"),
    ]
    .map(|(name, value)| (name, HeaderValue::from_static(value)))
    .into_iter()
    .collect();
    *response.headers_mut() = headers;
    response
}

pin_project! {
    /// The future of [`ProtectedResources`].
    #[derive(Debug)]
    #[project = ProtectedResourceProjection]
    #[allow(missing_docs, reason = "named for its state")]
    #[non_exhaustive]
    pub enum ProtectedResourceFuture<F> {
        Answering { response: Option<Box<Response<Full<Bytes>>>> },
        Passing { #[pin] future: F },
    }
}

impl<F, R, E> Future for ProtectedResourceFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
    R: From<Bytes>,
{
    type Output = Result<Response<R>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            ProtectedResourceProjection::Answering { response } => match response.take() {
                Some(response) => Poll::Ready(Ok(made_of(*response))),
                // A future that is polled after it was ready has no answer to give.
                None => Poll::Pending,
            },
            ProtectedResourceProjection::Passing { future } => future.poll(cx),
        }
    }
}
