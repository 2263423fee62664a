//! Certificates made for a test, and clients that go by them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion, version::TLS13};

use super::{Client, Folder, Gateway, Upstream, Wire, soon};

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// An authority that nobody else knows.
pub(crate) struct Authority {
    pub(crate) pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, in PEM.
#[derive(Clone)]
pub(crate) struct Certificate {
    pub(crate) pem: String,
    pub(crate) key: String,
}

impl Certificate {
    pub(crate) fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap()
    }

    pub(crate) fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap()
    }
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// Makes a certificate for these names, until the end of a year.
    pub(crate) fn sign_until(&self, names: &[&str], year: i32) -> Certificate {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, "leaf");
        params.not_after = rcgen::date_time_ymd(year, 12, 31);
        let key = KeyPair::generate().unwrap();
        let pem = params.signed_by(&key, &self.issuer).unwrap().pem();
        Certificate { pem, key: key.serialize_pem() }
    }

    pub(crate) fn sign(&self, names: &[&str]) -> Certificate {
        self.sign_until(names, 2999)
    }

    pub(crate) fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap()).unwrap();
        roots
    }

    /// Makes a client that trusts it.
    pub(crate) fn client(&self) -> TlsClient {
        let roots = self.roots();
        TlsClient { roots, alpn: Vec::new(), version: &TLS13, shown: None, name: "localhost" }
    }
}

/// A client of one kind.
#[derive(Clone)]
pub(crate) struct TlsClient {
    roots: RootCertStore,
    alpn: Vec<Vec<u8>>,
    version: &'static SupportedProtocolVersion,
    shown: Option<Certificate>,
    name: &'static str,
}

impl TlsClient {
    pub(crate) fn speaking(mut self, protocols: &[&str]) -> Self {
        self.alpn = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        self
    }

    pub(crate) fn version(self, version: &'static SupportedProtocolVersion) -> Self {
        Self { version, ..self }
    }

    pub(crate) fn showing(self, certificate: &Certificate) -> Self {
        Self { shown: Some(certificate.clone()), ..self }
    }

    pub(crate) fn looking_for(self, name: &'static str) -> Self {
        Self { name, ..self }
    }

    pub(crate) async fn connect(&self, address: SocketAddr) -> std::io::Result<Wire> {
        self.connect_by(&self.connector(), address).await
    }

    /// Makes what resumes the sessions that it had.
    pub(crate) fn connector(&self) -> TlsConnector {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[self.version])
            .unwrap()
            .with_root_certificates(self.roots.clone());
        let mut config = match &self.shown {
            None => builder.with_no_client_auth(),
            Some(pair) => {
                builder.with_client_auth_cert(vec![pair.der()], pair.private_key()).unwrap()
            }
        };
        config.alpn_protocols.clone_from(&self.alpn);
        TlsConnector::from(Arc::new(config))
    }

    pub(crate) async fn connect_by(
        &self,
        connector: &TlsConnector,
        address: SocketAddr,
    ) -> std::io::Result<Wire> {
        let tcp = soon(TcpStream::connect(address)).await?;
        let name = ServerName::try_from(self.name).unwrap();
        let tls = soon(connector.connect(name, tcp)).await?;
        Ok(Wire::Tls(Box::new(tls)))
    }

    /// Speaks HTTP/1.1.
    pub(crate) async fn http1(&self, address: SocketAddr) -> Client {
        Client::over(self.connect(address).await.unwrap())
    }
}

/// The files of a gateway with TLS.
pub(crate) struct Files {
    folder: Folder,
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Files {
    pub(crate) fn of(certificate: &Certificate) -> Self {
        let folder = Folder::new();
        let files =
            Self { certificate: folder.path("server.pem"), key: folder.path("server.key"), folder };
        files.put(certificate);
        files
    }

    pub(crate) fn put(&self, certificate: &Certificate) {
        std::fs::write(&self.certificate, &certificate.pem).unwrap();
        std::fs::write(&self.key, &certificate.key).unwrap();
    }

    /// Writes another file beside them, and gives its path.
    pub(crate) fn add(&self, name: &str, text: &str) -> String {
        let path = self.folder.path(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    pub(crate) async fn gateway(
        &self,
        upstream: &Upstream,
        settings: &[(&'static str, &str)],
    ) -> Gateway {
        let (certificate, key) = (self.certificate.to_str().unwrap(), self.key.to_str().unwrap());
        let mut all = vec![("server.tls.certificate", certificate), ("server.tls.key", key)];
        all.extend(settings);
        Gateway::with(upstream, &all).await
    }
}
