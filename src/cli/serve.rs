//! `chatkit-rest serve`, and running a server to its end.

use std::error::Error as _;
use std::io;
use std::net::SocketAddr;

use chatkit_rest::config::{Config, Note};
use chatkit_rest::error::Error;
use chatkit_rest::server::Server;
use clap::Args;

use super::CommandFailure;
use super::introduction::Introduction;
use super::logging::{self, LogLines};
use super::settings::Settings;
use super::shutdown::{Signals, drain_on_signal};

/// Run the gateway
///
/// Listens on `listen` and answers REST requests with what the ChatKit server at `upstream.url`
/// says. Says at the start what it serves, in front of what, and whether that answers like a ChatKit
/// server. Logs go to standard error. SIGTERM, SIGINT and SIGHUP (but not under nohup) drain: no new
/// connections, open streams may end within `server.drain_timeout`. A second signal ends at once.
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  export CHATKIT_REST__AUTH__SECRET=\"$(openssl rand -hex 32)\"
  chatkit-rest serve --upstream http://127.0.0.1:8000/chatkit")]
pub(super) struct Serve {
    #[command(flatten)]
    settings: Settings,
}

impl Serve {
    pub(super) fn run(self) -> Result<(), CommandFailure> {
        let loaded = self.settings.load()?;
        run(loaded.config, &loaded.notes, LogLines::Full, |_| Ok(()))
    }
}

/// Runs a gateway until a signal or a failure ends it. `bound` is called with the address once
/// it listens.
pub(super) fn run(
    config: Config,
    notes: &[Note],
    lines: LogLines,
    bound: impl FnOnce(SocketAddr) -> Result<(), CommandFailure>,
) -> Result<(), CommandFailure> {
    let _log = logging::start(&config.log, lines)?;
    for note in notes {
        tracing::warn!(setting = note.key(), "{note}");
    }
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.enable_all();
    if let Some(threads) = config.server.worker_threads.and_then(|n| usize::try_from(n.get()).ok())
    {
        builder.worker_threads(threads);
    }
    let runtime =
        builder.build().map_err(|error| Error::io("could not start the runtime", error))?;
    let ended = runtime.block_on(async {
        let mut signals =
            Signals::new().map_err(|error| Error::io("could not wait for signals", error))?;
        let asked = config.listen;
        let introduction = Introduction::of(&config);
        let server = Server::bind(config).await.map_err(|error| listen_failure(asked, error))?;
        let address = server.local_addr();
        let scheme = if server.has_tls() { "https" } else { "http" };
        tracing::info!("listening on {scheme}://{address}");
        introduction.log(scheme, address, server.admin_addr());
        bound(address)?;
        let looking = tokio::spawn(server.look_at_upstream());
        let ended = drain_on_signal(
            |draining| server.serve(draining.asked()),
            async || signals.next().await,
        );
        let ended = ended.await;
        looking.abort();
        ended
    });
    // What still blocks (a statement of the store) must not hold up a process that was told to
    // end at once.
    runtime.shutdown_background();
    ended
}

/// Says what helps when the address is taken.
fn listen_failure(address: SocketAddr, error: Error) -> CommandFailure {
    let taken = error
        .source()
        .and_then(|cause| cause.downcast_ref::<io::Error>())
        .is_some_and(|cause| cause.kind() == io::ErrorKind::AddrInUse);
    // The other listener's has no flag.
    if !taken || !error.to_string().ends_with(&address.to_string()) {
        return CommandFailure::Runtime(error);
    }
    let free = SocketAddr::new(address.ip(), 0);
    let advice =
        format!("{address} is taken by another program; `--listen {free}` takes a free port");
    CommandFailure::Runtime(Error::io(advice, io::ErrorKind::AddrInUse.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_taken_comes_with_advice() {
        let address = "127.0.0.1:8080".parse().unwrap();
        let in_use = |what: &str| Error::io(what.to_owned(), io::ErrorKind::AddrInUse.into());
        let error = in_use("could not listen on 127.0.0.1:8080");
        let failure = listen_failure(address, error);
        assert_eq!(failure.exit_code(), 1);
        assert!(failure.to_string().contains("`--listen 127.0.0.1:0` takes a free port"));
        let other = listen_failure(address, in_use("could not listen on 127.0.0.1:9090"));
        assert!(other.to_string().contains("could not listen on 127.0.0.1:9090"), "{other}");
        let error = Error::io("could not listen", io::ErrorKind::PermissionDenied.into());
        assert!(listen_failure(address, error).to_string().contains("could not listen"));
    }
}
