//! The scripted upstream as a service, for gateways in this process.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::BodyExt as _;
use tokio::time::{Sleep, sleep};
use tower::Service;

use super::format::{AnswerEnd, Fail};
use super::script::{Script, ScriptedTurn};
use crate::config::Config;
use crate::error::BoxError;
use crate::forward::{ForwardError, ForwardErrorKind, is_event_stream};

/// A ChatKit server that answers what the fixture says.
///
/// It is what a [`Target::service`](super::Target::service) is built around. Failures come as
/// the [`ForwardError`]s that [`HttpUpstream`](crate::forward::HttpUpstream) would give for them;
/// time-outs after the fixture's `upstream.*_timeout`.
#[derive(Clone, Debug)]
pub struct ScriptedUpstream {
    script: Script,
    patience: ScriptedTimeouts,
}

#[derive(Clone, Copy, Debug)]
struct ScriptedTimeouts {
    first_byte: Duration,
    idle: Duration,
    json: Duration,
}

impl ScriptedUpstream {
    pub(super) fn new(script: Script, config: &Config) -> Self {
        let patience = ScriptedTimeouts {
            first_byte: config.upstream.first_byte_timeout,
            idle: config.upstream.idle_timeout,
            json: config.upstream.json_timeout,
        };
        Self { script, patience }
    }
}

impl<B> Service<Request<B>> for ScriptedUpstream
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<ScriptedBody>;
    type Error = ForwardError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, ForwardError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ForwardError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let Self { script, patience } = self.clone();
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let body = body
                .collect()
                .await
                .map_err(|error| ForwardError::new(ForwardErrorKind::Request).with(error.into()))?;
            let turn = script.arrive(head.headers, body.to_bytes());
            turn.open().await;
            answer(turn, patience).await
        })
    }
}

async fn answer(
    turn: ScriptedTurn,
    patience: ScriptedTimeouts,
) -> Result<Response<ScriptedBody>, ForwardError> {
    let Some(exchange) = turn.exchange.clone() else {
        let mut response = Response::new(ScriptedBody::unexpected(turn, patience));
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        return Ok(response);
    };
    let answer = &exchange.answer;
    let kind = match answer.fail {
        None => {
            let stream = is_event_stream(&answer.headers);
            let body = ScriptedBody {
                chunks: answer.chunks.iter().cloned().collect(),
                end: answer.end,
                silence: if stream { patience.first_byte } else { patience.json },
                expiry: if stream {
                    ForwardErrorKind::FirstByteTimeout
                } else {
                    ForwardErrorKind::JsonTimeout
                },
                patience,
                stream,
                asleep: None,
                breath: false,
                turn: Some(turn),
            };
            let mut response = Response::new(body);
            *response.status_mut() = answer.status;
            *response.headers_mut() = answer.headers.clone();
            return Ok(response);
        }
        Some(Fail::Refused) => ForwardErrorKind::Connect,
        Some(Fail::Closed | Fail::Reset | Fail::Nonsense) => ForwardErrorKind::Head,
        Some(Fail::Stall) => {
            sleep(patience.first_byte).await;
            return Err(ForwardError::new(ForwardErrorKind::FirstByteTimeout));
        }
    };
    turn.answered();
    Err(ForwardError::new(kind))
}

/// The body of a [`ScriptedUpstream`]'s answer.
pub struct ScriptedBody {
    chunks: VecDeque<Bytes>,
    end: AnswerEnd,
    /// How long nothing may come, and what it is called when it was longer.
    silence: Duration,
    expiry: ForwardErrorKind,
    patience: ScriptedTimeouts,
    stream: bool,
    asleep: Option<Pin<Box<Sleep>>>,
    /// Between two chunks there is a moment with nothing to read, as on a socket.
    breath: bool,
    turn: Option<ScriptedTurn>,
}

impl ScriptedBody {
    fn unexpected(turn: ScriptedTurn, patience: ScriptedTimeouts) -> Self {
        Self {
            chunks: VecDeque::new(),
            end: AnswerEnd::Clean,
            silence: patience.json,
            expiry: ForwardErrorKind::JsonTimeout,
            patience,
            stream: false,
            asleep: None,
            breath: false,
            turn: Some(turn),
        }
    }

    fn conclude(&mut self) {
        if let Some(turn) = self.turn.take() {
            turn.answered();
        }
    }
}

impl Body for ScriptedBody {
    type Data = Bytes;
    type Error = ForwardError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ForwardError>>> {
        let this = &mut *self;
        this.breath = !this.breath;
        if this.breath {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if let Some(chunk) = this.chunks.pop_front() {
            if this.stream {
                this.silence = this.patience.idle;
                this.expiry = ForwardErrorKind::IdleTimeout;
            }
            return Poll::Ready(Some(Ok(Frame::data(chunk))));
        }
        match this.end {
            AnswerEnd::Clean => {
                this.conclude();
                Poll::Ready(None)
            }
            AnswerEnd::Cut | AnswerEnd::Reset | AnswerEnd::BadFraming => {
                this.conclude();
                this.end = AnswerEnd::Clean;
                Poll::Ready(Some(Err(ForwardError::new(ForwardErrorKind::BodyCut))))
            }
            AnswerEnd::Stall => {
                this.breath = true;
                let asleep = this.asleep.get_or_insert_with(|| Box::pin(sleep(this.silence)));
                ready!(asleep.as_mut().poll(cx));
                this.end = AnswerEnd::Clean;
                Poll::Ready(Some(Err(ForwardError::new(this.expiry))))
            }
        }
    }
}

impl fmt::Debug for ScriptedBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScriptedBody")
            .field("chunks", &self.chunks.len())
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}
