//! Issuers side by side, each of which can be away or hang without the others.

use std::task::{Context, Poll, Waker};

use super::*;
use crate::authenticate::Issuers;
use crate::authenticate::tests::service::OneSecret;

fn of(name: &str, issuer: &Arc<Issuer>) -> VerifierBuilder {
    let builder = Verifier::builder()
        .algorithms([Algorithm::Es256, Algorithm::EdDsa])
        .remote_key_set(Arc::new(Asking(Arc::clone(issuer))))
        .issuer(name);
    at_now(builder)
}

fn issuers(all: [(&str, &Arc<Issuer>); 2]) -> Arc<Issuers> {
    let verifiers = all.map(|(name, issuer)| of(name, issuer).build().unwrap());
    Arc::new(Issuers::new(verifiers).unwrap())
}

fn claims_of(issuer: &str) -> Value {
    json!({ "iss": issuer, "sub": "ada", "exp": NOW + 60 })
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_an_issuers_keys_is_in_no_place_of_anybody_elses() {
    let (hangs, answers) = (Issuer::new(&[p256("a")]), Issuer::new(&[p256("b")]));
    hangs.stall();
    let issuers = issuers([("a", &hangs), ("b", &answers)]);
    let layer = AuthenticateLayer::of_issuers(issuers).client_secrets(Arc::new(OneSecret));
    let mut cx = Context::from_waker(Waker::noop());
    let (mut waiting, mut refused) = (Vec::new(), 0);
    for kid in 0..600 {
        let header = json!({ "alg": "ES256", "kid": kid.to_string() }).to_string();
        let forged = bearer(&sign_raw(&header, &claims_of("a").to_string(), SECRET));
        let mut sent = Box::pin(send(&layer, request(&[("authorization", &forged)])));
        match sent.as_mut().poll(&mut cx) {
            Poll::Pending => waiting.push(sent),
            Poll::Ready(reply) => {
                assert_eq!(reply.status(), 503);
                assert!(reply.headers().contains_key("retry-after"));
                refused += 1;
            }
        }
    }
    assert_eq!((waiting.len(), refused), (256, 600 - 256));
    let secret = send(&layer, request(&[("authorization", "Bearer ek_good")])).await;
    assert_eq!(secret.status(), 200);
    let new = bearer(&token_of(Algorithm::Es256, Some("b"), &claims_of("b")));
    assert_eq!(send(&layer, request(&[("authorization", &new)])).await.status(), 200);
    // They are given back.
    drop(waiting);
    hangs.gate.add_permits(1000);
    let good = bearer(&token_of(Algorithm::Es256, Some("a"), &claims_of("a")));
    assert_eq!(send(&layer, request(&[("authorization", &good)])).await.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn readiness_takes_the_keys_of_one_issuer_and_waits_for_no_other() {
    let start = Instant::now();
    let (first, second) = (Issuer::new(&[p256("a")]), Issuer::new(&[p256("b")]));
    first.stall();
    // All are asked at once, and the first that answers is enough.
    let both = issuers([("a", &first), ("b", &second)]);
    assert!(both.keys_ready().await.is_ok());
    assert_eq!((start.elapsed(), first.asked(), second.asked()), (Duration::ZERO, 1, 1));
    // So it is where the first is asked again and hangs.
    for _ in 0..3 {
        advance(Duration::from_secs(30)).await;
        let before = Instant::now();
        assert!(both.keys_ready().await.is_ok());
        assert_eq!(before.elapsed(), Duration::ZERO);
    }
    settle().await;
    assert!(first.asked() > 1);

    // With nobody's keys nobody is ready; one who fails at once doesn't speak for the other.
    let (away, late) = (Issuer::new(&[p256("a")]), Issuer::new(&[p256("b")]));
    away.leave();
    late.stall();
    let both = issuers([("a", &away), ("b", &late)]);
    let before = Instant::now();
    assert!(both.keys_ready().await.is_err());
    assert_eq!(before.elapsed(), Duration::from_secs(5));
    // Nor is there anything to wait for in the pauses after.
    assert!(both.keys_ready().await.is_err());
    assert_eq!(before.elapsed(), Duration::from_secs(5));
    advance(Duration::from_secs(1)).await;
    late.gate.add_permits(1);
    assert!(both.keys_ready().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_remembered_token_does_not_outlive_its_issuers_key() {
    let a = Issuer::new(&[p256("k")]);
    let b = Issuer::new(&[p256("k"), ed25519("stays")]);
    let issuers = issuers([("a", &a), ("b", &b)]);
    let [of_a, gone] = ["a", "b"].map(|iss| token_of(Algorithm::Es256, Some("k"), &claims_of(iss)));
    let stays = token_of(Algorithm::EdDsa, Some("stays"), &claims_of("b"));
    for token in [&of_a, &gone, &stays] {
        assert!(issuers.verify_with_fetch(token).await.is_ok());
    }
    b.publish(&[ed25519("stays")]);
    advance(HOUR / 5 * 4).await;
    // The one that brings it about is let in by what is known.
    assert!(issuers.verify(&stays).is_ok());
    settle().await;
    assert_eq!(b.asked(), 2);
    assert_eq!(issuers.verify(&gone), Err(InvalidToken::UnknownKey));
    assert!(issuers.verify(&stays).is_ok() && issuers.verify(&of_a).is_ok());
}
