//! What is pasted from the table of identity providers: a gateway with each row lets in a token of the shape
//! that the provider gives it, and none of those next to it.
//!
//! The keys are the tests' own, and stand at an address of this machine in place of the provider's.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Lines, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::book::project;
use crate::tables::rows;

const SIGNATURE: &str = "the token's signature does not match";
const ENCRYPTED: &str = "the token is encrypted";

/// What is pasted for a provider whose tokens can't be taken.
const NOTHING: &str = "nothing";

/// The tokens, by the name of the provider in the table: what it signs with, the header but for `alg`, the claims
/// but for `iat` and `exp`, who it is; and what is near to that in one thing (null: without it), and why that
/// is refused.
const SHAPES: &str = include_str!("providers.json");

/// Gives what the log has for why a token is refused.
fn cause(why: &str) -> &'static str {
    match why {
        "alg" => "the token's alg is not one of the configured ones",
        "aud" => "the token's aud does not name this service",
        "iss" => "the token's iss is not the configured one",
        "purpose" => "the token says that it is an ID, refresh or logout token, not for access",
        "user" => {
            "the token's user claim (auth.user_claim, auth.user) is missing or of the wrong type"
        }
        _ => panic!("{why} is no reason"),
    }
}

/// What a provider signs with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Key {
    Ed25519,
    P256,
    Rsa,
    #[serde(skip)]
    OtherRsa,
    Secret,
}

const SECRET: &str = "a legacy secret of a project, which is as long as theirs are";

/// The token of a provider.
#[derive(Deserialize)]
struct Shape {
    key: Key,
    header: Value,
    claims: Value,
    user: String,
    near: Vec<Near>,
}

/// What is nearly one.
#[derive(Deserialize)]
struct Near {
    what: String,
    why: String,
    #[serde(default = "nothing")]
    header: Value,
    #[serde(default = "nothing")]
    claims: Value,
}

fn nothing() -> Value {
    json!({})
}

impl Key {
    fn algorithm(self) -> Algorithm {
        match self {
            Self::Ed25519 => Algorithm::EdDSA,
            Self::P256 => Algorithm::ES256,
            Self::Rsa | Self::OtherRsa => Algorithm::RS256,
            Self::Secret => Algorithm::HS256,
        }
    }

    fn pem(self, half: &str) -> Vec<u8> {
        let name = match self {
            Self::Ed25519 => "ed25519",
            Self::P256 => "p256",
            Self::Rsa | Self::Secret => "rsa",
            Self::OtherRsa => "other-rsa",
        };
        std::fs::read(project().join(format!("fixtures/keys/{name}.{half}.pem"))).unwrap()
    }

    fn encoding(self) -> EncodingKey {
        match self {
            Self::Ed25519 => EncodingKey::from_ed_pem(&self.pem("private")).unwrap(),
            Self::P256 => EncodingKey::from_ec_pem(&self.pem("private")).unwrap(),
            Self::Rsa | Self::OtherRsa => EncodingKey::from_rsa_pem(&self.pem("private")).unwrap(),
            Self::Secret => EncodingKey::from_secret(SECRET.as_bytes()),
        }
    }

    /// Gives what a set publishes of it, with what is the same at every provider.
    fn public(self) -> Value {
        let pem = String::from_utf8(self.pem("public")).unwrap();
        let lines: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        let der = STANDARD.decode(lines).unwrap();
        // The numbers are at the end of what names the kind of the key.
        let last = |from: usize, length: usize| {
            let start = der.len() - from;
            URL_SAFE_NO_PAD.encode(&der[start..start + length])
        };
        match self {
            Self::Ed25519 => json!({ "kty": "OKP", "crv": "Ed25519", "x": last(32, 32) }),
            Self::P256 => {
                json!({ "kty": "EC", "crv": "P-256", "x": last(64, 32), "y": last(32, 32) })
            }
            // 2048 bits, and 65537 in five bytes.
            Self::Rsa | Self::OtherRsa | Self::Secret => {
                json!({ "kty": "RSA", "n": last(261, 256), "e": "AQAB" })
            }
        }
    }
}

