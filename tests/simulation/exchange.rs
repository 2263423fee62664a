//! One request of a client, what it got, and what is never to be got.

use std::sync::Arc;
use std::time::Duration;

use chatkit_rest::bytes::Bytes;
use chatkit_rest::http::{HeaderMap, Request as HttpRequest};
use chatkit_rest::http_body_util::{BodyExt as _, Full};
use serde_json::Value;
use tokio::time::timeout;

use crate::accounts::USERS;
use crate::faults::{REQUEST, Request};
use crate::world::World;

/// A request that is to be made.
#[derive(Clone, Debug)]
pub(crate) struct Ask<'a> {
    pub(crate) user: usize,
    pub(crate) gateway: usize,
    pub(crate) token: &'a str,
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) body: Option<Value>,
    /// When its client leaves, if it doesn't wait for the end.
    pub(crate) leaves: Option<Leaves>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Leaves {
    After(Duration),
    /// With so many frames of the answer.
    With(usize),
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// 0 if the client left before there was one.
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    /// It did not end as it should, or the client left.
    pub(crate) is_cut: bool,
    pub(crate) has_left: bool,
    pub(crate) request: Arc<Request>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// Tells whether it is a success that came to its end.
    pub(crate) fn is_done(&self) -> bool {
        self.status == 200 && !self.is_cut && !self.has_left
    }

    /// Tells whether the upstream did not do as it should.
    pub(crate) fn was_upstream(&self) -> bool {
        !self.request.upstream.lock().unwrap().is_empty()
    }
}

impl World {
    /// Asks a gateway, and checks what holds for all that it says. `expected`: its statuses when
    /// nothing goes wrong.
    pub(crate) async fn ask(&self, ask: Ask<'_>, expected: impl FnOnce() -> Vec<u16>) -> Answer {
        let line = format!(
            "{} {} {} {} {}",
            USERS[ask.user],
            ["A", "B", "C"][ask.gateway],
            ask.method,
            ask.path,
            ask.body.as_ref().map(Value::to_string).unwrap_or_default(),
        );
        let line = line.trim_end().replace(crate::world::PREFIX, "");
        self.trace.note(&line);
        let mut answer = Answer::default();
        let request = Arc::clone(&answer.request);
        let (user, leaves) = (ask.user, ask.leaves);
        let reading = REQUEST.scope(request, self.read(ask, &mut answer));
        if let Some(Leaves::After(time)) = leaves {
            let has_left = timeout(time, reading).await.is_err();
            answer.has_left = has_left;
        } else {
            reading.await;
        }
        let left = if answer.has_left { ", left" } else { "" };
        let cut = if answer.is_cut { ", cut" } else { "" };
        self.trace.note(&format!("{line} → {}{cut}{left}", answer.status));
        self.check(user, &line, &answer, expected);
        answer
    }

    async fn read(&self, ask: Ask<'_>, answer: &mut Answer) {
        let (user, leaves, body) = (ask.user, ask.leaves, ask.body.map(|body| body.to_string()));
        let mut request = HttpRequest::builder()
            .method(ask.method)
            .uri(ask.path)
            .header("authorization", format!("Bearer {}", ask.token));
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let request = request.body(Full::new(Bytes::from(body.unwrap_or_default()))).unwrap();
        let response = match self.gateways[ask.gateway].ask(request).await {
            Ok(response) => response,
            Err(error) => return self.trace.broken(&format!("the gateway failed: {error}")),
        };
        let (head, mut body) = response.into_parts();
        answer.status = head.status.as_u16();
        answer.headers = head.headers;
        for frames in 0.. {
            if let Some(Leaves::With(most)) = leaves
                && frames >= most
            {
                answer.has_left = true;
                return;
            }
            let Some(frame) = body.frame().await else { return };
            let Ok(frame) = frame else {
                answer.is_cut = true;
                return;
            };
            let Ok(data) = frame.into_data() else { continue };
            answer.body.extend_from_slice(&data);
            self.is_bound(user, &data).await;
        }
    }

