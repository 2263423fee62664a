//! Three rooms in a plain axum application: verified tokens, a limit for each user, and a router whose
//! operations are the application's own.
//!
//! ```sh
//! export JWT_SECRET=$(openssl rand -hex 32)
//! cargo run --example axum_layers --no-default-features --features authenticate,limit,route
//! ```
//! In another terminal, with the same `JWT_SECRET`, make a token as `authenticate_only.rs` says:
//! ```sh
//! curl -i http://127.0.0.1:3000/
//! curl -i http://127.0.0.1:3000/ -H "Authorization: Bearer $token"
//! curl -i http://127.0.0.1:3000/private
//! curl -i http://127.0.0.1:3000/private -H "Authorization: Bearer $token"
//! curl -i http://127.0.0.1:3000/notes/17 -H "Authorization: Bearer $token"
//! curl -i -X DELETE http://127.0.0.1:3000/notes/17
//! ```
//! - hello, stranger
//! - hello, ada
//! - 401
//! - 429 after the third
//! - ada reads 17
//! - 405, and what it may be
#![expect(clippy::print_stderr, reason = "a program at a terminal, not the library")]

use std::error::Error;
use std::sync::Arc;

use axum::http::Method;
use axum::routing::get;
use axum::{Extension, Router};
use chatkit_rest::authenticate::{Algorithm, AuthenticateLayer, Verifier};
use chatkit_rest::limit::{InFlightLayer, RateLimitLayer};
use chatkit_rest::principal::Principal;
use chatkit_rest::route::{Matched, Routable, RouteLayer, Router as Operations};
use chatkit_rest::surface::Surfaces;
use tokio::net::TcpListener;
use tower::ServiceBuilder;

/// What can be done with notes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Notes {
    Read,
    Rewrite,
}

impl Routable for Notes {
    fn method(self) -> Method {
        match self {
            Self::Read => Method::GET,
            Self::Rewrite => Method::PUT,
        }
    }

    fn path(self) -> &'static str {
        match self {
            Self::Read | Self::Rewrite => "/{note_id}",
        }
    }
}

/// Gives the application: everything but the listener.
pub(crate) fn app(secret: String) -> Result<Router, chatkit_rest::error::Error> {
    let verifier = Verifier::builder().algorithms([Algorithm::Hs256]).secret(secret).build()?;
    let authenticate = AuthenticateLayer::new(Arc::new(verifier));

    // In one builder, outermost first: the limit sees by the body's type that the token was verified.
    let for_users = ServiceBuilder::new()
        .layer(authenticate.clone())
        .layer(InFlightLayer::new(1000))
        .layer(RateLimitLayer::per_minute(3));
    let private = Router::new().route("/private", get(hello)).route_layer(for_users);
    let public =
        Router::new().route("/", get(welcome)).route_layer(authenticate.clone().optional());

    // A path or a method that is none is refused before anybody is asked for a token.
    let operations = Operations::new([Notes::Read, Notes::Rewrite], &Surfaces::rest("/notes"))?;
    let routed = ServiceBuilder::new().layer(RouteLayer::new(operations)).layer(authenticate);
    let notes = Router::new().fallback(note).layer(routed);
    Ok(private.merge(public).merge(notes))
}

async fn hello(Extension(principal): Extension<Principal>) -> String {
    format!("hello, {}\n", principal.user_id())
}

async fn note(
    Extension(principal): Extension<Principal>,
    Extension(matched): Extension<Matched<Notes>>,
) -> String {
    let note = matched.parameter("note_id").unwrap_or_default();
    let does = match matched.operation() {
        Notes::Read => "reads",
        Notes::Rewrite => "rewrites",
    };
    format!("{} {does} {note}\n", principal.user_id())
}

async fn welcome(principal: Option<Extension<Principal>>) -> String {
    match principal {
        Some(principal) => hello(principal).await,
        None => "hello, stranger\n".to_owned(),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let secret = std::env::var("JWT_SECRET").map_err(|_| "JWT_SECRET is not set")?;
    let app = app(secret)?;
    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    eprintln!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}
