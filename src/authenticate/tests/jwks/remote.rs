//! On a paused clock: what is waited for is what time passes by.

mod several;

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;

use tokio::sync::Semaphore;
use tokio::time::{Instant, advance};

use super::*;
use crate::authenticate::tests::service::{request, send, text};
use crate::authenticate::{
    AuthenticateLayer, FetchError, FetchFuture, FetchKeys, FetchedKeys, InvalidToken, VerifyError,
};
use crate::rejection::Refused;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// An issuer whose set is changed by hand.
#[derive(Debug)]
struct Issuer {
    /// `None`: it is away.
    set: Mutex<Option<Vec<u8>>>,
    /// What it answers first.
    before: Mutex<VecDeque<Vec<u8>>>,
    asked: AtomicUsize,
    /// It answers one for each permit.
    gate: Semaphore,
}

#[derive(Clone, Debug)]
struct Asking(Arc<Issuer>);

impl Issuer {
    fn new(keys: &[Value]) -> Arc<Self> {
        Arc::new(Self {
            set: Mutex::new(Some(set_of(keys))),
            before: Mutex::default(),
            asked: AtomicUsize::new(0),
            gate: Semaphore::new(1_000_000),
        })
    }

    fn publish(&self, keys: &[Value]) {
        *self.set.lock().unwrap() = Some(set_of(keys));
    }

    fn leave(&self) {
        *self.set.lock().unwrap() = None;
    }