/// Gives a document with the keys: one for encryption with the same `kid`, as Keycloak has beside it, the one
/// that signs, and one of another kind.
fn key_set(key: Key) -> String {
    let named = |key: Key, kid: &str, usage: &str, alg: &str| {
        let mut jwk = key.public();
        json_patch(&mut jwk, &json!({ "kid": kid, "use": usage, "alg": alg }));
        jwk
    };
    let alg = format!("{:?}", key.algorithm());
    let other = if key == Key::P256 { Key::Rsa } else { Key::P256 };
    let other_alg = format!("{:?}", other.algorithm());
    let keys = [
        named(Key::Rsa, "k-0", "enc", "RSA-OAEP"),
        named(key, "k-1", "sig", &alg),
        named(other, "k-2", "sig", &other_alg),
    ];
    json!({ "keys": keys }).to_string()
}

/// Puts what `patch` has into `target`, and takes out what is null there (RFC 7396, of one level).
fn json_patch(target: &mut Value, patch: &Value) {
    let members = target.as_object_mut().unwrap();
    for (name, value) in patch.as_object().unwrap() {
        if value.is_null() {
            members.remove(name);
        } else {
            members.insert(name.clone(), value.clone());
        }
    }
}

impl Shape {
    /// Gives the token with what differs.
    fn signed(&self, key: Key, header: &Value, claims: &Value) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let (mut full, mut all) = (self.header.clone(), self.claims.clone());
        json_patch(&mut full, &json!({ "alg": format!("{:?}", key.algorithm()) }));
        json_patch(&mut full, header);
        json_patch(&mut all, &json!({ "iat": now, "exp": now + 300 }));
        json_patch(&mut all, claims);
        let key = if full["alg"] == "HS256" { Key::Secret } else { key };
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&full), part(&all));
        let signature =
            jsonwebtoken::crypto::sign(signed.as_bytes(), &key.encoding(), key.algorithm());
        format!("{signed}.{}", signature.unwrap())
    }
}

/// Answers every request with a document, as long as the process lives.
fn publish(document: String) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for tcp in listener.incoming() {
            let mut tcp = tcp.unwrap();
            let mut head = [0; 4096];
            if tcp.read(&mut head).is_ok_and(|bytes| bytes > 0) {
                let length = document.len();
                let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close";
                let _gone = write!(tcp, "{head}\r\ncontent-length: {length}\r\n\r\n{document}");
            }
        }
    });
    address
}

/// A gateway with what was pasted.
struct Gateway {
    child: Child,
    log: Lines<BufReader<ChildStderr>>,
    said: String,
    address: SocketAddr,
    file: std::path::PathBuf,
}

impl Gateway {
    fn start(name: &str, settings: &str) -> Self {
        let name: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
        let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("provider-{}-{name}.toml", std::process::id()));
        std::fs::write(&file, format!("[auth]\n{settings}\n")).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_chatkit-rest"))
            .args(["serve", "--listen", "127.0.0.1:0", "--store", "memory:", "--config"])
            .arg(&file)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut gateway = Self { child, log, said: String::new(), address, file };
        let line = gateway.line("listening on http://");
        let (_, rest) = line.split_once("http://").unwrap();
        let end = rest.find(|c: char| !(c.is_ascii_digit() || ".:".contains(c))).unwrap();
        gateway.address = rest[..end].parse().unwrap();
        gateway
    }

    /// Gives the first line of the log that is yet to come and has this text.
    fn line(&mut self, text: &str) -> String {
        for line in self.log.by_ref() {
            let line = line.unwrap();
            self.said.extend([&line, "\n"]);
            if line.contains(text) {
                return line;
            }
        }
        panic!("{text}\n\nnot in\n\n{}", self.said);
    }

    /// Asks for a session with the token: gives whose it is, or what was answered in place of it.
    fn session(&self, token: &str) -> Result<String, String> {
        let mut tcp = TcpStream::connect(self.address).unwrap();
        let head = "POST /api/v1/chatkit/sessions HTTP/1.1\r\nhost: localhost\r\nconnection: close";
        write!(tcp, "{head}\r\nauthorization: Bearer {token}\r\n\r\n").unwrap();
        let mut answer = String::new();
        tcp.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let body: Value = serde_json::from_str(body).unwrap();
        match body["data"]["user_id"].as_str() {
            Some(user) => Ok(user.to_owned()),
            None => Err(format!("{head}\n{body}")),
        }
    }

    /// Checks that it isn't let in, for this reason.
    fn refuses(&mut self, what: &str, token: &str, why: &str) -> String {
        let answer = self.session(token).expect_err(what);
        assert!(answer.starts_with("HTTP/1.1 401 "), "{what}: {answer}");
        let line = self.line("\"UNAUTHORIZED\"");
        let line: Value = serde_json::from_str(&line).unwrap();
        let cause = line["cause"].as_str().or(line["fields"]["cause"].as_str()).unwrap_or_default();
        assert_eq!(cause, why, "{what}: {line}");
        answer
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _status = self.child.wait();
        let _removed = std::fs::remove_file(&self.file);
    }
}

