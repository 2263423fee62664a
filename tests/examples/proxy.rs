//! `reverse_proxy`: a gateway from code, over a socket.

use std::future::Future;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use crate::reverse_proxy::{run, sources};

async fn ask(address: SocketAddr, head: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("{head} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// Serves with these settings for as long as the client takes.
async fn serve<F: Future<Output = ()>>(
    settings: &[(&str, &str)],
    client: impl FnOnce(SocketAddr) -> F,
) {
    let sources =
        sources().environment(settings.iter().copied()).set("the test", "listen", "127.0.0.1:0");
    let (tell, told) = oneshot::channel();
    let (stop, stopped) = oneshot::channel::<()>();
    let client = async {
        client(told.await.unwrap()).await;
        stop.send(()).unwrap();
    };
    let listening = |address| tell.send(address).unwrap();
    let shutdown = async { stopped.await.unwrap_or_default() };
    let (served, ()) = tokio::join!(run(sources, listening, shutdown), client);
    served.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_serves_with_its_own_defaults_until_it_is_told_to_stop() {
    let settings =
        [("CHATKIT_REST__AUTH__MODE", "none"), ("CHATKIT_REST__AUTH__ANONYMOUS_USER", "ada")];
    serve(&settings, |address| async move {
        let answer = ask(address, "POST /chat/sessions").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("\"user_id\":\"ada\""), "{answer}");
        let answer = ask(address, "GET /api/v1/chatkit/sessions").await;
        assert!(answer.starts_with("HTTP/1.1 404 "), "the prefix is /chat: {answer}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_gets_nothing() {
    let settings = [("CHATKIT_REST__AUTH__SECRET", "0123456789abcdef0123456789abcdef")];
    serve(&settings, |address| async move {
        // Who is not known is told what is served where, and no more.
        for (request, status) in [
            ("POST /anything", "404"),
            ("GET /", "200"),
            ("POST /chatkit", "404"),
            ("POST /chat", "401"),
            ("GET /chat/sessions", "401"),
            ("OPTIONS /anything", "404"),
            ("OPTIONS /chat/sessions", "405"),
        ] {
            let answer = ask(address, request).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {answer}");
        }
    })
    .await;
}
