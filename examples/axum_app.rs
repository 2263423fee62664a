//! An axum application with users of its own gets REST, and one-shot chat, in front of its ChatKit
//! endpoint.
//!
//! ```sh
//! cargo run --example axum_app
//! ```
//! In another terminal:
//! ```sh
//! BASE=http://127.0.0.1:3000/api/v1/chatkit
//! curl -i -X POST "$BASE/sessions"
//! curl -i -X POST "$BASE/sessions" -H "x-api-key: ada-key"
//! SESSION=$(curl -s -X POST "$BASE/sessions" -H "x-api-key: ada-key" | sed -n 's/.*"data":{"id":"\([^"]*\)".*/\1/p')
//! curl -N "$BASE/sessions/$SESSION/threads/$SESSION/runs" -H "x-api-key: ada-key" -H "content-type: application/json" -d '{"message":"Hello there"}'
//! curl "$BASE/sessions/$SESSION" -H "x-api-key: ada-key"
//! curl -i "$BASE/sessions/$SESSION" -H "x-api-key: bob-key"
//! curl http://127.0.0.1:3000/api/chat -H "x-api-key: ada-key" -H "content-type: application/json" -d '{"message":"Hi"}'
//! curl http://127.0.0.1:3000/whoami -H "x-api-key: ada-key"
//! curl -i -X POST http://127.0.0.1:3000/chatkit -H "x-api-key: ada-key"
//! ```
//! - 401: who are you? Then a session.
//! - A run in a second one, the conversation, and for bob a 403: it is ada's.
//! - One-shot chat, the app's own route, and a 404: nobody from outside gets to its endpoint.
//!
//! A request's way: `who_is_it` (the app's own authentication) → `ChatKitRestLayer` → the ChatKit
//! endpoint for what is REST's or chat's, the app's router for everything else.
#![expect(clippy::print_stderr, reason = "a program at a terminal, not the library")]

use std::convert::Infallible;
use std::error::Error;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router, ServiceExt};
use chatkit_rest::embedded::Embedded;
use chatkit_rest::host::{ChatKitRestLayer, HostLimits};
use chatkit_rest::principal::{Principal, UserId};
use chatkit_rest::session::MemoryStore;
use tokio::net::TcpListener;
use tower::{Service, ServiceBuilder};

/// Gives the application: everything but the listener.
///
/// `ChatKitRestLayer` goes around the ChatKit endpoint alone, and the app's router is its fallback.
/// (The other way round, `Router::fallback_service` takes the layer's `service`. `Router::layer` is
/// the wrong place: it takes each route of the router for a ChatKit server.)
pub(crate) fn app() -> Result<
    impl Service<Request, Response = Response, Error = Infallible, Future: Send> + Clone,
    chatkit_rest::error::Error,
> {
    let endpoint =
        Router::new().route("/chatkit", post(chatkit)).with_state(Embedded::in_memory()?);
    let app = Router::new().route("/whoami", get(whoami));

    // Lists, ownership and limits live here; `SqliteStore` keeps them beyond the process.
    let sessions = Arc::new(MemoryStore::new());
    let rest = ChatKitRestLayer::new("/api/v1/chatkit", sessions)?
        .with_chat("/api")?
        .with_limits(HostLimits::default())
        .with_fallback(app);
    Ok(ServiceBuilder::new().layer(from_fn(who_is_it)).layer(rest).service(endpoint))
}

/// Gives the application's own authentication; yours may look at a session cookie.
///
/// It runs for every request and refuses none: a path that may only be used by somebody known
/// says so itself, as the REST paths do.
async fn who_is_it(mut request: Request, next: Next) -> Response {
    let name = match request.headers().get("x-api-key").map(HeaderValue::as_bytes) {
        Some(b"ada-key") => Some("ada"),
        Some(b"bob-key") => Some("bob"),
        _ => None,
    };
    if let Some(Ok(user)) = name.map(UserId::parse) {
        request.extensions_mut().insert(Principal::new(user));
    }
    next.run(request).await
}

/// Gives the application's ChatKit endpoint: any handler that speaks ChatKit. This one asks the
/// server that is built in, so that the example needs nothing else.
///
/// `x-user-id` says who the request is for, and can be believed: the layer sets it, and nobody else
/// asks here.
async fn chatkit(State(mut server): State<Embedded>, request: Request) -> Response {
    match server.call(request).await {
        Ok(response) => response.into_response(),
        Err(error) => (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    }
}

async fn whoami(principal: Option<Extension<Principal>>) -> Response {
    match principal {
        Some(Extension(principal)) => format!("{}\n", principal.user_id()).into_response(),
        None => (StatusCode::UNAUTHORIZED, "nobody I know\n").into_response(),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    eprintln!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app()?.into_make_service()).await?;
    Ok(())
}
