//! What `check --fetch-keys` finds, and what has no use for a key set.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use super::{SECRET, run};

const GOOD: &str = r#"{"kty": "OKP", "crv": "Ed25519", "kid": "good",
    "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
const SHARED: &str = r#"{"kty": "oct", "kid": "shared", "k": "planted"}"#;

/// Answers one request so, and gives the URL.
fn serve_once(answer: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/keys", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut peer, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        let mut byte = [0];
        while !request.ends_with(b"\r\n\r\n") && peer.read(&mut byte).unwrap() == 1 {
            request.push(byte[0]);
        }
        peer.write_all(answer.as_bytes()).unwrap();
    });
    url
}

fn set_of(keys: &[&str]) -> String {
    let body = format!("{{\"keys\": [{}]}}", keys.join(", "));
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

#[test]
fn the_keys_of_a_set_are_told_or_what_is_in_the_way() {
    let redirect = "HTTP/1.1 301 Moved\r\nlocation: https://elsewhere.example/\r\n\r\n";
    for (answer, code, said) in [
        (
            set_of(&[GOOD, SHARED]),
            0,
            &[
                "): 1 of 2\n",
                "  \"good\": EdDSA\n",
                "  \"shared\": not used, as it is a shared secret",
            ][..],
        ),
        (set_of(&[SHARED]), 1, &["has no key that can be used, of 1", "  \"shared\": not used"]),
        (set_of(&[]), 1, &["has no key that can be used, of 0"]),
        (
            redirect.into(),
            1,
            &[
                "can't be fetched (http://127.0.0.1:",
                "redirect to https://elsewhere.example/, and none is followed",
            ],
        ),
        ("HTTP/1.1 200 OK\r\n\r\n<html>".into(), 1, &["the answer is not JSON"]),
        ("\x16\x03".into(), 1, &["the answer is none of HTTP"]),
    ] {
        let url = serve_once(answer);
        let ran = run(&["check", "--fetch-keys"], &[("CHATKIT_REST__AUTH__JWKS_URL", &url)]);
        let text = format!("{}{}", ran.out, ran.err);
        assert_eq!(ran.code, code, "{text}");
        for part in said {
            assert!(text.contains(part), "{part}\n\nnot in\n\n{text}");
        }
        assert!(!text.contains("planted"), "{text}");
    }
    let ran = run(&["check", "--fetch-keys"], &[("CHATKIT_REST__AUTH__SECRET", SECRET)]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert!(ran.out.contains("There is no key set to fetch"), "{}", ran.out);
}

#[test]
fn no_token_can_be_made_for_a_key_set() {
    let url = ("CHATKIT_REST__AUTH__JWKS_URL", "https://issuer.example/keys");
    let ran = run(&["token", "--sub", "ada"], &[url]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("verified with a key set (auth.jwks_url)"), "{}", ran.err);
    // What is explained needs no key, and fetches none.
    let ran = run(&["explain", "GET", "/api/v1/chatkit/sessions"], &[url]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
}
