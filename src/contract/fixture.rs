//! A fixture, checked.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, StatusCode};
use serde_json::Value;

use super::format::{AnswerEnd, BodyEnd, ErrorFile, Fail, Need, ReplyEnd, TokenKind};
use crate::rejection::Code;

/// One fixture: requests to the gateway, what it is to ask its upstream, and what it is to
/// answer.
///
/// Made by [`load`](super::load) or [`Fixture::parse`]; cloning is cheap.
#[derive(Clone, Debug)]
pub struct Fixture {
    pub(super) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) name: String,
    pub(super) description: String,
    pub(super) settings: BTreeMap<String, String>,
    pub(super) needs: Vec<Need>,
    /// How many of the first steps are those of the prelude.
    pub(super) given: usize,
    pub(super) steps: Vec<Step>,
}

impl Fixture {
    /// Gives the name: its path below the directory, without `.json`.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Gives what it shows.
    pub fn description(&self) -> &str {
        &self.inner.description
    }

    /// Gives the first part of the name: an operation's name, or `service`.
    pub fn folder(&self) -> &str {
        self.name().split('/').next().unwrap_or_default()
    }

    /// Gives the settings it needs the gateway to have, beside those that a run gives it.
    pub fn settings(&self) -> &BTreeMap<String, String> {
        &self.inner.settings
    }

    /// Gives the codes of the refusals that it expects, in the order of its steps.
    pub fn codes(&self) -> Vec<Code> {
        let mut codes = Vec::new();
        self.each_step(&mut |step| {
            if let ExpectedBody::Error(error) = &step.expect.body {
                codes.extend(Code::ALL.into_iter().find(|code| code.as_str() == error.code));
            }
        });
        codes
    }

    /// Gives the types of the ChatKit requests that it expects upstream, in the order of its steps.
    pub fn chatkit_requests(&self) -> Vec<&str> {
        let mut types = Vec::new();
        self.each_step(&mut |step| {
            for exchange in &step.exchanges {
                types.extend(exchange.kind.as_deref());
            }
        });
        types
    }

    pub(super) fn each_step<'a>(&'a self, look: &mut impl FnMut(&'a Step)) {
        fn walk<'a>(steps: &'a [Step], look: &mut impl FnMut(&'a Step)) {
            for step in steps {
                look(step);
                walk(&step.meanwhile, look);
            }
        }
        walk(&self.inner.steps, look);
    }
}

/// One request to the gateway and what is to come of it.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) request: ClientRequest,
    pub(super) exchanges: Vec<Arc<Exchange>>,
    /// Run once the upstream has this step's last request, and before it answers that.
    pub(super) meanwhile: Vec<Step>,
    pub(super) expect: Expectation,
    /// Variable → JSON Pointer into the reply.
    pub(super) capture: BTreeMap<String, String>,
}

#[derive(Debug)]
pub(super) struct ClientRequest {
    pub(super) method: Method,
    pub(super) place: Destination,
    pub(super) user: String,
    pub(super) token: TokenKind,
    pub(super) headers: Vec<(HeaderName, String)>,
    pub(super) body: Option<Bytes>,
    pub(super) end: BodyEnd,
}

/// Where a request goes.
#[derive(Debug)]
pub(super) enum Destination {
    /// Below the prefix of the REST routes.
    Rest(String),
    /// From the root.
    Absolute(String),
}

impl Destination {
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Rest(text) | Self::Absolute(text) => text,
        }
    }
}

/// One request that the gateway is to send, and what it gets for it.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) request: ExpectedRequest,
    /// The ChatKit type, where it is known from the fixture.
    pub(super) kind: Option<String>,
    /// `None` for a field that must be absent.
    pub(super) headers: Vec<(HeaderName, Option<String>)>,
    pub(super) answer: UpstreamAnswer,
}

impl Exchange {
    /// Tells whether no connection is accepted, so that there is nothing to be seen of the request.
    pub(super) fn is_refused(&self) -> bool {
        self.answer.fail == Some(Fail::Refused)
    }
}

#[derive(Debug)]
pub(super) enum ExpectedRequest {
    /// The very bytes that the client sent.
    Sent,
    Json(Value),
}

/// What the upstream answers with.
#[derive(Debug)]
pub(super) struct UpstreamAnswer {
    /// Instead of an answer.
    pub(super) fail: Option<Fail>,
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// Sent one by one.
    pub(super) chunks: Vec<Bytes>,
    /// In the chunked coding; else with a length.
    pub(super) chunked: bool,
    pub(super) end: AnswerEnd,
}

impl UpstreamAnswer {
    /// Gives all bytes of the body.
    pub(super) fn bytes(&self) -> Vec<u8> {
        self.chunks.concat()
    }
}

/// What the client is to get.
#[derive(Debug)]
pub(super) struct Expectation {
    pub(super) status: StatusCode,
    /// `None` for a field that must be absent.
    pub(super) headers: Vec<(HeaderName, Option<String>)>,
    pub(super) body: ExpectedBody,
    pub(super) end: ReplyEnd,
    /// The client leaves after that many events.
    pub(super) leave_after_events: Option<usize>,
}

#[derive(Debug)]
pub(super) enum ExpectedBody {
    /// A refusal, as the envelope or as problem details.
    Error(ErrorFile),
    Json(Value),
    Text(String),
    /// What the upstream sent in its last answer, byte for byte.
    Upstream,
}
