//! TLS to clients: the handshake, and certificates that change while the gateway runs.

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use aws_lc_rs::digest;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::aws_lc_rs as provider;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::sign::SingleCertAndKey;
use tokio_rustls::rustls::{ServerConfig, ServerConnection};

use super::io::{ClientStream, Socket};
use crate::certificates::{self, Pair, PairProblem};
use crate::config::TlsConfig;
use crate::error::{BoxError, Error, chain};
use crate::news::Rarely;
use crate::rejection::{Code, RefusalStyle, Rejection};
use crate::shown::shown;

/// How often the files are looked at. A process that holds many open files would miss a signal less
/// than it would a certificate; and SIGHUP ends a gateway.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What every connection with TLS begins with: a record of the handshake.
const HANDSHAKE: u8 = 0x16;

/// Bytes that are taken of a request that can't be answered, so that its refusal arrives.
const MAX_PLAIN_BYTES: u64 = 64 * 1024;

const H2: &[u8] = b"h2";
const HTTP_1_1: &[u8] = b"http/1.1";

/// Anybody can connect as often as they like.
static PLAIN_SPOKEN: Rarely = Rarely::new();
static FAILED: Rarely = Rarely::new();

/// What clients are spoken to with, as it stands in the files.
#[derive(Debug)]
pub(super) struct Tls {
    files: Arc<TlsConfig>,
    current: RwLock<Arc<ServerConfig>>,
    /// Of what the current one was made of.
    first: Digest,
}

type Digest = [u8; 32];

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// If one can't be read or used.
    pub(super) fn load(config: TlsConfig) -> Result<Self, Error> {
        let contents = Contents::read(&config)?;
        let current = RwLock::new(Arc::new(contents.server_config(&config)?));
        Ok(Self { first: contents.digest(), files: Arc::new(config), current })
    }

    /// Gives what the next connection is served with.
    pub(super) fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes up what the files have anew, for ever. What can't be used changes nothing, and is told of.
    pub(super) async fn keep_up(&self) {
        let mut watch = Watch { files: Arc::clone(&self.files), used: self.first, found: None };
        loop {
            sleep(LOOK_EVERY).await;
            let looking = tokio::task::spawn_blocking(move || {
                let new = watch.look();
                (watch, new)
            });
            // It doesn't panic, and a runtime that ends needs no certificate.
            let Ok((looked, new)) = looking.await else { return };
            watch = looked;
            if let Some(config) = new {
                let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
                *current = Arc::from(config);
                drop(current);
                tracing::info!("new connections are served with the new files of server.tls");
            }
        }
    }
}

/// What the files had, look by look. They are not written at once, and a chain of which a part is
/// missing can be used: what is new counts when two looks in a row find the same.
struct Watch {
    files: Arc<TlsConfig>,
    used: Digest,
    /// What the last look found, if that isn't used.
    found: Option<Found>,
}

/// What files had, or why it isn't known.
type Seen = Result<Digest, String>;

struct Found {
    seen: Seen,
    /// `None`: it was told of.
    made: Option<Result<(Digest, Box<ServerConfig>), Error>>,
}

impl Watch {
    /// Gives what is to be taken up.
    fn look(&mut self) -> Option<Box<ServerConfig>> {
        let contents = Contents::read(&self.files);
        let seen = contents.as_ref().map(Contents::digest).map_err(Error::chain);
        if seen.as_ref() == Ok(&self.used) {
            self.found = None;
            return None;
        }
        let Some(found) = self.found.as_mut().filter(|found| found.seen == seen) else {
            let made = contents.and_then(|contents| {
                let config = contents.server_config(&self.files)?;
                Ok((contents.digest(), Box::new(config)))
            });
            self.found = Some(Found { seen, made: Some(made) });
            return None;
        };
        match found.made.take()? {
            Ok((digest, config)) => {
                self.used = digest;
                self.found = None;
                Some(config)
            }
            Err(error) => {
                tracing::warn!(
                    error = &*shown(&error.chain()),
                    "the new files of server.tls can't be used: new connections are served with what \
                     the old ones had"
                );
                None
            }
        }
    }
}

