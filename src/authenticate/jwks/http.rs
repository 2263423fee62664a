//! A key set over HTTP, by its URL or by that of its issuer.

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, AGE, CACHE_CONTROL, LOCATION, USER_AGENT};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use tower_service::Service as _;

use super::document::{self, InvalidKeySet, MAX_KEY_SET_BYTES, shown};
use super::fetch::{FETCH_TIMEOUT, FetchError, FetchFuture, FetchKeys, FetchedKeys};
use crate::error::{Error, chain};
use crate::forward::{ForwardError, ForwardErrorKind, HttpUpstream, UpstreamBody, UpstreamUrl};

/// What comes after an issuer's URL (OIDC Discovery 1.0 section 4).
const WELL_KNOWN: &str = "/.well-known/openid-configuration";

/// The most bytes that the head of an answer may have.
const MAX_HEAD_BYTES: usize = 32 * 1024;

/// A key set that is asked for over HTTP.
///
/// Each time with one `GET` that says nothing of anybody, or two where the issuer is asked first. No
/// redirect is followed, no cookie kept, no proxy used, and no more than [`MAX_KEY_SET_BYTES`] are
/// read. Who can change what is answered can sign for everybody, so it takes TLS, but on this machine.
#[derive(Clone)]
pub struct HttpKeys(Arc<Place>);

/// Where the connection may be without TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PlainHttp {
    /// On a loopback address, or `localhost`.
    OnLoopback,
    /// Anywhere. Whoever is on the way, or can answer for the name, can sign for everybody.
    DangerAnywhere,
}

struct Place {
    /// The set itself, or the issuer's document.
    asked: HttpUpstream,
    issuer: Option<Issuer>,
    plain: PlainHttp,
}

struct Issuer {
    name: String,
    /// Where the set was the last time, and the way there.
    set: Mutex<Option<(String, HttpUpstream)>>,
}

impl HttpKeys {
    /// Asks that URL for the set.
    ///
    /// # Errors
    /// If it is no such URL, or it would take TLS.
    pub fn at(url: &str, plain: PlainHttp) -> Result<Self, Error> {
        let asked =
            way_to(url, plain).map_err(|why| Error::config(format!("the key set's URL {why}")))?;
        Ok(Self(Arc::new(Place { asked, issuer: None, plain })))
    }

    /// Asks the issuer, by OIDC Discovery 1.0, where its set is, and there for the set.
    ///
    /// The issuer's document must name the issuer as it is given here, to the letter. Its set may be on
    /// another host, as those of large providers are: over TLS the issuer itself says so, and who could
    /// forge that could forge the keys. It has to be behind TLS, too, unless the issuer isn't.
    ///
    /// # Errors
    /// If the issuer is no such URL, or it would take TLS.
    pub fn of_issuer(issuer: &str, plain: PlainHttp) -> Result<Self, Error> {
        let url = format!("{}{WELL_KNOWN}", issuer.strip_suffix('/').unwrap_or(issuer));
        let asked =
            way_to(&url, plain).map_err(|why| Error::config(format!("the issuer's URL {why}")))?;
        let issuer = Issuer { name: issuer.to_owned(), set: Mutex::default() };
        Ok(Self(Arc::new(Place { asked, issuer: Some(issuer), plain })))
    }
}

impl fmt::Debug for HttpKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HttpKeys").field(self.0.asked.url()).finish()
    }
}

impl FetchKeys for HttpKeys {
    fn fetch(&self) -> FetchFuture {
        let place = Arc::clone(&self.0);
        Box::pin(async move { place.fetch().await })
    }

    fn source(&self) -> String {
        self.0.asked.url().to_string()
    }
}

impl Place {
    async fn fetch(&self) -> Result<FetchedKeys, FetchError> {
        let Some(issuer) = &self.issuer else { return get(&self.asked).await };
        let document = get(&self.asked).await?;
        let url = document::jwks_uri(&document.json, &issuer.name).map_err(FetchError::failed)?;
        let of = |error| match error {
            FetchError::Failed { what, source } => {
                let what = format!("{} (which the issuer names in jwks_uri): {what}", shown(&url));
                FetchError::Failed { what, source }
            }
            error => error,
        };
        let way = self.way_to_set(issuer, &url).await.map_err(of)?;
        get(&way).await.map_err(of)
    }

