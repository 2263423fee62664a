//! Log lines as JSON, one object a line.
//!
//! The shape is that of tracing-subscriber's flattened JSON: `timestamp`, `level`, the event's own
//! fields, `target`. Written straight into one buffer it costs a fifth of that, which is more
//! than anything else the gateway itself does for a small request. Spans are left out; the
//! gateway opens none.

use std::fmt;
use std::io::Write as _;

use jiff::Timestamp;
use serde::Serialize;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Enough for the line of a request.
const USUAL_BYTES: usize = 512;

/// Writes events as JSON.
#[derive(Clone, Copy, Debug)]
pub(super) struct JsonLines;

impl<S, N> FormatEvent<S, N> for JsonLines
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
        let mut line = JsonLine(Vec::with_capacity(USUAL_BYTES));
        line.0.extend_from_slice(b"{\"timestamp\":\"");
        // Neither a time nor a plain name has anything to escape, and a Vec takes all.
        let _ = write!(line.0, "{:.6}\"", Timestamp::now());
        line.name("level");
        line.text(event.metadata().level().as_str());
        event.record(&mut line);
        line.name("target");
        line.text(event.metadata().target());
        line.0.extend_from_slice(b"}\n");
        // All of it was text.
        writer.write_str(std::str::from_utf8(&line.0).map_err(|_| fmt::Error)?)
    }
}

/// Tells whether a text is the same within quotation marks. Without a branch for each byte, so that
/// sixteen are looked at together: `serde_json` looks at one after the other.
#[expect(clippy::needless_bitwise_bool, reason = "a lazy one would be a branch")]
fn is_plain(text: &[u8]) -> bool {
    text.iter().fold(true, |all, &byte| all & (byte >= b' ') & (byte != b'"') & (byte != b'\\'))
}

/// An object that is being written.
struct JsonLine(Vec<u8>);

impl JsonLine {
    fn name(&mut self, name: &str) {
        self.0.push(b',');
        self.text(name);
        self.0.push(b':');
    }

    fn text(&mut self, text: &str) {
        if is_plain(text.as_bytes()) {
            self.0.push(b'"');
            self.0.extend_from_slice(text.as_bytes());
            self.0.push(b'"');
        } else {
            self.value(text);
        }
    }

    fn value<T: Serialize + ?Sized>(&mut self, value: &T) {
        // What is passed in here has no maps and no failures of its own, and a Vec takes all.
        let _ = serde_json::to_writer(&mut self.0, value);
    }

    fn field(&mut self, field: &Field) {
        let name = field.name();
        self.name(name.strip_prefix("r#").unwrap_or(name));
    }
}

impl Visit for JsonLine {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.field(field);
        self.value(&value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.field(field);
        self.value(&value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.field(field);
        self.value(&value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.field(field);
        self.value(&value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.field(field);
        self.text(value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.field(field);
        self.0.push(b'"');
        let start = self.0.len();
        let _ = write!(self.0, "{value:?}");
        if self.0.get(start..).is_some_and(is_plain) {
            self.0.push(b'"');
        } else {
            let text = self.0.split_off(start);
            self.0.pop();
            self.value(&*String::from_utf8_lossy(&text));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::{Value, json};
    use tracing_subscriber::fmt;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[derive(Clone, Default)]
    struct CapturedLines(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for CapturedLines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn written(log: impl FnOnce()) -> Vec<Value> {
        let lines = CapturedLines::default();
        let writer = lines.clone();
        let layer = fmt::layer().event_format(JsonLines).with_writer(move || writer.clone());
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(subscriber, log);
        let bytes = lines.0.lock().unwrap().clone();
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.is_empty() || text.ends_with('\n'));
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn fields_keep_their_types() {
        let lines = written(|| {
            tracing::warn!(
                target: "somewhere",
                text = "a\"b\\c\n\u{1}\u{2028}ö",
                number = -7,
                large = u64::MAX,
                ratio = 1.5,
                odd = f64::NAN,
                flag = true,
                plain = "ö\u{7f}\u{2028}",
                empty = "",
                absent = None::<&str>,
                present = Some("x"),
                shown = %"d\"",
                debugged = ?"d\"",
                r#type = 1,
                "the {}", "message",
            );
        });
        let [mut line] = <[Value; 1]>::try_from(lines).unwrap();
        let timestamp = line["timestamp"].take();
        timestamp.as_str().unwrap().parse::<Timestamp>().unwrap();
        assert_eq!(
            line,
            json!({
                "timestamp": null, "level": "WARN", "target": "somewhere", "message": "the message",
                "text": "a\"b\\c\n\u{1}\u{2028}ö", "number": -7, "large": u64::MAX, "ratio": 1.5,
                "odd": null, "flag": true, "plain": "ö\u{7f}\u{2028}", "empty": "", "present": "x", "shown": "d\"", "debugged": "\"d\\\"\"",
                "type": 1,
            })
        );
    }

    #[test]
    fn a_line_of_text_is_one_line_and_cannot_be_forged() {
        let lines = written(|| {
            tracing::info!(path = "/x\",\"level\":\"ERROR\"}\n{\"level\":\"ERROR", "one");
            tracing::info!("two\nthree");
        });
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["level"], "INFO");
        assert_eq!(lines[1]["message"], "two\nthree");
    }

    #[test]
    fn a_name_that_is_not_plain_is_escaped() {
        let lines = written(|| tracing::info!("a\"b\\c\nd" = 1, "http.path" = 2, "one"));
        assert_eq!((&lines[0]["a\"b\\c\nd"], &lines[0]["http.path"]), (&json!(1), &json!(2)));
    }
}
