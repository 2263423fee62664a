//! One room used alone: tokens are verified in front of a service that knows nothing of ChatKit.
//!
//! ```sh
//! export JWT_SECRET=$(openssl rand -hex 32)
//! cargo run --example authenticate_only --no-default-features --features authenticate
//! ```
//! In another terminal, with the same `JWT_SECRET`, make a token and use it:
//! ```sh
//! b64() { openssl base64 -A | tr '+/' '-_' | tr -d '='; }
//! body=$(printf '{"alg":"HS256"}' | b64).$(printf '{"sub":"ada","exp":%d}' $(($(date +%s) + 600)) | b64)
//! token=$body.$(printf %s "$body" | openssl dgst -sha256 -hmac "$JWT_SECRET" -binary | b64)
//! curl -i http://127.0.0.1:3000/
//! curl -i http://127.0.0.1:3000/ -H "Authorization: Bearer $token"
//! ```
//! That is a 401 that says how to do better, and then `hello, ada`.
#![expect(clippy::print_stderr, reason = "a program at a terminal, not the library")]

use std::convert::Infallible;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chatkit_rest::authenticate::{Algorithm, AuthenticateLayer, Verifier};
use chatkit_rest::principal::Authenticated;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tower::{Layer, Service, service_fn};

/// Takes `Request<Authenticated<_>>`: without the layer in front of it, this doesn't compile.
async fn hello<B>(request: Request<Authenticated<B>>) -> Result<Response<Full<Bytes>>, Infallible> {
    let user = request.body().principal().user_id();
    Ok(Response::new(Full::from(format!("hello, {user}\n"))))
}

/// Tokens signed with `secret` in front of `hello`.
pub(crate) fn service<B: Send + 'static>(
    secret: String,
) -> Result<
    impl Service<
        Request<B>,
        Response = Response<impl Body<Data = Bytes, Error = Infallible> + Send + 'static>,
        Error = Infallible,
        Future: Send,
    > + Clone
    + Send,
    chatkit_rest::error::Error,
> {
    let verifier = Verifier::builder().algorithms([Algorithm::Hs256]).secret(secret).build()?;
    Ok(AuthenticateLayer::new(Arc::new(verifier)).layer(service_fn(hello)))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let secret = std::env::var("JWT_SECRET").map_err(|_| "JWT_SECRET is not set")?;
    let service = service(secret)?;

    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    eprintln!("listening on http://{}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        let service = TowerToHyperService::new(service.clone());
        tokio::spawn(async move {
            // Without a timer, hyper waits for ever for a client that is slow with its head.
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(Duration::from_secs(10))
                .serve_connection(TokioIo::new(stream), service);
            if let Err(error) = connection.await {
                eprintln!("a connection ended early: {error}");
            }
        });
    }
}