/// What is in the files.
struct Contents {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

impl Contents {
    fn read(files: &TlsConfig) -> Result<Self, Error> {
        let read = |path: &Path, setting| {
            certificates::read(path)
                .map_err(|problem| certificates::unusable(path, setting, problem))
        };
        let (pair, client_ca) = (&files.certificate, files.client_ca.as_ref());
        Ok(Self {
            certificate: read(&pair.certificate, "server.tls.certificate")?,
            key: read(&pair.key, "server.tls.key")?,
            client_ca: client_ca.map(|path| read(path, "server.tls.client_ca")).transpose()?,
        })
    }

    fn digest(&self) -> Digest {
        let mut all = digest::Context::new(&digest::SHA256);
        for file in [&self.certificate, &self.key].into_iter().chain(&self.client_ca) {
            all.update(&file.len().to_be_bytes());
            all.update(file);
        }
        let mut digest = Digest::default();
        digest.iter_mut().zip(all.finish().as_ref()).for_each(|(to, from)| *to = *from);
        digest
    }

    /// Makes what connections are served with. Each has sessions to resume of its own, so that who
    /// resumes one was let in by these files.
    fn server_config(&self, files: &TlsConfig) -> Result<ServerConfig, Error> {
        let pair = Pair::read(&self.certificate, &self.key).map_err(|problem| match problem {
            PairProblem::Certificate(problem) => certificates::unusable(
                &files.certificate.certificate,
                "server.tls.certificate",
                problem,
            ),
            PairProblem::Key(problem) => {
                certificates::unusable(&files.certificate.key, "server.tls.key", problem)
            }
        })?;
        let failed = |error: BoxError| Error::config("could not set up TLS to clients").with(error);
        // Named, so that what else a program links doesn't matter.
        let provider = Arc::new(provider::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| failed(error.into()))?;
        let builder = match (&self.client_ca, &files.client_ca) {
            (Some(pem), Some(path)) => {
                let roots = certificates::roots(pem).map_err(|problem| {
                    certificates::unusable(path, "server.tls.client_ca", problem)
                })?;
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                        .build()
                        .map_err(|error| failed(error.into()))?;
                builder.with_client_cert_verifier(verifier)
            }
            _ => builder.with_no_client_auth(),
        };
        let resolver = SingleCertAndKey::from(pair.certified());
        let mut config = builder.with_cert_resolver(Arc::new(resolver));
        config.alpn_protocols = vec![H2.to_vec(), HTTP_1_1.to_vec()];
        Ok(config)
    }
}

/// What a client chose, of what it and the gateway speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Agreed {
    Http1,
    Http2,
    /// It doesn't know that one can.
    Nothing,
}

impl Agreed {
    fn of(connection: &ServerConnection) -> Self {
        match connection.alpn_protocol() {
            Some(H2) => Self::Http2,
            Some(_) => Self::Http1,
            None => Self::Nothing,
        }
    }
}

