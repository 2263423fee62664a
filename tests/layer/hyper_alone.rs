//! Under hyper, without a framework.

use chatkit_rest::principal::Principal;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
use tower::ServiceBuilder;

use crate::support::{PREFIX, ada, embedded, layer};

async fn ask(head: &str) -> String {
    let upstream = embedded();
    // The host's authentication.
    let known = |mut request: http::Request<hyper::body::Incoming>| {
        if request.headers().contains_key("x-api-key") {
            request.extensions_mut().insert::<Principal>(ada());
        }
        request
    };
    let service =
        ServiceBuilder::new().map_request(known).service(layer(PREFIX).service(upstream.clone()));
    let (mut client, server) = duplex(64 * 1024);
    tokio::spawn(async move {
        auto::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(server), TowerToHyperService::new(service))
            .await
    });
    let request = format!("{head}\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    client.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert_eq!(upstream.calls(), 0);
    answer
}

#[tokio::test]
async fn it_is_served_as_it_is() {
    let answer = ask("POST /api/v1/chatkit/sessions HTTP/1.1").await;
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    let answer = ask("POST /api/v1/chatkit/sessions HTTP/1.1\r\nx-api-key: k").await;
    assert!(answer.starts_with("HTTP/1.1 20"), "{answer}");
    for head in ["POST /anything", "GET /", "POST /chatkit"] {
        let answer = ask(&format!("{head} HTTP/1.1\r\nx-user-id: ada")).await;
        assert!(answer.starts_with("HTTP/1.1 404 "), "{head}: {answer}");
        assert!(answer.contains("\"NOT_FOUND\""), "{head}: {answer}");
    }
}
