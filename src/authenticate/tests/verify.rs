use std::time::Duration;

use jsonwebtoken::EncodingKey;
use serde_json::{Value, json};

use super::*;
use crate::authenticate::{InvalidToken, MAX_TOKEN_BYTES, TokenType};
use crate::principal::InvalidUserId;

fn with(name: &str, value: impl Into<Value>) -> Value {
    let mut claims = claims();
    claims[name] = value.into();
    claims
}

fn without(name: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(name);
    claims
}

#[test]
fn a_claim_is_good_or_bad() {
    use InvalidToken as I;
    let verifier = hs256().build().unwrap();
    for (claims, expected) in [
        (claims(), Ok("ada")),
        // exp: required, a number, a date, not over.
        (without("exp"), Err(I::NoExpiry)),
        (with("exp", Value::Null), Err(I::NoExpiry)),
        (with("exp", (NOW + 60).to_string()), Err(I::NoExpiry)),
        (with("exp", true), Err(I::NoExpiry)),
        (with("exp", json!([NOW + 60])), Err(I::NoExpiry)),
        (with("exp", 1e300), Err(I::NoExpiry)),
        (with("exp", u64::MAX), Err(I::NoExpiry)),
        (with("exp", (NOW + 60) * 1000), Err(I::NoExpiry)),
        (with("exp", 253_402_300_799_i64), Ok("ada")),
        (with("exp", -1), Err(I::Expired)),
        (with("exp", 0), Err(I::Expired)),
        (with("exp", NOW), Err(I::Expired)),
        (with("exp", NOW + 1), Ok("ada")),
        (with("exp", 1_800_000_001.75), Ok("ada")),
        (with("exp", 1_800_000_000.75), Err(I::Expired)),
        // nbf: where present, a number, and over.
        (with("nbf", NOW), Ok("ada")),
        (with("nbf", NOW + 1), Err(I::NotYetValid)),
        (with("nbf", Value::Null), Err(I::Malformed)),
        (with("nbf", NOW.to_string()), Err(I::Malformed)),
        (with("nbf", -1), Err(I::Malformed)),
        (with("nbf", 1_799_999_999.25), Ok("ada")),
        (with("nbf", 1_800_000_000.25), Err(I::NotYetValid)),
        // sub: a string that can be a user id.
        (without("sub"), Err(I::NoUser)),
        (with("sub", Value::Null), Err(I::NoUser)),
        (with("sub", 7), Err(I::NumericSubject)),
        (with("sub", 7.5), Err(I::NumericSubject)),
        (with("sub", json!(["ada"])), Err(I::NoUser)),
        (with("sub", ""), Err(I::User(InvalidUserId::Empty))),
        (with("sub", "a\r\nx: y"), Err(I::User(InvalidUserId::ControlCharacter))),
        (with("sub", "a\u{0}"), Err(I::User(InvalidUserId::ControlCharacter))),
        (with("sub", "x".repeat(256)), Err(I::User(InvalidUserId::TooLong))),
        (with("sub", " Ada\u{200b}"), Ok(" Ada\u{200b}")),
        // aud: nobody here answers to it. iss: nobody asked.
        (with("aud", "someone"), Err(I::Audience)),
        (with("aud", json!([])), Err(I::Audience)),
        (with("iss", "anyone"), Ok("ada")),
        (with("iat", NOW + 1000), Ok("ada")),
        (json!(["ada"]), Err(I::Malformed)),
        (json!("ada"), Err(I::Malformed)),
    ] {
        let found = verifier.verify(&sign(&claims));
        let found = found.as_ref().map(|principal| principal.user_id().as_str());
        assert_eq!(found, expected.as_ref().map(|user| *user), "{claims}");
    }
}

/// Gives a header of that type and claims with one more of that name.
fn typed(typ: &str, name: &str, value: impl Into<Value>) -> String {
    let header = json!({ "alg": "HS256", "typ": typ }).to_string();
    sign_raw(&header, &with(name, value).to_string(), SECRET)
}

const BACKCHANNEL: &str = "http://schemas.openid.net/event/backchannel-logout";

