use super::*;
use crate::authenticate::{InvalidKeySet, InvalidToken, JwkSet, MAX_KEY_SET_BYTES, MAX_KEYS};

const ALL_PUBLIC: [Algorithm; 9] = [
    Algorithm::EdDsa,
    Algorithm::Es256,
    Algorithm::Es384,
    Algorithm::Ps256,
    Algorithm::Ps384,
    Algorithm::Ps512,
    Algorithm::Rs256,
    Algorithm::Rs384,
    Algorithm::Rs512,
];

fn verifier(algorithms: &[Algorithm], keys: &[Value]) -> Verifier {
    let builder = Verifier::builder().algorithms(algorithms.iter().copied()).key_set(set_of(keys));
    at_now(builder).build().unwrap()
}

#[test]
fn each_kind_of_key_verifies_what_it_fits() {
    let keys = [p256("a"), p384("b"), ed25519("c"), rsa("d")];
    let verifier = verifier(&ALL_PUBLIC, &keys);
    for algorithm in ALL_PUBLIC {
        let kid = match algorithm {
            Algorithm::Es256 => "a",
            Algorithm::Es384 => "b",
            Algorithm::EdDsa => "c",
            _ => "d",
        };
        // By its kid, and among all that fit.
        for kid in [Some(kid), None] {
            let token = token_of(algorithm, kid, &claims());
            assert!(verifier.verify(&token).is_ok(), "{algorithm} {kid:?}");
        }
        let token = token_of(algorithm, Some("e"), &claims());
        assert_eq!(verifier.verify(&token).unwrap_err(), InvalidToken::UnknownKey, "{algorithm}");
    }
}

/// What a token says of its algorithm picks among what the key and the configuration leave.
#[test]
fn the_algorithm_is_fixed_by_the_key_and_by_whoever_pinned_it() {
    use Algorithm as A;
    use InvalidToken as I;
    let rs256 = changed(rsa("d"), "alg", "RS256");
    for (pinned, key, algorithm, expected) in [
        (&[A::Rs256, A::Ps256][..], rsa("d"), A::Ps256, Ok(())),
        // The key says what it is for.
        (&[A::Rs256, A::Ps256], rs256.clone(), A::Rs256, Ok(())),
        (&[A::Rs256, A::Ps256], rs256.clone(), A::Ps256, Err(I::KeyAlgorithm)),
        // So does the configuration.
        (&[A::Rs256], rsa("d"), A::Rs256, Ok(())),
        (&[A::Rs256], rsa("d"), A::Rs512, Err(I::AlgorithmNotAllowed)),
        // It is the kid's key or none.
        (&[A::Rs256, A::Es256], rsa("d"), A::Es256, Err(I::KeyAlgorithm)),
    ] {
        let verifier = verifier(pinned, &[key]);
        let found = verifier.verify(&token_of(algorithm, Some("d"), &claims())).map(drop);
        assert_eq!(found, expected, "{pinned:?} {algorithm}");
    }
}

/// The attack that key sets are known for: the public key, or a shared one of the set, as the secret
/// of an HMAC.
#[test]
fn no_key_of_a_set_is_a_secret() {
    let oct = json!({ "kty": "oct", "kid": "o", "alg": "HS256", "k": b64(SECRET) });
    let builder = || Verifier::builder().key_set(set_of(&[oct.clone(), p256("a")]));
    let refused = builder().algorithms([Algorithm::Hs256, Algorithm::Es256]).build().unwrap_err();
    assert!(refused.to_string().starts_with("HS256 needs a secret"), "{refused}");

    let verifier = at_now(builder().algorithms(ALL_PUBLIC)).build().unwrap();
    let header = r#"{"alg":"HS256","kid":"o"}"#;
    let found = verifier.verify(&sign_raw(header, &claims().to_string(), SECRET));
    assert_eq!(found.unwrap_err(), InvalidToken::AlgorithmNotAllowed);
    let header = r#"{"alg":"HS256","kid":"a"}"#;
    let found = verifier.verify(&sign_raw(header, &claims().to_string(), key!("p256.public")));
    assert_eq!(found.unwrap_err(), InvalidToken::AlgorithmNotAllowed);

    let set = JwkSet::parse(&set_of(&[oct]), &[Algorithm::Hs256]).unwrap();
    assert!(set.is_empty() && set.unused()[0].why.starts_with("is a shared secret"), "{set:?}");
}

