//! Whatever is believed here, jsonwebtoken's `decode` believes under the same validation.
//!
//! The other way round it is not so: [`stricter`] has what `decode` believes and is refused here.

use jsonwebtoken::{DecodingKey, EncodingKey, Validation, decode};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::authenticate::{InvalidToken, TokenType};

const ISSUER: &str = "https://a.example";

/// One configuration, for us and for jsonwebtoken. Both go by the system's clock: `decode` has no
/// other.
struct Both {
    ours: Verifier,
    key: DecodingKey,
    validation: Validation,
    user_claim: &'static str,
}

impl Both {
    fn new(
        builder: VerifierBuilder,
        algorithms: &[Algorithm],
        key: DecodingKey,
        named: bool,
        user_claim: &'static str,
    ) -> Self {
        let mut builder = builder.algorithms(algorithms.iter().copied()).user_claim(user_claim);
        let mut validation = Validation::new(algorithms[0].as_jsonwebtoken());
        validation.algorithms = algorithms.iter().map(|it| it.as_jsonwebtoken()).collect();
        validation.validate_nbf = true;
        if named {
            builder = builder.issuer(ISSUER).audience("chat");
            validation.set_issuer(&[ISSUER]);
            validation.set_audience(&["chat"]);
            validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        }
        // Each token is verified anew.
        let ours = builder.cache_capacity(0).build().unwrap();
        Self { ours, key, validation, user_claim }
    }

    fn of_secret(algorithms: &[Algorithm], named: bool, user_claim: &'static str) -> Self {
        let (builder, key) = (Verifier::builder().secret(SECRET), DecodingKey::from_secret(SECRET));
        Self::new(builder, algorithms, key, named, user_claim)
    }

    fn hs256() -> Self {
        Self::of_secret(&[Algorithm::Hs256], false, "sub")
    }

    fn decode(&self, token: &str) -> Result<Value, jsonwebtoken::errors::Error> {
        decode::<Value>(token, &self.key, &self.validation).map(|data| data.claims)
    }

    /// Gives what we say, if the two fit together.
    fn compare(&self, token: &str) -> Result<(), InvalidToken> {
        let (ours, theirs) = (self.ours.verify(token), self.decode(token));
        match (ours, theirs) {
            (Ok(principal), Ok(claims)) => {
                let user = match &claims[self.user_claim] {
                    Value::String(user) => user.clone(),
                    other => other.to_string(),
                };
                assert_eq!(principal.user_id().as_str(), user, "{token}");
                Ok(())
            }
            (Ok(_), Err(error)) => panic!("we believe it, and decode says {error}: {token}"),
            (Err(invalid), Ok(_)) => {
                let kind = may_be_stricter(&invalid);
                assert!(kind, "decode believes it, and we say {invalid}: {token}");
                Err(invalid)
            }
            (Err(invalid), Err(_)) => Err(invalid),
        }
    }
}

/// Tells whether we may refuse for that what `decode` believes. About signatures and algorithms the
/// two agree.
fn may_be_stricter(invalid: &InvalidToken) -> bool {
    match invalid {
        InvalidToken::AlgorithmNotAllowed
        | InvalidToken::Insufficient(_)
        | InvalidToken::KeyAlgorithm
        | InvalidToken::Revoked
        | InvalidToken::Signature
        | InvalidToken::UnknownKey => false,
        InvalidToken::Audience
        | InvalidToken::BringsItsOwnKey
        | InvalidToken::CriticalExtension
        | InvalidToken::Encrypted
        | InvalidToken::Expired
        | InvalidToken::Issuer
        | InvalidToken::Malformed
        | InvalidToken::NoExpiry
        | InvalidToken::NoUser
        | InvalidToken::NumericSubject
        | InvalidToken::NotYetValid
        | InvalidToken::Purpose
        | InvalidToken::TooLong
        | InvalidToken::Type
        | InvalidToken::User(_) => true,
    }
}

fn now() -> i64 {
    jsonwebtoken::get_current_timestamp().try_into().unwrap()
}

/// Gives a signed token of these members, in this order.
fn token_of(header: &str, claims: &str) -> String {
    sign_raw(header, claims, SECRET)
}

