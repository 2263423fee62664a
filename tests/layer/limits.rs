//! `ChatKitRestLayer::with_limits`: what a host sets, without a stack of its own.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chatkit_rest::allowance::Allowances;
use chatkit_rest::chatkit::ChatKitSettings;
use chatkit_rest::config::Sources;
use chatkit_rest::error::BoxError;
use chatkit_rest::host::HostLimits;
use chatkit_rest::principal::{Principal, UserId};
use chatkit_rest::session::{Desk, MemoryStore, SessionLimits};
use chatkit_rest::validate::{BodyLimits, Reader, Schemas};
use http::{Request, Response};
use http_body::Body;
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use tower::{Service, ServiceExt as _, service_fn};

use crate::support::{PREFIX, ask, embedded, layer, of_ada, stranger};

fn of_eve(mut request: Request<Full<Bytes>>) -> Request<Full<Bytes>> {
    request.extensions_mut().insert(Principal::new(UserId::parse("eve").unwrap()));
    request
}

fn sessions() -> Request<Full<Bytes>> {
    let request = Request::get(format!("{PREFIX}/sessions"));
    request.body(Full::default()).unwrap()
}

#[test]
fn the_defaults_are_the_programs() {
    let settings = "auth.secret = \"0123456789abcdef0123456789abcdef\"";
    let limits = Sources::new().toml("settings", settings).load().unwrap().config.limits;
    let ours = HostLimits::default();
    assert_eq!(Some(ours.requests_per_minute), limits.requests_per_minute.map(u32::from));
    assert_eq!(ours.max_tracked_users, limits.max_tracked_users);
    assert_eq!(ours.max_streams_per_user, limits.max_streams_per_user);
    assert_eq!(ours.max_in_flight, limits.max_in_flight);
    assert_eq!(ours.max_buffered_bytes, limits.max_buffered_bytes);
    assert_eq!(ours.max_buffered_bytes_per_user, limits.max_buffered_bytes_per_user);
}

#[tokio::test(start_paused = true)]
async fn each_user_has_so_many_requests_a_minute_over_all_services() {
    let layer = layer(PREFIX).with_limits(HostLimits::none().with_requests_per_minute(2));
    let (one, other) = (layer.service(embedded()), layer.clone().service(embedded()));
    let first = ask(&one, of_ada(sessions())).await;
    assert_eq!(first.status, 200);
    assert_eq!(first.headers["ratelimit"], "\"user\";r=1;t=30");
    // What is nobody's, and what is no operation, counts for none.
    assert_eq!(ask(&one, sessions()).await.status, 401);
    assert_eq!(ask(&one, of_ada(stranger("PUT", "/api/v1/chatkit/sessions"))).await.status, 405);
    assert_eq!(ask(&one, of_ada(stranger("GET", "/anything"))).await.status, 404);
    assert_eq!(ask(&other, of_ada(sessions())).await.status, 200);
    let refused = ask(&one, of_ada(sessions())).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (429, "RATE_LIMITED".to_owned()));
    assert_eq!(refused.headers["retry-after"], "30");
    assert_eq!(ask(&one, of_eve(sessions())).await.status, 200);

    let few = HostLimits::default().with_max_tracked_users(1);
    let few = self::layer(PREFIX).with_limits(few).service(embedded());
    assert_eq!(ask(&few, of_ada(sessions())).await.status, 200);
    assert_eq!(ask(&few, of_eve(sessions())).await.status, 503);
}

/// Two replicas on one store, whichever is told first of limits and of the store.
#[tokio::test(start_paused = true)]
async fn replicas_on_one_store_have_one_limit_of_requests() {
    let store = Arc::new(MemoryStore::new());
    let limits = HostLimits::none().with_requests_per_minute(30);
    let source = || Arc::<MemoryStore>::clone(&store);
    let one = layer(PREFIX).with_limits(limits).with_shared_limits(source()).service(embedded());
    let other = layer(PREFIX).with_shared_limits(source()).with_limits(limits).service(embedded());

    let mut statuses = Vec::new();
    for n in 0..40 {
        let answer = ask(if n % 2 == 0 { &one } else { &other }, of_ada(sessions())).await;
        statuses.push(answer.status.as_u16());
        assert_eq!(answer.headers["ratelimit-policy"], "\"user\";q=30;w=60");
    }
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 30, "{statuses:?}");
    let refused = ask(&one, of_ada(sessions())).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (429, "RATE_LIMITED".to_owned()));
    assert_eq!(refused.headers["ratelimit"], "\"user\";r=0;t=60");
    assert_eq!(ask(&other, of_eve(sessions())).await.status, 200);

    // All are given back a minute after they were let in, and to a gateway that comes later, too.
    let wait: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((59..=61).contains(&wait), "{wait}");
    tokio::time::sleep(Duration::from_secs(wait)).await;
    let late = layer(PREFIX).with_limits(limits).with_shared_limits(source()).service(embedded());
    let allowed = async |service| {
        let mut allowed = 0;
        while ask(service, of_ada(sessions())).await.status == 200 {
            allowed += 1;
        }
        allowed
    };
    assert_eq!((allowed(&late).await, allowed(&one).await), (30, 0));
}

/// A store that shares nothing.
#[derive(Debug)]
struct Alone;

impl Allowances for Alone {}