#[test]
fn a_key_that_is_not_used_says_why() {
    let short = rsa_of(key!("short-rsa.public"), "k");
    let pinned = [Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa];
    for (key, why) in [
        (changed(rsa("k"), "use", "enc"), "is for encryption (use)"),
        (changed(rsa("k"), "use", "tls"), "is for something else than signatures (use)"),
        (changed(rsa("k"), "use", 1), "is for something else than signatures (use)"),
        (changed(rsa("k"), "key_ops", json!(["encrypt"])), "is not for verifying (key_ops)"),
        (changed(rsa("k"), "key_ops", "verify"), "is not for verifying (key_ops)"),
        (changed(rsa("k"), "alg", "RSA-OAEP"), "is for \"RSA-OAEP\", which is none that"),
        (changed(rsa("k"), "alg", "PS256"), "is for PS256, and `algorithms` has none of it"),
        (changed(rsa("k"), "alg", "ES256"), "says that it is for ES256, which it does not fit"),
        (changed(rsa("k"), "alg", "HS256"), "says that it is for HS256, which it does not fit"),
        (changed(rsa("k"), "alg", "none"), "is for \"none\", which is none that can be verified"),
        (changed(rsa("k"), "alg", Value::Null), "has an alg that is no text"),
        (changed(rsa("k"), "d", "AQAB"), "has its private part (d) in it"),
        (changed(rsa("k"), "n", "AQAB"), "is an RSA key of 17 bits; expected 2048 to 8192"),
        (changed(rsa("k"), "e", "AQ"), "is damaged: its numbers (n, e)"),
        (changed(rsa("k"), "e", "AAAAAAAC"), "is damaged: its numbers (n, e)"),
        (changed(rsa("k"), "n", "A+/="), "is damaged: n is not Base64url"),
        (without(rsa("k"), "n"), "has no n"),
        (short, "is an RSA key of 1024 bits"),
        (p384("k"), "is for ES384, and `algorithms` has none of it"),
        (changed(p256("k"), "crv", "P-521"), "is on the curve \"P-521\""),
        (
            changed(p256("k"), "crv", "secp256k1\u{1b}[2J"),
            "is on the curve \"secp256k1\u{fffd}[2J\"",
        ),
        (without(p256("k"), "crv"), "names no curve (crv)"),
        (changed(p256("k"), "x", b64(&[1; 31])), "is damaged: x has 31 bytes in place of 32"),
        (changed(p256("k"), "x", b64(&[1; 32])), "is damaged: it is no point of its curve"),
        (changed(ed25519("k"), "crv", "X25519"), "is on the curve \"X25519\""),
        (without(p256("k"), "kty"), "has no kty"),
        (changed(p256("k"), "kty", "AKP"), "is of the kind \"AKP\""),
        (changed(p256("k"), "kid", 7), "has a kid that is no text"),
        (changed(p256("k"), "kid", "k".repeat(513)), "has a kid of over 512 bytes"),
    ] {
        let set = JwkSet::parse(&set_of(std::slice::from_ref(&key)), &pinned).unwrap();
        assert_eq!(set.len(), 0, "{key}");
        let unused = &set.unused()[0];
        assert!(unused.why.starts_with(why), "{key}: {}", unused.why);
        // One bad key takes no other with it.
        let set = JwkSet::parse(&set_of(&[key, ed25519("good")]), &pinned).unwrap();
        assert_eq!((set.len(), set.unused().len()), (1, 1));
    }
    // What these say besides is no matter.
    for key in [
        changed(changed(rsa("k"), "use", "sig"), "key_ops", json!(["verify"])),
        changed(changed(rsa("k"), "x5c", json!(["MII"])), "x5t", "?"),
        changed(ed25519("k"), "alg", "Ed25519"),
        without(p256("k"), "kid"),
    ] {
        assert_eq!(
            JwkSet::parse(&set_of(std::slice::from_ref(&key)), &pinned).unwrap().len(),
            1,
            "{key}"
        );
    }
    // Zeros in front, as those write whose numbers have a sign.
    let n = URL_SAFE_NO_PAD.decode(rsa("k")["n"].as_str().unwrap()).unwrap();
    let padded = changed(rsa("k"), "n", b64(&[vec![0], n].concat()));
    let verifier = verifier(&pinned, &[padded]);
    assert!(verifier.verify(&token_of(Algorithm::Rs256, Some("k"), &claims())).is_ok());
}

