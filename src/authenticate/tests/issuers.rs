//! Several issuers side by side.

use super::*;
use crate::authenticate::{InvalidToken, Issuers};

const OTHER: &[u8] = b"the secret of another issuer, which has 64 bytes or more as well, yes";

fn of(issuer: &str, secret: &[u8]) -> VerifierBuilder {
    hs256().secret(secret).issuer(issuer).user("{iss}|{sub}".parse().unwrap())
}

fn token(issuer: &str, secret: &[u8], more: (&str, Value)) -> String {
    let mut claims = json!({ "iss": issuer, "sub": "ada", "exp": NOW + 60 });
    claims[more.0] = more.1;
    sign_raw(r#"{"alg":"HS256"}"#, &claims.to_string(), secret)
}

#[test]
fn a_token_is_checked_by_its_issuers_key_and_rules_and_no_others() {
    let a = of("a", SECRET).audience("chat");
    let b = of("b", OTHER).require(["scope:x".parse().unwrap()]);
    let issuers = Issuers::new([a, b].map(|it| it.build().unwrap())).unwrap();
    let found = |token: &str| issuers.verify(token).map(|it| it.user_id().as_str().to_owned());
    let (chat, scope) = (("aud", json!("chat")), ("scope", json!("x")));
    for _ in 0..2 {
        assert_eq!(found(&token("a", SECRET, chat.clone())).as_deref(), Ok("a|ada"));
        assert_eq!(found(&token("b", OTHER, scope.clone())).as_deref(), Ok("b|ada"));
    }
    assert_eq!(issuers.verify(&token("a", OTHER, chat.clone())), Err(InvalidToken::Signature));
    assert_eq!(issuers.verify(&token("b", SECRET, scope.clone())), Err(InvalidToken::Signature));
    assert_eq!(issuers.verify(&token("a", SECRET, scope)), Err(InvalidToken::Audience));
    assert_eq!(issuers.verify(&token("b", OTHER, chat)), Err(InvalidToken::Audience));
    let lacking = token("b", OTHER, ("scope", json!("y")));
    assert!(matches!(issuers.verify(&lacking), Err(InvalidToken::Insufficient(_))));
    // Neither text nor case is guessed at.
    for iss in [json!("c"), json!("A"), json!(["a"]), json!(""), Value::Null, json!("a ")] {
        let stranger = token("a", SECRET, ("iss", iss));
        assert_eq!(issuers.verify(&stranger), Err(InvalidToken::Issuer));
    }
    assert_eq!(issuers.verify(&sign(&claims())), Err(InvalidToken::Issuer));
    for token in ["", "a.b.c", &"x".repeat(20_000)] {
        assert!(issuers.verify(token).is_err());
    }
}

#[test]
fn a_remembered_token_expires_by_its_issuers_clock_and_leeway() {
    let clock = TestClock::new();
    let of = |issuer: &str, leeway: u64| {
        let now = clock.clone();
        let verifier = of(issuer, SECRET).leeway(Duration::from_secs(leeway));
        verifier.clock(move || now.now()).build().unwrap()
    };
    let issuers = Issuers::new([of("a", 0), of("b", 30)]).unwrap();
    let [a, b] = ["a", "b"].map(|iss| token(iss, SECRET, ("n", json!(1))));
    assert!(issuers.verify(&a).is_ok() && issuers.verify(&b).is_ok());
    clock.set(NOW + 60);
    assert_eq!(issuers.verify(&a), Err(InvalidToken::Expired));
    assert!(issuers.verify(&b).is_ok());
    clock.set(NOW + 90);
    assert_eq!(issuers.verify(&b), Err(InvalidToken::Expired));
}

#[test]
fn issuers_have_names_that_differ() {
    let build = |issuers: &[Option<&str>]| {
        let verifiers = issuers.iter().map(|issuer| match issuer {
            Some(issuer) => of(issuer, SECRET).build().unwrap(),
            None => hs256().build().unwrap(),
        });
        Issuers::new(verifiers.collect::<Vec<_>>())
    };
    assert!(build(&[Some("a"), Some("b")]).is_ok());
    for wrong in [&[][..], &[None], &[Some("a"), None], &[Some("a"), Some("a")]] {
        assert!(build(wrong).is_err(), "{wrong:?}");
    }
}
