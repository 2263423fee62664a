//! TLS to the database: its certificate is verified wherever TLS is used.

use std::path::Path;

use tokio_postgres_rustls::MakeRustlsConnect;

use crate::certificates;
use crate::error::Error;

/// Makes what connects, once for all connections.
///
/// # Errors
/// If the certificates that are to be trusted can't be read.
pub(super) fn connector(ca: Option<&Path>) -> Result<MakeRustlsConnect, Error> {
    let mut config = certificates::trusting(ca, "the certificates of the database's authorities")?
        .with_no_client_auth();
    // Asked for by servers that begin with TLS at once.
    config.alpn_protocols = vec![b"postgresql".to_vec()];
    Ok(MakeRustlsConnect::new(config))
}
