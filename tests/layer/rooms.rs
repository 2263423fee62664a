//! The rooms that know nothing of ChatKit, where an outside user puts them: in axum, one by one and
//! together, and under hyper alone.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::get;
use bytes::Bytes;
use chatkit_rest::authenticate::{Algorithm, AuthenticateLayer, Verifier};
use chatkit_rest::chatkit::ChatKitSettings;
use chatkit_rest::contract::{self, Fixture, Target};
use chatkit_rest::error::Error;
use chatkit_rest::health::HealthLayer;
use chatkit_rest::limit::{InFlightLayer, InFlightPermit, Permitted, RateLimitLayer};
use chatkit_rest::operation::Name;
use chatkit_rest::operation::OperationLayer;
use chatkit_rest::principal::{Authenticated, IdentifyLayer, Principal, UserId};
use chatkit_rest::proxy::Rooms;
use chatkit_rest::rejection::RefusedOr;
use chatkit_rest::route::{RouteLayer, Router as Routes};
use chatkit_rest::session::{Desk, MemoryStore, SessionLimits};
use chatkit_rest::surface::Surfaces;
use chatkit_rest::validate::{BodyLimits, Reader, Schemas};
use http::Request;
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use jsonwebtoken::crypto::{CryptoProvider, KeyUtils, aws_lc};
use jsonwebtoken::{DecodingKey, EncodingKey};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
use tower::{ServiceBuilder, ServiceExt as _, service_fn};

use crate::support::{PREFIX, ada};

const SECRET: [u8; 32] = [7; 32];

fn authenticate() -> AuthenticateLayer {
    let builder = Verifier::builder().algorithms([Algorithm::Hs256]).secret(SECRET);
    AuthenticateLayer::new(Arc::new(builder.build().unwrap()))
}

