//! The gateway from code: for a program that has its own defaults, logs or reasons to stop.
//!
//! ```sh
//! export CHATKIT_REST__AUTH__SECRET=$(openssl rand -hex 32)
//! cargo run --example reverse_proxy
//! ```
//! The ChatKit server that is built in answers, or yours:
//! ```sh
//! cargo run --example reverse_proxy -- http://127.0.0.1:8000/chatkit
//! ```
//! In another terminal, with the same `CHATKIT_REST__AUTH__SECRET`:
//! ```sh
//! BASE=http://127.0.0.1:3000/chat
//! TOKEN=$(cargo run --quiet -- token --sub ada)
//! SESSION=$(curl -s -X POST "$BASE/sessions" -H "authorization: Bearer $TOKEN" | sed -n 's/.*"data":{"id":"\([^"]*\)".*/\1/p')
//! curl -N "$BASE/sessions/$SESSION/threads/$SESSION/runs" -H "authorization: Bearer $TOKEN" -H "content-type: application/json" -d '{"message":"Hello there"}'
//! curl "$BASE/sessions/$SESSION" -H "authorization: Bearer $TOKEN"
//! ```
//! Every setting of the gateway can be given in the environment, as with `chatkit-rest serve`.
#![expect(clippy::print_stderr, reason = "a program at a terminal, not the library")]

use std::error::Error;
use std::future::Future;
use std::net::SocketAddr;

use chatkit_rest::config::Sources;
use chatkit_rest::server::Server;

/// What this program has for defaults; the environment wins over them.
const DEFAULTS: &str = r#"
listen = "127.0.0.1:3000"

[rest]
prefix = "/chat"

[upstream]
url = "embedded"

[store]
url = "memory:"

[limits]
max_sessions = 100
"#;

/// Gives the settings in the order in which they win.
pub(crate) fn sources() -> Sources {
    Sources::new().toml("reverse_proxy's defaults", DEFAULTS).environment(std::env::vars_os())
}

/// Serves until `shutdown`, and then until open streams have ended.
pub(crate) async fn run(
    sources: Sources,
    listening: impl FnOnce(SocketAddr),
    shutdown: impl Future<Output = ()>,
) -> Result<(), Box<dyn Error>> {
    let loaded = sources.load()?;
    for note in &loaded.notes {
        eprintln!("note: {note}");
    }
    let server = Server::bind(loaded.config).await?;
    listening(server.local_addr());
    server.serve(shutdown).await?;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // Requests are logged with `tracing`: whichever subscriber a program has gets them.
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let mut sources = sources();
    if let Some(url) = std::env::args().nth(1) {
        sources = sources.flag("the argument", "upstream.url", url);
    }
    let listening = |address| eprintln!("listening on http://{address}/chat");
    let control_c = async {
        // Without signals there is only the hard way.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    run(sources, listening, control_c).await
}
