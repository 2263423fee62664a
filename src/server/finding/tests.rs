use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::forward::UpstreamUrl;

fn upstream(url: &str) -> HttpUpstream {
    HttpUpstream::builder(UpstreamUrl::parse(url).unwrap()).build().unwrap()
}

fn answer(status: &str, fields: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\n{fields}content-length: {length}\r\n\r\n{body}")
}

/// Answers one connection after the other, each in its way; gives what was asked.
async fn answering(listener: TcpListener, answers: Vec<String>) -> Vec<String> {
    let mut asked = Vec::new();
    for answer in answers {
        let (mut tcp, _) = listener.accept().await.unwrap();
        let mut bytes = Vec::new();
        while !bytes.ends_with(QUESTION.as_bytes()) && bytes.first() != Some(&0x16) {
            if tcp.read_buf(&mut bytes).await.unwrap() == 0 {
                break;
            }
        }
        asked.push(String::from_utf8_lossy(&bytes).into_owned());
        tcp.write_all(answer.as_bytes()).await.unwrap();
    }
    asked
}

fn identity() -> Identity {
    let user_header = HeaderName::from_static("x-caller");
    Identity { user_header, forwards_authorization: false, proof: None }
}

async fn found(scheme: &str, text: String) -> Finding {
    found_as(&identity(), scheme, text).await
}

async fn found_as(identity: &Identity, scheme: &str, text: String) -> Finding {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("{scheme}://{}/chatkit?key=planted", listener.local_addr().unwrap());
    let answering = tokio::spawn(answering(listener, vec![text]));
    let found = Finding::ask(&upstream(&url), identity).await;
    answering.await.unwrap();
    found
}

