//! TLS to clients: that all is the same in it, who is let in, and certificates that change.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{HandshakeKind, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::support::frames::PREFACE;
use crate::support::tls::{Authority, Files, TlsClient, provider};
use crate::support::{
    Client, End, Gateway, Http2, Line, MESSAGE_DELTA, MESSAGE_START, SECRET, STREAM_HEAD,
    TestRequest, Upstream, Wire, chunk, data, lines_like, log_of, preamble, read, soon,
    stream_answer,
};

/// Gives the certificate that a client was shown.
fn shown(wire: &Wire) -> Vec<u8> {
    let Wire::Tls(tls) = wire else { panic!("no TLS") };
    tls.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

fn agreed(wire: &Wire) -> Option<String> {
    let Wire::Tls(tls) = wire else { panic!("no TLS") };
    let protocol = tls.get_ref().1.alpn_protocol();
    protocol.map(|name| String::from_utf8(name.to_vec()).unwrap())
}

/// Asks something that needs nobody.
async fn is_served(wire: Wire) -> bool {
    let mut client = Client::over(wire);
    client.try_send("GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await
        && client.try_head("GET").await.is_ok_and(|head| head.status == 200)
}

#[tokio::test]
async fn every_kind_of_client_is_served() {
    let upstream = Upstream::bind().await;
    let authority = Authority::new("tests");
    let files = Files::of(&authority.sign(&["localhost", "other.example"]));
    let gateway = files.gateway(&upstream, &[]).await;
    for version in [&TLS12, &TLS13] {
        for (speaks, expected) in [
            (&["h2", "http/1.1"][..], Some("h2")),
            (&["h2"], Some("h2")),
            (&["http/1.1"], Some("http/1.1")),
            (&["http/1.1", "h2"], Some("h2")),
            (&[], None),
        ] {
            let client = authority.client().version(version).speaking(speaks);
            let client = client.looking_for("other.example");
            let wire = client.connect(gateway.address).await.unwrap();
            assert_eq!(agreed(&wire).as_deref(), expected);
            if expected == Some("h2") {
                let client = Http2::over(gateway.address, wire).await;
                let (head, _) = soon(client.post("ada", "/sessions", "{}"))
                    .await
                    .unwrap()
                    .unwrap()
                    .into_parts();
                assert_eq!(head.status, 200);
            } else {
                assert!(is_served(wire).await);
            }
        }
        // With prior knowledge, as without TLS.
        let wire = authority.client().version(version).connect(gateway.address).await.unwrap();
        let client = Http2::over(gateway.address, wire).await;
        let get = client.request("GET", "/sessions", "ada").body(Full::default()).unwrap();
        assert_eq!(soon(client.send(get)).await.unwrap().unwrap().status(), 200);
    }
    // What is spoken is what was agreed on.
    for (speaks, says) in
        [("h2", &b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"[..]), ("http/1.1", PREFACE)]
    {
        let client = authority.client().speaking(&[speaks]);
        let mut client = Client::over(client.connect(gateway.address).await.unwrap());
        client.send(says).await;
        let (answer, _) = client.everything().await;
        assert!(!answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    }
    authority.client().speaking(&["spdy/3"]).connect(gateway.address).await.map(drop).unwrap_err();
    authority
        .client()
        .looking_for("third.example")
        .connect(gateway.address)
        .await
        .map(drop)
        .unwrap_err();
}

#[tokio::test]
async fn a_stream_and_its_end_are_the_same() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::secure(&upstream, &[]).await;
    for cut in [false, true] {
        let session = gateway.session("ada").await;
        let mut client = gateway.say("ada", &session).await;
        let (mut peer, received) = upstream.request().await;
        assert_eq!(received.field("x-forwarded-proto"), Some("https"));
        assert_eq!(received.field("forwarded"), Some("host=\"localhost\";proto=https"));
        peer.send(STREAM_HEAD).await;
        let first = format!("{}{MESSAGE_START}", preamble(if cut { "thr_1" } else { "thr_2" }));
        peer.send_chunk(&first).await;
        assert_eq!(client.head().await.status, 200);
        client.expect_body(&first).await;
        for _ in 0..3 {
            peer.send_chunk(MESSAGE_DELTA).await;
            client.expect_body(MESSAGE_DELTA).await;
        }
        if cut {
            peer.send("zz\r\n").await;
            // Nobody vouches for it.
            assert_eq!(client.chunk().await, Err(End::Reset));
        } else {
            peer.send_end().await;
            assert_eq!(client.chunk().await, Err(End::Clean));
        }
    }

    let http2 = Http2::over(gateway.address, gateway.connect_http2().await).await;
    for cut in [false, true] {
        let session = gateway.session("eve").await;
        let answer = http2.say("eve", &session);
        let (mut peer, received) = upstream.request().await;
        // Whatever the request says of itself.
        assert_eq!(received.field("x-forwarded-proto"), Some("https"));
        peer.send(STREAM_HEAD).await;
        let first = format!("{}{MESSAGE_START}", preamble(if cut { "thr_3" } else { "thr_4" }));
        peer.send_chunk(&first).await;
        let mut body = soon(answer).await.unwrap().unwrap().into_body();
        let frame = soon(body.frame()).await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(frame, first);
        if cut {
            peer.send("zz\r\n").await;
        } else {
            peer.send_end().await;
        }
        let (rest, error) = read(&mut body).await;
        assert!(rest.is_empty());
        assert_eq!(error.is_some(), cut);
    }
}

#[tokio::test]
async fn who_leaves_frees_the_upstream() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::secure(&upstream, &[]).await;
    let session = gateway.session("ada").await;
    let client = gateway.say("ada", &session).await;
    let (mut peer, _) = upstream.request().await;
    peer.send(STREAM_HEAD).await;
    peer.fill(&gateway, &chunk(data(&"x".repeat(16_000)))).await;
    client.reset();
    peer.expect_closed().await;
}

// TLS has a buffer of its own, in which all there is may wait for a client that takes a little.
#[tokio::test]
async fn who_takes_a_little_all_the_time_is_not_cut_and_who_takes_nothing_is() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::secure(&upstream, &[("server.write_timeout", "3s")]).await;
    let session = gateway.session("ada").await;
    let mut client = gateway.say("ada", &session).await;
    let (mut peer, _) = upstream.request().await;
    peer.send(STREAM_HEAD).await;
    peer.send_chunk(format!("{}{MESSAGE_START}", preamble("thr_1"))).await;
    let (_read, mut write) = peer.into_split();
    let sending = tokio::spawn(async move {
        let piece = chunk(data(&"x".repeat(16_000)));
        while write.write_all(&piece).await.is_ok() {}
    });
    // For longer than it may take nothing. A window opens by 64 kB at a time, which are taken in a tenth
    // of that: nobody's turn has to come in time.
    let mut every = tokio::time::interval(Duration::from_millis(40));
    for _ in 0..110 {
        every.tick().await;
        client.take(8000).await;
    }
    assert!(!sending.is_finished());
    // And now it doesn't.
    soon(sending).await.unwrap();
    drop(client);
}

#[tokio::test]
async fn who_speaks_no_tls_is_told() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::secure(&upstream, &[]).await;
    for request in [
        TestRequest::new("GET", "/sessions").user("ada").bytes(),
        // Larger than what is read at once.
        TestRequest::new("POST", "/sessions").user("ada").json(&"x".repeat(30_000)).bytes(),
        PREFACE.to_vec(),
    ] {
        let mut client = Client::connect(gateway.address).await;
        client.send(request).await;
        let reply = client.reply().await;
        assert_eq!((reply.status, reply.field("connection")), (400, Some("close")));
        let error = &reply.json()["error"];
        assert!(error["message"].as_str().unwrap().contains("begins with https://"), "{error}");
        client.finish_sending().await;
        client.expect_end().await;
    }
    let said = "a client speaks no TLS where HTTPS is spoken: its URL begins with https://";
    assert_eq!(log_of("message", said).await.len(), 1);
    upstream.expect_no_connection();
}

#[tokio::test]
async fn a_handshake_that_stalls_has_its_place_for_the_time_of_a_head_and_holds_nobody_up() {
    let upstream = Upstream::bind().await;
    let settings = [
        ("server.header_timeout", "300ms"),
        ("server.max_connections", "20"),
        ("server.idle_timeout", "1h"),
    ];
    let gateway = Gateway::secure(&upstream, &settings).await;
    let mut stalled = Vec::new();
    // One says nothing, others half of what they should, others more by and by.
    for n in 0..19 {
        let mut tcp = soon(TcpStream::connect(gateway.address)).await.unwrap();
        if n > 0 {
            tcp.write_all(&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..n.min(11)])
                .await
                .unwrap();
        }
        stalled.push(tcp);
    }
    // Beside them there is one place, and nobody waits for it.
    assert_eq!(gateway.get("ada", "/sessions").await.status, 200);
    let begun = tokio::time::Instant::now();
    for tcp in &mut stalled {
        let ended = soon(async {
            let mut byte = [0];
            loop {
                // More of it doesn't give it more time.
                let _gone = tcp.write_all(b"\0").await;
                match tokio::time::timeout(Duration::from_millis(10), tcp.read(&mut byte)).await {
                    Ok(Ok(1)) | Err(_) => {}
                    Ok(_) => break,
                }
            }
        });
        ended.await;
    }
    assert!(begun.elapsed() < Duration::from_secs(10));
    for _ in 0..40 {
        assert_eq!(gateway.get("ada", "/sessions").await.status, 200);
    }
}

