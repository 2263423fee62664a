//! Carrying fixtures out, one after the other.

use std::collections::HashSet;
use std::future::{Future, poll_fn};
use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::header::{AUTHORIZATION, HOST, HeaderValue, LOCATION, RETRY_AFTER};
use http::{Request, StatusCode, Uri};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::check::Checks;
use super::client::{Answered, ClientBody};
use super::error::FixtureError;
use super::fixture::{Destination, Fixture, Step};
use super::format::TokenKind;
use super::load::load;
use super::reference;
use super::report::{Difference, Outcome, Report, Verdict};
use super::script::TurnOutcome as Upstream;
use super::target::{Stage, Target};
use super::variables::Variables;
use crate::error::BoxError;

/// The longest that one step may take.
const STEP_TIMEOUT: Duration = Duration::from_secs(20);

/// The longest wait that a gateway which is not ours may ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(61);

/// Loads the fixtures of `directory` and runs them against `target`.
///
/// # Errors
/// If they can't be loaded, before any of them is run.
pub async fn run_dir(
    directory: impl Into<PathBuf>,
    target: &Target,
) -> Result<Report, FixtureError> {
    let directory = directory.into();
    let path = directory.clone();
    let loaded = tokio::task::spawn_blocking(move || load(path)).await;
    let fixtures = loaded
        .map_err(|error| FixtureError::new(&directory, "", error))
        .and_then(|loaded| loaded)?;
    Ok(run(&fixtures, target).await)
}

/// How many fixtures are run at once, where each has a scene of its own: most of what they take
/// is waiting.
const AT_ONCE: usize = 8;

/// Runs fixtures against `target`, each on a scene of its own. Dropping the future ends them.
pub async fn run(fixtures: &[Fixture], target: &Target) -> Report {
    let checks = match Checks::new() {
        Ok(checks) => Arc::new(checks),
        Err(error) => {
            let broken = broken("the schemas", error.chain());
            return Report { outcomes: fixtures.iter().map(|f| outcome(f, &broken)).collect() };
        }
    };
    let at_once = if target.is_shared() { 1 } else { AT_ONCE };
    let mut verdicts: Vec<Option<Verdict>> = fixtures.iter().map(|_| None).collect();
    let mut waiting = fixtures.iter().enumerate();
    let mut playing = JoinSet::new();
    loop {
        while playing.len() < at_once
            && let Some((index, fixture)) = waiting.next()
        {
            let (fixture, target) = (fixture.clone(), target.clone());
            let checks = Arc::clone(&checks);
            playing.spawn(async move {
                let verdict = match target.skips(&fixture) {
                    Some(reason) => Verdict::Skipped(reason),
                    None => play(&fixture, &target, checks).await,
                };
                (index, verdict)
            });
        }
        match playing.join_next().await {
            Some(Ok((index, verdict))) => {
                if let Some(place) = verdicts.get_mut(index) {
                    *place = Some(verdict);
                }
            }
            // Its place stays empty.
            Some(Err(_)) => {}
            None => break,
        }
    }
    let panicked = broken("the fixture", "a panic".to_owned());
    let outcomes = fixtures.iter().zip(verdicts);
    let outcomes = outcomes.map(|(f, verdict)| outcome(f, &verdict.unwrap_or(panicked.clone())));
    Report { outcomes: outcomes.collect() }
}

fn outcome(fixture: &Fixture, verdict: &Verdict) -> Outcome {
    Outcome { name: fixture.name().to_owned(), verdict: verdict.clone() }
}

async fn play(fixture: &Fixture, target: &Target, checks: Arc<Checks>) -> Verdict {
    let stage = match target.stage(fixture).await {
        Ok(stage) => stage,
        Err(error) => return broken("the set-up", crate::error::chain(&*error)),
    };
    let mut playing = Playing {
        stage,
        checks,
        variables: Variables::default(),
        differences: Vec::new(),
        sessions: HashSet::new(),
    };
    playing.variables.set("prefix", playing.stage.prefix.clone());
    let given = fixture.inner.given;
    for (index, step) in fixture.inner.steps.iter().enumerate() {
        let label = match index.checked_sub(given) {
            None => format!("given {}", index + 1),
            Some(index) => format!("step {}", index + 1),
        };
        playing.step(&label, step).await;
        if !playing.differences.is_empty() {
            // What comes after builds on it.
            break;
        }
    }
    playing.clean_up().await;
    if playing.differences.is_empty() {
        Verdict::Passed
    } else {
        Verdict::Failed(playing.differences)
    }
}

