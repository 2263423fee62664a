//! What is at `upstream.url`, by one question that does nothing.

use std::fmt;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, LOCATION, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use tokio::sync::watch;

use crate::error::chain;
use crate::forward::{
    CertificateFault, ForwardError, ForwardErrorKind, HttpUpstream, UpstreamBody, is_json,
};
use crate::media_type;
use crate::proof::{PROOF, Signer, Statement};
use crate::rejection::ProxyError;
use crate::shown::shown;

/// The question: the first of the threads of somebody who has none. It reads, it calls no model, and
/// every version of every server knows it. One that is made to be refused would prove nothing, because
/// a ChatKit server says the same bare 500 to nonsense as any broken program, and leaves a trace of its
/// calls in its log for it; and `GET` or `OPTIONS` are answered by whoever is in front.
const QUESTION: &str = r#"{"type":"threads.list","params":{"limit":1}}"#;

/// In whose name it is asked. Always the same, so that a server that keeps a row for everybody whom it
/// sees keeps one. Without a name, some refuse and some answer for a user of theirs.
const NOBODY: &str = "chatkit-rest-start-up-check";

/// The operation in its proof, which is none of a client's.
const ASKED_AS: &str = "start_up_check";

const AGENT: HeaderValue = HeaderValue::from_static(concat!(
    "chatkit-rest/",
    env!("CARGO_PKG_VERSION"),
    " (start-up check)"
));

/// The most that is read of an answer.
const MAX_ANSWER_BYTES: usize = 256 * 1024;

/// How long the whole of it may take.
const MAX_WAIT: Duration = Duration::from_secs(10);

/// How long it is until it is asked again: twice as long each time, from the first up to the second.
type Pauses = (Duration, Duration);

/// For what is started, deployed or mended any moment, and isn't troubled by a question.
const SHORT_PAUSES: Pauses = (Duration::from_secs(1), Duration::from_secs(60));

/// For who refuses or fails, because that may be written down and looked into there.
const LONG_PAUSES: Pauses = (Duration::from_secs(60), Duration::from_secs(600));

/// What the gateway tells the upstream of a user.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    /// `upstream.user_header`.
    pub(super) user_header: HeaderName,
    /// `upstream.forward_authorization`.
    pub(super) forwards_authorization: bool,
    /// What signs a request.
    pub(super) proof: Option<Signer>,
}

/// Asks until there is nothing to do, and logs what changes. What is to be done goes to `advice`, for
/// whoever asks whether the gateway is ready.
pub(super) async fn look(
    upstream: HttpUpstream,
    identity: Identity,
    advice: watch::Sender<Option<&'static str>>,
) {
    let mut last = None;
    let mut pause = Duration::ZERO;
    loop {
        let found = Finding::ask(&upstream, &identity).await;
        if last.as_ref() != Some(&found) {
            found.log(&upstream);
            advice.send_replace(found.advice());
        }
        let Some((first, longest)) = found.pauses() else { return };
        last = Some(found);
        pause = (pause * 2).clamp(first, longest);
        tokio::time::sleep(pause).await;
    }
}

/// What answered, or why nothing did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// A page of threads.
    ChatKit,
    /// 401 or 403: it asks the gateway for credentials, and may be anything.
    Guarded(StatusCode),
    /// The same, where the question has a proof.
    ProofRefused(StatusCode),
    /// The same, where users' tokens go to it, and the question has none.
    WantsTokens(StatusCode),
    /// Another address is to be asked; without its query.
    Redirect(Option<String>),
    /// 404: nothing is at that path.
    NoPath,
    /// 405 or 501: something is there that takes no `POST`.
    NoPost(StatusCode),
    /// 400, of a server that speaks TLS.
    NeedsTls,
    /// Another 4xx.
    Refused(StatusCode),
    /// 502, 503 or 504, of what is in front of it, or 408, 425 or 429: not now.
    Away(StatusCode),
    /// 500 and the like.
    Failed(StatusCode),
    /// A success in HTML.
    WebPage,
    /// A success that is neither JSON nor HTML.
    NotJson,
    /// A success in JSON that is no page of threads.
    OtherJson,
    /// Its name has no address.
    NoAddress,
    /// Nobody listens.
    Unreached,
    /// No connection, or no answer, in time.
    Slow,
    /// Its certificate is not to be trusted.
    BadCertificate(CertificateFault),
    /// It speaks no TLS.
    NoTls,
    /// It speaks TLS, and breaks it off or has none in common.
    TlsFailed,
    /// It speaks no HTTP.
    NoHttp,
    /// It hung up before an answer, over TLS or not.
    HungUp,
}