#[tokio::test]
async fn who_cannot_be_counted_is_not_let_in() {
    let upstream = embedded();
    let limits = HostLimits::none().with_requests_per_minute(30);
    let layer = layer(PREFIX).with_limits(limits).with_shared_limits(Arc::new(Alone));
    let service = layer.service(upstream.clone());
    for _ in 0..2 {
        let refused = ask(&service, of_ada(sessions())).await;
        assert_eq!(refused.status.as_u16(), 503);
        assert_eq!(refused.code(), "SERVICE_UNAVAILABLE");
        assert_eq!(refused.headers["retry-after"], "1");
        assert!(!String::from_utf8_lossy(&refused.body).contains("gateways share"));
    }
    assert_eq!(upstream.calls(), 0);
}

#[tokio::test]
async fn without_limits_there_are_none() {
    for layer in [layer(PREFIX), layer(PREFIX).with_limits(HostLimits::none())] {
        let service = layer.service(embedded());
        for _ in 0..40 {
            let answer = ask(&service, of_ada(sessions())).await;
            assert_eq!(answer.status, 200);
            assert!(!answer.headers.contains_key("ratelimit"));
        }
    }
}

/// A session, and the request for a run in it.
async fn run<S, R>(service: &S) -> Request<Full<Bytes>>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error = Infallible> + Clone,
    R: Body<Data = Bytes, Error: Into<BoxError>>,
{
    let created = Request::post(format!("{PREFIX}/sessions")).body(Full::default()).unwrap();
    let created = ask(service, of_ada(created)).await;
    let id = created.json()["data"]["id"].as_str().unwrap().to_owned();
    let run = Request::post(format!("{PREFIX}/sessions/{id}/threads/{id}/runs"))
        .header("content-type", "application/json")
        .body(Full::from(r#"{"message":"Hello"}"#));
    of_ada(run.unwrap())
}

#[tokio::test]
async fn a_user_has_so_many_streams_open_whatever_desk_it_is() {
    let limits = HostLimits::none().with_max_streams_per_user(1);
    let desk = || Desk::new(Arc::new(MemoryStore::new()), SessionLimits::default());
    for layer in [
        layer(PREFIX).with_limits(limits),
        layer(PREFIX).with_limits(limits).with_desk(desk()),
        layer(PREFIX).with_desk(desk()).with_limits(limits),
    ] {
        let (one, other) = (layer.service(embedded()), layer.service(embedded()));
        let first = one.clone().oneshot(run(&one).await).await.unwrap();
        assert_eq!(first.status(), 200);
        let refused = ask(&other, run(&other).await).await;
        assert_eq!((refused.status.as_u16(), refused.code()), (429, "RATE_LIMITED".to_owned()));
        drop(first);
        assert_eq!(ask(&other, run(&other).await).await.status, 200);
    }
}

#[tokio::test]
async fn so_much_is_in_flight_over_all_services() {
    let layer = layer(PREFIX).with_limits(HostLimits::none().with_max_in_flight(1));
    let (one, other) = (layer.service(embedded()), layer.service(embedded()));
    let first = one.clone().oneshot(run(&one).await).await.unwrap();
    assert_eq!(first.status(), 200);
    let refused = ask(&other, of_eve(sessions())).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (503, "SERVICE_UNAVAILABLE".to_owned()));
    // Who isn't known takes nobody's place, nor is told whether there is one.
    assert_eq!(ask(&other, sessions()).await.status, 401);
    drop(first);
    assert_eq!(ask(&other, of_eve(sessions())).await.status, 200);
}

/// What a body and an answer have room for, whatever else is replaced, before or after.
#[tokio::test]
async fn so_much_is_read_whole_whatever_reader_and_settings_there_are() {
    let limits = HostLimits::none().with_max_buffered_bytes_per_user(9000);
    let reader = || Reader::new(Schemas::compile().unwrap(), BodyLimits::default());
    let settings = ChatKitSettings::default;
    let answer = |request: Request<Full<Bytes>>| async move {
        let asked = request.into_body().collect().await?.to_bytes();
        let name = &serde_json::from_slice::<Value>(&asked).unwrap()["params"]["name"];
        let made = json!({"id": name, "name": name, "mime_type": "a/b", "pad": "a".repeat(10_000)});
        let response = Response::builder().header("content-type", "application/json");
        Ok::<_, Infallible>(response.body(Full::<Bytes>::from(made.to_string())).unwrap())
    };
    for (layer, statuses) in [
        (layer(PREFIX), [200, 200]),
        (layer(PREFIX).with_limits(HostLimits::none()), [200, 200]),
        (layer(PREFIX).with_limits(limits), [413, 502]),
        (layer(PREFIX).with_limits(limits).with_reader(reader()), [413, 502]),
        (layer(PREFIX).with_limits(limits).with_settings(settings()), [413, 502]),
        (
            layer(PREFIX).with_reader(reader()).with_settings(settings()).with_limits(limits),
            [413, 502],
        ),
    ] {
        let service = layer.service(service_fn(answer));
        for (spaces, status) in [10_000, 0].into_iter().zip(statuses) {
            let params = json!({"name": format!("a{spaces}"), "size": 1, "mime_type": "a/b"});
            let create = json!({"type": "attachments.create", "params": params});
            let create = format!("{create}{}", " ".repeat(spaces));
            let request = stranger("POST", PREFIX).map(|_| Full::from(create));
            assert_eq!(ask(&service, of_ada(request)).await.status, status, "{spaces}");
        }
    }
}
