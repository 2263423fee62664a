//! The responder, and what it asks the API.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::Full;
use tokio::time::Instant;

use super::super::item::Item;
use super::super::responder::{Responder, Turn, TurnFuture};
use super::reading::{AnswerReading, refusal, within};
use super::report::ApiReport;
use super::request::{Completion, History, MAX_MESSAGES, refused};
use super::retry::{Advice, Retries};
use super::trouble::Trouble;
use crate::forward::{
    ForwardError, ForwardErrorKind, HttpUpstream, InvalidUpstreamUrl, UpstreamUrl, after,
    is_event_stream, is_json,
};

/// Gives the address of the chat completions of the API at `base`, such as
/// `http://127.0.0.1:11434/v1`: its path with `/chat/completions` after it.
///
/// # Errors
/// [`InvalidUpstreamUrl`] names the part of `base` that is wrong.
pub fn completions_url(base: &str) -> Result<UpstreamUrl, InvalidUpstreamUrl> {
    let (path, query) = match base.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (base, None),
    };
    let mut url = format!("{}/chat/completions", path.trim_end_matches('/'));
    if let Some(query) = query {
        url.extend(["?", query]);
    }
    // A host that is missing must not be made of the path.
    UpstreamUrl::parse(base).and_then(|_| UpstreamUrl::parse(&url))
}

/// Has a model answer. See the [module's documentation](super).
///
/// Cloning is a few reference counts; clones share their idle connections. Neither the key nor
/// the system prompt is in `Debug` output.
#[derive(Clone)]
pub struct OpenAiResponder {
    api: HttpUpstream,
    model: Arc<str>,
    authorization: Option<HeaderValue>,
    system_prompt: Option<Arc<str>>,
}

/// The key has a character that a header's value can't have: it isn't one. Doesn't say which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidApiKey;

impl fmt::Display for InvalidApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the API key must be visible ASCII characters")
    }
}

impl std::error::Error for InvalidApiKey {}

impl fmt::Debug for OpenAiResponder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenAiResponder")
            .field("api", &self.api)
            .field("model", &self.model)
            .field("has_api_key", &self.authorization.is_some())
            .field("has_system_prompt", &self.system_prompt.is_some())
            .finish()
    }
}

impl OpenAiResponder {
    /// Has `model` answer, at the API whose [completions](completions_url) `api` sends to.
    pub fn new(api: HttpUpstream, model: impl Into<Arc<str>>) -> Self {
        Self { api, model: model.into(), authorization: None, system_prompt: None }
    }

    /// Sends `authorization: Bearer KEY` with each request; without, nothing.
    ///
    /// # Errors
    /// [`InvalidApiKey`] if it is empty or has anything but visible ASCII characters.
    pub fn with_api_key(mut self, key: &str) -> Result<Self, InvalidApiKey> {
        if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(InvalidApiKey);
        }
        let value = HeaderValue::from_str(&format!("Bearer {key}"));
        let mut value = value.map_err(|_| InvalidApiKey)?;
        value.set_sensitive(true);
        self.authorization = Some(value);
        Ok(self)
    }

    /// Tells the model this before each conversation; without, nothing.
    #[must_use]
    pub fn with_system_prompt(mut self, text: impl Into<Arc<str>>) -> Self {
        self.system_prompt = Some(text.into());
        self
    }

    async fn answer(&mut self, turn: &mut Turn, has_begun: &mut bool) -> Result<(), Trouble> {
        // Nothing goes out before the first text: until then the run can still fail with a
        // status, and the question can be asked again.
        let (mut reading, text) = self.begin(turn.asker(), turn.items()).await?;
        *has_begun = true;
        let mut message = turn.begin_message().await;
        message.say(text).await;
        while let Some(text) = reading.next().await? {
            message.say(text).await;
        }
        message.end().await;
        reading.finish().await;
        Ok(())
    }

    /// Asks for an answer, again where that may help; the first of its text.
    async fn begin(
        &mut self,
        asker: u64,
        items: &[Item],
    ) -> Result<(AnswerReading, String), Trouble> {
        let mut question = self.question(items, History::All)?;
        let mut may_tell_less = true;
        let mut retries = Retries::new(after(Instant::now(), self.api.first_byte_timeout()));
        loop {
            let trouble = match self.ask(asker, question.clone(), retries.deadline()).await {
                Ok(begun) => return Ok(begun),
                Err(trouble) => trouble,
            };
            if let Some(pause) = retries.next(&trouble)
                && self.api.may_retry()
            {
                trouble.log(self.api.url(), "asking again");
                tokio::time::sleep(pause).await;
                continue;
            }
            let instead = trouble.instead().filter(|_| std::mem::take(&mut may_tell_less));
            let Some(instead) = instead else { return Err(trouble) };
            let less = self.question(items, instead)?;
            if less == question || !retries.allow_another() {
                return Err(trouble);
            }
            trouble.log(self.api.url(), "asking again, with less of the conversation");
            question = less;
        }
    }

    fn question(&self, items: &[Item], told: History) -> Result<Bytes, Trouble> {
        let question = Completion::new(&self.model, self.system_prompt.as_deref(), items, told);
        let question = question.ok_or(Trouble::NothingSaid)?;
        let question = serde_json::to_vec(&question).map_err(|error| {
            Trouble::Exchange(ForwardError::new(ForwardErrorKind::Request).with(error))
        })?;
        Ok(question.into())
    }

    /// Sends the question, and reads up to the first text. The answer's body must have begun by
    /// `deadline`.
    async fn ask(
        &self,
        asker: u64,
        question: Bytes,
        deadline: Option<Instant>,
    ) -> Result<(AnswerReading, String), Trouble> {
        let mut request = Request::new(Full::new(question));
        *request.method_mut() = Method::POST;
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(USER_AGENT, HeaderValue::from_static(PRODUCT));
        if let Some(authorization) = &self.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }

        let response = within(deadline, self.api.call_for(asker, request)).await?;
        let (head, body) = response.map_err(Trouble::Exchange)?.into_parts();
        if head.status != StatusCode::OK {
            let advice = Advice::of(&head.headers, SystemTime::now());
            let body = within(deadline, refusal(body)).await?;
            let report = ApiReport::of(Some(head.status.as_u16()), &body);
            return Err(Trouble::Status(head.status, report, advice));
        }
        if !is_event_stream(&head.headers) && !is_json(&head.headers) {
            return Err(Trouble::NotAStream);
        }
        let mut reading = AnswerReading::new(body, deadline, self.api.idle_timeout());
        let text = reading.next().await?.ok_or(Trouble::Empty)?;
        Ok((reading, text))
    }
}

