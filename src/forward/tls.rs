use std::fmt;
use std::io;
use std::sync::Arc;

use rustls_platform_verifier::BuilderVerifierExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, Error as RustlsError, InvalidMessage};

use super::UpstreamUrl;
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
            None => Arc::new(platform_config().map_err(|error| {
                Error::config("could not read the system's trusted certificates").with(error)
            })?),
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

/// Names the provider, so that what else a program links doesn't matter.
fn platform_config() -> Result<ClientConfig, tokio_rustls::rustls::Error> {
    let mut config = ClientConfig::builder_with_provider(aws_lc_rs::default_provider().into())
        .with_safe_default_protocol_versions()?
        .with_platform_verifier()?
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
