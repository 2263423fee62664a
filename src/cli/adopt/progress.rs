//! How far it is, told now and then.

use std::io::{IsTerminal as _, Write as _, stderr};
use std::time::Duration;

use tokio::time::Instant;

use super::super::logging;

/// How often progress is told, on a terminal and elsewhere.
const OFTEN: Duration = Duration::from_millis(500);
const SELDOM: Duration = Duration::from_secs(5);

pub(super) struct ProgressMeter {
    on_terminal: bool,
    told: Instant,
    /// What there was of both when it was told.
    lines: u64,
    bytes: u64,
    /// Of what is read, in bytes.
    size: Option<u64>,
}

impl ProgressMeter {
    pub(super) fn new(size: Option<u64>) -> Self {
        let on_terminal =
            stderr().is_terminal() && !logging::is_dumb(|name| std::env::var_os(name));
        Self { on_terminal, told: Instant::now(), lines: 0, bytes: 0, size }
    }

    /// Says how far it is, if that was not said a moment ago.
    pub(super) fn tell(&mut self, lines: u64, bytes: u64) {
        let pause = if self.on_terminal { OFTEN } else { SELDOM };
        let elapsed = self.told.elapsed();
        if elapsed < pause {
            return;
        }
        let text = self.text(lines, bytes, elapsed);
        (self.told, self.lines, self.bytes) = (Instant::now(), lines, bytes);
        if self.on_terminal {
            // Over what stands there; if nobody reads it there is nobody to tell.
            let _ = write!(stderr(), "\r\x1b[K{text}");
        } else {
            self.line(&text);
        }
    }

    fn text(&self, lines: u64, bytes: u64, elapsed: Duration) -> String {
        let rate = per_second(lines.saturating_sub(self.lines), elapsed);
        let Some(size) = self.size.filter(|size| *size > 0) else {
            return format!("{lines} lines, {rate} a second");
        };
        let part = u128::from(bytes) * 100 / u128::from(size);
        let speed = per_second(bytes.saturating_sub(self.bytes), elapsed).max(1);
        let left = u128::from(size.saturating_sub(bytes)) / speed;
        let left = match left {
            0..=90 => format!("{left} s"),
            _ => format!("{} min", left / 60),
        };
        format!("{lines} lines ({part} %), {rate} a second, about {left} left")
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

pub(super) fn per_second(count: u64, elapsed: Duration) -> u128 {
    u128::from(count) * 1000 / elapsed.as_millis().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_moment() {
        let told = Instant::now();
        let mut progress =
            ProgressMeter { on_terminal: false, told, lines: 9000, bytes: 400, size: Some(1000) };
        let second = Duration::from_secs(1);
        let text = progress.text(9100, 410, second);
        assert_eq!(text, "9100 lines (41 %), 100 a second, about 59 s left");
        progress.size = Some(1_000_000);
        let text = progress.text(9100, 500, second);
        assert_eq!(text, "9100 lines (0 %), 100 a second, about 166 min left");
        progress.size = None;
        assert_eq!(progress.text(9100, 410, second), "9100 lines, 100 a second");
    }
}
