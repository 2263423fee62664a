//! The same over TLS. The key and certificates in `tls/` are for `localhost`, made by
//! `openssl req -x509 …` for these tests alone, good for a hundred years, and trusted by nobody.

use std::sync::Arc;

use chatkit_rest::forward::{ForwardErrorKind as Kind, HttpUpstream, UpstreamUrl};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::server::TlsStream;

use crate::support::*;

struct Secure {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl Secure {
    async fn bind() -> Self {
        let certificate = CertificateDer::from_pem_slice(include_bytes!("tls/server.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_slice(include_bytes!("tls/server.key")).unwrap();
        let config = ServerConfig::builder_with_provider(aws_lc_rs::default_provider().into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        // `localhost` may be ::1 first, where nobody listens: the next address is tried.
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self { listener, acceptor: Arc::new(config).into() }
    }

    fn url(&self, host: &str) -> UpstreamUrl {
        let port = self.listener.local_addr().unwrap().port();
        UpstreamUrl::parse(&format!("https://{host}:{port}/chatkit")).unwrap()
    }

    async fn accept(&self) -> std::io::Result<TlsStream<TcpStream>> {
        let (tcp, _) = soon(self.listener.accept()).await.unwrap();
        soon(self.acceptor.accept(tcp)).await
    }
}

fn client(url: UpstreamUrl) -> HttpUpstream {
    let mut roots = RootCertStore::empty();
    let authority = include_bytes!("tls/authority.pem");
    roots.add(CertificateDer::from_pem_slice(authority).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(aws_lc_rs::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    HttpUpstream::builder(url).tls_config(config.into()).build().unwrap()
}

async fn read_request(tls: &mut TlsStream<TcpStream>) -> String {
    let mut request = Vec::new();
    while !request.ends_with(b"{\"type\":\"x\"}") {
        request.push(soon(tls.read_u8()).await.unwrap());
    }
    String::from_utf8(request).unwrap()
}

#[tokio::test]
async fn requests_share_an_encrypted_connection() {
    let upstream = Secure::bind().await;
    let client = client(upstream.url("localhost"));
    let mut connection = None;
    for _ in 0..3 {
        let call = call(&client, request());
        let tls = match &mut connection {
            Some(tls) => tls,
            none => none.insert(upstream.accept().await.unwrap()),
        };
        let received = read_request(tls).await;
        assert!(received.starts_with("POST /chatkit HTTP/1.1\r\n"));
        assert!(received.contains("host: localhost:"));
        tls.write_all(JSON.as_bytes()).await.unwrap();
        let mut body = soon(call).await.unwrap().unwrap().into_body();
        assert_eq!(drain(&mut body).await, (b"{}".to_vec(), None));
        assert_eq!(client.idle_connections(), 1);
    }
}

// Anybody on the way can close a connection; only the upstream can say that it is the end.
#[tokio::test]
async fn an_end_that_tls_does_not_vouch_for_is_a_cut() {
    for announced in [true, false] {
        let upstream = Secure::bind().await;
        let client = client(upstream.url("localhost"));
        let call = call(&client, request());
        let mut tls = upstream.accept().await.unwrap();
        read_request(&mut tls).await;
        tls.write_all(b"HTTP/1.1 200 OK\r\n\r\ndata: one\n\n").await.unwrap();
        let mut body = soon(call).await.unwrap().unwrap().into_body();
        if announced {
            tls.shutdown().await.unwrap();
        }
        drop(tls);
        let (bytes, end) = drain(&mut body).await;
        assert_eq!(bytes, b"data: one\n\n");
        assert_eq!(end, (!announced).then_some(Kind::BodyCut));
    }
}

#[tokio::test]
async fn a_certificate_must_be_trusted_and_for_the_name() {
    let upstream = Secure::bind().await;
    // Its certificate is for the name alone.
    let by_address = client(upstream.url("127.0.0.1"));
    // The system knows nothing of our authority.
    let by_system = HttpUpstream::builder(upstream.url("localhost")).build();
    for client in [Some(by_address), by_system.ok()].into_iter().flatten() {
        let call = call(&client, request());
        upstream.accept().await.unwrap_err();
        assert_eq!(kind(soon(call).await.unwrap()), Kind::Connect);
        let probe = tokio::spawn(async move { client.check_reachable().await });
        upstream.accept().await.unwrap_err();
        assert_eq!(soon(probe).await.unwrap().unwrap_err().kind(), Kind::Connect);
    }
}

#[tokio::test]
async fn a_server_without_tls_is_not_talked_to() {
    let upstream = Upstream::bind().await;
    let url = format!("https://localhost:{}/", upstream.address().port());
    let client = client(UpstreamUrl::parse(&url).unwrap());
    let call = call(&client, request());
    let mut peer = upstream.accept().await;
    peer.send("HTTP/1.1 400 Bad Request\r\n\r\n").await;
    let error = soon(call).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), Kind::Connect);
    assert_eq!(error.proxy_error().as_str(), "tls_protocol_error");
    let said = std::error::Error::source(&error).unwrap().to_string();
    assert!(said.contains("its URL begins with http:// (received corrupt message"), "{said}");
}

#[tokio::test]
async fn a_server_with_tls_is_known_by_its_answer() {
    let upstream = Upstream::bind().await;
    let url = format!("http://localhost:{}/", upstream.address().port());
    let client = client(UpstreamUrl::parse(&url).unwrap());
    let call = call(&client, request());
    let mut peer = upstream.accept().await;
    // A fatal alert: that is no handshake.
    peer.send("\x15\x03\x01\0\x02\x02\x46").await;
    let error = soon(call).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), Kind::Head);
    assert_eq!(error.proxy_error().as_str(), "http_protocol_error");
    let said = std::error::Error::source(&error).unwrap().to_string();
    assert!(said.ends_with("if it speaks TLS, its URL begins with https://"), "{said}");
}