/// Gives the lines that a row has to be pasted, with the keys from here.
fn pasted(cell: &str, keys: SocketAddr) -> String {
    let lines = cell.split("<br>").map(|line| line.trim_matches('`'));
    let local = lines.map(|line| match line.split_once(" = ") {
        Some(("jwks_url", url)) => {
            assert!(url.starts_with("\"https://") && url.ends_with('"'), "{url}");
            format!("jwks_url = \"http://{keys}/keys\"")
        }
        Some(("secret_file", _)) => format!("secret = \"{SECRET}\""),
        Some(_) => line.to_owned(),
        None => panic!("{line} is no setting"),
    });
    local.collect::<Vec<_>>().join("\n")
}

#[test]
fn each_row_lets_in_what_its_provider_signs_and_nothing_next_to_it() {
    let mut shapes: BTreeMap<String, Shape> = serde_json::from_str(SHAPES).unwrap();
    for row in rows("providers") {
        let [provider, settings, _] = row[..] else { panic!("{row:?}") };
        if settings == NOTHING {
            continue;
        }
        let shape = shapes.remove(provider).unwrap_or_else(|| panic!("{provider} was not tried"));
        let key = shape.key;
        let mut gateway = Gateway::start(provider, &pasted(settings, publish(key_set(key))));
        let token = shape.signed(key, &json!({}), &json!({}));
        assert_eq!(gateway.session(&token).as_ref(), Ok(&shape.user), "{provider}");
        // Some leave it out.
        let nameless = shape.signed(key, &json!({ "kid": null }), &json!({}));
        assert_eq!(gateway.session(&nameless).as_ref(), Ok(&shape.user), "{provider}, no kid");
        for Near { what, why, header, claims } in &shape.near {
            let token = shape.signed(key, header, claims);
            gateway.refuses(&format!("{provider}: {what}"), &token, cause(why));
        }
        if key == Key::Rsa {
            let forged = shape.signed(Key::OtherRsa, &json!({}), &json!({}));
            gateway.refuses(&format!("{provider}: by another key"), &forged, SIGNATURE);
        }
    }
    assert!(shapes.is_empty(), "no row for {:?}", shapes.keys());
}

/// Auth.js gives nobody a token: what its cookie has is for itself.
#[test]
fn an_encrypted_token_is_told_with_what_to_do() {
    let rows = rows("providers");
    let without: Vec<_> = rows.iter().filter(|row| row[1] == NOTHING).map(|row| row[0]).collect();
    assert_eq!(without, ["Auth.js (NextAuth)"]);
    let (_, settings) =
        rows.iter().map(|row| (row[0], row[1])).find(|row| row.0 == "Auth0").unwrap();
    let keys = publish(key_set(Key::Rsa));
    let mut gateway = Gateway::start("authjs", &pasted(settings, keys));
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"dir","enc":"A256CBC-HS512","kid":"k"}"#);
    let token = format!("{header}..aXY.Y2lwaGVydGV4dA.dGFn");
    let answer = gateway.refuses("a JWE", &token, ENCRYPTED);
    assert!(
        answer.contains("The token is encrypted, and can be read by its issuer alone"),
        "{answer}"
    );
}

/// Firebase's pages name it for those who verify its tokens themselves.
#[test]
fn a_list_of_certificates_is_no_key_set_and_told_so() {
    let rows = rows("providers");
    let firebase = rows.iter().find(|row| row[0] == "Firebase").unwrap();
    let shapes: BTreeMap<String, Shape> = serde_json::from_str(SHAPES).unwrap();
    let shape = &shapes["Firebase"];
    let certificates =
        json!({ "k-1": "-----BEGIN CERTIFICATE-----\nMIID\n-----END CERTIFICATE-----\n" });
    let settings = pasted(firebase[1], publish(certificates.to_string()));
    let mut gateway = Gateway::start("x509", &settings);
    let token = shape.signed(shape.key, &json!({}), &json!({}));
    let answer = gateway.session(&token).expect_err("there is no key");
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    gateway.line("is JSON without a list of keys; expected a key set");
}