    fn stall(&self) {
        self.gate.forget_permits(usize::MAX);
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

impl FetchKeys for Asking {
    fn fetch(&self) -> FetchFuture {
        let issuer = Arc::clone(&self.0);
        Box::pin(async move {
            issuer.asked.fetch_add(1, Ordering::Relaxed);
            issuer.gate.acquire().await.unwrap().forget();
            let before = issuer.before.lock().unwrap().pop_front();
            let set = before.or_else(|| issuer.set.lock().unwrap().clone());
            let json = set.ok_or_else(|| FetchError::failed("it is away"))?;
            Ok(FetchedKeys::new(json))
        })
    }

    fn source(&self) -> String {
        "a test".into()
    }
}

fn verifier(issuer: &Arc<Issuer>) -> Verifier {
    let builder = Verifier::builder()
        .algorithms([Algorithm::Es256, Algorithm::Rs256, Algorithm::EdDsa])
        .remote_key_set(Arc::new(Asking(Arc::clone(issuer))));
    at_now(builder).build().unwrap()
}

fn es256(kid: &str) -> String {
    token_of(Algorithm::Es256, Some(kid), &claims())
}

fn ed_dsa(kid: &str) -> String {
    token_of(Algorithm::EdDsa, Some(kid), &claims())
}

async fn verify(verifier: &Verifier, token: &str) -> Result<(), InvalidToken> {
    match verifier.verify_with_fetch(token).await {
        Ok(_) => Ok(()),
        Err(VerifyError::Invalid(invalid)) => Err(invalid),
        Err(VerifyError::Unavailable(unavailable)) => panic!("{unavailable}"),
    }
}

async fn unavailable(verifier: &Verifier, token: &str) -> String {
    match verifier.verify_with_fetch(token).await {
        Err(VerifyError::Unavailable(unavailable)) => unavailable.to_string(),
        other => panic!("{other:?}"),
    }
}

/// Gives after how long a token is to be shown again.
async fn again_in(verifier: &Verifier, token: &str) -> Option<Duration> {
    match verifier.verify_with_fetch(token).await {
        Err(VerifyError::Unavailable(unavailable)) => unavailable.retry_after(),
        other => panic!("{other:?}"),
    }
}

/// Lets tasks run that have something to do.
async fn settle() {
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_set_is_fetched_when_it_is_needed_and_once() {
    let issuer = Issuer::new(&[p256("a")]);
    let verifier = verifier(&issuer);
    // Who can't be let in whatever the keys are needs none of them.
    let expired = token_of(Algorithm::Es256, Some("a"), &json!({ "sub": "ada", "exp": NOW }));
    let of_another =
        token_of(Algorithm::Es256, Some("a"), &json!({ "sub": "ada", "exp": NOW + 9, "aud": "x" }));
    for token in ["x.y.z", &sign(&claims()), &expired, &of_another] {
        assert!(verify(&verifier, token).await.is_err());
    }
    settle().await;
    assert_eq!(issuer.asked(), 0);
    let good = es256("a");
    let all = (verify(&verifier, &good), verify(&verifier, &good), verify(&verifier, &good));
    assert_eq!(tokio::join!(all.0, all.1, all.2), (Ok(()), Ok(()), Ok(())));
    assert_eq!(issuer.asked(), 1);
    assert_eq!(verify(&verifier, &expired).await, Err(InvalidToken::Expired));
    for _ in 0..1000 {
        assert_eq!(verifier.verify(&good).map(drop), Ok(()));
    }
    assert_eq!(issuer.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_new_key_is_taken_up_without_a_request_that_fails() {
    let issuer = Issuer::new(&[p256("a")]);
    let verifier = verifier(&issuer);
    assert_eq!(verify(&verifier, &es256("a")).await, Ok(()));
    issuer.publish(&[p256("a"), ed25519("b")]);
    assert_eq!(verify(&verifier, &ed_dsa("b")).await, Ok(()));
    assert_eq!(verify(&verifier, &es256("a")).await, Ok(()));
    assert_eq!(issuer.asked(), 2);
    // A fetch was under way that was answered before the key was there.
    advance(MINUTE).await;
    issuer.before.lock().unwrap().push_back(set_of(&[p256("a"), ed25519("b")]));
    issuer.publish(&[rsa("c")]);
    issuer.stall();
    let (first, second) = (es256("unknown"), token_of(Algorithm::Rs256, Some("c"), &claims()));
    advance(HOUR / 5 * 4).await;
    // By age, beside a token of a known key.
    assert_eq!(verifier.verify(&es256("a")).map(drop), Ok(()));
    let waiting = async {
        let both = (verify(&verifier, &second), verify(&verifier, &first));
        tokio::join!(both.0, both.1)
    };
    let letting = async {
        settle().await;
        issuer.gate.add_permits(2);
    };
    let (found, ()) = tokio::join!(waiting, letting);
    assert_eq!(found, (Ok(()), Err(InvalidToken::UnknownKey)));
    assert_eq!(issuer.asked(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_token_does_not_outlive_its_key() {
    let issuer = Issuer::new(&[p256("a"), ed25519("b")]);
    let verifier = verifier(&issuer);
    let (gone, stays) = (es256("a"), ed_dsa("b"));
    assert_eq!(verify(&verifier, &gone).await, Ok(()));
    assert_eq!(verify(&verifier, &stays).await, Ok(()));
    assert_eq!(verifier.cached_tokens(), 2);
    issuer.publish(&[ed25519("b")]);
    advance(HOUR / 5 * 4).await;
    // The one that brings it about is let in by what is known.
    assert_eq!(verify(&verifier, &stays).await, Ok(()));
    settle().await;
    assert_eq!(issuer.asked(), 2);
    assert_eq!(verifier.verify(&gone).unwrap_err(), InvalidToken::UnknownKey);
    assert_eq!(verify(&verifier, &stays).await, Ok(()));
    // Another key of the same name is another key.
    issuer.publish(&[changed(rsa("b"), "alg", "RS256")]);
    advance(HOUR).await;
    assert_eq!(verify(&verifier, &stays).await, Err(InvalidToken::KeyAlgorithm));
    // The issuer takes its last one away.
    issuer.publish(&[]);
    advance(HOUR).await;
    let token = token_of(Algorithm::Rs256, Some("b"), &claims());
    assert!(unavailable(&verifier, &token).await.contains("no key that can be used"));
}

#[tokio::test(start_paused = true)]
async fn no_token_of_a_known_key_waits_for_the_set() {
    let issuer = Issuer::new(&[p256("a")]);
    let verifier = verifier(&issuer);
    assert_eq!(verify(&verifier, &es256("a")).await, Ok(()));
    issuer.stall();
    let start = Instant::now();
    // A token each second, of which none was seen before, for the time that a set is fresh.
    for second in 0..3600 {
        let token = token_of(
            Algorithm::Es256,
            Some("a"),
            &json!({ "sub": "ada", "exp": NOW + 1 + second }),
        );
        assert_eq!(verify(&verifier, &token).await, Ok(()));
        advance(Duration::from_secs(1)).await;
        settle().await;
    }
    assert_eq!(start.elapsed(), HOUR);
    assert!((10..20).contains(&issuer.asked()), "{}", issuer.asked());
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_outlived_and_ends() {
    let issuer = Issuer::new(&[p256("a")]);
    let verifier = verifier(&issuer);
    assert_eq!(verify(&verifier, &es256("a")).await, Ok(()));
    issuer.leave();
    for hours in 0..25 {
        assert_eq!(verify(&verifier, &es256("a")).await, Ok(()), "{hours}");
        advance(HOUR).await;
    }
    assert!(unavailable(&verifier, &es256("a")).await.contains("it is away"));
    assert!(verifier.keys_ready().await.is_err());
    // Whatever it was, it isn't the client's.
    assert!(unavailable(&verifier, &es256("new")).await.contains("it is away"));
    issuer.publish(&[p256("a")]);
    advance(MINUTE).await;
    assert!(verifier.keys_ready().await.is_ok());
    assert_eq!(verify(&verifier, &es256("a")).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn nothing_known_and_nothing_to_be_had_is_nobodys_fault() {
    let issuer = Issuer::new(&[p256("a")]);
    issuer.stall();
    let verifier = verifier(&issuer);
    let start = Instant::now();
    assert_eq!(
        unavailable(&verifier, &es256("a")).await,
        "the key set (a test) can't be had: there was no answer within 5 s"
    );
    assert_eq!(start.elapsed(), Duration::from_secs(5));
    // Nobody waits in the pause after that, and what is no token at all is told so.
    for _ in 0..100 {
        unavailable(&verifier, &es256("a")).await;
        assert_eq!(verify(&verifier, "x.y.z").await, Err(InvalidToken::Malformed));
    }
    assert_eq!(start.elapsed(), Duration::from_secs(5));
    assert_eq!(issuer.asked(), 1);
    // Garbage is none either, and is forgotten as soon as there are keys.
    issuer.gate.add_permits(1000);
    *issuer.set.lock().unwrap() = Some(b"<html>".to_vec());
    advance(Duration::from_secs(1)).await;
    assert!(unavailable(&verifier, &es256("a")).await.contains("is not JSON"));
    issuer.publish(&[p256("a")]);
    advance(Duration::from_secs(2)).await;
    assert_eq!(verify(&verifier, &es256("a")).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn garbage_does_not_take_keys_away() {
    let issuer = Issuer::new(&[p256("a")]);
    let verifier = verifier(&issuer);
    let token = es256("a");
    assert_eq!(verify(&verifier, &token).await, Ok(()));
    for garbage in ["<html>", "{}", "{\"keys\": [1]}", "{\"keys\": {}}", "null"] {
        *issuer.set.lock().unwrap() = Some(garbage.into());
        advance(HOUR).await;
        assert_eq!(verify(&verifier, &token).await, Ok(()), "{garbage}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_made_up_keys_costs_a_fetch_a_minute() {
    let issuer = Issuer::new(&[p256("a")]);
    let verifier = verifier(&issuer);
    let good = es256("a");
    assert_eq!(verify(&verifier, &good).await, Ok(()));
    for round in 0..100 {
        for kid in 0..20 {
            // Signed by nobody: the signature is never looked at.
            let header = json!({ "alg": "ES256", "kid": format!("{round}-{kid}") }).to_string();
            let forged = sign_raw(&header, &claims().to_string(), SECRET);
            // The one that had the set fetched is known to be nobody's.
            if (round % 20, kid) == (0, 0) {
                assert_eq!(verify(&verifier, &forged).await, Err(InvalidToken::UnknownKey));
            } else {
                assert!(unavailable(&verifier, &forged).await.contains("looked for lately"));
            }
        }
        assert_eq!(verify(&verifier, &good).await, Ok(()));
        advance(Duration::from_secs(3)).await;
    }
    // Five minutes.
    assert_eq!(issuer.asked(), 1 + 5);
    // A key of its own is found with what the flood fetches.
    issuer.publish(&[p256("a"), ed25519("b")]);
    advance(MINUTE).await;
    assert_eq!(verify(&verifier, &es256("made-up")).await, Err(InvalidToken::UnknownKey));
    assert_eq!(verifier.verify(&ed_dsa("b")).map(drop), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_strangers_token_costs_a_new_key_no_401() {
    let issuer = Issuer::new(&[p256("a"), rsa("old")]);
    let verifier = verifier(&issuer);
    let old = token_of(Algorithm::Rs256, Some("old"), &claims());
    assert_eq!(verify(&verifier, &es256("a")).await, Ok(()));
    assert_eq!(verify(&verifier, &old).await, Ok(()));
    let header = json!({ "alg": "ES256", "kid": "made-up" }).to_string();
    let forged = sign_raw(&header, &claims().to_string(), SECRET);
    issuer.publish(&[p256("a")]);
    assert_eq!(verify(&verifier, &forged).await, Err(InvalidToken::UnknownKey));
    // It has used up the fetch of this minute, and now the new key comes.
    issuer.publish(&[p256("a"), ed25519("b")]);
    advance(Duration::from_secs(20)).await;
    let left = Some(Duration::from_secs(40));
    assert_eq!(again_in(&verifier, &ed_dsa("b")).await, left);
    assert_eq!(again_in(&verifier, &forged).await, left);
    // What isn't good with any key is told so, and so is what the issuer took away. Without a name for
    // its key a token may be anybody's.
    let expired = token_of(Algorithm::EdDsa, Some("b"), &json!({ "sub": "ada", "exp": NOW }));
    let nameless = token_of(Algorithm::Rs256, None, &claims());
    for token in [&expired, &old, &nameless] {
        assert_eq!(verify(&verifier, token).await, Err(InvalidToken::UnknownKey));
    }
    let layer = AuthenticateLayer::new(Arc::new(verifier));
    let new = format!("Bearer {}", ed_dsa("b"));
    let new = || request(&[("authorization", &new)]);
    advance(Duration::from_millis(500)).await;
    let reply = send(&layer, new()).await;
    assert_eq!(reply.status(), 503);
    assert_eq!(reply.headers()["retry-after"], "40");
    // Whose set it is is for the log.
    let cause = reply.extensions().get::<Refused>().unwrap().cause().unwrap();
    assert!(cause.starts_with("the key set (a test) can't be had: "), "{cause}");
    assert!(!text(reply).await.contains("a test"));
    advance(Duration::from_secs(40)).await;
    assert_eq!(send(&layer, new()).await.status(), 200);
    assert_eq!(issuer.asked(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_fetch_says_nothing_of_a_key_that_was_asked_for_later() {
    let issuer = Issuer::new(&[p256("a")]);
    let verifier = verifier(&issuer);
    assert_eq!(verify(&verifier, &es256("a")).await, Ok(()));
    issuer.stall();
    issuer.before.lock().unwrap().push_back(set_of(&[p256("a")]));
    issuer.publish(&[p256("a"), ed25519("b")]);
    let later = async {
        advance(Duration::from_secs(1)).await;
        let new = ed_dsa("b");
        let answer = async {
            settle().await;
            issuer.gate.add_permits(1);
        };
        tokio::join!(again_in(&verifier, &new), answer).0
    };
    let forged = es256("made-up");
    let (forged, new) = tokio::join!(verify(&verifier, &forged), later);
    assert_eq!(forged, Err(InvalidToken::UnknownKey));
    assert_eq!(new, Some(Duration::from_secs(59)));
}
