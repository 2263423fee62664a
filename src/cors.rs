//! Cross-origin calls: what `tower-http` does, for what is one.
//!
//! `tower-http` takes every `OPTIONS` for a preflight and answers it with 200, whatever is at the
//! path. By the Fetch standard a preflight names its `Origin` and the method that is to follow in
//! `Access-Control-Request-Method`; any other `OPTIONS` is a request like others, and refused like
//! others where the path doesn't have that method.

use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::{ACCESS_CONTROL_REQUEST_METHOD, HOST, ORIGIN};
use http::{HeaderName, HeaderValue, Method, Request, Response};
use tower::{Layer, Service};
use tower_http::cors;

use crate::forward::PublicUrl;
use crate::news::{MAX_NAMES, News, Told};
use crate::shown::shown;
use crate::surface::Surfaces;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Answers preflights, and tells pages what they may read of other answers.
#[derive(Clone, Debug)]
pub(crate) struct CorsLayer(pub(crate) cors::CorsLayer);

impl<S> Layer<S> for CorsLayer {
    type Service = Cors<S>;

    fn layer(&self, inner: S) -> Cors<S> {
        Cors { cors: self.0.layer(Unmasked { inner }) }
    }
}

/// The service of [`CorsLayer`].
#[derive(Clone, Debug)]
pub(crate) struct Cors<S> {
    cors: cors::Cors<Unmasked<S>>,
}

/// Marks a request whose method is `OPTIONS` and hidden from `tower-http`.
#[derive(Clone, Copy, Debug)]
struct Masked;

/// What is behind `tower-http`: the request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Unmasked<S> {
    inner: S,
}

impl<S, B, R> Service<Request<B>> for Cors<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Default,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = <cors::Cors<Unmasked<S>> as Service<Request<B>>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.cors.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        if request.method() == Method::OPTIONS && !is_preflight(&request) {
            // Any other method will do: what else it decides by are headers.
            *request.method_mut() = Method::GET;
            request.extensions_mut().insert(Masked);
        }
        self.cors.call(request)
    }
}

impl<S, B> Service<Request<B>> for Unmasked<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        if request.extensions_mut().remove::<Masked>().is_some() {
            *request.method_mut() = Method::OPTIONS;
        }
        self.inner.call(request)
    }
}

fn is_preflight<B>(request: &Request<B>) -> bool {
    let headers = request.headers();
    headers.contains_key(ORIGIN) && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// Names in the log the origins whose pages call and may not, each once as long as there are few: a
/// browser tells the page no more than that it failed, and the gateway has answered.
#[derive(Clone, Debug)]
pub(crate) struct StrangePageLayer {
    /// `None`: everybody's pages may call.
    strangers: Option<Arc<Strangers>>,
}

#[derive(Debug)]
struct Strangers {
    allowed: Vec<HeaderValue>,
    /// Where the gateway's own pages are, if a proxy in front says another host.
    public_url: Option<PublicUrl>,
    surfaces: Surfaces,
    told: Told,
    /// Those that are nearly allowed, for each that is: neither others nor the ports of another's host
    /// keep them from being told of.
    near: Vec<Told>,
}

/// How many are told of at once that are nearly one that is allowed.
const MAX_NEAR: usize = 4;

impl StrangePageLayer {
    /// Knows the origins that may call, where the gateway itself is, and what there is to call.
    pub(crate) fn new(
        allowed: Vec<HeaderValue>,
        public_url: Option<PublicUrl>,
        surfaces: Surfaces,
    ) -> Self {
        let told = Told::default();
        let near = allowed.iter().map(|_| Told::at_most(MAX_NEAR)).collect();
        Self { strangers: Some(Arc::new(Strangers { allowed, public_url, surfaces, told, near })) }
    }

    /// Knows no strangers.
    pub(crate) fn nobody_is() -> Self {
        Self { strangers: None }
    }
}

impl<S> Layer<S> for StrangePageLayer {
    type Service = StrangePages<S>;

    fn layer(&self, inner: S) -> StrangePages<S> {
        StrangePages { strangers: self.strangers.clone(), inner }
    }
}

/// The service of [`StrangePageLayer`].
#[derive(Clone, Debug)]
pub(crate) struct StrangePages<S> {
    strangers: Option<Arc<Strangers>>,
    inner: S,
}

impl<S, B> Service<Request<B>> for StrangePages<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> S::Future {
        if let Some(strangers) = &self.strangers
            && let Some(origin) = request.headers().get(ORIGIN)
            && !strangers.allowed.contains(origin)
        {
            strangers.meet(origin, &request);
        }
        self.inner.call(request)
    }
}