/// Gives all kinds of tokens that `decode` believes and we don't, and what we say to each.
fn stricter() -> Vec<(&'static str, String, InvalidToken)> {
    use InvalidToken as I;
    let plain = r#"{"alg":"HS256"}"#;
    let exp = now() + 1000;
    let good = format!(r#"{{"sub":"ada","exp":{exp}}}"#);
    let header = |more: &str| token_of(&format!(r#"{{"alg":"HS256",{more}}}"#), &good);
    let claims = |more: &str| token_of(plain, &format!(r#"{{"sub":"ada","exp":{exp},{more}}}"#));
    let whole = |claims: String| token_of(plain, &claims);
    vec![
        ("a header that brings a key", header(r#""jku":"https://a""#), I::BringsItsOwnKey),
        ("even an empty one", header(r#""x5u":null"#), I::BringsItsOwnKey),
        ("an extension that is critical", header(r#""crit":["b64"]"#), I::CriticalExtension),
        ("a header of a JWE", header(r#""enc":"A256GCM""#), I::Encrypted),
        ("a header with null for a text", header(r#""kid":null"#), I::Malformed),
        ("a name of our own twice", header(r#""x":1,"x":2"#), I::Malformed),
        ("a claim twice", claims(r#""uid":1,"uid":2"#), I::Malformed),
        (
            "an exp in milliseconds",
            whole(format!(r#"{{"sub":"ada","exp":{exp}000}}"#)),
            I::NoExpiry,
        ),
        (
            "the last second of the leeway",
            whole(json!({"sub":"ada","exp":now() - 60}).to_string()),
            I::Expired,
        ),
        (
            "a part of a second in nbf",
            claims(&format!(r#""nbf":{}.25"#, now() + 60)),
            I::NotYetValid,
        ),
        ("no user", whole(format!(r#"{{"exp":{exp}}}"#)), I::NoUser),
        (
            "a user that is a number",
            whole(format!(r#"{{"sub":7,"exp":{exp}}}"#)),
            I::NumericSubject,
        ),
        (
            "a user that can't be one",
            whole(format!(r#"{{"sub":"a\nb","exp":{exp}}}"#)),
            I::User(crate::principal::InvalidUserId::ControlCharacter),
        ),
        ("an aud that is null", claims(r#""aud":null"#), I::Audience),
        ("a token for something else", claims(r#""token_use":"id""#), I::Purpose),
        ("a token of 16 KiB", claims(&format!(r#""x":"{}""#, "x".repeat(16_384))), I::TooLong),
    ]
}

#[test]
fn what_decode_believes_and_we_do_not_is_listed() {
    let both = Both::hs256();
    // Some are decided by the second, so all are asked within one.
    let judged = loop {
        let second = now();
        let judge = |(kind, token, expected): (_, String, _)| {
            (kind, both.decode(&token).is_ok(), both.compare(&token), expected)
        };
        let judged: Vec<_> = stricter().into_iter().map(judge).collect();
        if second == now() {
            break judged;
        }
    };
    for (kind, believed, ours, expected) in judged {
        assert!(believed, "{kind}");
        assert_eq!(ours, Err(expected), "{kind}");
    }
    let named = Both::of_secret(&[Algorithm::Hs256], true, "sub");
    let claims = json!({ "sub": "ada", "exp": now() + 1000, "iss": [ISSUER], "aud": "chat" });
    assert!(named.decode(&sign(&claims)).is_ok());
    assert_eq!(named.compare(&sign(&claims)), Err(InvalidToken::Issuer));

    let only = Both::hs256();
    let typed = Verifier::builder().algorithms([Algorithm::Hs256]).secret(SECRET);
    let ours = typed.token_type(TokenType::Only("at+jwt".into())).build().unwrap();
    let token = sign(&json!({ "sub": "ada", "exp": now() + 1000 }));
    assert!(only.decode(&token).is_ok());
    assert_eq!(ours.verify(&token).err(), Some(InvalidToken::Type));
}

// What is looser here: the name that RFC 9864 gave to `EdDSA` on that curve, which jsonwebtoken
// doesn't know. The signature is the same.
#[test]
fn the_newer_name_of_eddsa_is_all_that_we_take_and_decode_does_not() {
    let key = EncodingKey::from_ed_pem(key!("ed25519.private")).unwrap();
    let public = key!("ed25519.public");
    let builder = Verifier::builder().public_key_pem(public);
    let decoding = DecodingKey::from_ed_pem(public).unwrap();
    let both = Both::new(builder, &[Algorithm::EdDsa], decoding, false, "sub");
    for (name, theirs) in [("EdDSA", true), ("Ed25519", false)] {
        let claims = json!({ "sub": "ada", "exp": now() + 1000 });
        let header = json!({ "alg": name });
        let signed = format!("{}.{}", part(&header.to_string()), part(&claims.to_string()));
        let algorithm = jsonwebtoken::Algorithm::EdDSA;
        let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), &key, algorithm).unwrap();
        let token = format!("{signed}.{signature}");
        assert!(both.ours.verify(&token).is_ok(), "{name}");
        assert_eq!(both.decode(&token).is_ok(), theirs, "{name}");
    }
}

#[test]
fn signatures_of_every_algorithm_are_judged_alike() {
    use Algorithm as A;
    let rsa = || (EncodingKey::from_rsa_pem(key!("rsa.private")).unwrap(), key!("rsa.public"));
    let ec = |private: &[u8]| EncodingKey::from_ec_pem(private).unwrap();
    let claims = json!({ "sub": "ada", "exp": now() + 1000 });
    for algorithm in A::ALL {
        let secret = EncodingKey::from_secret(SECRET);
        let (key, both) = match algorithm {
            A::Hs256 | A::Hs384 | A::Hs512 => (secret, Both::of_secret(&[algorithm], false, "sub")),
            _ => {
                let (key, public, decoding) = match algorithm {
                    A::EdDsa => {
                        let key = EncodingKey::from_ed_pem(key!("ed25519.private")).unwrap();
                        let public = key!("ed25519.public").as_slice();
                        (key, public, DecodingKey::from_ed_pem(public))
                    }
                    A::Es256 => {
                        let public = key!("p256.public").as_slice();
                        (ec(key!("p256.private")), public, DecodingKey::from_ec_pem(public))
                    }
                    A::Es384 => {
                        let public = key!("p384.public").as_slice();
                        (ec(key!("p384.private")), public, DecodingKey::from_ec_pem(public))
                    }
                    _ => {
                        let (key, public) = rsa();
                        (key, public.as_slice(), DecodingKey::from_rsa_pem(public))
                    }
                };
                let builder = Verifier::builder().public_key_pem(public);
                (key, Both::new(builder, &[algorithm], decoding.unwrap(), false, "sub"))
            }
        };
        let token = sign_with(algorithm, &key, &claims);
        assert_eq!(both.compare(&token), Ok(()), "{algorithm}");
        // Each character of the signature, by another one and by none.
        let signature = token.rfind('.').unwrap() + 1;
        for at in signature..token.len() {
            let other = if token.as_bytes()[at] == b'A' { "B" } else { "A" };
            let (before, after) = (&token[..at], &token[at + 1..]);
            for broken in [format!("{before}{other}{after}"), format!("{before}{after}")] {
                assert!(both.compare(&broken).is_err(), "{algorithm} {at}");
            }
        }
    }
}

/// Texts of JSON values, mostly not what is expected somewhere.
const ODD: [&str; 20] = [
    "null",
    "true",
    "0",
    "7",
    "-1",
    "1.5",
    "-0.0",
    "1e300",
    "1e999",
    "18446744073709551616",
    r#""""#,
    r#""x""#,
    r#""\ud800""#,
    r#""\u0041""#,
    "[]",
    r#"["x"]"#,
    r#"["x",7]"#,
    "{}",
    r#"{"a":[{}]}"#,
    "x",
];

fn odd() -> impl Strategy<Value = String> {
    prop::sample::select(ODD.as_slice()).prop_map(str::to_owned)
}

fn one_of(texts: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop_oneof![8 => prop::sample::select(texts).prop_map(str::to_owned), 1 => odd()]
}

fn date() -> impl Strategy<Value = String> {
    // Never within a second of what decides: the two don't look at the clock at the same time.
    let near = prop::sample::select(vec![
        -1e9, -1000.0, -62.5, -57.0, -30.25, 0.0, 30.75, 57.0, 62.5, 1000.0, 1e9,
    ]);
    prop_oneof![
        8 => (near, any::<bool>()).prop_map(|(distance, whole)| {
            #[expect(clippy::cast_precision_loss, reason = "a date of today")]
            let date = now() as f64 + distance;
            if whole { format!("{date:.0}") } else { format!("{date:.2}") }
        }),
        1 => odd(),
    ]
}

type Members = Vec<(String, String)>;

fn member(
    name: &'static str,
    value: impl Strategy<Value = String>,
) -> impl Strategy<Value = (String, String)> {
    value.prop_map(move |value| (name.to_owned(), value))
}

fn header() -> impl Strategy<Value = Members> {
    let alg = one_of(&[
        r#""HS256""#,
        r#""HS256""#,
        r#""HS256""#,
        r#""HS512""#,
        r#""HS384""#,
        r#""RS256""#,
        r#""none""#,
        r#""hs256""#,
        r#""\u0048S256""#,
    ]);
    let names = vec![
        "typ", "kid", "cty", "x5t", "x5t#S256", "jku", "jwk", "x5u", "x5c", "crit", "enc", "zip",
        "url", "nonce", "b64", "own", "alg",
    ];
    let more = (prop::sample::select(names), one_of(&[r#""JWT""#]));
    let more = more.prop_map(|(name, value)| (name.to_owned(), value));
    (member("alg", alg), prop::collection::vec(more, 0..3)).prop_map(|(alg, mut members)| {
        members.push(alg);
        members
    })
}

fn claims_of_all_kinds() -> impl Strategy<Value = Members> {
    let maybe = |member| prop::option::weighted(0.7, member);
    let sub = one_of(&[r#""ada""#, r#""a\u0064a""#, r#""""#]);
    let iss =
        one_of(&[r#""https://a.example""#, r#""https://b.example""#, r#"["https://a.example"]"#]);
    let aud = one_of(&[
        r#""chat""#,
        r#"["mail","chat"]"#,
        r#"["mail"]"#,
        r#"["chat",7]"#,
        r#"["chat","chat"]"#,
    ]);
    let more = vec!["sub", "exp", "nbf", "iss", "aud", "uid", "iat", "typ", "own"];
    let more = (prop::sample::select(more), odd());
    (
        member("sub", sub),
        member("exp", date()),
        prop::option::weighted(0.3, member("nbf", date())),
        maybe(member("iss", iss).boxed()),
        maybe(member("aud", aud).boxed()),
        prop::option::weighted(0.5, member("uid", one_of(&[r#""ada""#, "42", "-1"]))),
        prop::option::weighted(0.2, more.prop_map(|(name, value)| (name.to_owned(), value))),
    )
        .prop_map(|(sub, exp, nbf, iss, aud, uid, more)| {
            [Some(sub), Some(exp), nbf, iss, aud, uid, more].into_iter().flatten().collect()
        })
}

fn object(members: &[(String, String)]) -> String {
    let members: Vec<_> =
        members.iter().map(|(name, value)| format!("{}:{value}", json!(name))).collect();
    format!("{{{}}}", members.join(","))
}

/// What is done to a token on its way.
#[derive(Clone, Debug)]
enum Harm {
    None,
    Insert(usize, char),
    Remove(usize),
    Replace(usize, char),
}

fn harm() -> impl Strategy<Value = Harm> {
    let odd = prop::sample::select("AQgw_-+/=.~ \n\u{e9}".chars().collect::<Vec<_>>());
    prop_oneof![
        4 => Just(Harm::None),
        1 => (any::<usize>(), odd.clone()).prop_map(|(at, by)| Harm::Insert(at, by)),
        1 => any::<usize>().prop_map(Harm::Remove),
        1 => (any::<usize>(), odd).prop_map(|(at, by)| Harm::Replace(at, by)),
    ]
}

impl Harm {
    fn done_to(self, token: &str) -> String {
        let mut chars: Vec<char> = token.chars().collect();
        let count = chars.len();
        match self {
            Self::None => {}
            Self::Insert(at, by) => chars.insert(at % (count + 1), by),
            Self::Remove(at) => drop(chars.remove(at % count)),
            Self::Replace(at, by) => chars[at % count] = by,
        }
        chars.into_iter().collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_we_believe_decode_believes(
        header in header(),
        claims in claims_of_all_kinds(),
        harm in harm(),
        named in any::<bool>(),
        by_uid in any::<bool>(),
        algorithms in prop::sample::select(vec![&[Algorithm::Hs256][..], &[Algorithm::Hs256, Algorithm::Hs512]]),
        good_secret in prop::bool::weighted(0.9),
    ) {
        let both = Both::of_secret(algorithms, named, if by_uid { "uid" } else { "sub" });
        let secret: &[u8] = if good_secret { SECRET } else { b"another secret" };
        let token = sign_raw(&object(&header), &object(&claims), secret);
        let _ = both.compare(&harm.done_to(&token));
    }
}