#[test]
fn what_is_no_set_is_told_apart() {
    use InvalidKeySet as I;
    let deep = "[".repeat(100_000);
    let long = format!("{{\"keys\": [], \"x\": \"{}\"}}", "x".repeat(MAX_KEY_SET_BYTES));
    let many: Vec<_> = (0..3000).map(|kid| ed25519(&kid.to_string())).collect();
    for (json, expected) in [
        (b"<html>".to_vec(), I::NotJson),
        (b"".to_vec(), I::NotJson),
        (b"\xff\xfe".to_vec(), I::NotJson),
        (deep.into_bytes(), I::NotJson),
        (b"[]".to_vec(), I::NotASet),
        (b"{}".to_vec(), I::NotASet),
        (b"{\"keys\": {}}".to_vec(), I::NotASet),
        (b"{\"keys\": [1]}".to_vec(), I::NotASet),
        (ed25519("k").to_string().into_bytes(), I::OneKey),
        (b"{\"issuer\": \"x\", \"jwks_uri\": \"https://x/\"}".to_vec(), I::Discovery),
        (long.into_bytes(), I::TooLong),
        (set_of(&many), I::TooManyKeys(3000)),
    ] {
        let text = String::from_utf8_lossy(&json).chars().take(40).collect::<String>();
        assert_eq!(JwkSet::parse(&json, &ALL_PUBLIC).unwrap_err(), expected, "{text}");
    }
    let full = JwkSet::parse(&set_of(&many[..MAX_KEYS]), &ALL_PUBLIC).unwrap();
    assert_eq!(full.len(), MAX_KEYS);
    for (json, why) in [
        (set_of(&[]), "has no key in its list"),
        (set_of(&[changed(rsa("k"), "use", "enc")]), "of 1, the first \"k\" is for encryption"),
        (b"{}".to_vec(), "is JSON without a list of keys"),
    ] {
        let builder = Verifier::builder().algorithms([Algorithm::Rs256]).key_set(json);
        let refused = builder.build().unwrap_err().to_string();
        assert!(refused.contains(why), "{refused}");
    }
}

#[test]
fn keys_of_one_name_are_each_tried_and_not_without_end() {
    let other = EncodingKey::from_rsa_pem(key!("other-rsa.private")).unwrap();
    let token = token_of(Algorithm::Rs256, Some("k"), &claims());
    let pinned = [Algorithm::Rs256];
    // The one that made it stands behind another of its name.
    let n = URL_SAFE_NO_PAD.decode(rsa("k")["n"].as_str().unwrap()).unwrap();
    let unlike = |by: u8| {
        let mut n = n.clone();
        n[100] ^= by;
        changed(rsa("k"), "n", b64(&n))
    };
    let two = verifier(&pinned, &[unlike(1), rsa("k")]);
    assert!(two.verify(&token).is_ok());
    let forged = token_by(&other, Algorithm::Rs256, Some("k"), &claims());
    assert_eq!(two.verify(&forged).unwrap_err(), InvalidToken::Signature);
    // Nor among many without a name.
    let mut many: Vec<_> = (1..=8).map(unlike).collect();
    many.push(rsa("k"));
    let many = verifier(&pinned, &many);
    assert_eq!(many.verify(&token).unwrap_err(), InvalidToken::Signature);
    let nameless = token_of(Algorithm::Rs256, None, &claims());
    assert_eq!(many.verify(&nameless).unwrap_err(), InvalidToken::UnknownKey);
    // A key without a name is anybody's.
    let one = verifier(&pinned, &[without(rsa("k"), "kid")]);
    assert!(one.verify(&token).is_ok() && one.verify(&nameless).is_ok());
}
