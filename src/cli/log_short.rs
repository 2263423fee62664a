//! Log lines for somebody who tries the gateway out and looks on: one short line an event.
//!
//! A request's is `POST /api/chat 200 ada 12 ms`, with the code and the cause of a refusal, and the
//! outcome where the answer didn't get to its end. Whoever needs more has the other formats.

use std::fmt::{self, Write as _};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Of whom the lines of requests are.
const REQUEST: &str = "chatkit_rest::request";

/// Writes events as short lines of text.
#[derive(Clone, Copy, Debug)]
pub(super) struct ShortLines;

impl<S, N> FormatEvent<S, N> for ShortLines
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'fields> FormatFields<'fields> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let metadata = event.metadata();
        let line = if metadata.target() == REQUEST {
            let mut request = RequestLine::default();
            event.record(&mut request);
            request.0.into_iter().flatten().collect::<Vec<_>>().join(" ")
        } else {
            let mut line = OtherLine::default();
            event.record(&mut line);
            let level = *metadata.level();
            let level = if level == Level::INFO { String::new() } else { format!("{level} ") };
            format!("{level}{}{}", line.message, line.fields)
        };
        writeln!(writer, "{}", printable(&line))
    }
}

/// Escapes what would end the line or steer the terminal.
fn printable(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { line.extend(c.escape_default()) } else { line.push(c) }
    }
    line
}

/// What is shown of a request, in the order in which it is shown.
const SHOWN: [&str; 8] =
    ["method", "path", "status", "user", "service", "duration_ms", "code", "cause"];

/// The fields of [`SHOWN`], each in its place, and the outcome.
#[derive(Default)]
struct RequestLine([Option<String>; SHOWN.len() + 1]);

impl RequestLine {
    fn put(&mut self, field: &Field, value: String) {
        let place = match field.name() {
            // The status and the code say so.
            "outcome" if matches!(&*value, "complete" | "refused") => return,
            "outcome" => SHOWN.len(),
            name => match SHOWN.iter().position(|shown| *shown == name) {
                Some(place) => place,
                None => return,
            },
        };
        if let Some(shown) = self.0.get_mut(place) {
            *shown = Some(value);
        }
    }
}

impl Visit for RequestLine {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, format!("{value:.0} ms"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}"));
    }
}

/// Any other event: what it says, and its fields.
#[derive(Default)]
struct OtherLine {
    message: String,
    fields: String,
}

impl Visit for OtherLine {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a `String` does not fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    fn written(log: impl FnOnce()) -> String {
        #[derive(Clone, Default)]
        struct Lines(Arc<Mutex<Vec<u8>>>);
        impl io::Write for Lines {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.lock().unwrap().extend_from_slice(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let lines = Lines::default();
        let writer = lines.clone();
        let layer = tracing_subscriber::fmt::layer()
            .event_format(ShortLines)
            .with_writer(move || writer.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log);
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_requests_line_has_what_happened_and_no_ids() {
        let text = written(|| {
            for (status, code, outcome) in [
                (200, None, "complete"),
                (403, Some("FORBIDDEN"), "refused"),
                (200, None, "truncated"),
            ] {
                tracing::info!(
                    target: "chatkit_rest::request",
                    request_id = "r-1",
                    method = "GET",
                    path = "/api/x",
                    user = "ada",
                    session = tracing::field::display("s-1"),
                    status = Some(status),
                    code = code,
                    cause = code.map(|_| "not\nhers"),
                    outcome,
                    bytes = 3,
                    duration_ms = 1.6,
                    "request"
                );
            }
        });
        assert_eq!(
            text,
            "GET /api/x 200 ada 2 ms\n\
             GET /api/x 403 ada 2 ms FORBIDDEN not\\nhers\n\
             GET /api/x 200 ada 2 ms truncated\n"
        );
    }

    #[test]
    fn other_lines_say_what_they_say_and_their_level_if_it_matters() {
        let text = written(|| {
            tracing::info!(number = 7, name = "x", "first");
            tracing::warn!("second\u{1b}[2J");
        });
        assert_eq!(text, "first number=7 name=x\nWARN second\\u{1b}[2J\n");
    }
}