const PRODUCT: &str = concat!("chatkit-rest/", env!("CARGO_PKG_VERSION"));

impl Responder for OpenAiResponder {
    fn check_ready(&self, asker: u64) -> Result<(), ForwardError> {
        self.api.check_admission(asker)
    }

    fn messages(&self) -> usize {
        MAX_MESSAGES
    }

    fn respond(&self, mut turn: Turn) -> TurnFuture {
        let mut responder = self.clone();
        Box::pin(async move {
            let mut has_begun = false;
            let answer = responder.answer(&mut turn, &mut has_begun).await;
            let Err(trouble) = answer else { return Ok(()) };
            trouble.log(responder.api.url(), "giving up");
            if trouble.is_of_the_question(has_begun) {
                turn.emit_item(refused()).await;
            }
            Err(trouble.failure())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_completions_are_below_the_base() {
        for (base, url) in [
            ("http://127.0.0.1:11434/v1", "http://127.0.0.1:11434/v1/chat/completions"),
            ("http://host/v1/", "http://host/v1/chat/completions"),
            ("http://host", "http://host/chat/completions"),
            ("http://host/", "http://host/chat/completions"),
        ] {
            assert_eq!(completions_url(base).unwrap().to_string(), url);
        }
        let url = completions_url("http://host/v1?api-version=1").unwrap();
        assert_eq!(
            url,
            UpstreamUrl::parse("http://host/v1/chat/completions?api-version=1").unwrap()
        );
        for (base, wrong) in [
            ("", InvalidUpstreamUrl::Scheme),
            ("host/v1", InvalidUpstreamUrl::Scheme),
            ("http://", InvalidUpstreamUrl::Host),
            ("http:///", InvalidUpstreamUrl::Host),
            ("http://u:p@host/", InvalidUpstreamUrl::UserInfo),
        ] {
            assert_eq!(completions_url(base), Err(wrong), "{base}");
        }
    }

    #[test]
    fn neither_the_key_nor_the_prompt_shows() {
        let api = HttpUpstream::builder(completions_url("http://127.0.0.1:1/v1").unwrap());
        let responder = OpenAiResponder::new(api.build().unwrap(), "m");
        for key in ["", " ", "planted key", "planted\n", "plänted"] {
            let refused = responder.clone().with_api_key(key).unwrap_err();
            assert!(!format!("{refused} {refused:?}").contains("planted"));
        }
        let responder = responder.with_api_key("planted-key").unwrap();
        assert_eq!(responder.authorization.as_ref().unwrap(), "Bearer planted-key");
        let responder = responder.with_system_prompt("planted prompt");
        assert!(!format!("{responder:?}").contains("planted"), "{responder:?}");
    }
}
