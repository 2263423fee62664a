//! How the gateway ends: the first signal drains it, the second ends it at once.

use std::future::Future;
use std::io;
use std::pin::pin;

use chatkit_rest::error::Error;
use tokio::sync::oneshot;

use super::CommandFailure;

/// The signals that ask a process to end.
pub(super) struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    /// That the terminal is gone; `None` once it is, and for who was started to outlive it.
    #[cfg(unix)]
    hangup: Option<tokio::signal::unix::Signal>,
}

impl Signals {
    /// Takes the signals over from the operating system's default, which is to end at once.
    ///
    /// # Errors
    /// If it won't let go of them.
    #[cfg(unix)]
    pub(super) fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: if ignores_hangup() { None } else { Some(signal(SignalKind::hangup())?) },
        })
    }

    /// Gives the next signal's name. Dropping the future loses none.
    #[cfg(unix)]
    pub(super) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
            () = hung_up(self.hangup.as_mut()) => {
                // The shell and the system both tell of it: the second is nobody's impatience.
                self.hangup = None;
                "SIGHUP"
            }
        }
    }

    /// Prepares nothing: there is only control-C.
    ///
    /// # Errors
    /// None here.
    #[cfg(not(unix))]
    #[expect(clippy::unnecessary_wraps, reason = "as on Unix")]
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {})
    }

    /// Gives the next control-C.
    #[cfg(not(unix))]
    pub(super) async fn next(&mut self) -> &'static str {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        "control-C"
    }
}

#[cfg(unix)]
async fn hung_up(signal: Option<&mut tokio::signal::unix::Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}

/// Tells whether the process was started to outlive its terminal, as `nohup` does: taking the signal
/// over would undo that. Where the system doesn't say, it goes by what `nohup` leaves of terminals.
#[cfg(unix)]
fn ignores_hangup() -> bool {
    use std::io::IsTerminal as _;
    let status = if cfg!(target_os = "linux") {
        std::fs::read_to_string("/proc/self/status").ok()
    } else {
        None
    };
    status
        .and_then(|status| is_first_ignored(&status))
        .unwrap_or_else(|| !io::stdout().is_terminal() && !io::stderr().is_terminal())
}

/// Reads, of `/proc/self/status`, whether signal 1 is ignored, which SIGHUP is everywhere.
#[cfg(unix)]
fn is_first_ignored(status: &str) -> Option<bool> {
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
    Some(u64::from_str_radix(ignored.trim(), 16).ok()? & 1 == 1)
}

/// Runs `serve`, whose argument resolves when it is to drain.
///
/// # Errors
/// Those of `serve`, and [`CommandFailure::Interrupted`] when a second signal came first.
pub(super) async fn drain_on_signal<S, F>(
    serve: S,
    mut next_signal: impl AsyncFnMut() -> &'static str,
) -> Result<(), CommandFailure>
where
    S: FnOnce(Draining) -> F,
    F: Future<Output = Result<(), Error>>,
{
    let (drain, draining) = oneshot::channel();
    let mut serving = pin!(serve(Draining(draining)));
    let signal = tokio::select! {
        ended = &mut serving => return ended.map_err(CommandFailure::from),
        signal = next_signal() => signal,
    };
    tracing::info!(signal, "draining; a second signal ends at once");
    // The server may have stopped listening to it because it is about to end anyway.
    let _ = drain.send(());
    tokio::select! {
        ended = &mut serving => ended.map_err(CommandFailure::from),
        signal = next_signal() => {
            tracing::warn!(signal, "ended at once");
            Err(CommandFailure::Interrupted)
        }
    }
}

/// What tells a server to drain.
pub(super) struct Draining(oneshot::Receiver<()>);

impl Draining {
    /// Resolves when it is time.
    pub(super) async fn asked(self) {
        if self.0.await.is_err() {
            // Nobody is left to ask.
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    /// Signals at these seconds, then none.
    fn signals(at: &[u64]) -> impl AsyncFnMut() -> &'static str {
        let start = tokio::time::Instant::now();
        let mut left: VecDeque<_> = at.iter().copied().collect();
        async move || match left.pop_front() {
            Some(second) => {
                tokio::time::sleep_until(start + std::time::Duration::from_secs(second)).await;
                "SIGTERM"
            }
            None => std::future::pending().await,
        }
    }

    /// Gives a server that takes ten seconds to drain.
    async fn slow(draining: Draining) -> Result<(), Error> {
        draining.asked().await;
        tokio::time::sleep(std::time::Duration::from_secs(10)).await;
        Ok(())
    }

    #[cfg(unix)]
    #[test]
    fn who_was_started_to_outlive_its_terminal_is_known() {
        let status = |ignored| format!("Name:\tx\nSigBlk:\t0000000000000001\nSigIgn:\t{ignored}\n");
        assert_eq!(is_first_ignored(&status("0000000000001001")), Some(true));
        assert_eq!(is_first_ignored(&status("0000000000001000")), Some(false));
        assert_eq!(is_first_ignored("Name:\tx\n"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_signal_drains() {
        let start = tokio::time::Instant::now();
        drain_on_signal(slow, signals(&[5])).await.unwrap();
        assert_eq!(start.elapsed().as_secs(), 15);
    }

    #[tokio::test(start_paused = true)]
    async fn the_second_signal_ends_at_once() {
        let start = tokio::time::Instant::now();
        let failure = drain_on_signal(slow, signals(&[5, 7])).await.unwrap_err();
        assert!(matches!(failure, CommandFailure::Interrupted));
        assert_eq!(start.elapsed().as_secs(), 7);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_fails_ends_it() {
        let broken = |_| async { Err(Error::config("broken")) };
        let failure = drain_on_signal(broken, signals(&[])).await.unwrap_err();
        assert!(matches!(failure, CommandFailure::Runtime(error) if error.to_string() == "broken"));
    }
}
