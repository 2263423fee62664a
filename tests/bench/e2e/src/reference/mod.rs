//! Minimal programs the gateway is compared with. Each runs on one thread.
//!
//! - [`proxy`]: a plain forwarder on hyper-util's pooled client, the stock way.
//! - [`translate`]: the same plus HS256, JSON parse, rewrite and envelope: the least a gateway does.
//! - [`lean`]: a plain forwarder that drives the upstream connection from the response body.

use std::io;

use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, Uri, header};
use tokio::net::{TcpListener, TcpStream};

pub mod lean;
pub mod proxy;
pub mod translate;

/// Accepts for ever and gives each connection to `serve`, in a task of its own.
async fn accept<F>(listener: TcpListener, serve: impl Fn(TcpStream) -> F) -> io::Result<()>
where
    F: Future<Output = ()> + 'static,
{
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::task::spawn_local(serve(stream));
    }
}

/// Gives the same path on the upstream's authority, as the pooled client wants it.
fn upstream_uri(upstream: &Authority, path: &Uri) -> Uri {
    let path = path.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(upstream.clone());
    parts.path_and_query = Some(path);
    Uri::from_parts(parts).unwrap_or_default()
}

fn drop_hop_by_hop(headers: &mut HeaderMap) {
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
}

const HOP_BY_HOP: [HeaderName; 6] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];