/// Agrees with a client on keys, within `patience`; `None` if that fails. Who asks in plain HTTP is told
/// what is spoken here.
pub(super) async fn accept(
    stream: TcpStream,
    config: Arc<ServerConfig>,
    patience: Duration,
) -> Option<(ClientStream, Agreed)> {
    let deadline = Instant::now() + patience;
    let mut first = [0];
    if !matches!(timeout_at(deadline, stream.peek(&mut first)).await, Ok(Ok(1))) {
        return None;
    }
    if first != [HANDSHAKE] {
        if PLAIN_SPOKEN.is_due() {
            tracing::info!(
                "a client speaks no TLS where HTTPS is spoken: its URL begins with https://"
            );
        }
        let _ = timeout_at(deadline, refuse_plain(stream)).await;
        return None;
    }
    let acceptor = TlsAcceptor::from(config);
    match timeout_at(deadline, acceptor.accept(Socket::new(stream))).await {
        Ok(Ok(stream)) => {
            let agreed = Agreed::of(stream.get_ref().1);
            Some((ClientStream::Tls(Box::new(stream)), agreed))
        }
        Ok(Err(error)) => {
            let error = chain(&error);
            if FAILED.is_due() {
                tracing::info!(
                    error = &*shown(&error),
                    "a client and the gateway did not agree on TLS"
                );
            } else {
                tracing::debug!(error = &*shown(&error), "no handshake");
            }
            None
        }
        Err(_) => {
            tracing::debug!("a handshake took too long");
            None
        }
    }
}

/// Answers a request that came without TLS, and takes some of what is yet to come of it, since to close
/// on it would take the answer away.
async fn refuse_plain(mut stream: TcpStream) -> std::io::Result<()> {
    let message =
        "This port speaks HTTPS, and the request came in plain HTTP: the URL begins with https://.";
    let refusal = Rejection::new(Code::InvalidInput).with_status(http::StatusCode::BAD_REQUEST);
    let style = RefusalStyle::of(&Request::new(()));
    let bytes = written(refusal.message(message).into_response(&style)).await;
    stream.write_all(&bytes).await?;
    stream.shutdown().await?;
    tokio::io::copy(&mut stream.take(MAX_PLAIN_BYTES), &mut tokio::io::sink()).await.map(drop)
}

/// Gives a response as it is on the wire, after which the connection is closed.
async fn written(response: Response<Full<bytes::Bytes>>) -> Vec<u8> {
    let (head, body) = response.into_parts();
    let Ok(body) = body.collect().await;
    let body = body.to_bytes();
    let mut bytes = format!("HTTP/1.1 {}\r\n", head.status).into_bytes();
    for (name, value) in &head.headers {
        for piece in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            bytes.extend_from_slice(piece);
        }
    }
    let end = format!("content-length: {}\r\nconnection: close\r\n\r\n", body.len());
    bytes.extend_from_slice(end.as_bytes());
    bytes.extend_from_slice(&body);
    bytes
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

    use super::*;
    use crate::config::CertificateConfig;

    #[test]
    fn what_is_being_written_is_not_taken_up() {
        let ca_key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = params.self_signed(&ca_key).unwrap().pem();
        let issuer = Issuer::new(params, ca_key);
        let key = KeyPair::generate().unwrap();
        let sign = || {
            let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
            params.signed_by(&key, &issuer).unwrap().pem()
        };
        let folder = std::env::temp_dir().join(format!("chatkit-rest-tls-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let pair = CertificateConfig {
            certificate: folder.join("server.pem"),
            key: folder.join("server.key"),
        };
        let put = |text: &str| std::fs::write(&pair.certificate, text).unwrap();
        let (first, second) = (format!("{}{authority}", sign()), sign());
        let whole = format!("{second}{authority}");
        std::fs::write(&pair.key, key.serialize_pem()).unwrap();
        put(&first);
        let files = TlsConfig { certificate: pair.clone(), client_ca: None };
        let used = Contents::read(&files).unwrap().digest();
        let mut watch = Watch { files: Arc::new(files), used, found: None };
        let mut looks = |text: &str| {
            put(text);
            watch.look().is_some()
        };
        // Cut between two certificates, and within one.
        assert_eq!([&*second, &whole[..whole.len() - 9]].map(&mut looks), [false; 2]);
        assert_eq!([&*whole, &whole, &whole].map(&mut looks), [false, true, false]);
        // What was there comes back before anything was taken up.
        assert_eq!([&*first, &whole, &first, &whole].map(&mut looks), [false; 4]);
        assert_eq!(
            ["", "", "", &first, &first].map(&mut looks),
            [false, false, false, false, true]
        );
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