impl Finding {
    /// Asks `upstream`, which is told of users as in `identity`. Never takes longer than a few seconds.
    async fn ask(upstream: &HttpUpstream, identity: &Identity) -> Self {
        let asked = tokio::time::timeout(MAX_WAIT, async {
            let mut request = Request::new(Full::new(Bytes::from_static(QUESTION.as_bytes())));
            *request.method_mut() = Method::POST;
            let json = HeaderValue::from_static("application/json");
            let headers = request.headers_mut();
            headers.insert(CONTENT_TYPE, json.clone());
            headers.insert(ACCEPT, json);
            headers.insert(USER_AGENT, AGENT);
            headers.insert(&identity.user_header, HeaderValue::from_static(NOBODY));
            if let Some(signer) = &identity.proof {
                let statement = Statement::of_gateway(NOBODY, ASKED_AS, QUESTION.as_bytes());
                headers.insert(PROOF, signer.sign(&statement, SystemTime::now()));
            }
            match upstream.call_unguarded(request).await {
                Ok(response) => Self::of(response).await,
                Err(error) => Self::without_answer(&error),
            }
        });
        match asked.await.unwrap_or(Self::Slow) {
            Self::Guarded(status) if identity.forwards_authorization => Self::WantsTokens(status),
            Self::Guarded(status) if identity.proof.is_some() => Self::ProofRefused(status),
            found => found,
        }
    }

    async fn of(response: Response<UpstreamBody>) -> Self {
        let (head, body) = response.into_parts();
        let status = head.status;
        match status.as_u16() {
            300..=399 => Self::Redirect(location(&head.headers)),
            401 | 403 => Self::Guarded(status),
            404 | 410 => Self::NoPath,
            405 | 501 => Self::NoPost(status),
            400 => Self::of_bad_request(body).await,
            408 | 425 | 429 | 502..=504 => Self::Away(status),
            402 | 406..=499 => Self::Refused(status),
            200..=299 => Self::of_success(&head.headers, body).await,
            _ => Self::Failed(status),
        }
    }

    async fn of_bad_request(body: UpstreamBody) -> Self {
        if asks_for_tls(&read(body).await) {
            return Self::NeedsTls;
        }
        Self::Refused(StatusCode::BAD_REQUEST)
    }

    async fn of_success(headers: &HeaderMap, body: UpstreamBody) -> Self {
        if !is_json(headers) {
            let kind = headers.get(CONTENT_TYPE);
            let is_page = kind.is_some_and(|kind| media_type::is(kind, "text/html"));
            return if is_page { Self::WebPage } else { Self::NotJson };
        }
        let page = serde_json::from_slice::<serde_json::Value>(&read(body).await);
        let is_page = |page: &serde_json::Value| {
            page.get("data").is_some_and(serde_json::Value::is_array)
                && page.get("has_more").is_some_and(serde_json::Value::is_boolean)
        };
        if page.as_ref().is_ok_and(is_page) { Self::ChatKit } else { Self::OtherJson }
    }

    /// Gives what the failure of a question, or of a connection alone, says of it.
    pub(super) fn without_answer(error: &ForwardError) -> Self {
        use ForwardErrorKind as K;
        tracing::debug!(error = &*shown(&chain(error)), "the upstream was asked in vain");
        match (error.kind(), error.proxy_error()) {
            (_, ProxyError::DnsError) => Self::NoAddress,
            (_, ProxyError::TlsCertificateError) => Self::BadCertificate(error.certificate_fault()),
            (K::Connect, ProxyError::TlsProtocolError) if error.is_for_want_of_tls() => Self::NoTls,
            (_, ProxyError::TlsAlertReceived | ProxyError::TlsProtocolError) => Self::TlsFailed,
            (K::Connect | K::Head, ProxyError::ConnectionTerminated) => Self::HungUp,
            (K::Connect, _) => Self::Unreached,
            _ if error.is_timeout() => Self::Slow,
            _ => Self::NoHttp,
        }
    }

