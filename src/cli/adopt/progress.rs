//! How far it is, told now and then.

use std::time::Duration;

use super::super::status_line::StatusLine;

pub(super) struct ProgressMeter {
    line: StatusLine,
    /// What there was of both when it was told.
    lines: u64,
    bytes: u64,
    /// Of what is read, in bytes.
    size: Option<u64>,
}

impl ProgressMeter {
    pub(super) fn new(size: Option<u64>) -> Self {
        Self { line: StatusLine::new(), lines: 0, bytes: 0, size }
    }

    /// Says how far it is, if that was not said a moment ago.
    pub(super) fn tell(&mut self, lines: u64, bytes: u64) {
        let Some(elapsed) = self.line.is_due() else { return };
        let text = self.text(lines, bytes, elapsed);
        (self.lines, self.bytes) = (lines, bytes);
        self.line.tell(&text);
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
        self.line.line(text);
    }

    /// Leaves nothing of it on the terminal.
    pub(super) fn clear(&self) {
        self.line.clear();
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
        let line = StatusLine::new();
        let mut progress = ProgressMeter { line, lines: 9000, bytes: 400, size: Some(1000) };
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