    /// Gives the way to the set, which is seldom another.
    async fn way_to_set(&self, issuer: &Issuer, url: &str) -> Result<HttpUpstream, FetchError> {
        let known = || issuer.set.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, way)) = known().as_ref().filter(|(known, _)| known == url) {
            return Ok(way.clone());
        }
        // An issuer whose word came over TLS sends nobody to where there is none.
        let plain = if self.asked.url().is_https() { None } else { Some(self.plain) };
        let asked = url.to_owned();
        // It reads the certificates that the system trusts.
        let made = tokio::task::spawn_blocking(move || match plain {
            Some(plain) => way_to(&asked, plain),
            None if is_https(&asked) => way_to(&asked, PlainHttp::OnLoopback),
            None => Err("is not https, and the issuer's is".into()),
        });
        let way = made.await.map_err(|_| FetchError::failed("the fetch was cut off"))?;
        let way = way.map_err(|why| FetchError::failed(format!("the URL {why}")))?;
        *known() = Some((url.to_owned(), way.clone()));
        Ok(way)
    }
}

fn is_https(url: &str) -> bool {
    UpstreamUrl::parse(url).is_ok_and(|url| url.is_https())
}

/// Gives the way to a URL; what is wrong with it, as the end of a sentence.
fn way_to(url: &str, plain: PlainHttp) -> Result<HttpUpstream, String> {
    let url = UpstreamUrl::parse(url).map_err(|invalid| {
        let text = invalid.to_string();
        text.trim_start_matches("the upstream URL's ")
            .trim_start_matches("the upstream URL ")
            .to_owned()
    })?;
    if !url.is_https() && plain == PlainHttp::OnLoopback && !is_loopback(url.host()) {
        return Err(
            "is http, so whoever is on the way could sign for everybody; expected https, or \
                    `danger_plain_http = true`"
                .into(),
        );
    }
    HttpUpstream::builder(url)
        .connect_timeout(FETCH_TIMEOUT)
        .json_timeout(FETCH_TIMEOUT)
        // The next time is in an hour.
        .pool_idle_timeout(Duration::ZERO)
        .max_response_head_bytes(MAX_HEAD_BYTES)
        .build()
        .map_err(|error| format!("can't be asked: {}", error.chain()))
}

/// Tells whether it is this machine, as far as a name tells.
fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

async fn get(way: &HttpUpstream) -> Result<FetchedKeys, FetchError> {
    let mut request = Request::new(Empty::<Bytes>::new());
    let headers = request.headers_mut();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    // Some providers turn away who says nothing.
    let us = HeaderValue::from_static(concat!("chatkit-rest/", env!("CARGO_PKG_VERSION")));
    headers.insert(USER_AGENT, us);
    let response = way.clone().call(request).await.map_err(|error| unanswered(&error))?;
    check_status(&response)?;
    let max_age = max_age(response.headers());
    Ok(FetchedKeys::new(whole(response.into_body()).await?).with_max_age(max_age))
}

fn check_status(response: &Response<UpstreamBody>) -> Result<(), FetchError> {
    let status = response.status();
    if status == StatusCode::OK {
        return Ok(());
    }
    if status.is_redirection() {
        let to = response.headers().get(LOCATION).and_then(|to| to.to_str().ok()).map(shown);
        let to = to.map_or_else(String::new, |to| format!(" to {to}"));
        return Err(FetchError::failed(format!(
            "it answers {} with a redirect{to}, and none is followed; expected the URL of the document \
             itself",
            status.as_u16(),
        )));
    }
    Err(FetchError::failed(format!("it answers {}; expected 200", status.as_u16())))
}

async fn whole(mut body: UpstreamBody) -> Result<Bytes, FetchError> {
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|error| unanswered(&error))?.into_data() else { continue };
        if all.len() + data.len() > MAX_KEY_SET_BYTES {
            return Err(FetchError::Invalid(InvalidKeySet::TooLong));
        }
        all.extend_from_slice(&data);
    }
    Ok(all.freeze())
}