#[test]
fn a_token_that_says_it_is_for_something_else_is_refused() {
    let verifier = hs256().build().unwrap();
    for typ in [
        "id+jwt",
        "ID+JWT",
        "application/id+jwt",
        "logout+jwt",
        "Application/Logout+JWT",
        "refresh+jwt",
        "rt+jwt",
        "secevent+jwt",
        "dpop+jwt",
        " id+jwt",
        "id+jwt; charset=utf-8",
        "application/id+jwt ;v=1",
        "ID",
        "id_token",
        "Refresh",
        "refresh_token",
        "RefreshToken",
        "application/refresh_token; a=b",
        "logout_token",
        "Logout",
        "Offline",
    ] {
        let found = verifier.verify(&typed(typ, "iat", NOW)).err();
        assert_eq!(found, Some(InvalidToken::Purpose), "{typ}");
    }
    for (name, value) in [
        ("typ", json!("Refresh")),
        ("typ", json!("Offline")),
        ("typ", json!("ID")),
        ("typ", json!("Logout")),
        ("typ", json!("Serialized-ID")),
        ("typ", json!("rt+jwt")),
        ("token_use", json!("id")),
        ("token_use", json!("refresh")),
        ("type", json!("refresh")),
        ("type", json!("refresh_token")),
        ("token_type", json!("refresh")),
        ("token_type", json!("id_token")),
        ("tokenType", json!("refreshToken")),
        ("type", json!(["refresh"])),
        ("type", json!([7, "user", "Refresh_Token"])),
        ("token_use", json!(["id"])),
        ("token_use", json!(" id ")),
        ("typ", json!("refresh+jwt; charset=utf-8")),
        ("events", json!({ BACKCHANNEL: {} })),
    ] {
        let found = verifier.verify(&typed("JWT", name, value.clone())).err();
        assert_eq!(found, Some(InvalidToken::Purpose), "{name} {value}");
    }
    assert_eq!(verifier.cached_tokens(), 0);
}