/// Gives a token for ada, made without the process's provider.
fn token() -> String {
    use base64::Engine as _;
    let part = |bytes: &[u8]| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes);
    let claims = br#"{"sub":"ada","exp":4102444800}"#;
    let signed = format!("{}.{}", part(br#"{"alg":"HS256"}"#), part(claims));
    let key = EncodingKey::from_secret(&SECRET);
    let hs256 = (aws_lc::DEFAULT_PROVIDER.signer_factory)(&jsonwebtoken::Algorithm::HS256, &key);
    let signature = hs256.unwrap().try_sign(signed.as_bytes()).unwrap();
    format!("{signed}.{}", part(&signature))
}

fn app() -> Router {
    let handler = async |request: axum::extract::Request| {
        let principal = request.extensions().get::<Principal>();
        principal.map_or("stranger".to_owned(), |known| known.user_id().to_string())
    };
    Router::new().route("/", get(handler))
}

async fn ask(app: &Router, headers: &[(&str, &str)]) -> (u16, String) {
    let mut request = Request::get("/");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let status = response.status().as_u16();
    let body = axum::body::to_bytes(response.into_body(), 4096).await.unwrap();
    (status, String::from_utf8(body.into()).unwrap())
}

#[tokio::test]
async fn each_goes_around_a_router_by_itself() {
    let bearer = format!("Bearer {}", token());
    let known = [("authorization", bearer.as_str())];
    let tokens = app().layer(authenticate()).layer(InFlightLayer::new(10));
    assert_eq!(ask(&tokens, &known).await, (200, "ada".to_owned()));
    assert_eq!(ask(&tokens, &[]).await.0, 401);

    let full = app().layer(InFlightLayer::new(1)).layer(InFlightLayer::new(1));
    assert_eq!(ask(&full, &[]).await, (200, "stranger".to_owned()));

    // Between the layers of a router there is no type that says that somebody was verified.
    let limited = ServiceBuilder::new().layer(IdentifyLayer::new());
    let limited = limited.layer(RateLimitLayer::per_minute(1));
    let one_by_one = app().layer(limited).layer(authenticate());
    assert_eq!(ask(&one_by_one, &known).await, (200, "ada".to_owned()));
    assert_eq!(ask(&one_by_one, &known).await.0, 429);
    assert_eq!(ask(&one_by_one, &[]).await.0, 401);
}

#[tokio::test]
async fn all_go_around_a_router_together() {
    let layers = ServiceBuilder::new()
        .layer(authenticate())
        .layer(InFlightLayer::new(1))
        .layer(RateLimitLayer::per_minute(1));
    let app = app().layer(layers);
    let bearer = format!("Bearer {}", token());
    assert_eq!(ask(&app, &[]).await.0, 401);
    assert_eq!(ask(&app, &[("authorization", &bearer)]).await, (200, "ada".to_owned()));
    let (status, body) = ask(&app, &[("authorization", &bearer)]).await;
    assert_eq!(status, 429);
    assert!(body.contains("RATE_LIMITED"), "{body}");
}

#[tokio::test]
async fn a_host_that_knows_its_users_is_believed() {
    let who_is_it = async |mut request: axum::extract::Request, next: Next| -> Response {
        if request.headers().contains_key("x-api-key") {
            request.extensions_mut().insert(ada());
        }
        next.run(request).await
    };
    let limited = |identify: IdentifyLayer| {
        app().layer(
            ServiceBuilder::new()
                .layer(from_fn(who_is_it))
                .layer(identify)
                .layer(RateLimitLayer::per_minute(1)),
        )
    };
    let by_extension = limited(IdentifyLayer::new());
    let by_head = limited(IdentifyLayer::by(|head| {
        UserId::parse(head.headers.get("x-user")?.to_str().ok()?).ok()
    }));
    assert_eq!(ask(&by_extension, &[("x-api-key", "k")]).await, (200, "ada".to_owned()));
    assert_eq!(ask(&by_extension, &[("x-api-key", "k")]).await.0, 429);
    assert_eq!(ask(&by_extension, &[("x-user", "eve")]).await.0, 401);
    assert_eq!(ask(&by_head, &[("x-user", "eve"), ("x-api-key", "k")]).await, (200, "eve".into()));
    assert_eq!(ask(&by_head, &[("x-user", "eve")]).await.0, 429);
    assert_eq!(ask(&by_head, &[("x-api-key", "k")]).await.0, 401);
}

#[tokio::test]
async fn who_says_nothing_is_nobody_where_that_is_allowed() {
    let app = app().layer(authenticate().optional());
    let bearer = format!("Bearer {}", token());
    assert_eq!(ask(&app, &[]).await, (200, "stranger".to_owned()));
    assert_eq!(ask(&app, &[("authorization", &bearer)]).await, (200, "ada".to_owned()));
    assert_eq!(ask(&app, &[("authorization", "Bearer nonsense")]).await.0, 401);
}

#[tokio::test]
async fn hyper_alone_serves_them() {
    let hello = service_fn(async |request: Request<Authenticated<hyper::body::Incoming>>| {
        let user = request.body().principal().user_id().to_string();
        Ok::<_, Infallible>(http::Response::new(Full::<Bytes>::from(user)))
    });
    let service = ServiceBuilder::new()
        .layer(authenticate())
        .layer(InFlightLayer::new(1))
        .layer(RateLimitLayer::per_minute(1))
        .service(hello);
    for (credentials, expected) in [
        (String::new(), "401"),
        (format!("authorization: Bearer {}\r\n", token()), "200"),
        (format!("authorization: Bearer {}\r\n", token()), "429"),
    ] {
        let (mut client, server) = duplex(64 * 1024);
        let service = TowerToHyperService::new(service.clone());
        let http1 = hyper::server::conn::http1::Builder::new();
        let connection =
            tokio::spawn(
                async move { http1.serve_connection(TokioIo::new(server), service).await },
            );
        let head = format!("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{credentials}\r\n");
        client.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {expected} ")), "{answer}");
        connection.await.unwrap().unwrap();
    }
}

// A host may have set any provider for the process, or none where both are enabled; neither is
// asked. Nothing else in this binary makes or reads tokens.
#[tokio::test]
async fn the_provider_of_the_process_is_not_asked() {
    static NONE: CryptoProvider = CryptoProvider {
        signer_factory: |_, _| panic!("asked to sign"),
        verifier_factory: |_, _| panic!("asked to verify"),
        key_utils: KeyUtils::new_unimplemented(),
    };
    NONE.install_default().unwrap();
    let validation = jsonwebtoken::Validation::default();
    let decode = || {
        jsonwebtoken::decode::<serde_json::Value>(
            token(),
            &DecodingKey::from_secret(&SECRET),
            &validation,
        )
    };
    assert!(std::panic::catch_unwind(decode).is_err(), "it is the process's");
    let verifier = Verifier::builder().algorithms([Algorithm::Hs256]).secret(SECRET);
    let verifier = verifier.build().unwrap();
    assert_eq!(verifier.verify(&token()).unwrap().user_id().as_str(), "ada");
    // Nor for the tokens of fixtures, which a host's own tests run.
    let target = Target::service(|upstream, config| {
        let store = Arc::new(MemoryStore::new());
        let rooms = Rooms::from_config(config, store, HealthLayer::elsewhere())?;
        Ok::<_, Error>(rooms.around(upstream))
    });
    let text = r#"{
        "description": "A user without sessions has an empty list.",
        "steps": [{
            "request": {"method": "GET", "path": "/sessions"},
            "expect": {"status": 200, "json": {
                "success": true, "data": [], "meta": {"total": 0, "has_more": false, "after": null}
            }}
        }]
    }"#;
    let fixture = Fixture::parse(Path::new("fixtures"), "mine/list", text).unwrap();
    let report = contract::run(&[fixture], &target).await;
    assert_eq!(report.to_string(), "1 passed, 0 failed, 0 skipped");
}