#[tokio::test]
async fn each_answer_is_named_for_what_it_is() {
    const JSON: &str = "content-type: application/json\r\n";
    const HTML: &str = "content-type: text/html; charset=utf-8\r\n";
    const TO: &str = "location: https://u:planted@chat.example/chatkit/?key=planted\r\n";
    let to = || Some("https://chat.example/chatkit/".to_owned());
    let page = r#"{"data":[],"has_more":false}"#;
    let node = r#"{"data":[{"id":"thr_1","title":null}],"has_more":true,"after":"thr_1"}"#;
    let go = "Client sent an HTTP request to an HTTPS server.";
    let status = |status| StatusCode::from_u16(status).unwrap();
    for (text, expected) in [
        (answer("200 OK", JSON, page), Finding::ChatKit),
        (answer("200 OK", JSON, node), Finding::ChatKit),
        (answer("200 OK", JSON, "{}"), Finding::OtherJson),
        (answer("200 OK", JSON, r#"{"object":"list","data":[]}"#), Finding::OtherJson),
        (answer("200 OK", JSON, "[]"), Finding::OtherJson),
        (answer("200 OK", JSON, "{"), Finding::OtherJson),
        (answer("200 OK", HTML, "<!doctype html>"), Finding::WebPage),
        (answer("200 OK", "content-type: text/plain\r\n", "hello"), Finding::NotJson),
        (answer("200 OK", "content-type: text/event-stream\r\n", ""), Finding::NotJson),
        (answer("204 No Content", "", ""), Finding::NotJson),
        (answer("307 Temporary Redirect", TO, ""), Finding::Redirect(to())),
        (answer("301 Moved", "", ""), Finding::Redirect(None)),
        (answer("404 Not Found", JSON, r#"{"detail":"Not Found"}"#), Finding::NoPath),
        (answer("405 Method Not Allowed", "allow: GET\r\n", ""), Finding::NoPost(status(405))),
        (answer("501 Unsupported method", "", ""), Finding::NoPost(status(501))),
        (answer("401 Unauthorized", "", ""), Finding::Guarded(status(401))),
        (answer("403 Forbidden", "", ""), Finding::Guarded(status(403))),
        (answer("400 Bad Request", "", go), Finding::NeedsTls),
        (answer("400 Bad Request", "", "x-tenant is missing"), Finding::Refused(status(400))),
        (answer("422 Unprocessable Entity", JSON, "{}"), Finding::Refused(status(422))),
        (answer("500 Internal Server Error", "", ""), Finding::Failed(status(500))),
        (answer("502 Bad Gateway", HTML, ""), Finding::Away(status(502))),
        (answer("408 Request Timeout", "", ""), Finding::Away(status(408))),
        (answer("425 Too Early", "", ""), Finding::Away(status(425))),
        (answer("429 Too Many Requests", "", ""), Finding::Away(status(429))),
        ("\u{15}\u{3}\u{3}\0\u{2}\u{2}\u{16}".into(), Finding::NoHttp),
        (String::new(), Finding::HungUp),
        ("HTTP/1.1 200 OK\r\ncontent-".into(), Finding::HungUp),
        // One that promises more than it sends.
        (
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{"
                .into(),
            Finding::OtherJson,
        ),
    ] {
        let found = found("http", text.clone()).await;
        assert_eq!(found, expected, "{text}");
        assert_eq!(found.advice().is_none(), found == Finding::ChatKit, "{text}");
        let said = format!("{found} {}", found.advice().unwrap_or_default());
        assert!(!said.contains("planted") && !said.contains("127.0.0.1:"), "{said}");
    }
    let unsupported = Finding::NoPost(status(501)).to_string();
    assert_eq!(unsupported, "status 501 Not Implemented");
}

/// Gives the one after it: a new one is to be put in here.
fn after(finding: &Finding) -> Option<Finding> {
    let status = StatusCode::IM_A_TEAPOT;
    Some(match finding {
        Finding::ChatKit => Finding::Guarded(status),
        Finding::Guarded(_) => Finding::ProofRefused(status),
        Finding::ProofRefused(_) => Finding::WantsTokens(status),
        Finding::WantsTokens(_) => Finding::Redirect(None),
        Finding::Redirect(_) => Finding::NoPath,
        Finding::NoPath => Finding::NoPost(status),
        Finding::NoPost(_) => Finding::NeedsTls,
        Finding::NeedsTls => Finding::Refused(status),
        Finding::Refused(_) => Finding::Away(status),
        Finding::Away(_) => Finding::Failed(status),
        Finding::Failed(_) => Finding::WebPage,
        Finding::WebPage => Finding::NotJson,
        Finding::NotJson => Finding::OtherJson,
        Finding::OtherJson => Finding::NoAddress,
        Finding::NoAddress => Finding::Unreached,
        Finding::Unreached => Finding::Slow,
        Finding::Slow => Finding::BadCertificate(CertificateFault::Untrusted),
        Finding::BadCertificate(fault) => match fault {
            CertificateFault::Untrusted => Finding::BadCertificate(CertificateFault::OtherName),
            CertificateFault::OtherName => Finding::BadCertificate(CertificateFault::OutOfDate),
            CertificateFault::OutOfDate => Finding::BadCertificate(CertificateFault::OfAuthority),
            CertificateFault::OfAuthority => Finding::NoTls,
        },
        Finding::NoTls => Finding::TlsFailed,
        Finding::TlsFailed => Finding::NoHttp,
        Finding::NoHttp => Finding::HungUp,
        Finding::HungUp => return None,
    })
}

/// Whoever has an advice from the log finds it in the manual, with what to do.
#[test]
fn every_advice_has_its_row_in_the_manual() {
    let chapter = include_str!("../../manual/troubleshooting.md");
    let (_, table) = chapter.split_once("| what it says | do |\n").unwrap();
    let (table, _) = table.split_once("\n\n").unwrap();
    let quoted: Vec<_> = table
        .lines()
        .filter_map(|row| row.split(" | ").next())
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .collect();
    let all: Vec<_> = std::iter::successors(Some(Finding::ChatKit), after).collect();
    let advice: Vec<_> = all.iter().filter_map(Finding::advice).collect();
    for advice in &advice {
        let rows = quoted.iter().filter(|said| advice.contains(**said)).count();
        assert_eq!(rows, 1, "{advice}");
    }
    for said in quoted {
        assert!(advice.iter().any(|advice| advice.contains(said)), "{said}");
    }
}

#[tokio::test]
async fn whose_users_tokens_it_is_sent_may_want_them() {
    let sends = Identity { forwards_authorization: true, ..identity() };
    for (status, expected) in [
        ("401 Unauthorized", Finding::WantsTokens(StatusCode::UNAUTHORIZED)),
        ("403 Forbidden", Finding::WantsTokens(StatusCode::FORBIDDEN)),
        ("404 Not Found", Finding::NoPath),
    ] {
        let found = found_as(&sends, "http", answer(status, "", "")).await;
        assert_eq!(found, expected);
        assert_eq!(found.advice().is_some(), found == Finding::NoPath);
        assert_eq!(found.pauses().is_some(), found == Finding::NoPath);
    }
}

#[tokio::test]
async fn whose_proof_is_refused_is_not_sent_to_users_tokens_first() {
    let proof = Signer::hs256("0123456789abcdef0123456789abcdef").unwrap();
    let proves = Identity { proof: Some(proof), ..identity() };
    for (status, code) in
        [("401 Unauthorized", StatusCode::UNAUTHORIZED), ("403 Forbidden", StatusCode::FORBIDDEN)]
    {
        let refused = found_as(&proves, "http", answer(status, "", "")).await;
        assert_eq!(refused, Finding::ProofRefused(code));
        let asked = found_as(&identity(), "http", answer(status, "", "")).await;
        for (found, first) in
            [(refused, "upstream.proof_audience"), (asked, "upstream.proof_secret")]
        {
            let advice = found.advice().unwrap();
            let [proof, key, tokens] =
                [first, "upstream.headers", "upstream.forward_authorization"]
                    .map(|setting| advice.find(setting).unwrap());
            assert!(proof < key && key < tokens, "{advice}");
        }
    }
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn tls_to_who_speaks_none_is_named() {
    let plain = answer("400 Bad Request", "", "Invalid HTTP request received.");
    assert_eq!(found("https", plain).await, Finding::NoTls);
    // Only who speaks TLS says with an alert why not.
    for alert in ["\u{2}\u{28}", "\u{2}\u{46}", "\u{2}\u{70}"] {
        let found = found("https", format!("\u{15}\u{3}\u{3}\0\u{2}{alert}")).await;
        assert_eq!(found, Finding::TlsFailed, "{alert:?}");
        let advice = found.advice().unwrap();
        assert!(!advice.contains("http"));
        // It may be said where one is set, too.
        assert!(advice.contains("(upstream.client_certificate)") && !advice.contains("none of"));
    }
    // Who hangs up is not sent from one scheme to the other.
    let silent = found("https", String::new()).await;
    assert_eq!(silent, Finding::HungUp);
    assert!(!silent.advice().unwrap().contains("http"));
}

/// Gives what is found at a server with that certificate, by who trusts it, and nobody else.
#[cfg(feature = "tls")]
async fn found_with(params: rcgen::CertificateParams) -> Finding {
    use std::sync::Arc;

    use tokio_rustls::TlsAcceptor;
    use tokio_rustls::rustls::pki_types::PrivateKeyDer;
    use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};

    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap().der().clone();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/chatkit", listener.local_addr().unwrap());
    let upstream = HttpUpstream::builder(UpstreamUrl::parse(&url).unwrap());
    let upstream = upstream.tls_config(client.into()).build().unwrap();
    let accepting = tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        if let Ok(mut tls) = TlsAcceptor::from(Arc::new(server)).accept(tcp).await {
            let mut bytes = Vec::new();
            while !bytes.ends_with(QUESTION.as_bytes()) {
                if !matches!(tls.read_buf(&mut bytes).await, Ok(1..)) {
                    return;
                }
            }
            tls.write_all(answer("404 Not Found", "", "").as_bytes()).await.unwrap();
            let _end = tls.shutdown().await;
        }
    });
    let found = Finding::ask(&upstream, &identity()).await;
    accepting.await.unwrap();
    found
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn a_certificate_is_named_for_what_is_wrong_with_it() {
    use rcgen::{BasicConstraints, CertificateParams, IsCa};
    let of = |name: &str| CertificateParams::new([name.to_owned()]).unwrap();
    assert_eq!(found_with(of("127.0.0.1")).await, Finding::NoPath);
    let wrong = found_with(of("other.example")).await;
    assert_eq!(wrong, Finding::BadCertificate(CertificateFault::OtherName));
    // As `openssl req -x509` makes them.
    let mut params = of("127.0.0.1");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = found_with(params).await;
    assert_eq!(authority, Finding::BadCertificate(CertificateFault::OfAuthority));
    assert!(authority.advice().unwrap().contains("-addext basicConstraints=critical,CA:FALSE"));
    for (from, to) in [(2020, 2021), (2200, 2201)] {
        let mut params = of("127.0.0.1");
        params.not_before = rcgen::date_time_ymd(from, 1, 1);
        params.not_after = rcgen::date_time_ymd(to, 1, 1);
        let found = found_with(params).await;
        assert_eq!(found, Finding::BadCertificate(CertificateFault::OutOfDate));
    }
}

#[tokio::test]
async fn nobody_who_listens_and_no_address_are_named() {
    let identity = identity();
    let held = tokio::net::TcpSocket::new_v4().unwrap();
    held.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("http://{}/chatkit", held.local_addr().unwrap());
    assert_eq!(Finding::ask(&upstream(&url), &identity).await, Finding::Unreached);
    let nowhere = upstream("http://nothing.invalid/chatkit");
    assert_eq!(Finding::ask(&nowhere, &identity).await, Finding::NoAddress);
}

#[tokio::test(start_paused = true)]
async fn who_never_answers_is_not_waited_for() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/chatkit", listener.local_addr().unwrap());
    let begun = tokio::time::Instant::now();
    let found = Finding::ask(&upstream(&url), &identity()).await;
    assert_eq!(found, Finding::Slow);
    assert_eq!(begun.elapsed(), MAX_WAIT);
}

#[tokio::test(start_paused = true)]
async fn it_is_asked_until_there_is_nothing_to_do() {
    let page = r#"{"data":[],"has_more":false}"#;
    let fine = answer("200 OK", "content-type: application/json\r\n", page);
    let says = |status| answer(status, "connection: close\r\n", "");
    let failed = || says("500 Internal Server Error");
    let (none, busy) = (says("404 Not Found"), says("429 Too Many Requests"));
    for (answers, pauses) in [
        (vec![none.clone(), none.clone(), fine.clone()], vec![1, 2]),
        (vec![busy.clone(), busy, fine.clone()], vec![1, 2]),
        (vec![says("401 Unauthorized"), says("422 Refused"), fine.clone()], vec![60, 120]),
        // A server that fails while it starts, one that goes on failing, and its restart.
        (vec![none.clone(), failed(), none.clone(), fine.clone()], vec![1, 60, 60]),
        (
            vec![failed(), failed(), failed(), failed(), failed(), none, fine],
            vec![60, 120, 240, 480, 600, 60],
        ),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/chatkit", listener.local_addr().unwrap());
        let answering = tokio::spawn(answering(listener, answers));
        let (sender, advice) = watch::channel(Some("before"));
        let begun = tokio::time::Instant::now();
        look(upstream(&url), identity(), sender).await;
        assert_eq!(begun.elapsed().as_secs(), pauses.iter().sum::<u64>(), "{pauses:?}");
        assert_eq!(*advice.borrow(), None);
        let asked = answering.await.unwrap();
        assert_eq!(asked.len(), pauses.len() + 1);
        for asked in asked {
            assert!(asked.starts_with("POST /chatkit HTTP/1.1\r\n"), "{asked}");
            assert!(asked.contains("x-caller: chatkit-rest-start-up-check\r\n"), "{asked}");
            assert!(asked.ends_with(QUESTION), "{asked}");
        }
    }
}