#[test]
fn a_token_that_says_nothing_of_it_or_access_is_taken() {
    let verifier = hs256().build().unwrap();
    for typ in ["JWT", "jwt", "at+jwt", "application/at+jwt", "", "x+jwt", "at+jwt; a=id", ";"] {
        assert!(verifier.verify(&typed(typ, "iat", NOW)).is_ok(), "{typ}");
    }
    for (name, value) in [
        ("typ", json!("Bearer")),
        ("typ", json!("at+jwt")),
        ("token_use", json!("access")),
        ("type", json!("access")),
        ("type", json!("user")),
        ("type", json!("identity")),
        ("type", json!(7)),
        ("type", json!(["access", 7, null, ["refresh"]])),
        ("type", json!({ "refresh": true })),
        ("type", json!("refresh ".repeat(100))),
        ("token_type", json!("access")),
        ("token_type", json!("Bearer")),
        ("token_type", Value::Null),
        ("events", json!(["login"])),
        ("events", json!({ "login": 1 })),
        ("nonce", json!("n")),
    ] {
        assert!(verifier.verify(&typed("JWT", name, value.clone())).is_ok(), "{name} {value}");
    }
    let odd = sign_raw(r#"{"alg":"HS256","typ":["id+jwt"]}"#, &claims().to_string(), SECRET);
    assert_eq!(verifier.verify(&odd).err(), Some(InvalidToken::Malformed));
}

#[test]
fn one_type_alone_is_taken_where_it_is_configured() {
    for only in ["at+jwt", "AT+JWT", "application/at+jwt"] {
        let verifier = hs256().token_type(TokenType::Only(only.into())).build().unwrap();
        for typ in ["at+jwt", "At+Jwt", "application/at+jwt", "APPLICATION/AT+JWT"] {
            let token = typed(typ, "iat", NOW);
            assert!(verifier.verify(&token).is_ok(), "{typ}");
            assert!(verifier.verify(&token).is_ok(), "{typ}");
        }
        for typ in ["JWT", "id+jwt", "", "xat+jwt", "text/at+jwt"] {
            let found = verifier.verify(&typed(typ, "iat", NOW)).err();
            assert_eq!(found, Some(InvalidToken::Type), "{typ}");
        }
        let without = sign_raw(r#"{"alg":"HS256"}"#, &claims().to_string(), SECRET);
        assert_eq!(verifier.verify(&without).err(), Some(InvalidToken::Type));
        let refresh = typed("at+jwt", "type", "refresh");
        assert_eq!(verifier.verify(&refresh).err(), Some(InvalidToken::Purpose));
    }
    let any = hs256().token_type(TokenType::DangerAny).build().unwrap();
    assert!(any.verify(&typed("id+jwt", "token_use", "id")).is_ok());
}

#[test]
fn leeway_goes_both_ways_and_ends() {
    let verifier = hs256().leeway(Duration::from_secs(60)).build().unwrap();
    for (claims, good) in [
        (with("exp", NOW - 59), true),
        (with("exp", NOW - 60), false),
        (with("nbf", NOW + 60), true),
        (with("nbf", NOW + 61), false),
    ] {
        assert_eq!(verifier.verify(&sign(&claims)).is_ok(), good, "{claims}");
    }
}

#[test]
fn issuer_and_audience_are_exact_and_required_where_configured() {
    let verifier = hs256().issuer("https://a.example").audience("chat").build().unwrap();
    for (iss, aud, expected) in [
        (json!("https://a.example"), json!("chat"), None),
        (json!("https://a.example"), json!(["mail", "chat"]), None),
        (json!("https://a.example"), json!(["mail"]), Some(InvalidToken::Audience)),
        (json!("https://a.example"), json!(["chat", 7]), Some(InvalidToken::Audience)),
        (json!("https://a.example"), json!("chatter"), Some(InvalidToken::Audience)),
        (json!("https://a.example"), json!({ "chat": 1 }), Some(InvalidToken::Audience)),
        (json!("https://a.example"), Value::Null, Some(InvalidToken::Audience)),
        (json!("https://a.example/"), json!("chat"), Some(InvalidToken::Issuer)),
        (json!(["https://a.example"]), json!("chat"), Some(InvalidToken::Issuer)),
        (Value::Null, json!("chat"), Some(InvalidToken::Issuer)),
    ] {
        let claims = json!({ "sub": "ada", "exp": NOW + 60, "iss": iss, "aud": aud });
        assert_eq!(verifier.verify(&sign(&claims)).err(), expected, "{claims}");
    }
    assert_eq!(verifier.verify(&sign(&claims())).err(), Some(InvalidToken::Issuer));
}

#[test]
fn another_claim_may_name_the_user_with_an_integer() {
    let verifier = hs256().user_claim("uid").build().unwrap();
    for (uid, expected) in [
        (json!(42), Some("42")),
        (json!(-1), Some("-1")),
        (json!("ada"), Some("ada")),
        (json!(1.5), None),
        (json!(true), None),
    ] {
        let found = verifier.verify(&sign(&with("uid", uid.clone()))).ok();
        assert_eq!(found.as_ref().map(|who| who.user_id().as_str()), expected, "{uid}");
    }
    assert_eq!(verifier.verify(&sign(&claims())).err(), Some(InvalidToken::NoUser));
    for (sub, expected) in [(json!(7), None), (json!(["ada"]), Some(InvalidToken::Malformed))] {
        let claims = json!({ "sub": sub, "uid": "ada", "exp": NOW + 60 });
        assert_eq!(verifier.verify(&sign(&claims)).err(), expected, "{claims}");
    }
}

#[test]
fn a_header_is_good_or_bad() {
    use InvalidToken as I;
    let verifier = hs256().build().unwrap();
    for (header, expected) in [
        (r#"{"alg":"HS256"}"#, None),
        (r#"{"alg":"HS256","kid":"../../dev/null","typ":"at+jwt","x5t":"abc"}"#, None),
        (r#"{"alg":"HS384"}"#, Some(I::AlgorithmNotAllowed)),
        (r#"{"alg":"hs256"}"#, Some(I::AlgorithmNotAllowed)),
        (r#"{"alg":"none"}"#, Some(I::AlgorithmNotAllowed)),
        (r#"{"alg":"RS256"}"#, Some(I::AlgorithmNotAllowed)),
        (r#"{"alg":["HS256"]}"#, Some(I::Malformed)),
        (r#"{"typ":"JWT"}"#, Some(I::Malformed)),
        (r#"{"alg":"HS256","alg":"HS256"}"#, Some(I::Malformed)),
        (r#"{"alg":"HS256","kid":7}"#, Some(I::Malformed)),
        (r#"{"alg":"HS256","cty":7}"#, Some(I::Malformed)),
        (r#"{"alg":"HS256","x5t#S256":[]}"#, Some(I::Malformed)),
        (r#"{"alg":"HS256"} "#, None),
        (r#"{"alg":"HS256"}x"#, Some(I::Malformed)),
        (r#"["HS256"]"#, Some(I::Malformed)),
        ("", Some(I::Malformed)),
        (r#"{"alg":"HS256","crit":["exp"],"exp":1}"#, Some(I::CriticalExtension)),
        (r#"{"alg":"HS256","crit":[]}"#, Some(I::CriticalExtension)),
        (r#"{"alg":"HS256","crit":null}"#, Some(I::CriticalExtension)),
        (r#"{"alg":"dir","enc":"A256GCM"}"#, Some(I::Encrypted)),
        (r#"{"alg":"HS256","jwk":{"kty":"oct","k":"YQ"}}"#, Some(I::BringsItsOwnKey)),
        (r#"{"alg":"HS256","jku":"http://127.0.0.1:1/"}"#, Some(I::BringsItsOwnKey)),
        (r#"{"alg":"HS256","x5u":"http://127.0.0.1:1/"}"#, Some(I::BringsItsOwnKey)),
        (r#"{"alg":"HS256","x5c":["AA=="]}"#, Some(I::BringsItsOwnKey)),
    ] {
        let token = sign_raw(header, &claims().to_string(), SECRET);
        assert_eq!(verifier.verify(&token).err(), expected, "{header}");
    }
}

#[test]
fn only_the_exact_compact_form_is_read() {
    use InvalidToken as I;
    let verifier = hs256().build().unwrap();
    let token = sign(&claims());
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let payload = r#"{"sub":"ada","sub":"eve","exp":1900000000}"#;
    // 43 characters hold 258 bits, two more than the signature: with them set, it is another
    // spelling of the same bytes.
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let last = alphabet.find(&signature[42..]).unwrap();
    let respelled = &alphabet[last + 1..last + 2];
    for (token, expected) in [
        (String::new(), I::Malformed),
        ("..".into(), I::Malformed),
        (signed.into(), I::Malformed),
        (format!("{signed}."), I::Signature),
        (format!("{token}="), I::Malformed),
        (format!("{token}."), I::Malformed),
        (format!("{token}.x"), I::Malformed),
        (format!("{token}.x.y"), I::Encrypted),
        (format!(" {token}"), I::Malformed),
        (format!("{signed}.{}{respelled}", &signature[..42]), I::Malformed),
        (format!("{signed}.{}", signature.to_uppercase()), I::Signature),
        (token.replace("ey", "é"), I::Malformed),
        (sign_raw(r#"{"alg":"HS256"}"#, payload, SECRET), I::Malformed),
        (sign_raw(r#"{"alg":"HS256"}"#, &"[".repeat(9000), SECRET), I::Malformed),
        (sign_raw(r#"{"alg":"HS256"}"#, &claims().to_string(), b"another secret"), I::Signature),
        (sign_raw(r#"{"alg":"HS256"}"#, &claims().to_string(), b""), I::Signature),
        (sign(&with("note", "x".repeat(MAX_TOKEN_BYTES))), I::TooLong),
    ] {
        let found = verifier.verify(&token).err();
        assert_eq!(found, Some(expected), "{token:.200}");
    }
    assert!(verifier.verify(&sign(&with("note", "x".repeat(10_000)))).is_ok());
}

#[test]
fn every_algorithm_takes_its_own_signatures_and_no_others() {
    use Algorithm as A;
    let rsa = EncodingKey::from_rsa_pem(key!("rsa.private")).unwrap();
    let other_rsa = EncodingKey::from_rsa_pem(key!("other-rsa.private")).unwrap();
    let p256 = EncodingKey::from_ec_pem(key!("p256.private")).unwrap();
    let p384 = EncodingKey::from_ec_pem(key!("p384.private")).unwrap();
    let ed25519 = EncodingKey::from_ed_pem(key!("ed25519.private")).unwrap();
    let secret = EncodingKey::from_secret(SECRET);
    let rsa_public = key!("rsa.public").as_slice();

    let signers: Vec<(A, &EncodingKey)> = A::ALL
        .into_iter()
        .map(|algorithm| {
            let key = match algorithm {
                A::EdDsa => &ed25519,
                A::Es256 => &p256,
                A::Es384 => &p384,
                A::Hs256 | A::Hs384 | A::Hs512 => &secret,
                A::Ps256 | A::Ps384 | A::Ps512 | A::Rs256 | A::Rs384 | A::Rs512 => &rsa,
            };
            (algorithm, key)
        })
        .collect();
    for algorithm in A::ALL {
        let builder = Verifier::builder().algorithms([algorithm]);
        let builder = match algorithm {
            A::EdDsa => builder.public_key_pem(key!("ed25519.public")),
            A::Es256 => builder.public_key_pem(key!("p256.public")),
            A::Es384 => builder.public_key_pem(key!("p384.public")),
            A::Hs256 | A::Hs384 | A::Hs512 => builder.secret(SECRET),
            _ => builder.public_key_pem(rsa_public),
        };
        let clock = TestClock::new();
        let verifier = builder.clock(move || clock.now()).build().unwrap();
        for (signer, key) in &signers {
            let found = verifier.verify(&sign_with(*signer, key, &claims()));
            assert_eq!(found.is_ok(), *signer == algorithm, "{signer} for {algorithm}");
            // The header lies about who signed.
            let token = sign_with(*signer, key, &claims());
            let (_, rest) = token.split_once('.').unwrap();
            let lie = format!("{}.{rest}", part(&json!({ "alg": algorithm.as_str() }).to_string()));
            if *signer != algorithm {
                assert_eq!(verifier.verify(&lie).err(), Some(InvalidToken::Signature), "{signer}");
            }
        }
    }

    let clock = TestClock::new();
    let verifier = Verifier::builder()
        .algorithms([A::Rs256, A::Ps256])
        .public_key_pem(rsa_public)
        .clock(move || clock.now())
        .build()
        .unwrap();
    assert!(verifier.verify(&sign_with(A::Ps256, &rsa, &claims())).is_ok());
    let foreign = sign_with(A::Rs256, &other_rsa, &claims());
    assert_eq!(verifier.verify(&foreign).err(), Some(InvalidToken::Signature));
    // CVE-2015-9235: the public key as an HMAC secret.
    let confused = sign_raw(r#"{"alg":"HS256"}"#, &claims().to_string(), rsa_public);
    assert_eq!(verifier.verify(&confused).err(), Some(InvalidToken::AlgorithmNotAllowed));
}

#[test]
fn an_algorithm_with_two_names_is_one() {
    let key = EncodingKey::from_ed_pem(key!("ed25519.private")).unwrap();
    let named = |name: &str| {
        let header = json!({ "alg": name }).to_string();
        let signed = format!("{}.{}", part(&header), part(&claims().to_string()));
        let algorithm = jsonwebtoken::Algorithm::EdDSA;
        let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), &key, algorithm).unwrap();
        format!("{signed}.{signature}")
    };
    for configured in ["EdDSA", "Ed25519"] {
        let clock = TestClock::new();
        let verifier = Verifier::builder()
            .algorithms([configured.parse().unwrap()])
            .public_key_pem(key!("ed25519.public"))
            .clock(move || clock.now())
            .build()
            .unwrap();
        assert!(verifier.verify(&named("EdDSA")).is_ok());
        assert!(verifier.verify(&named("Ed25519")).is_ok());
        for other in ["Ed448", "ed25519", "ED25519", "EDDSA", "Ed25519ph", "ESP256"] {
            let found = verifier.verify(&named(other)).err();
            assert_eq!(found, Some(InvalidToken::AlgorithmNotAllowed), "{other}");
        }
    }
    let pinned_otherwise = hs256().build().unwrap();
    let found = pinned_otherwise.verify(&named("Ed25519")).err();
    assert_eq!(found, Some(InvalidToken::AlgorithmNotAllowed));
}

#[test]
fn a_configuration_that_cannot_work_is_refused_in_words() {
    use Algorithm as A;
    let builder = || Verifier::builder().algorithms([A::Rs256]);
    for (builder, words) in [
        (Verifier::builder().secret(SECRET), "no JWT algorithm"),
        (builder(), "neither a JWT secret nor a public key"),
        (builder().secret(SECRET).public_key_pem(key!("rsa.public")), "both"),
        (builder().secret(SECRET), "RS256 needs a public key"),
        (builder().public_key_pem("not pem"), "is not PEM"),
        (builder().public_key_pem(key!("rsa.private")), "`openssl pkey -in FILE -pubout` prints"),
        (builder().public_key_pem(key!("p256.public")), "does not fit RS256"),
        (builder().public_key_pem(key!("p256.public")), "it is a P-256 key"),
        (
            builder().public_key_pem(key!("short-rsa.public")),
            "2048 to 8192 bits: it is one of 1024",
        ),
        (
            Verifier::builder().algorithms([A::Rs256, A::Hs256]).public_key_pem(key!("rsa.public")),
            "HS256 needs a secret",
        ),
        (
            Verifier::builder().algorithms([A::Es384]).public_key_pem(key!("p256.public")),
            "needs a P-384 key: it is a P-256 key",
        ),
        (
            Verifier::builder().algorithms([A::Es256]).public_key_pem(key!("p384.public")),
            "needs a P-256 key: it is a P-384 key",
        ),
        (
            Verifier::builder().algorithms([A::EdDsa]).public_key_pem(key!("rsa.public")),
            "needs an Ed25519 key: it is an RSA key",
        ),
        (
            Verifier::builder().algorithms([A::Rs256]).public_key_pem(key!("ed25519.public")),
            "it is an Ed25519 key",
        ),
        (Verifier::builder().algorithms([A::Hs256]).secret("short"), "has 5 bytes and needs"),
        (hs256().user_claim("exp"), "can't name a user"),
        (hs256().user_claim(""), "can't name a user"),
        (hs256().leeway(Duration::from_secs(601)), "at most 10 minutes"),
    ] {
        let error = builder.build().unwrap_err();
        assert!(error.is_config());
        assert!(error.to_string().contains(words), "{error}");
    }
    for (algorithms, needed) in
        [(&[A::Hs256][..], 32), (&[A::Hs384], 48), (&[A::Hs512], 64), (&[A::Hs256, A::Hs512], 64)]
    {
        let builder = || Verifier::builder().algorithms(algorithms.iter().copied());
        assert!(builder().secret(vec![7; needed - 1]).build().is_err(), "{algorithms:?}");
        assert!(builder().secret(vec![7; needed]).build().is_ok(), "{algorithms:?}");
        assert!(builder().danger_short_secret(vec![7; 1]).build().is_ok());
        assert!(builder().danger_short_secret(vec![]).build().is_err());
    }
}

#[test]
fn what_is_no_public_key_is_told_and_how_to_make_one_of_it() {
    let two = [key!("rsa.public").as_slice(), key!("other-rsa.private")].concat();
    let twice = [key!("rsa.public").as_slice(), key!("rsa.public")].concat();
    for (text, words) in [
        (&b""[..], "is empty"),
        (b" \n", "is empty"),
        (b"{\"kty\":\"RSA\"}", "is JSON, as of a JSON Web Key"),
        (b"ssh-ed25519 AAAA me", "`ssh-keygen -e -m PKCS8 -f FILE` prints"),
        (b"-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----", "`openssl x509 -in FILE"),
        (b"-----BEGIN OPENSSH PRIVATE KEY-----\nx", "`ssh-keygen -e -m PKCS8 -f FILE` prints"),
        (b"-----BEGIN EC PARAMETERS-----\nx", "a PEM block labelled EC PARAMETERS"),
        (b"-----BEGIN PUBLIC KEY-----\nx\n-----END PUBLIC KEY-----", "another key, or damaged"),
        (b"\x30\x82\x01\x22", "is not PEM"),
        (&two, "holds a private key, which the gateway must not have"),
        (&twice, "holds 2 keys, of which only one could be used"),
    ] {
        let builder = Verifier::builder().algorithms([Algorithm::Rs256]).public_key_pem(text);
        let error = builder.build().unwrap_err().to_string();
        assert!(error.contains(words), "{words}\n\nnot in\n\n{error}");
    }
}

#[test]
fn a_public_key_is_no_secret_however_it_is_written() {
    let unarmoured = |pem: &[u8]| {
        let text = std::str::from_utf8(pem).unwrap();
        text.lines().filter(|line| !line.starts_with("---")).collect::<String>().into_bytes()
    };
    let jwk =
        br#"{"kty":"RSA","e":"AQAB","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4"}"#;
    for text in [
        key!("rsa.public").to_vec(),
        key!("p256.public").to_vec(),
        [b"\n", key!("ed25519.public").as_slice()].concat(),
        unarmoured(key!("rsa.public")),
        unarmoured(key!("p384.public")),
        unarmoured(key!("ed25519.public")),
        key!("rsa.private").to_vec(),
        b"-----BEGIN CERTIFICATE-----\nx".to_vec(),
        b"ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQC7".to_vec(),
        jwk.to_vec(),
    ] {
        let shown = String::from_utf8_lossy(&text).into_owned();
        let builder = || Verifier::builder().algorithms([Algorithm::Hs256]);
        assert!(builder().secret(text.clone()).build().is_err(), "{shown}");
        assert!(builder().danger_short_secret(text).build().is_err(), "{shown}");
    }
    for secret in [
        "0123456789abcdef0123456789abcdef",
        "{not json} but long enough for a secret",
        "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
    ] {
        let builder = Verifier::builder().algorithms([Algorithm::Hs256]).secret(secret);
        assert!(builder.build().is_ok(), "{secret}");
    }
}

#[test]
fn a_cached_token_is_asked_for_its_time_again() {
    let clock = TestClock::new();
    let own = clock.clone();
    let verifier = hs256().clock(move || own.now()).build().unwrap();
    let token = sign(&json!({ "sub": "ada", "exp": NOW + 60, "nbf": NOW }));

    let first = verifier.verify(&token).unwrap();
    assert_eq!(verifier.cached_tokens(), 1);
    // The very same allocation: it was not parsed anew.
    let second = verifier.verify(&token).unwrap();
    assert!(std::ptr::eq(first.user_id().as_str(), second.user_id().as_str()));

    clock.set(NOW - 1);
    assert_eq!(verifier.verify(&token).err(), Some(InvalidToken::NotYetValid));
    clock.set(NOW);
    assert!(verifier.verify(&token).is_ok());
    clock.set(NOW + 60);
    assert_eq!(verifier.verify(&token).err(), Some(InvalidToken::Expired));
    assert_eq!(verifier.cached_tokens(), 0);
}

#[test]
fn the_cache_is_bounded_optional_and_holds_only_good_tokens() {
    let verifier = hs256().cache_capacity(50).build().unwrap();
    for user in 0..500 {
        verifier.verify(&sign(&with("sub", format!("user-{user}")))).unwrap();
    }
    assert!((1..=50).contains(&verifier.cached_tokens()), "{}", verifier.cached_tokens());

    let verifier = hs256().build().unwrap();
    assert!(verifier.verify(&sign(&with("exp", NOW - 1))).is_err());
    assert!(verifier.verify(&sign(&with("nbf", NOW + 1))).is_err());
    assert!(verifier.verify(&sign_raw(r#"{"alg":"HS256"}"#, "{}", b"another")).is_err());
    assert_eq!(verifier.cached_tokens(), 0);

    let verifier = hs256().cache_capacity(0).build().unwrap();
    assert!(verifier.verify(&sign(&claims())).is_ok());
    assert!(verifier.verify(&sign(&with("exp", NOW))).is_err());
    assert_eq!(verifier.cached_tokens(), 0);
}

#[test]
fn one_bit_makes_another_token() {
    // A cache keyed by less than the whole token would take the second for the first.
    let verifier = hs256().build().unwrap();
    let token = sign(&claims());
    verifier.verify(&token).unwrap();
    for at in [0, token.len() / 2, token.len() - 2] {
        let mut forged = token.clone().into_bytes();
        forged[at] = if forged[at] == b'A' { b'E' } else { b'A' };
        let forged = String::from_utf8(forged).unwrap();
        assert!(verifier.verify(&forged).is_err(), "{at}");
    }
}

#[test]
fn debug_output_has_no_key() {
    let builder = hs256();
    let shown = format!("{builder:?}");
    let shown = format!("{shown} {:?}", builder.build().unwrap());
    assert!(shown.contains("Hs256"));
    assert!(!shown.contains("a secret for tests"), "{shown}");
    assert!(!shown.contains(&format!("{:?}", &SECRET[..4])[1..10]), "{shown}");
}

#[test]
fn a_good_token_that_lacks_what_is_required_is_remembered_and_expires() {
    let clock = TestClock::new();
    let now = clock.clone();
    let required = ["scope:chat", "org=o-1"].map(|text| text.parse().unwrap());
    let verifier = hs256().require(required).clock(move || now.now()).build().unwrap();
    let good = sign(&json!({ "sub": "ada", "exp": NOW + 60, "scope": "chat", "org": "o-1" }));
    let lacking = sign(&json!({ "sub": "ada", "exp": NOW + 60, "scope": "read", "org": "o-1" }));
    for known in [0, 2] {
        assert_eq!(verifier.cached_tokens(), known);
        assert_eq!(verifier.verify(&good).unwrap().user_id().as_str(), "ada");
        let Err(InvalidToken::Insufficient(missing)) = verifier.verify(&lacking) else { panic!() };
        assert_eq!(missing.to_string(), "scope:chat");
    }
    clock.set(NOW + 60);
    assert_eq!(verifier.verify(&lacking), Err(InvalidToken::Expired));
    // What nobody signed, or is at fault otherwise, is told nothing of it.
    let forged = sign_raw(r#"{"alg":"HS256"}"#, &claims().to_string(), b"another secret");
    assert_eq!(verifier.verify(&forged), Err(InvalidToken::Signature));
    assert_eq!(verifier.verify(&sign(&with("aud", "x"))), Err(InvalidToken::Audience));
    assert_eq!(verifier.verify(&sign(&without("sub"))), Err(InvalidToken::NoUser));
    let too_many = std::iter::repeat_n("a=b".parse().unwrap(), 33);
    assert!(hs256().require(too_many).build().is_err());
}

#[test]
fn a_users_id_is_made_of_several_claims() {
    let verifier = hs256().user("{iss}|{sub}".parse().unwrap()).build().unwrap();
    let user = |iss: &str, sub: &str| {
        let token = sign(&json!({ "iss": iss, "sub": sub, "exp": NOW + 60 }));
        verifier.verify(&token).map(|principal| principal.user_id().as_str().to_owned())
    };
    assert_eq!(user("https://a", "b|c").as_deref(), Ok("https://a|b|c"));
    assert_eq!(user("https://a|b", "c").as_deref(), Ok("https://a%7Cb|c"));
    assert_eq!(user("a", &"x".repeat(253)).map(|id| id.len()), Ok(255));
    assert_eq!(user("a", &"x".repeat(254)), Err(InvalidToken::User(InvalidUserId::TooLong)));
    assert_eq!(verifier.verify(&sign(&claims())), Err(InvalidToken::NoUser));
}