impl Strangers {
    #[cold]
    fn meet<B>(&self, origin: &HeaderValue, request: &Request<B>) {
        let Ok(origin) = origin.to_str() else { return };
        // Browsers name a page's own origin, too; and one that is none can't be allowed.
        let Some((scheme, page)) = origin.split_once("://") else { return };
        let is_own = request.headers().get(SEC_FETCH_SITE);
        if is_own.is_some_and(|site| site == "same-origin" || site == "none") {
            return;
        }
        let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
        let host = host.or_else(|| request.uri().authority().map(http::uri::Authority::as_str));
        // An origin never has its scheme's port, and a host may.
        let port = if scheme == "https" { ":443" } else { ":80" };
        let host = host.map(|host| host.strip_suffix(port).unwrap_or(host));
        if host.is_some_and(|host| host.eq_ignore_ascii_case(page))
            || self.public_url.as_ref().is_some_and(|url| url.has_origin(origin))
            || self.surfaces.serving(request.uri().path()).is_none()
        {
            return;
        }
        let near = self.nearly(page);
        let (told, most) = near.map_or((&self.told, MAX_NAMES), |(told, _)| (told, MAX_NEAR));
        match (told.note(origin), near) {
            (News::First, None) => tracing::warn!(
                origin = &*shown(origin),
                "a page of this origin called, and may not: if it is yours, cors.allowed_origins is to \
                 have the origin, just so"
            ),
            (News::First, Some((_, allowed))) => tracing::warn!(
                origin = &*shown(origin),
                allowed,
                "a page of this origin called, and may not: cors.allowed_origins has nearly the same, \
                 and scheme, host and port all count; if it is yours, it is to be there just so"
            ),
            (News::TooMany, _) => tracing::warn!(
                origins = most,
                "pages of so many origins called that may not; of more, one a minute is named"
            ),
            (News::Known, _) => {}
        }
    }

    /// Gives the origin that may call and differs in the scheme, the port, capitals or a `www.` alone,
    /// behind what was told of for it.
    fn nearly(&self, page: &str) -> Option<(&Told, &str)> {
        let page = bare_host(page);
        let allowed = self.allowed.iter().map(|origin| origin.to_str().unwrap_or_default());
        self.near.iter().zip(allowed).find(|(_, origin)| {
            let host = origin.split_once("://").map(|(_, authority)| bare_host(authority));
            host.is_some_and(|host| host.eq_ignore_ascii_case(page))
        })
    }
}

