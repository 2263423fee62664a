//! What came against what was expected.

use http::HeaderMap;
use http::header::CONTENT_TYPE;
use serde_json::{Value, json};

use super::client::Answered;
use super::fixture::{Destination, ExpectedBody, ExpectedRequest, Step};
use super::format::{ErrorFile, ReplyEnd};
use super::matcher::{self, compare};
use super::report::Difference;
use super::script::{Arrival, Ended};
use super::target::Stage;
use super::variables::Variables;
use crate::error::Error;
use crate::media_type;
use crate::operation::Name;
use crate::protocol::RequestType;
use crate::rejection::X_REQUEST_ID;
use crate::route::Router;
use crate::surface::{Surface, Surfaces};
use crate::validate::{JsonSchema, SOURCES, Schemas, compile};

/// The schemas that every exchange is checked against, compiled once.
pub(super) struct Checks {
    requests: Schemas,
    replies: Vec<(&'static str, JsonSchema)>,
}

impl Checks {
    pub(super) fn new() -> Result<Self, Error> {
        let names = SOURCES.iter().map(|(name, _)| *name);
        let replies = names.filter(|name| {
            !name.contains('/') && !name.contains(".request") && !name.contains(".query")
        });
        let compiled: Result<_, Error> =
            replies.map(|name| compile(name).map(|schema| (name, schema))).collect();
        Ok(Self { requests: Schemas::compile()?, replies: compiled? })
    }

    pub(super) fn step<'a>(
        &'a self,
        label: &'a str,
        step: &'a Step,
        stage: &'a Stage,
        variables: &'a Variables,
    ) -> StepChecks<'a> {
        StepChecks { checks: self, label, step, stage, variables, differences: Vec::new() }
    }
}

/// The checks of one step.
pub(super) struct StepChecks<'a> {
    checks: &'a Checks,
    label: &'a str,
    step: &'a Step,
    stage: &'a Stage,
    variables: &'a Variables,
    differences: Vec<Difference>,
}

