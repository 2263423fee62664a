//! Where log lines go: to standard error, as `[log]` says.

use std::ffi::OsString;
use std::io::{self, IsTerminal as _};

use super::log_json::JsonLines;
use super::log_short::ShortLines;
use super::log_writer::{self, LogGuard};
use chatkit_rest::config::LogConfig;
use chatkit_rest::error::Error;
use tracing::Dispatch;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::{Layer as _, Registry, fmt};

/// How much of an event a line of text has. JSON has all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LogLines {
    /// Whatever there is.
    Full,
    /// What somebody wants to see who looks on.
    Short,
}

/// Sends this process's log lines to standard error, as long as the guard lives.
///
/// # Errors
/// If that was done before.
pub(super) fn start(log: &LogConfig, shown: LogLines) -> Result<LogGuard, Error> {
    let terminal = io::stderr().is_terminal();
    let colours = terminal && has_colours(|name| std::env::var_os(name));
    let (writer, guard) = log_writer::start(io::stderr())
        .map_err(|error| Error::io("could not start to write the log", error))?;
    let dispatch = dispatch(log, shown, terminal, colours, writer)?;
    tracing::dispatcher::set_global_default(dispatch)
        .map_err(|_| Error::config("log lines already go somewhere"))?;
    Ok(guard)
}

/// Tells whether a terminal knows no sequences, neither for colours nor to write over a line.
pub(super) fn is_dumb(variable: impl Fn(&str) -> Option<OsString>) -> bool {
    variable("TERM").is_some_and(|term| term == "dumb")
}

/// Tells whether a terminal is to be given colours: not a dumb one, and not by the convention of
/// no-color.org.
fn has_colours(variable: impl Fn(&str) -> Option<OsString>) -> bool {
    !is_dumb(&variable) && variable("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Gives what writes log lines to `writer`.
fn dispatch<W>(
    log: &LogConfig,
    shown: LogLines,
    terminal: bool,
    colours: bool,
    writer: W,
) -> Result<Dispatch, Error>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter: Targets =
        log.level.as_str().parse().map_err(|_| Error::config("log.level is not understood"))?;
    let json = log.format.is_json(terminal);
    let lines = fmt::layer().with_writer(writer);
    let lines = match shown {
        _ if json => lines.event_format(JsonLines).with_filter(filter).boxed(),
        LogLines::Full => lines.with_ansi(colours).with_filter(filter).boxed(),
        LogLines::Short => lines.event_format(ShortLines).with_filter(filter).boxed(),
    };
    Ok(Dispatch::new(Registry::default().with(lines)))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use chatkit_rest::config::Sources;

    use super::*;

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn captured(format: &str, level: &str, terminal: bool) -> String {
        written(format, level, LogLines::Full, terminal)
    }

    fn written(format: &str, level: &str, shown: LogLines, terminal: bool) -> String {
        let log = Sources::new()
            .set("test", "auth.secret", "0123456789abcdef0123456789abcdef")
            .set("test", "log.format", format)
            .set("test", "log.level", level)
            .load()
            .unwrap()
            .config
            .log;
        let lines = Captured::default();
        let writer = lines.clone();
        let dispatch = dispatch(&log, shown, terminal, false, move || writer.clone()).unwrap();
        tracing::dispatcher::with_default(&dispatch, || {
            tracing::info!(number = 7, "first");
            tracing::debug!("second");
            tracing::debug!(target: "hyper::proto", "third");
        });
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn lines_are_text_on_a_terminal_and_json_elsewhere() {
        let text = captured("auto", "info", true);
        assert!(text.contains(" INFO ") && text.contains("first number=7"), "{text}");
        for (format, terminal) in [("auto", false), ("json", true)] {
            let line = captured(format, "info", terminal);
            let line: serde_json::Value = serde_json::from_str(&line).unwrap();
            assert_eq!(line["message"], "first");
            assert_eq!(line["number"], 7);
            assert_eq!(line["level"], "INFO");
        }
        assert!(captured("text", "info", false).contains("first number=7"));
    }

    #[test]
    fn short_lines_are_for_a_terminal() {
        let text = written("auto", "info", LogLines::Short, true);
        assert_eq!(text, "first number=7\n");
        let line = written("auto", "info", LogLines::Short, false);
        assert!(line.starts_with('{'), "{line}");
    }

    #[test]
    fn who_wants_no_colours_gets_none() {
        for (variables, expected) in [
            (&[][..], true),
            (&[("TERM", "xterm-256color")], true),
            (&[("TERM", "dumb")], false),
            (&[("NO_COLOR", "")], true),
            (&[("NO_COLOR", "1")], false),
            (&[("TERM", "dumb"), ("NO_COLOR", "")], false),
        ] {
            let of = |name: &str| {
                variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into())
            };
            assert_eq!(has_colours(of), expected, "{variables:?}");
        }
    }

    #[test]
    fn levels_are_by_target() {
        let count = |level| captured("json", level, true).lines().count();
        assert_eq!(count("off"), 0);
        assert_eq!(count("info"), 1);
        assert_eq!(count("debug"), 3);
        assert_eq!(count("info,hyper=debug"), 2);
        assert_eq!(count("off,hyper::proto=trace"), 1);
    }
}
