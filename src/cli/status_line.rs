//! A line on standard error that says how far something is, now and then.

use std::io::{IsTerminal as _, Write as _, stderr};
use std::time::Duration;

use tokio::time::Instant;

use super::logging;

/// How often it is told, on a terminal and elsewhere.
const OFTEN: Duration = Duration::from_millis(500);
const SELDOM: Duration = Duration::from_secs(5);

/// The line. On a terminal each takes the place of the one before.
pub(super) struct StatusLine {
    on_terminal: bool,
    told: Instant,
}

impl StatusLine {
    pub(super) fn new() -> Self {
        let on_terminal =
            stderr().is_terminal() && !logging::is_dumb(|name| std::env::var_os(name));
        Self { on_terminal, told: Instant::now() }
    }

    /// Tells how long ago it was told, if that is long enough.
    pub(super) fn is_due(&self) -> Option<Duration> {
        let pause = if self.on_terminal { OFTEN } else { SELDOM };
        Some(self.told.elapsed()).filter(|elapsed| *elapsed >= pause)
    }

    /// Says how far it is.
    pub(super) fn tell(&mut self, text: &str) {
        self.told = Instant::now();
        if self.on_terminal {
            // Over what stands there; if nobody reads it there is nobody to tell.
            let _ = write!(stderr(), "\r\x1b[K{text}");
        } else {
            self.line(text);
        }
    }

    /// Says something else.
    pub(super) fn line(&self, text: &str) {
        let clear = if self.on_terminal { "\r\x1b[K" } else { "" };
        let _ = writeln!(stderr(), "{clear}{text}");
    }

    /// Leaves nothing of it on the terminal.
    pub(super) fn clear(&self) {
        if self.on_terminal {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }
}