#[tokio::test]
async fn a_drain_waits_for_no_handshake_and_for_streams() {
    let upstream = Upstream::bind().await;
    let mut gateway = Gateway::secure(&upstream, &[("server.drain_timeout", "1h")]).await;
    let session = gateway.session("ada").await;
    let mut silent = Client::connect(gateway.address).await;
    let mut idle = gateway.connect().await;
    let mut client = gateway.say("ada", &session).await;
    let (mut peer, _) = upstream.request().await;
    peer.send(STREAM_HEAD).await;
    let first = format!("{}{MESSAGE_START}", preamble("thr_1"));
    peer.send_chunk(&first).await;
    client.head().await;
    client.expect_body(&first).await;
    gateway.stop();
    silent.expect_end().await;
    idle.expect_end().await;
    peer.send_chunk(MESSAGE_DELTA).await;
    client.expect_body(MESSAGE_DELTA).await;
    peer.send_end().await;
    assert_eq!(client.chunk().await, Err(End::Clean));
    client.expect_end().await;
    gateway.stopped().await;
}

#[tokio::test]
async fn who_has_no_certificate_of_the_authority_is_not_let_in() {
    let upstream = Upstream::bind().await;
    let (authority, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let files = Files::of(&authority.sign(&["localhost"]));
    let client_ca = files.add("clients.pem", &theirs.pem);
    let settings = [("server.tls.client_ca", &*client_ca), ("admin.listen", "127.0.0.1:0")];
    let gateway = files.gateway(&upstream, &settings).await;
    for version in [&TLS12, &TLS13] {
        let client = authority.client().version(version);
        let with = |certificate| client.clone().showing(&certificate);
        for (let_in, client) in [
            (true, with(theirs.sign(&["client"]))),
            (false, client.clone()),
            // By the gateway's own authority, by one of the same name, and one that is over.
            (false, with(authority.sign(&["client"]))),
            (false, with(Authority::new("theirs").sign(&["client"]))),
            (false, with(theirs.sign_until(&["client"], 2020))),
        ] {
            // In TLS 1.3 a client learns it from the answer.
            let served = match client.connect(gateway.address).await {
                Ok(wire) => {
                    let mut client = Client::over(wire);
                    let request = TestRequest::new("GET", "/sessions").user("ada");
                    client.try_send(request.bytes()).await;
                    client.try_head("GET").await.ok().map(|head| head.status)
                }
                Err(_) => None,
            };
            assert_eq!(served, let_in.then_some(200));
        }
        // It lets a connection in, and nobody else.
        let mut client = with(theirs.sign(&["ada"])).http1(gateway.address).await;
        client.send(TestRequest::new("GET", "/sessions").bytes()).await;
        client.reply().await.refusal(401, "UNAUTHORIZED");
    }
    // What looks after the gateway needs none.
    let admin = gateway.admin.unwrap();
    assert!(is_served(Wire::connect(admin).await).await);
    log_of("message", "a client and the gateway did not agree on TLS").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_of_an_authority_that_was_replaced_is_not_resumed() {
    let upstream = Upstream::bind().await;
    let (authority, old, new) =
        (Authority::new("ours"), Authority::new("old"), Authority::new("new"));
    let files = Files::of(&authority.sign(&["localhost"]));
    let client_ca = files.add("clients.pem", &old.pem);
    let gateway = files.gateway(&upstream, &[("server.tls.client_ca", &client_ca)]).await;
    let clients = |theirs: &Authority| {
        let shown = theirs.sign(&["client"]);
        [&TLS12, &TLS13].map(|version| {
            let client = authority.client().version(version).showing(&shown);
            let connector = client.connector();
            (client, connector)
        })
    };
    // Tells whether a client is served, and by a session that it had.
    let asks = async |(client, connector): &(TlsClient, TlsConnector)| {
        let Ok(wire) = client.connect_by(connector, gateway.address).await else { return None };
        let Wire::Tls(tls) = &wire else { panic!("no TLS") };
        let is_resumed = tls.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed);
        is_served(wire).await.then_some(is_resumed)
    };
    let (olds, news) = (clients(&old), clients(&new));
    for client in &olds {
        assert_eq!([asks(client).await, asks(client).await], [Some(false), Some(true)]);
    }
    for client in &news {
        assert_eq!(asks(client).await, None);
    }
    files.add("clients.pem", &new.pem);
    soon(async { while asks(&news[0]).await.is_none() {} }).await;
    for client in &olds {
        assert_eq!([asks(client).await, asks(client).await], [None; 2]);
    }
    for client in clients(&new) {
        assert_eq!([asks(&client).await, asks(&client).await], [Some(false), Some(true)]);
    }
    for client in clients(&old) {
        assert_eq!(asks(&client).await, None);
    }
}

/// Connects until the certificate is this one; every connection is served.
async fn until_shown(authority: &Authority, gateway: &Gateway, expected: &[u8]) {
    soon(async {
        loop {
            let wire = authority.client().connect(gateway.address).await.unwrap();
            let shown = shown(&wire);
            assert!(is_served(wire).await);
            if shown == expected {
                break;
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_certificate_is_shown_to_new_connections_and_a_broken_one_to_none() {
    let upstream = Upstream::bind().await;
    let authority = Authority::new("tests");
    let (first, second, third) = (
        authority.sign(&["localhost"]),
        authority.sign(&["localhost"]),
        authority.sign(&["localhost"]),
    );
    let files = Files::of(&first);
    let gateway = files.gateway(&upstream, &[]).await;
    let wire = authority.client().connect(gateway.address).await.unwrap();
    assert_eq!(shown(&wire), first.der().to_vec());
    let mut old = Client::over(wire);

    files.put(&second);
    until_shown(&authority, &gateway, &second.der()).await;
    // Who was there stays.
    old.send(TestRequest::new("GET", "/sessions").user("ada").bytes()).await;
    assert_eq!(old.reply().await.status, 200);

    let failed = async |error: &str| {
        let said = "the new files of server.tls can't be used: new connections are served with what \
                    the old ones had";
        let is_it = |line: &Line| line.get("message") == said && line.get("error").contains(error);
        assert_eq!(lines_like(is_it).await.len(), 1);
    };
    for (broken, error) in [
        // The certificate of another key, half a file, none, and something else.
        (Some(third.pem.clone()), "it is not the key of the certificate"),
        (Some(second.pem[..second.pem.len() / 2].to_owned()), "it ends within a part"),
        (None, "No such file"),
        (Some(second.key.clone()), "it has a private key and no certificate"),
    ] {
        match broken {
            Some(text) => std::fs::write(&files.certificate, text).unwrap(),
            None => std::fs::remove_file(&files.certificate).unwrap(),
        }
        failed(error).await;
        let wire = authority.client().connect(gateway.address).await.unwrap();
        assert_eq!(shown(&wire), second.der().to_vec());
        assert!(is_served(wire).await);
    }
    files.put(&third);
    until_shown(&authority, &gateway, &third.der()).await;
}

/// A server behind the gateway that speaks TLS, and asks who connects for a certificate.
struct SecureUpstream {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl SecureUpstream {
    async fn bind(authority: &Authority, is_required: bool) -> Self {
        let certificate = authority.sign(&["localhost"]);
        let verifier =
            WebPkiClientVerifier::builder_with_provider(authority.roots().into(), provider());
        let verifier = if is_required { verifier } else { verifier.allow_unauthenticated() };
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(vec![certificate.der()], certificate.private_key())
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self { listener, acceptor: Arc::new(config).into() }
    }

    fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.listener.local_addr().unwrap().port())
    }

    /// Answers one request, and gives it and whether a certificate came with it.
    async fn answer(&self, answer: impl AsRef<[u8]>) -> std::io::Result<(String, bool)> {
        let (tcp, _) = soon(self.listener.accept()).await?;
        let mut tls = soon(self.acceptor.accept(tcp)).await?;
        let mut request = Vec::new();
        while !request.ends_with(b"}") {
            if soon(tls.read_buf(&mut request)).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
        soon(tls.write_all(answer.as_ref())).await?;
        soon(tls.shutdown()).await?;
        let has_certificate = tls.get_ref().1.peer_certificates().is_some();
        Ok((String::from_utf8_lossy(&request).into_owned(), has_certificate))
    }
}

#[tokio::test]
async fn the_upstream_is_verified_and_shown_a_certificate() {
    let authority = Authority::new("tests");
    let server = SecureUpstream::bind(&authority, true).await;
    let ours = authority.sign(&["gateway"]);
    let files = Files::of(&ours);
    let ca = files.add("ca.pem", &authority.pem);
    let other = files.add("other.pem", &Authority::new("other").pem);
    let (certificate, key) = (files.certificate.to_str().unwrap(), files.key.to_str().unwrap());
    let url = server.url("/chatkit");
    let trusted = [("upstream.url", &*url), ("upstream.ca", &ca)];
    let shown = [("upstream.client_certificate", certificate), ("upstream.client_key", key)];
    let body = format!("{}{MESSAGE_START}", preamble("thr_1"));
    for (is_fine, settings) in [
        (true, [&trusted[..], &shown].concat()),
        (false, trusted.to_vec()),
        (false, [&[("upstream.url", &*url), ("upstream.ca", &other)], &shown[..]].concat()),
        (false, [&[("upstream.url", &*url)], &shown[..]].concat()),
    ] {
        let unused = Upstream::bind().await;
        let gateway = Gateway::with(&unused, &settings).await;
        let session = gateway.session("ada").await;
        let mut client = gateway.say("ada", &session).await;
        let answered = server.answer(stream_answer(&body)).await;
        assert_eq!(answered.is_ok(), is_fine, "{settings:?} {answered:?}");
        let reply = client.reply().await;
        if is_fine {
            assert_eq!((reply.status, reply.text()), (200, &*body));
            let (request, has_certificate) = answered.unwrap();
            assert!(request.contains("host: localhost:") && has_certificate, "{request}");
        } else {
            reply.refusal(502, "UPSTREAM_ERROR");
        }
        unused.expect_no_connection();
    }
}

#[tokio::test]
async fn a_models_api_has_an_authority_of_its_own_and_is_not_shown_the_upstreams_certificate() {
    let authority = Authority::new("tests");
    let server = SecureUpstream::bind(&authority, false).await;
    let files = Files::of(&authority.sign(&["gateway"]));
    let ca = files.add("ca.pem", &authority.pem);
    let url = server.url("/v1");
    let settings = [
        ("auth.secret", SECRET),
        ("store.url", "memory:"),
        ("upstream.url", "embedded"),
        ("upstream.client_certificate", files.certificate.to_str().unwrap()),
        ("upstream.client_key", files.key.to_str().unwrap()),
        ("embedded.responder", "openai"),
        ("embedded.base_url", &url),
        ("embedded.model", "m"),
    ];
    let said = "data: {\"choices\":[{\"delta\":{\"content\":\"hello\"},\"finish_reason\":\"stop\"}]}\n\n\
                data: [DONE]\n\n";
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n{said}"
    );
    for (is_fine, ca) in [(true, ("embedded.ca", &*ca)), (false, ("upstream.ca", &ca))] {
        let gateway = Gateway::configured(&[&settings[..], &[ca]].concat()).await;
        let session = gateway.session("ada").await;
        let mut client = gateway.say("ada", &session).await;
        let answered = server.answer(&answer).await;
        assert_eq!(answered.is_ok(), is_fine, "{ca:?} {answered:?}");
        let reply = client.reply().await;
        assert_eq!(reply.text().contains("hello"), is_fine, "{}", reply.text());
        if let Ok((_, has_certificate)) = answered {
            assert!(!has_certificate);
        }
    }
}