    /// Checks that a thread which is shown to a client is known to be that client's.
    async fn is_bound(&self, user: usize, frame: &[u8]) {
        let text = String::from_utf8_lossy(frame);
        let Some(event) = text.lines().find(|line| line.contains("\"thread.created\"")) else {
            return;
        };
        let event: Value = serde_json::from_str(event.trim_start_matches("data: ")).unwrap();
        let thread = event["thread"]["id"].as_str().unwrap();
        let owner = self.owner_of_thread(thread).await;
        let may_be_deleted =
            self.accounts[user].lock().unwrap().sessions.iter().any(|known| known.may_be_deleted);
        match owner {
            Some(owner) if owner.as_str() == USERS[user] => {}
            None if may_be_deleted => {}
            owner => self.trace.broken(&format!("{thread} is shown, and is {owner:?}'s")),
        }
    }

    fn check(&self, user: usize, line: &str, answer: &Answer, expected: impl FnOnce() -> Vec<u16>) {
        self.check_content(user, line, answer);
        let failed = answer.request.failed.lock().unwrap().clone();
        let status = answer.status;
        let broken = |what: &str| self.trace.broken(&format!("{line}: {status}, {what}"));
        let retries = answer.headers.contains_key("retry-after");
        // What is done in a task of its own is not known to have failed.
        let is_detached = line.contains("/attachments") && !self.weather.is_over();
        let is_chat = line.contains("/api/chat");
        match status {
            0 => {}
            500 => broken("which is a defect"),
            // Chat says so of the upstream, too.
            503 if is_chat && failed.is_empty() && answer.was_upstream() => {}
            503 if !retries => broken("without Retry-After"),
            503 if failed.is_empty() && !is_detached => broken("and nothing had failed"),
            503 => {}
            // Whose the session is, is said before whose the attachment is, and is looked up for it.
            403 | 404 if failed == ["attachment_owners"] => {}
            _ if !failed.is_empty() && !answer.is_cut && !answer.has_left => {
                broken(&format!("though the store failed: {failed:?}"));
            }
            502 if answer.was_upstream() || is_detached => {}
            _ => {
                let expected = expected();
                if !expected.contains(&status) {
                    broken(&format!("and not one of {expected:?}"));
                }
            }
        }
        let is_run = answer.headers.get("content-type").is_some_and(|it| it == "text/event-stream");
        if is_run && status == 200 && !answer.has_left {
            let sent = answer.request.sent.lock().unwrap();
            if !sent.starts_with(&answer.body) {
                broken("in other bytes than the upstream's");
            } else if !answer.is_cut && *sent != answer.body {
                broken("and less than the upstream sent");
            } else if answer.is_cut && !answer.was_upstream() && failed.is_empty() {
                broken("and cut without a reason");
            }
        }
    }

    /// Checks that nobody is shown what is somebody else's.
    fn check_content(&self, user: usize, line: &str, answer: &Answer) {
        let text = String::from_utf8_lossy(&answer.body);
        for (other, name) in USERS.iter().enumerate().filter(|(other, _)| *other != user) {
            if text.contains(&format!("word:{name}:")) {
                self.trace.broken(&format!("{line}: shows what {name} said"));
            }
            for known in &self.accounts[other].lock().unwrap().sessions {
                if text.contains(&*known.id) {
                    self.trace.broken(&format!("{line}: shows a session of {name}'s"));
                }
            }
        }
        let server = self.upstream.kept.lock().unwrap();
        for thread in text.match_indices("thr_").map(|(at, _)| &text[at..]) {
            let end =
                thread[4..].find(|c: char| !c.is_ascii_digit()).map_or(thread.len(), |n| n + 4);
            let owner = server.threads.get(&thread[..end]).map(|thread| &*thread.owner);
            if owner.is_some_and(|owner| owner != USERS[user]) {
                self.trace.broken(&format!("{line}: shows {} of {owner:?}", &thread[..end]));
            }
        }
    }
}
