//! `bare-proxy`: hyper's server, hyper-util's pooled client, nothing between.

use std::io;
use std::time::Duration;

use http::uri::Authority;
use http::{Request, Response, StatusCode};
use http_body_util::{Either, Empty};
use hyper::body::{Body, Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpListener;

/// Forwards everything to `upstream` until the process is ended.
pub async fn serve(listener: TcpListener, upstream: Authority) -> io::Result<()> {
    let client = pooled_client::<Incoming>();
    super::accept(listener, |stream| {
        let client = client.clone();
        let upstream = upstream.clone();
        let service = service_fn(move |request| forward(client.clone(), upstream.clone(), request));
        let server = hyper::server::conn::http1::Builder::new();
        let connection = server.serve_connection(TokioIo::new(stream), service);
        async move { drop(connection.await) }
    })
    .await
}

async fn forward(
    client: Client<HttpConnector, Incoming>,
    upstream: Authority,
    mut request: Request<Incoming>,
) -> Result<Response<Either<Incoming, Empty<Bytes>>>, http::Error> {
    *request.uri_mut() = super::upstream_uri(&upstream, request.uri());
    super::drop_hop_by_hop(request.headers_mut());
    match client.request(request).await {
        Ok(mut response) => {
            super::drop_hop_by_hop(response.headers_mut());
            Ok(response.map(Either::Left))
        }
        Err(_) => {
            Response::builder().status(StatusCode::BAD_GATEWAY).body(Either::Right(Empty::new()))
        }
    }
}

/// Makes hyper-util's client as most proxies have it.
pub fn pooled_client<B>() -> Client<HttpConnector, B>
where
    B: Body + Send,
    B::Data: Send,
{
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(Duration::from_secs(4))
        .build(connector)
}
