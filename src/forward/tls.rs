use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::sign::SingleCertAndKey;
use tokio_rustls::rustls::{ClientConfig, Error as RustlsError, InvalidMessage};

use super::UpstreamUrl;
use crate::certificates::{self, Pair, PairProblem};
use crate::error::Error;

/// TLS to one server name.
pub(super) struct Tls {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl Tls {
    /// Trusts what `config` trusts, else what the operating system does.
    pub(super) fn new(url: &UpstreamUrl, config: Option<Arc<ClientConfig>>) -> Result<Self, Error> {
        let name = ServerName::try_from(url.host().to_owned())
            .map_err(|error| Error::config("the upstream URL's host is no name").with(error))?;
        let config = match config {
            Some(config) => config,
            None => Arc::new(client_config(None, None)?),
        };
        Ok(Self { connector: TlsConnector::from(config), name })
    }

    pub(super) async fn handshake(&self, tcp: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        self.connector.connect(self.name.clone(), tcp).await.map_err(hinted)
    }
}

/// The upstream answered with something that isn't TLS.
#[derive(Debug)]
pub(super) struct NoTls(RustlsError);

impl fmt::Display for NoTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "it does not answer in TLS; if it speaks plain HTTP, its URL begins with http:// ({})",
            self.0
        )
    }
}

impl std::error::Error for NoTls {}

/// Marks what a server without TLS makes of a handshake.
fn hinted(error: io::Error) -> io::Error {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref());
    match tls {
        Some(no_tls @ RustlsError::InvalidMessage(InvalidMessage::InvalidContentType)) => {
            io::Error::new(error.kind(), NoTls(no_tls.clone()))
        }
        _ => error,
    }
}

/// Makes what trusts the authorities of the file `ca`, else those that the system does, and shows the
/// certificate `shown`, with its key, to a server that asks for one.
///
/// # Errors
/// If a file can't be read or used.
pub(crate) fn client_config(
    ca: Option<&Path>,
    shown: Option<(&Path, &Path)>,
) -> Result<ClientConfig, Error> {
    let builder = certificates::trusting(ca, "the certificates of the upstream's authorities")?;
    let mut config = match shown {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let of_certificate = |problem| {
                certificates::unusable(certificate, "the certificate for the upstream", problem)
            };
            let of_key = |problem| certificates::unusable(key, "the key for the upstream", problem);
            let certificate = certificates::read(certificate).map_err(of_certificate)?;
            let key = certificates::read(key).map_err(of_key)?;
            let pair = Pair::read(&certificate, &key).map_err(|problem| match problem {
                PairProblem::Certificate(problem) => of_certificate(problem),
                PairProblem::Key(problem) => of_key(problem),
            })?;
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(pair.certified())))
        }
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