/// Gives a host without its port, and without a `www.`.
fn bare_host(authority: &str) -> &str {
    let host = authority.rsplit_once(':').filter(|(_, port)| !port.ends_with(']'));
    let host = host.map_or(authority, |(host, _)| host);
    let bare = host.split_at_checked("www.".len());
    bare.filter(|(www, _)| www.eq_ignore_ascii_case("www.")).map_or(host, |(_, host)| host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer() -> StrangePageLayer {
        let allowed =
            ["https://app.example", "https://other.example"].map(HeaderValue::from_static).to_vec();
        let public_url = PublicUrl::parse("https://Chat.example:443/gateway").unwrap();
        StrangePageLayer::new(allowed, Some(public_url), Surfaces::rest("/v1"))
    }

    #[test]
    fn each_stranger_is_met_once_and_who_belongs_here_never() {
        let layer = layer();
        let strangers = layer.strangers.clone().unwrap();
        let inner = tower::service_fn(async |_: Request<()>| Ok::<_, std::convert::Infallible>(()));
        let mut service = layer.layer(inner);
        for origin in [
            "https://app.example",
            "https://eve.example",
            "https://eve.example",
            "http://APP.example",
            "http://gateway.example:8080",
            "null",
        ] {
            let request = Request::post("/v1/sessions").header(HOST, "gateway.example:8080");
            drop(service.call(request.header(ORIGIN, origin).body(()).unwrap()));
        }
        assert_eq!(strangers.told.all(), ["https://eve.example"]);
        assert_eq!(strangers.near[0].all(), ["http://APP.example"]);
        for index in 0..2 * MAX_NAMES {
            let request =
                Request::post("/v1/sessions").header(ORIGIN, format!("https://{index}.example"));
            drop(service.call(request.body(()).unwrap()));
        }
        assert_eq!(strangers.told.all().len(), MAX_NAMES);
        // However many are made up, a slip in a setting is told of.
        let near = ["http://app.example", "https://www.app.example", "https://app.example:8443"];
        for origin in near {
            let request = Request::post("/v1/sessions").header(ORIGIN, origin);
            drop(service.call(request.body(()).unwrap()));
        }
        assert_eq!(strangers.near[0].all(), [&["http://APP.example"], &near[..]].concat());
        // Nor does whoever goes through the ports of one host hide the others' slips.
        for port in 1..=2 * MAX_NAMES {
            let origin = format!("https://app.example:{port}");
            let request = Request::post("/v1/sessions").header(ORIGIN, origin);
            drop(service.call(request.body(()).unwrap()));
        }
        assert_eq!(strangers.near[0].all().len(), MAX_NEAR);
        let origin = "https://WWW.other.example";
        let request = Request::post("/v1/sessions").header(ORIGIN, origin);
        drop(service.call(request.body(()).unwrap()));
        assert_eq!(strangers.near[1].all(), [origin]);
    }

    #[test]
    fn the_gateways_own_pages_and_what_nobody_serves_make_no_stranger() {
        let inner = tower::service_fn(async |_: Request<()>| Ok::<_, std::convert::Infallible>(()));
        for (is_told, path, host, origin, site) in [
            (false, "/v1/x", "inner:8080", "https://chat.example", ""),
            (true, "/v1/x", "inner:8080", "http://chat.example", ""),
            (true, "/v1/x", "inner:8080", "https://chat.example:8443", ""),
            (false, "/v1/x", "gw.example:443", "https://gw.example", ""),
            (false, "/v1/x", "gw.example:80", "http://gw.example", ""),
            (true, "/v1/x", "gw.example:80", "https://gw.example", ""),
            (true, "/v1/x", "gw.example:8443", "https://gw.example", ""),
            (false, "/v1/x", "inner:8080", "https://gw.example", "same-origin"),
            (false, "/v1/x", "inner:8080", "https://gw.example", "none"),
            (true, "/v1/x", "inner:8080", "https://gw.example", "same-site"),
            (true, "/v1/x", "inner:8080", "https://gw.example", "cross-site"),
            (true, "/v1", "inner:8080", "https://gw.example", ""),
            (false, "/v10", "inner:8080", "https://gw.example", ""),
            (false, "/favicon.ico", "inner:8080", "https://gw.example", ""),
        ] {
            let layer = layer();
            let strangers = layer.strangers.clone().unwrap();
            let request = Request::get(path).header(HOST, host).header(ORIGIN, origin);
            let request = request.header(SEC_FETCH_SITE, site).body(()).unwrap();
            drop(layer.layer(inner).call(request));
            assert_eq!(strangers.told.all().len(), usize::from(is_told), "{host} {origin} {site}");
        }
    }
}