fn broken(step: &str, error: String) -> Verdict {
    Verdict::Failed(vec![Difference::new(step, "outcome", "no error", error)])
}

struct Playing {
    stage: Stage,
    checks: Arc<Checks>,
    variables: Variables,
    differences: Vec<Difference>,
    /// What was made on a gateway that is not ours, by path.
    sessions: HashSet<String>,
}

impl Playing {
    fn step<'a>(
        &'a mut self,
        label: &'a str,
        step: &'a Step,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(async move {
            let label = format!("{label} ({} {})", step.request.method, step.request.place.text());
            let refused = step.exchanges.iter().any(|exchange| exchange.is_refused());
            if let Err(error) = self.set_socket(refused).await {
                return self.differ(&label, "the scripted upstream", "no error", error);
            }
            let script = self.stage.script.clone();
            let scope = script.begin(&step.exchanges, !step.meanwhile.is_empty());
            let answered = timeout(STEP_TIMEOUT, self.answered(&label, step, scope)).await;
            let left = step.expect.leave_after_events.is_some();
            if left {
                // What nobody reads any more must be given up, and soon.
                let _ = timeout(STEP_TIMEOUT, script.settled(scope)).await;
            }
            let ended = script.end(scope);
            match answered {
                Err(_) => {
                    let got = format!("none within {} s", STEP_TIMEOUT.as_secs());
                    self.differ(&label, "answer", "its end", got);
                }
                Ok(Err(error)) => self.differ(&label, "answer", "one", error),
                Ok(Ok(answered)) => {
                    self.capture(&label, step, &answered);
                    let context = self.checks.step(&label, step, &self.stage, &self.variables);
                    let differences = context.answer(&answered);
                    self.differences.extend(differences);
                }
            }
            let unseen = refused && self.stage.socket.is_some();
            let context = self.checks.step(&label, step, &self.stage, &self.variables);
            let differences = context.upstream(&ended, unseen);
            self.differences.extend(differences);
            if left && ended.arrivals.last().is_some_and(|last| last.outcome != Upstream::GivenUp) {
                self.differ(&label, "upstream request", "given up when the client left", "read on");
            }
        })
    }

    /// Sends the step's request, runs what is to happen meanwhile, and reads the answer.
    async fn answered(
        &mut self,
        label: &str,
        step: &Step,
        scope: super::script::StepScope,
    ) -> Result<Answered, String> {
        let peer = self.stage.peer.clone();
        let leave = step.expect.leave_after_events;
        let mut retries = 0;
        loop {
            let request = self.request(step)?;
            let mut call = pin!(peer.exchange(request, leave));
            let mut early = None;
            if !step.meanwhile.is_empty() {
                let script = self.stage.script.clone();
                let mut arrived = pin!(script.arrived(scope));
                early = poll_fn(|cx| match call.as_mut().poll(cx) {
                    Poll::Ready(answered) => Poll::Ready(Some(answered)),
                    Poll::Pending => arrived.as_mut().poll(cx).map(|()| None),
                })
                .await;
                let (user, token) = (self.variables.get("user"), self.variables.get("token"));
                for (index, step) in step.meanwhile.iter().enumerate() {
                    self.step(&format!("{label}, meanwhile {}", index + 1), step).await;
                }
                self.variables.set("user", user);
                self.variables.set("token", token);
                self.stage.script.release(scope);
            }
            let answered = match early {
                Some(answered) => answered,
                None => call.await,
            };
            let answered = answered.map_err(|error| crate::error::chain(&*error))?;
            match self.asked_to_wait(step, &answered) {
                Some(pause) if retries < 3 => sleep(pause).await,
                _ => return Ok(answered),
            }
            retries += 1;
        }
    }

    /// Tells how long a gateway that is not ours wants to be left alone.
    fn asked_to_wait(&self, step: &Step, answered: &Answered) -> Option<Duration> {
        let limited = answered.status == StatusCode::TOO_MANY_REQUESTS
            && step.expect.status != StatusCode::TOO_MANY_REQUESTS;
        if !limited || !self.stage.is_shared() {
            return None;
        }
        let seconds = answered.headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
        Some(Duration::from_secs(seconds)).filter(|pause| *pause <= MAX_RETRY_AFTER)
    }

    fn request(&mut self, step: &Step) -> Result<Request<ClientBody>, String> {
        let planned = &step.request;
        let (token, user) = self.stage.token(planned.token, &planned.user);
        self.variables.set("user", user.clone());
        let (valid, _) = self.stage.token(TokenKind::Valid, &planned.user);
        self.variables.set("token", valid.unwrap_or_default());
        let uri = self.target(step)?;
        let uri: Uri = uri.parse().map_err(|error| format!("{uri} is no target: {error}"))?;
        let mut request = Request::new(ClientBody::new(planned.body.clone(), planned.end));
        *request.method_mut() = planned.method.clone();
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        let value = |text: &str| HeaderValue::from_str(text).map_err(|error| error.to_string());
        headers.insert(HOST, value(&self.stage.host)?);
        if let Some(token) = token {
            headers.insert(AUTHORIZATION, value(&format!("Bearer {token}"))?);
        }
        for (name, text) in &planned.headers {
            headers.insert(name.clone(), value(&self.fill(text)?)?);
        }
        Ok(request)
    }

    /// Gives what the step's request is for.
    fn target(&self, step: &Step) -> Result<String, String> {
        Ok(match &step.request.place {
            Destination::Rest(path) => format!("{}{}", self.stage.prefix, self.fill(path)?),
            Destination::Absolute(path) => self.fill(path)?,
        })
    }

    fn fill(&self, text: &str) -> Result<String, String> {
        let filled = self.variables.fill(text).map(String::from);
        filled.map_err(|name| format!("{{{name}}} was not captured"))
    }

    fn capture(&mut self, label: &str, step: &Step, answered: &Answered) {
        if let Some(location) = answered.headers.get(LOCATION)
            && self.stage.is_shared()
            && answered.status == StatusCode::OK
            && let (Ok(base), Ok(location)) = (self.target(step), location.to_str())
        {
            self.sessions.insert(reference::resolve(&base, location));
        }
        if step.capture.is_empty() {
            return;
        }
        let reply: serde_json::Value = serde_json::from_slice(&answered.body).unwrap_or_default();
        for (name, pointer) in &step.capture {
            match reply.pointer(pointer) {
                Some(serde_json::Value::String(text)) => self.variables.set(name, text.clone()),
                Some(value) => self.variables.set(name, value.to_string()),
                None => self.differ(label, &format!("body {pointer}"), "a value", "nothing"),
            }
        }
    }

    /// Opens or closes the scripted upstream's port.
    async fn set_socket(&self, refused: bool) -> Result<(), String> {
        match &self.stage.socket {
            Some(socket) if refused => {
                socket.refuse().await;
                Ok(())
            }
            Some(socket) => socket.accept().map_err(|error| error.to_string()),
            None => Ok(()),
        }
    }

    /// Deletes what was made on a gateway that is not ours.
    async fn clean_up(&mut self) {
        for path in std::mem::take(&mut self.sessions) {
            if let Err(error) = self.delete(&path).await {
                tracing::warn!(path, error = %error, "a fixture's session was not deleted");
            }
        }
    }

    async fn delete(&self, path: &str) -> Result<(), BoxError> {
        for _ in 0..3 {
            let mut request = Request::delete(path).header(HOST, &self.stage.host);
            if let (Some(token), _) = self.stage.token(TokenKind::Valid, "") {
                request = request.header(AUTHORIZATION, format!("Bearer {token}"));
            }
            let request = request.body(ClientBody::new(None, super::format::BodyEnd::Clean))?;
            let answered = timeout(STEP_TIMEOUT, self.stage.peer.exchange(request, None)).await??;
            if answered.status != StatusCode::TOO_MANY_REQUESTS {
                return Ok(());
            }
            sleep(Duration::from_secs(3)).await;
        }
        Ok(())
    }

    fn differ(
        &mut self,
        step: &str,
        place: &str,
        expected: impl Into<String>,
        got: impl Into<String>,
    ) {
        self.differences.push(Difference::new(step, place, expected, got));
    }
}
