//! What the gateway logs, caught in the process.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, Once};

use tokio::sync::Notify;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use super::soon;

/// One event.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) target: String,
    pub(crate) level: Level,
    pub(crate) fields: BTreeMap<&'static str, String>,
}

impl Line {
    /// Gives a field; empty if there is no such field.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }
}

static LINES: Mutex<Vec<Line>> = Mutex::new(Vec::new());
static MORE: Notify = Notify::const_new();

/// Begins to catch, once in the process: the gateway's own events of every level, and what the
/// libraries below it say with the default level.
pub(crate) fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| tracing::subscriber::set_global_default(Catch).unwrap());
}

/// Gives the line of the request with this id, once it is written.
pub(crate) async fn line_of(request_id: &str) -> Line {
    let is_it = |line: &Line| {
        line.target == "chatkit_rest::request" && line.get("request_id") == request_id
    };
    lines_like(is_it).await.remove(0)
}

/// Gives the lines with such a field, once there is one.
pub(crate) async fn log_of(name: &str, value: &str) -> Vec<Line> {
    lines_like(|line| line.get(name) == value).await
}

/// Gives the lines that are like this, once there is one.
pub(crate) async fn lines_like(is_it: impl Fn(&Line) -> bool) -> Vec<Line> {
    soon(async {
        loop {
            let mut more = std::pin::pin!(MORE.notified());
            more.as_mut().enable();
            let found: Vec<_> =
                LINES.lock().unwrap().iter().filter(|line| is_it(line)).cloned().collect();
            if !found.is_empty() {
                return found;
            }
            more.await;
        }
    })
    .await
}

/// Gives everything so far, of all tests in this process.
pub(crate) fn everything_logged() -> String {
    format!("{:?}", LINES.lock().unwrap())
}

struct Catch;

impl Subscriber for Catch {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("chatkit_rest") || *metadata.level() <= Level::INFO
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let metadata = event.metadata();
        LINES.lock().unwrap().push(Line {
            target: metadata.target().to_owned(),
            level: *metadata.level(),
            fields: fields.0,
        });
        MORE.notify_waiters();
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[derive(Default)]
struct Fields(BTreeMap<&'static str, String>);

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}