    /// Gives how soon it is asked again; `None`: there is no more to be found. Whatever there is to
    /// advise may heal, and is advised no longer than it lasts.
    fn pauses(&self) -> Option<Pauses> {
        match self {
            Self::ChatKit | Self::WantsTokens(_) => None,
            Self::Guarded(_) | Self::ProofRefused(_) | Self::Refused(_) | Self::Failed(_) => {
                Some(LONG_PAUSES)
            }
            Self::Redirect(_)
            | Self::NoPath
            | Self::NoPost(_)
            | Self::NeedsTls
            | Self::Away(_)
            | Self::WebPage
            | Self::NotJson
            | Self::OtherJson
            | Self::NoAddress
            | Self::Unreached
            | Self::Slow
            | Self::BadCertificate(_)
            | Self::NoTls
            | Self::TlsFailed
            | Self::NoHttp
            | Self::HungUp => Some(SHORT_PAUSES),
        }
    }

    fn log(&self, upstream: &HttpUpstream) {
        let url = upstream.url();
        match self.advice() {
            None if matches!(self, Self::WantsTokens(_)) => tracing::info!(
                upstream = %url,
                found = %self,
                "the upstream wants users' tokens, as configured with upstream.forward_authorization"
            ),
            None => tracing::info!(upstream = %url, "the upstream answers like a ChatKit server"),
            Some(advice) => tracing::warn!(
                upstream = %url,
                found = %self,
                "the upstream does not answer like a ChatKit server: {advice}"
            ),
        }
    }

    /// Gives what anybody may know of it, with what to do; `None`: there is nothing to do.
    pub(super) fn advice(&self) -> Option<&'static str> {
        Some(match self {
            Self::ChatKit | Self::WantsTokens(_) => return None,
            Self::Guarded(_) => {
                "it wants credentials: a proof that it is the gateway that asks \
                 (upstream.proof_secret, upstream.proof_key_file), a key (upstream.headers), or its \
                 users' tokens (upstream.forward_authorization)"
            }
            Self::ProofRefused(_) => {
                "it refuses the gateway's question, which has a proof: its own log says why \
                 (upstream.proof_audience is to be what it expects, and the key one that it knows); or \
                 it wants a key (upstream.headers) or its users' tokens (upstream.forward_authorization)"
            }
            Self::Redirect(_) => {
                "it sends whoever asks to another address, which is not followed: put that one into \
                 upstream.url, to the letter (a slash at the end counts)"
            }
            Self::NoPath => {
                "there is nothing at the path of upstream.url: it is the one that the server gives \
                 its ChatKit endpoint, often /chatkit"
            }
            Self::NoPost(_) => {
                "what is at the path of upstream.url takes no POST: it is not the ChatKit endpoint, \
                 whose path is often /chatkit"
            }
            Self::NeedsTls | Self::NoHttp => {
                "it speaks no plain HTTP: if it speaks TLS, upstream.url begins with https://"
            }
            Self::Refused(_) => {
                "it refuses a list of threads, which every ChatKit server has: if another API is at \
                 that path, mend upstream.url; if it asks for a header, upstream.forward_headers \
                 passes the clients' on"
            }
            Self::Away(_) => {
                "it, or something in front of it, puts the gateway off: is it started, and does it let \
                 itself be asked that often?"
            }
            Self::Failed(_) => {
                "it fails at a list of threads for a user whom it doesn't know: its own log says why"
            }
            Self::WebPage => {
                "a web page is there and no ChatKit endpoint: upstream.url is the server's that \
                 answers the page, with the path of its endpoint, often /chatkit"
            }
            Self::NotJson | Self::OtherJson => {
                "it answers a list of threads with something else: another API is at upstream.url"
            }
            Self::NoAddress => "its name has no address: is upstream.url spelt right?",
            Self::Unreached => {
                "nobody listens there: is it started, and on that port? In a container 127.0.0.1 is \
                 the container itself"
            }
            Self::Slow => {
                "it doesn't answer in time: does a firewall keep the two apart, or is it busy?"
            }
            Self::BadCertificate(CertificateFault::Untrusted) => {
                "its certificate is not trusted: the certificate of its authority belongs in \
                 upstream.ca, or among those that this machine trusts"
            }
            Self::BadCertificate(CertificateFault::OtherName) => {
                "its certificate is for another name: upstream.url needs one that is in it \
                 (subjectAltName), or the certificate the one that is in upstream.url"
            }
            Self::BadCertificate(CertificateFault::OutOfDate) => {
                "its certificate is out of date, or not valid yet: it needs a new one, or one of the two \
                 machines the right time"
            }
            Self::BadCertificate(CertificateFault::OfAuthority) => {
                "its certificate is an authority's own (CA:TRUE), which is not for a server: make it with \
                 `openssl req -x509 … -addext basicConstraints=critical,CA:FALSE`, or have the authority \
                 sign one for the server"
            }
            Self::NoTls => "it speaks no TLS on that port: upstream.url begins with http://",
            Self::TlsFailed => {
                "it speaks TLS and breaks it off: it may want a client's certificate, of an authority that \
                 it trusts (upstream.client_certificate), know no such name as upstream.url has, or speak \
                 neither TLS 1.2 nor 1.3; its own log may say why"
            }
            Self::HungUp => {
                "it hung up without an answer: its own log may say why, unless the port is another \
                 program's"
            }
        })
    }
}

