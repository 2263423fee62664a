//! Two rooms in a plain axum application: verified tokens, and a limit for each user.
//!
//! ```sh
//! export JWT_SECRET=$(openssl rand -hex 32)
//! cargo run --example axum_layers --no-default-features --features authenticate,limit
//! ```
//! In another terminal, with the same `JWT_SECRET`, make a token as `authenticate_only.rs` says:
//! ```sh
//! curl -i http://127.0.0.1:3000/                                           # hello, stranger
//! curl -i http://127.0.0.1:3000/ -H "Authorization: Bearer $token"         # hello, ada
//! curl -i http://127.0.0.1:3000/private                                    # 401
//! curl -i http://127.0.0.1:3000/private -H "Authorization: Bearer $token"  # 429 after the third
//! ```
#![expect(clippy::print_stderr, reason = "a program at a terminal, not the library")]

use std::error::Error;
use std::sync::Arc;

use axum::routing::get;
use axum::{Extension, Router};
use chatkit_rest::authenticate::{Algorithm, AuthenticateLayer, Verifier};
use chatkit_rest::limit::{InFlightLayer, RateLimitLayer};
use chatkit_rest::principal::Principal;
use tokio::net::TcpListener;
use tower::ServiceBuilder;

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
    let public = Router::new().route("/", get(welcome)).route_layer(authenticate.optional());
    Ok(private.merge(public))
}

async fn hello(Extension(principal): Extension<Principal>) -> String {
    format!("hello, {}\n", principal.user_id())
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
