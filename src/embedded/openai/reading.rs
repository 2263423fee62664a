//! Reading the API's answer from its connection.

use std::future::Future;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use http_body::Body as _;
use http_body_util::BodyExt as _;
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use super::chunks::{Chunks, Close, TailWait};
use super::events::AnswerPiece;
use super::report::value;
use super::trouble::Trouble;
use crate::forward::{ForwardError, ForwardErrorKind, UpstreamBody, after};

/// How much of a refusal is read for its reason, in bytes.
const MAX_REFUSAL: usize = 16 << 10;

/// How many frames are looked at after an answer's end, for the connection's sake.
const MAX_FRAMES_AFTER_END: usize = 8;

/// An answer that is being read.
#[derive(Debug)]
pub(super) struct AnswerReading {
    body: UpstreamBody,
    chunks: Chunks,
    /// When it must have begun, beside the body's own time-outs; `None` once it has.
    deadline: Option<Instant>,
    /// The connection's own patience.
    idle: Duration,
    /// Since when nothing has come, where the answer may have ended: nothing of it, and nothing at
    /// all. What the client takes its time for is not counted.
    silent_since: Option<Instant>,
    idle_since: Option<Instant>,
}

impl AnswerReading {
    pub(super) fn new(body: UpstreamBody, deadline: Option<Instant>, idle: Duration) -> Self {
        let (silent_since, idle_since) = (None, None);
        Self { body, chunks: Chunks::new(), deadline, idle, silent_since, idle_since }
    }

    /// Gives more of the answer's text; `None` at its end.
    pub(super) async fn next(&mut self) -> Result<Option<String>, Trouble> {
        loop {
            match self.chunks.next()? {
                Some(AnswerPiece::Text(text)) => return Ok(Some(text)),
                Some(AnswerPiece::End) => return Ok(None),
                None => self.read().await?,
            }
        }
    }

    /// Reads on, or finds that there is nothing more to read.
    async fn read(&mut self) -> Result<(), Trouble> {
        let until = self.until();
        let frame = match until {
            None => within(self.deadline, self.body.frame()).await?,
            Some(until) => {
                let Ok(frame) = timeout_at(until, self.body.frame()).await else {
                    self.chunks.close(Close::Silent);
                    return Ok(());
                };
                frame
            }
        };
        match frame {
            None => self.chunks.close(Close::Clean),
            Some(Err(error)) => self.chunks.close(Close::Broken(error)),
            Some(Ok(frame)) => {
                self.deadline = None;
                self.idle_since = None;
                let Ok(bytes) = frame.into_data() else { return Ok(()) };
                if self.chunks.feed(&bytes) {
                    self.silent_since = None;
                } else if until.is_some_and(|until| until <= Instant::now()) {
                    // Whatever else comes, and however fast, doesn't keep the run open.
                    self.chunks.close(Close::Silent);
                }
            }
        }
        Ok(())
    }

    /// Tells until when to wait for more, if the answer may have ended.
    fn until(&mut self) -> Option<Instant> {
        let patience = self.chunks.tail_wait()?;
        let now = Instant::now();
        let silent_since = *self.silent_since.get_or_insert(now);
        let idle_since = *self.idle_since.get_or_insert(now);
        let longest = after(silent_since, self.idle);
        Some(match patience {
            TailWait::Certain(patience) => after(silent_since, patience),
            TailWait::Doubtful(patience) => after(idle_since, patience).min(longest),
            TailWait::Nothing => longest,
        })
    }

    /// Takes what is already there of the end of the stream, so that its connection can be used
    /// again, and waits for nothing.
    pub(super) async fn finish(mut self) {
        std::future::poll_fn(|cx| {
            for _ in 0..MAX_FRAMES_AFTER_END {
                let Poll::Ready(Some(Ok(_))) = Pin::new(&mut self.body).poll_frame(cx) else {
                    break;
                };
            }
            Poll::Ready(())
        })
        .await;
    }
}

/// Waits for `future`, and not beyond `deadline` if there is one.
pub(super) async fn within<F: Future>(
    deadline: Option<Instant>,
    future: F,
) -> Result<F::Output, Trouble> {
    match deadline {
        None => Ok(future.await),
        Some(deadline) => timeout_at(deadline, future)
            .await
            .map_err(|_| Trouble::Exchange(ForwardError::new(ForwardErrorKind::FirstByteTimeout))),
    }
}

/// Gives what the API says of a refusal; `null` if it isn't JSON, or too long for a reason.
pub(super) async fn refusal(mut body: UpstreamBody) -> Value {
    let mut text = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return Value::Null };
        let Ok(bytes) = frame.into_data() else { continue };
        if text.len().saturating_add(bytes.len()) > MAX_REFUSAL {
            return Value::Null;
        }
        text.extend_from_slice(&bytes);
    }
    value(&String::from_utf8_lossy(&text))
}