impl fmt::Display for Finding {
    /// Says in a few words what was seen.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ChatKit => "a page of threads",
            Self::Guarded(status)
            | Self::ProofRefused(status)
            | Self::WantsTokens(status)
            | Self::NoPost(status)
            | Self::Refused(status)
            | Self::Away(status)
            | Self::Failed(status) => return write!(f, "status {status}"),
            Self::Redirect(Some(to)) => return write!(f, "a redirect to {to}"),
            Self::Redirect(None) => "a redirect",
            Self::NoPath => "status 404 Not Found",
            Self::NeedsTls => "a demand for TLS",
            Self::WebPage => "a web page",
            Self::NotJson => "something other than JSON",
            Self::OtherJson => "JSON that is no page of threads",
            Self::NoAddress => "no address of that name",
            Self::Unreached => "no connection",
            Self::Slow => "no answer in time",
            Self::BadCertificate(CertificateFault::Untrusted) => {
                "a certificate that is not trusted"
            }
            Self::BadCertificate(CertificateFault::OtherName) => "another name's certificate",
            Self::BadCertificate(CertificateFault::OutOfDate) => "a certificate out of its time",
            Self::BadCertificate(CertificateFault::OfAuthority) => "an authority's certificate",
            Self::NoTls => "no TLS",
            Self::TlsFailed => "the end of TLS",
            Self::NoHttp => "no HTTP",
            Self::HungUp => "the end of the connection",
        })
    }
}

/// Reads an answer, within bounds; nothing of one that is beyond them.
async fn read(body: UpstreamBody) -> Bytes {
    let read = Limited::new(body, MAX_ANSWER_BYTES).collect().await;
    read.map(http_body_util::Collected::to_bytes).unwrap_or_default()
}

/// Tells whether a 400 is what nginx, Apache or a server in Go says to plain HTTP where TLS is due.
fn asks_for_tls(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer);
    ["to HTTPS port", "to an HTTPS server", "SSL-enabled server port"]
        .iter()
        .any(|sign| text.contains(sign))
}

/// Gives where a redirect leads, without what may be secret in it.
fn location(headers: &HeaderMap) -> Option<String> {
    let to: Uri = headers.get(LOCATION)?.to_str().ok()?.parse().ok()?;
    let place = match (to.scheme_str(), to.authority()) {
        (Some(scheme), Some(authority)) => {
            let host = authority.as_str().rsplit('@').next().unwrap_or_default();
            format!("{scheme}://{host}{}", to.path())
        }
        _ => to.path().to_owned(),
    };
    Some(shown(&place).into_owned())
}

#[cfg(test)]
mod tests;
