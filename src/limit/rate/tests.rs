use std::convert::Infallible;

use tower::{ServiceExt as _, service_fn};

use super::*;
use crate::principal::{Allowance, Authenticated};

async fn hello(_: Request<Authenticated<()>>) -> Result<Response<String>, Infallible> {
    Ok(Response::builder().header("ratelimit", "\"upstream\";r=9;t=9").body("hi".into()).unwrap())
}

async fn send(layer: &RateLimitLayer, user: &str) -> Response<RefusedOr<String>> {
    send_as(layer, Principal::new(UserId::parse(user).unwrap())).await
}

async fn send_as(layer: &RateLimitLayer, caller: Principal) -> Response<RefusedOr<String>> {
    let request = Request::new(Authenticated::new(caller, ()));
    // A service of its own each time: the count is the layer's.
    layer.layer(service_fn(hello)).oneshot(request).await.unwrap()
}

fn fields<B>(response: &Response<B>) -> (u16, &str, Option<&str>) {
    let text = |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap());
    assert_eq!(response.headers().get_all("ratelimit").iter().count(), 1);
    (response.status().as_u16(), text("ratelimit").unwrap(), text("retry-after"))
}

#[tokio::test(start_paused = true)]
async fn responses_say_where_the_user_stands_and_when_to_come_back() {
    let layer = RateLimitLayer::per_minute(3);
    let response = send(&layer, "ada").await;
    assert_eq!(fields(&response), (200, "\"user\";r=2;t=20", None));
    assert_eq!(response.headers()["ratelimit-policy"], "\"user\";q=3;w=60");
    assert_eq!(fields(&send(&layer, "ada").await), (200, "\"user\";r=1;t=40", None));
    assert_eq!(fields(&send(&layer, "ada").await), (200, "\"user\";r=0;t=60", None));

    let refused = send(&layer, "ada").await;
    assert_eq!(fields(&refused), (429, "\"user\";r=0;t=60", Some("20")));
    assert_eq!(refused.headers()["ratelimit-policy"], "\"user\";q=3;w=60");
    let refusal = refused.extensions().get::<crate::rejection::Refused>().unwrap();
    assert_eq!(refusal.code(), Code::RateLimited);

    // Half a second early is refused, with a second to wait and not none.
    tokio::time::advance(Duration::from_millis(19_500)).await;
    assert_eq!(fields(&send(&layer, "ada").await).2, Some("1"));
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(send(&layer, "ada").await.status(), 200);
    assert_eq!(send(&layer, "ada").await.status(), 429);
    assert_eq!(send(&layer, "eve").await.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn who_waits_as_told_is_let_in() {
    for requests in [1, 7, 30, 59, 61, 1000] {
        let layer = RateLimitLayer::per_minute(requests);
        for _ in 0..requests {
            assert_eq!(send(&layer, "ada").await.status(), 200);
        }
        let refused = send(&layer, "ada").await;
        let wait = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
        tokio::time::advance(Duration::from_secs(wait)).await;
        assert_eq!(send(&layer, "ada").await.status(), 200, "{requests}");
    }
}

#[tokio::test(start_paused = true)]
async fn too_many_users_are_refused_as_overload() {
    let layer = RateLimitLayer::with_max_users(30, 1);
    assert_eq!(send(&layer, "ada").await.status(), 200);
    let refused = send(&layer, "eve").await;
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.headers()["retry-after"], "1");
    assert_eq!(refused.headers()["ratelimit-policy"], "\"user\";q=30;w=60");
    assert_eq!(send(&layer, "ada").await.status(), 200);
}

#[tokio::test]
async fn zero_is_no_limit_and_says_nothing() {
    let layer = RateLimitLayer::per_minute(0);
    for _ in 0..1000 {
        let response = send(&layer, "ada").await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["ratelimit"], "\"upstream\";r=9;t=9");
        assert!(!response.headers().contains_key("ratelimit-policy"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_session_has_its_own_limit_and_a_service_has_none() {
    let ada = UserId::parse("ada").unwrap();
    let session = |id: &str| {
        let allowance = Allowance::new(id, NonZeroU32::new(2).unwrap());
        Principal::with_allowance(ada.clone(), allowance)
    };
    for general in [0, 1] {
        let layer = RateLimitLayer::per_minute(general);
        let response = send_as(&layer, session("one")).await;
        assert_eq!(fields(&response), (200, "\"session\";r=1;t=30", None));
        assert_eq!(response.headers()["ratelimit-policy"], "\"session\";q=2;w=60");
        assert_eq!(send_as(&layer, session("one")).await.status(), 200);
        let refused = send_as(&layer, session("one")).await;
        assert_eq!(fields(&refused), (429, "\"session\";r=0;t=60", Some("30")));
        assert_eq!(send_as(&layer, session("two")).await.status(), 200);
        // Her own requests are not counted with those of her sessions.
        assert_eq!(send(&layer, "ada").await.status(), 200);
        for _ in 0..100 {
            let service = Principal::service(ada.clone());
            assert_eq!(send_as(&layer, service).await.status(), 200);
        }
    }
}

/// A store of everybody's, which can be away.
#[derive(Debug, Default)]
struct Ledgers {
    kept: std::sync::Mutex<std::collections::HashMap<AllowanceKey, crate::allowance::Ledger>>,
    is_away: std::sync::atomic::AtomicBool,
    never_answers: std::sync::atomic::AtomicBool,
}

impl Allowances for Ledgers {
    fn take_allowance<'a>(
        &'a self,
        key: &'a AllowanceKey,
        take: crate::allowance::TakeSlice,
    ) -> crate::allowance::AllowanceFuture<'a, crate::allowance::Slice> {
        Box::pin(async move {
            if self.never_answers.load(std::sync::atomic::Ordering::SeqCst) {
                std::future::pending::<()>().await;
            }
            // As one that is elsewhere.
            tokio::task::yield_now().await;
            if self.is_away.load(std::sync::atomic::Ordering::SeqCst) {
                return Err(crate::error::Error::store("could not ask", "it is away"));
            }
            let mut kept = self.kept.lock().unwrap();
            Ok(kept.entry(key.clone()).or_default().take(0, &take))
        })
    }

    fn give_back_allowances(
        &self,
        _: Duration,
        _: Vec<(AllowanceKey, crate::allowance::SliceReport)>,
    ) -> crate::allowance::AllowanceFuture<'_, ()> {
        Box::pin(async {
            if self.never_answers.load(std::sync::atomic::Ordering::SeqCst) {
                std::future::pending::<()>().await;
            }
            Ok(())
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_never_answers_keeps_nobody_for_long() {
    let source = Arc::new(Ledgers::default());
    let rate = RateLimitLayer::per_minute(30).with_shared(Arc::<Ledgers>::clone(&source));
    assert_eq!(send(&rate, "ada").await.status(), 200);
    source.never_answers.store(true, std::sync::atomic::Ordering::SeqCst);

    let service = crate::limit::InFlightLayer::new(1).layer(rate.layer(service_fn(hello)));
    let ask = || {
        let eve = Principal::new(UserId::parse("eve").unwrap());
        service.clone().oneshot(Request::new(Authenticated::new(eve, ())))
    };
    for _ in 0..2 {
        let before = tokio::time::Instant::now();
        let (first, beside) = tokio::join!(ask(), ask());
        let (refused, beside) = (first.unwrap(), beside.unwrap());
        let elapsed = before.elapsed();
        assert_eq!((refused.status().as_u16(), beside.status().as_u16()), (503, 503));
        assert!(elapsed <= Duration::from_millis(6001), "{elapsed:?}");
        assert_eq!(refused.headers()["retry-after"], "1");
        // The one was counted, the other had no place.
        assert!(refused.headers().contains_key("ratelimit-policy"));
        assert!(!beside.headers().contains_key("ratelimit-policy"));
    }

    let before = tokio::time::Instant::now();
    rate.give_back().await;
    assert!(before.elapsed() <= Duration::from_millis(2001), "{:?}", before.elapsed());
    source.never_answers.store(false, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(ask().await.unwrap().status(), 200);
}

#[tokio::test(start_paused = true)]
async fn layers_that_share_have_one_limit_and_say_what_they_know_of_it() {
    let source = Arc::new(Ledgers::default());
    let layer = || RateLimitLayer::per_minute(3).with_shared(Arc::<Ledgers>::clone(&source));
    let (one, other) = (layer(), layer());
    let first = send(&one, "ada").await;
    assert_eq!(fields(&first), (200, "\"user\";r=2;t=60", None));
    assert_eq!(first.headers()["ratelimit-policy"], "\"user\";q=3;w=60");
    assert_eq!(fields(&send(&other, "ada").await), (200, "\"user\";r=1;t=60", None));
    assert_eq!(fields(&send(&one, "ada").await), (200, "\"user\";r=0;t=60", None));
    for layer in [&one, &other] {
        // Nobody has told of when they were used.
        let (status, limit, wait) = (429, "\"user\";r=0;t=60", Some("60"));
        let refused = send(layer, "ada").await;
        assert_eq!((fields(&refused).0, fields(&refused).1), (status, limit));
        assert!(fields(&refused).2 >= wait, "{refused:?}");
    }
    assert_eq!(send(&other, "eve").await.status(), 200);

    // A client session's own, and nobody else's; a service has none.
    let ada = UserId::parse("ada").unwrap();
    let allowance = Allowance::new("ada", NonZeroU32::new(2).unwrap());
    let session = Principal::with_allowance(ada.clone(), allowance);
    for (layer, limit) in [(&one, "\"session\";r=1;t=60"), (&other, "\"session\";r=0;t=60")] {
        let response = send_as(layer, session.clone()).await;
        assert_eq!(fields(&response), (200, limit, None));
    }
    assert_eq!(send_as(&one, session).await.status(), 429);
    assert_eq!(send_as(&one, Principal::service(ada)).await.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn who_cannot_be_counted_is_refused_as_overload() {
    let source = Arc::new(Ledgers::default());
    let layer = RateLimitLayer::per_minute(30).with_shared(Arc::<Ledgers>::clone(&source));
    assert_eq!(send(&layer, "ada").await.status(), 200);
    source.is_away.store(true, std::sync::atomic::Ordering::SeqCst);
    // What is held is used.
    assert_eq!(send(&layer, "ada").await.status(), 200);
    assert_eq!(send(&layer, "ada").await.status(), 200);
    let refused = send(&layer, "ada").await;
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.headers()["retry-after"], "1");
    assert_eq!(refused.headers()["ratelimit-policy"], "\"user\";q=30;w=60");
    let refusal = refused.extensions().get::<crate::rejection::Refused>().unwrap();
    assert!(format!("{refusal:?}").contains("it is away"), "{refusal:?}");
    source.is_away.store(false, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(send(&layer, "ada").await.status(), 200);
}