/// Says what happened, in words of this errand and not of the upstream's.
fn unanswered(error: &ForwardError) -> FetchError {
    use ForwardErrorKind as K;
    let what = match error.kind() {
        K::BodyCut => "the answer was cut",
        K::Connect => "no connection could be made",
        K::ConnectTimeout => "no connection was made in time",
        K::Head => "the answer is none of HTTP",
        K::FirstByteTimeout | K::IdleTimeout | K::JsonTimeout => return FetchError::TimedOut,
        K::Request => "the request could not be sent",
        K::BreakerOpen | K::Crowded => "it is not asked now",
    };
    let why = std::error::Error::source(error).map(chain);
    FetchError::failed(why.map_or_else(|| what.to_owned(), |why| format!("{what}: {why}")))
}

/// Gives how long an answer is fresh yet, if it says so (RFC 9111 section 4.2).
fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let mut seconds = None;
    let lists = headers.get_all(CACHE_CONTROL).into_iter().filter_map(|list| list.to_str().ok());
    for directive in lists.flat_map(|list| list.split(',')).map(str::trim) {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        match name.to_ascii_lowercase().as_str() {
            "no-cache" | "no-store" => return Some(Duration::ZERO),
            "max-age" => seconds = value.trim_matches('"').parse::<u32>().ok(),
            _ => {}
        }
    }
    let spent = headers.get(AGE).and_then(|age| age.to_str().ok()?.trim().parse().ok());
    seconds.map(|seconds| Duration::from_secs(seconds.saturating_sub(spent.unwrap_or(0)).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_how_long_it_is_fresh() {
        for (cache_control, age, expected) in [
            (&["max-age=600"][..], None, Some(600)),
            (&["public, Max-Age=\"600\", must-revalidate"], Some("90"), Some(510)),
            (&["public", "max-age=600"], Some("900"), Some(0)),
            (&["max-age=600, no-store"], None, Some(0)),
            (&["no-cache"], None, Some(0)),
            (&["max-age=99999999999999"], None, None),
            (&["max-age=-1"], None, None),
            (&["max-age"], None, None),
            (&["public"], Some("5"), None),
            (&[], None, None),
        ] {
            let mut headers = HeaderMap::new();
            for value in cache_control {
                headers.append(CACHE_CONTROL, HeaderValue::from_static(value));
            }
            if let Some(age) = age {
                headers.insert(AGE, HeaderValue::from_static(age));
            }
            let expected = expected.map(Duration::from_secs);
            assert_eq!(max_age(&headers), expected, "{cache_control:?}");
        }
    }

    #[test]
    fn without_tls_it_is_this_machine_or_said_to_be_a_danger() {
        for (url, on_loopback, anywhere) in [
            ("http://localhost:1/x", true, true),
            ("http://127.0.0.9/x", true, true),
            ("http://[::1]:3000/x", true, true),
            ("http://better-auth:3000/x", false, true),
            ("http://127.0.0.1.example/x", false, true),
            ("http://10.0.0.1/x", false, true),
            ("ftp://localhost/x", false, false),
            ("http://u:p@localhost/x", false, false),
            ("localhost", false, false),
        ] {
            for (plain, expected) in
                [(PlainHttp::OnLoopback, on_loopback), (PlainHttp::DangerAnywhere, anywhere)]
            {
                assert_eq!(HttpKeys::at(url, plain).is_ok(), expected, "{url}");
                assert_eq!(HttpKeys::of_issuer(url, plain).is_ok(), expected, "{url}");
            }
        }
        let refused = HttpKeys::at("http://h/x", PlainHttp::OnLoopback).unwrap_err().to_string();
        assert!(refused.contains("the key set's URL is http, so whoever"), "{refused}");
        let slash = HttpKeys::of_issuer("http://localhost:1/a/", PlainHttp::OnLoopback).unwrap();
        assert_eq!(slash.source(), "http://localhost:1/a/.well-known/openid-configuration");
    }
}