impl StepChecks<'_> {
    /// Gives what differs in the client's answer.
    pub(super) fn answer(mut self, answered: &Answered) -> Vec<Difference> {
        let expect = &self.step.expect;
        if answered.status != expect.status {
            let got = format!("{} with {}", answered.status, excerpt(&answered.body, 0));
            self.differ("status", expect.status.to_string(), got);
        }
        self.headers("header", &expect.headers, &answered.headers);
        if answered.end != expect.end {
            self.differ("end", end(expect.end), end(answered.end));
        }
        match &expect.body {
            ExpectedBody::Json(expected) => self.json("body", expected, &answered.body),
            ExpectedBody::Error(expected) => self.error(expected, answered),
            ExpectedBody::Text(text) => self.bytes("body", text.as_bytes(), &answered.body),
            ExpectedBody::Upstream => {
                let last = self.step.exchanges.last();
                let mut sent = last.map(|last| last.answer.bytes()).unwrap_or_default();
                if expect.end == ReplyEnd::Left {
                    sent.truncate(answered.body.len());
                }
                self.bytes("body", &sent, &answered.body);
            }
        }
        self.schema(answered);
        self.differences
    }

    /// Gives what differs in what the upstream was asked.
    pub(super) fn upstream(mut self, ended: &Ended, refused_unseen: bool) -> Vec<Difference> {
        for arrival in &ended.arrivals {
            match arrival.planned.and_then(|index| self.step.exchanges.get(index)) {
                None => {
                    let got = excerpt(&arrival.body, 0);
                    self.differ("upstream request", "no other one", got);
                }
                Some(exchange) => {
                    let number = arrival.planned.unwrap_or_default() + 1;
                    let place = format!("upstream request {number}");
                    self.arrival(&place, &exchange.request, arrival);
                    self.headers(&format!("{place} header"), &exchange.headers, &arrival.headers);
                }
            }
        }
        for index in &ended.missing {
            let Some(exchange) = self.step.exchanges.get(*index) else { continue };
            if refused_unseen && exchange.is_refused() {
                continue;
            }
            let expected = exchange.kind.as_deref().unwrap_or("one").to_owned();
            self.differ(&format!("upstream request {}", index + 1), expected, "none");
        }
        self.differences
    }

    fn arrival(&mut self, place: &str, expected: &ExpectedRequest, arrival: &Arrival) {
        match expected {
            ExpectedRequest::Sent => {
                let sent = self.step.request.body.clone().unwrap_or_default();
                self.bytes(place, &sent, &arrival.body);
            }
            ExpectedRequest::Json(expected) => self.json(place, expected, &arrival.body),
        }
        let Ok(request) = serde_json::from_slice::<Value>(&arrival.body) else { return };
        let kind = request.get("type").and_then(Value::as_str).and_then(RequestType::parse);
        let Some(kind) = kind else { return };
        if let Err(report) = self.checks.requests.check_chatkit(kind, &request) {
            for violation in report.violations() {
                let place = format!("{place} {}", violation.pointer);
                let expected = format!("what the schema of {kind} asks for");
                self.differ(&place, expected, &violation.message);
            }
        }
    }

    fn headers(
        &mut self,
        place: &str,
        expected: &[(http::HeaderName, Option<String>)],
        got: &HeaderMap,
    ) {
        for (name, expected) in expected {
            let values: Vec<_> =
                got.get_all(name).iter().map(|v| v.to_str().unwrap_or("?")).collect();
            let place = format!("{place} {name}");
            match expected {
                None if values.is_empty() => {}
                None => self.differ(&place, "none", values.join(", ")),
                Some(expected) if values.is_empty() => self.differ(&place, expected, "none"),
                Some(expected) => {
                    let got = values.join(", ");
                    if !matcher::text_matches(expected, &got, self.variables) {
                        self.differ(&place, expected, got);
                    }
                }
            }
        }
    }

    fn json(&mut self, place: &str, expected: &Value, got: &[u8]) {
        let Ok(got) = serde_json::from_slice::<Value>(got) else {
            return self.differ(place, expected.to_string(), excerpt(got, 0));
        };
        self.value(place, expected, &got);
    }

    fn value(&mut self, place: &str, expected: &Value, got: &Value) {
        for mismatch in compare(expected, got, self.variables) {
            let place = format!("{place} {}", mismatch.pointer);
            self.differ(place.trim_end(), mismatch.expected, mismatch.got);
        }
    }

    /// Checks a refusal, however it is rendered. Details that are not expected must not be there.
    fn error(&mut self, expected: &ErrorFile, answered: &Answered) {
        let Ok(body) = serde_json::from_slice::<Value>(&answered.body) else {
            let got = excerpt(&answered.body, 0);
            return self.differ("body", format!("a refusal with {}", expected.code), got);
        };
        let problem = is(&answered.headers, "application/problem+json");
        let (error, message) = if problem {
            (&body, "detail")
        } else {
            (body.get("error").unwrap_or(&Value::Null), "message")
        };
        let member = |name| error.get(name).cloned().unwrap_or_default();
        let text = expected.message.as_deref().unwrap_or("$string");
        let mut wanted = json!({"code": expected.code, message: text});
        let mut got = json!({"code": member("code"), message: member(message)});
        let mut also = |name: &str, expected: Option<Value>, found: Option<Value>| {
            for (members, value) in [(&mut wanted, expected), (&mut got, found)] {
                if let (Some(members), Some(value)) = (members.as_object_mut(), value) {
                    members.insert(name.to_owned(), value);
                }
            }
        };
        also("details", expected.details.clone(), error.get("details").cloned());
        if let Some(id) = answered.headers.get(X_REQUEST_ID).and_then(|id| id.to_str().ok()) {
            // What a user reads to support must be what the log has.
            also("request_id", Some(id.into()), Some(member("request_id")));
        }
        self.value("body", &wanted, &got);
    }

    /// Checks a JSON answer by its schema: the operation's, or that of refusals.
    fn schema(&mut self, answered: &Answered) {
        let problem = is(&answered.headers, "application/problem+json");
        if !problem && !is(&answered.headers, "application/json") {
            return;
        }
        let name = if problem {
            "problem".to_owned()
        } else if !answered.status.is_success() {
            // By its path, as the gateway tells them apart.
            let path = self.step.request.place.text();
            let openai = surfaces(&self.stage.prefix).of_path(path) == Surface::OpenAi;
            if openai { "openai_error".to_owned() } else { "error".to_owned() }
        } else {
            match self.operation() {
                Some(Name::Passthrough) | None => return,
                Some(operation) => format!("{operation}.reply"),
            }
        };
        let schema = self.checks.replies.iter().find(|(known, _)| *known == name);
        let Some((_, schema)) = schema else { return };
        let Ok(body) = serde_json::from_slice::<Value>(&answered.body) else {
            return self.differ("body", "JSON, by its content-type", excerpt(&answered.body, 0));
        };
        if let Err(report) = schema.check(&body) {
            for violation in report.violations() {
                let place = format!("body {}", violation.pointer);
                let expected = format!("what schemas/{name}.json asks for");
                self.differ(&place, expected, &violation.message);
            }
        }
    }

    fn operation(&self) -> Option<Name> {
        let place = &self.step.request.place;
        let path = self.variables.fill(place.text()).ok()?;
        let path = path.split('?').next().unwrap_or_default();
        let path = match place {
            Destination::Rest(_) => format!("{}{path}", self.stage.prefix),
            Destination::Absolute(_) => path.to_owned(),
        };
        let router = Router::new(Name::ALL, &surfaces(&self.stage.prefix)).ok()?;
        let target = router.route(&self.step.request.method, &path);
        target.ok().map(|target| target.operation())
    }

    fn bytes(&mut self, place: &str, expected: &[u8], got: &[u8]) {
        if expected == got {
            return;
        }
        let same = expected.iter().zip(got).take_while(|(a, b)| a == b).count();
        let place = format!("{place}, byte {same}");
        self.differ(&place, excerpt(expected, same), excerpt(got, same));
    }

    fn differ(&mut self, place: &str, expected: impl Into<String>, got: impl Into<String>) {
        self.differences.push(Difference::new(self.label, place, expected, got));
    }
}

/// Tells where the surfaces are; the last two where they are by default.
fn surfaces(prefix: &str) -> Surfaces {
    Surfaces::rest(prefix).with_chat("/api").with_openai("/v1/chatkit")
}

fn is(headers: &HeaderMap, media_type: &str) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| media_type::is(value, media_type))
}

fn end(end: ReplyEnd) -> &'static str {
    match end {
        ReplyEnd::Clean => "a clean end",
        ReplyEnd::Cut => "cut",
        ReplyEnd::Left => "the client leaving",
    }
}

/// Gives the bytes around `at`, as text.
fn excerpt(bytes: &[u8], at: usize) -> String {
    const BEFORE: usize = 40;
    const AFTER: usize = 160;
    let start = at.saturating_sub(BEFORE);
    let stop = bytes.len().min(at + AFTER);
    let shown = bytes.get(start..stop).unwrap_or_default();
    if bytes.is_empty() {
        return "nothing".to_owned();
    }
    let before = if start > 0 { "…" } else { "" };
    let after = if stop < bytes.len() { "…" } else { "" };
    format!("{before}{}{after}", String::from_utf8_lossy(shown))
}