// As axum, hyper and most frameworks want them.
#[test]
fn bodies_and_errors_can_be_shared_where_what_is_inside_can() {
    fn is_shared<T: Send + Sync + 'static>() {}
    fn is_error<E: std::error::Error + Send + Sync + 'static>() {}
    is_shared::<RefusedOr<Full<Bytes>>>();
    is_shared::<RefusedOr<Permitted<Full<Bytes>, InFlightPermit>>>();
    is_shared::<Authenticated<Full<Bytes>>>();
    is_error::<Error>();
    is_error::<chatkit_rest::authenticate::InvalidToken>();
    is_error::<chatkit_rest::authenticate::SecretError>();
    is_error::<chatkit_rest::authenticate::UnknownAlgorithm>();
    is_error::<chatkit_rest::principal::InvalidUserId>();
}

// Those that answer in the inner service's body make that of bytes, which axum's can be made of.
#[tokio::test]
async fn the_rooms_behind_them_refuse_in_the_frameworks_own_body() {
    let upstream = service_fn(async |_: Request<Full<Bytes>>| {
        Ok::<_, Infallible>(http::Response::new(Body::empty()))
    });
    let reader = Reader::new(Schemas::compile().unwrap(), BodyLimits::default());
    let desk = Desk::new(Arc::new(MemoryStore::new()), SessionLimits::default());
    let rooms = ServiceBuilder::new()
        .layer(IdentifyLayer::by(|_| UserId::parse("ada").ok()))
        .layer(RouteLayer::new(Routes::new(Name::ALL, &Surfaces::rest(PREFIX)).unwrap()))
        .layer(OperationLayer::new(reader, desk, ChatKitSettings::default()))
        .service(upstream);
    let app = Router::new().fallback_service(rooms).layer(HealthLayer::elsewhere());
    for (path, body, expected, words) in [
        ("/sessions", "", 200, "ada"),
        ("/sessions", "{", 400, "INVALID_JSON"),
        ("/sessions/sess_nobodys/threads", "", 404, "NOT_FOUND"),
    ] {
        let request = Request::post(format!("{PREFIX}{path}"));
        let request = request.header("content-type", "application/json").body(Body::from(body));
        let response = app.clone().oneshot(request.unwrap()).await.unwrap();
        let status = response.status();
        let body = axum::body::to_bytes(response.into_body(), 4096).await.unwrap();
        assert_eq!(status, expected, "{path} {body:?}");
        assert!(String::from_utf8_lossy(&body).contains(words), "{path} {body:?}");
    }
}
