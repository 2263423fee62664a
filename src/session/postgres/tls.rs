//! TLS to the database: its certificate is verified wherever TLS is used.

use std::path::Path;
use std::sync::Arc;

use rustls_platform_verifier::BuilderVerifierExt as _;
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::error::Error;

/// Makes what connects, once for all connections.
///
/// # Errors
/// If the certificates that are to be trusted can't be read.
pub(super) fn connector(ca: Option<&Path>) -> Result<MakeRustlsConnect, Error> {
    // Names the provider, so that what else a program links doesn't matter.
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::config("could not set up TLS to the database").with(error))?;
    let mut config = match ca {
        Some(path) => builder.with_root_certificates(roots(path)?).with_no_client_auth(),
        None => builder
            .with_platform_verifier()
            .map_err(|error| {
                Error::config("could not read the system's trusted certificates").with(error)
            })?
            .with_no_client_auth(),
    };
    // Asked for by servers that begin with TLS at once.
    config.alpn_protocols = vec![b"postgresql".to_vec()];
    Ok(MakeRustlsConnect::new(config))
}

fn roots(path: &Path) -> Result<RootCertStore, Error> {
    let failed = || format!("could not read the database's certificates from {}", path.display());
    let pem = std::fs::read(path).map_err(|error| Error::io(failed(), error))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| Error::config(failed()).with(error))?;
        roots.add(certificate).map_err(|error| Error::config(failed()).with(error))?;
    }
    if roots.is_empty() {
        return Err(Error::config(format!("{}: there are none", failed())));
    }
    Ok(roots)
}
