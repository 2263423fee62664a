//! What servers answer, over sockets.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::authenticate::{
    FetchError, HttpKeys, JwkSet, MAX_KEY_SET_BYTES, PlainHttp, fetch_key_set,
};

const PINNED: [Algorithm; 1] = [Algorithm::Es256];

/// Answers each request with what `answer` makes of its path, and closes.
async fn serve(answer: impl Fn(&str, SocketAddr) -> Vec<u8> + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut peer, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let Ok(byte) = peer.read_u8().await else { break };
                head.push(byte);
            }
            let head = String::from_utf8(head).unwrap();
            let path = head.split(' ').nth(1).unwrap_or_default();
            // Whoever has enough closes before all of it is read.
            let _ = peer.write_all(&answer(path, address)).await;
        }
    });
    address
}

fn ok(body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\ncache-control: max-age=777\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

async fn fetch(keys: &HttpKeys) -> Result<(JwkSet, Option<Duration>), String> {
    fetch_key_set(keys, &PINNED).await.map_err(|error| error.to_string())
}

#[tokio::test]
async fn a_set_comes_by_its_url_or_by_its_issuers_document() {
    let address = serve(|path, address| match path {
        "/a/.well-known/openid-configuration" => ok(json!({
            "issuer": format!("http://{address}/a/"), "jwks_uri": format!("http://{address}/keys?v=1"),
        })
        .to_string()),
        "/keys?v=1" => ok(set_of(&[p256("k")])),
        _ => b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_vec(),
    })
    .await;
    let at = HttpKeys::at(&format!("http://{address}/keys?v=1"), PlainHttp::OnLoopback).unwrap();
    let of = HttpKeys::of_issuer(&format!("http://{address}/a/"), PlainHttp::OnLoopback).unwrap();
    for keys in [&at, &of, &of] {
        let (set, max_age) = fetch(keys).await.unwrap();
        assert_eq!((set.len(), max_age), (1, Some(Duration::from_secs(777))));
    }
    assert!(!format!("{at:?}").contains("v=1"));
}

#[tokio::test]
async fn an_answer_that_is_no_set_says_what_it_is() {
    let long = [b" ".repeat(MAX_KEY_SET_BYTES), set_of(&[])].concat();
    // Without end, and without saying so.
    let endless = [&b"HTTP/1.1 200 OK\r\n\r\n"[..], &b"[".repeat(8 << 20)].concat();
    for (answer, expected) in [
        (ok("<html>"), "the answer is not JSON; expected a key set"),
        (ok("{\"issuer\": 1, \"jwks_uri\": \"x\"}"), "is a provider's document"),
        (ok(&long), "the answer has more than 524288 bytes"),
        (endless, "the answer has more than 524288 bytes"),
        (
            b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/evil\r\ncontent-length: 0\r\n\r\n"
                .to_vec(),
            "it answers 302 with a redirect to http://127.0.0.1:1/evil, and none is followed",
        ),
        (
            b"HTTP/1.1 503 Away\r\ncontent-length: 0\r\n\r\n".to_vec(),
            "it answers 503; expected 200",
        ),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{".to_vec(), "the answer was cut"),
        (b"SSH-2.0-x\r\n".to_vec(), "the answer is none of HTTP"),
        (b"".to_vec(), "the answer is none of HTTP"),
    ] {
        let address = serve(move |_, _| answer.clone()).await;
        let keys = HttpKeys::at(&format!("http://{address}/"), PlainHttp::OnLoopback).unwrap();
        let said = fetch(&keys).await.unwrap_err();
        assert!(said.contains(expected), "{expected}\n\nnot in\n\n{said}");
    }
    // Nobody is there.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let keys = HttpKeys::at(&format!("http://{address}/"), PlainHttp::OnLoopback).unwrap();
    assert!(fetch(&keys).await.unwrap_err().starts_with("no connection could be made: "));
}

#[tokio::test]
async fn an_issuers_document_is_its_own_and_leads_to_a_set() {
    for (document, expected) in [
        ("<html>".to_owned(), "the provider's document (openid-configuration) is not JSON"),
        ("[]".into(), "names no issuer"),
        ("{\"issuer\": \"ISSUER\"}".into(), "names no key set (jwks_uri)"),
        (
            "{\"issuer\": \"ISSUER/\", \"jwks_uri\": \"x\"}".into(),
            "expected the same to the letter",
        ),
        ("{\"issuer\": \"https://other.example\", \"jwks_uri\": \"x\"}".into(), "is of the issuer"),
        (
            "{\"issuer\": \"ISSUER\", \"jwks_uri\": \"/keys\"}".into(),
            "/keys (which the issuer names in jwks_uri)",
        ),
        (
            "{\"issuer\": \"ISSUER\", \"jwks_uri\": \"file:///etc/passwd\"}".into(),
            "must begin with http",
        ),
        (
            "{\"issuer\": \"ISSUER\", \"jwks_uri\": \"http://10.0.0.1/\"}".into(),
            "is http, so whoever is on the way",
        ),
    ] {
        let address =
            serve(move |_, address| ok(document.replace("ISSUER", &format!("http://{address}"))))
                .await;
        let keys =
            HttpKeys::of_issuer(&format!("http://{address}"), PlainHttp::OnLoopback).unwrap();
        let said = fetch(&keys).await.unwrap_err();
        assert!(said.contains(expected), "{expected}\n\nnot in\n\n{said}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_says_nothing_is_left_after_5_seconds() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let keys = HttpKeys::at(&format!("http://{address}/"), PlainHttp::OnLoopback).unwrap();
    let start = tokio::time::Instant::now();
    let error = fetch_key_set(&keys, &PINNED).await.unwrap_err();
    assert!(matches!(error, FetchError::TimedOut), "{error}");
    assert_eq!(start.elapsed().as_secs(), 5);
}
