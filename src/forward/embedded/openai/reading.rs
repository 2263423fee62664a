//! Reading the API's answer from its connection.

use std::future::Future;
use std::pin::Pin;
use std::task::Poll;

use http_body::Body as _;
use http_body_util::BodyExt as _;
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use super::chunks::{Chunks, Close};
use super::events::Piece;
use super::report::value;
use super::trouble::Trouble;
use crate::forward::timeouts::after;
use crate::forward::{ForwardError, ForwardErrorKind, UpstreamBody};

/// How much of a refusal is read for its reason, in bytes.
const MAX_REFUSAL: usize = 16 << 10;

/// How many frames are looked at after an answer's end, for the connection's sake.
const MAX_FRAMES_AFTER_END: usize = 8;

/// An answer that is being read.
#[derive(Debug)]
pub(super) struct Reading {
    body: UpstreamBody,
    chunks: Chunks,
    /// When it must have begun, beside the body's own time-outs; `None` once it has.
    deadline: Option<Instant>,
    /// Since when nothing of the answer has come, where it may have ended.
    silent_since: Option<Instant>,
}

impl Reading {
    pub(super) fn new(body: UpstreamBody, deadline: Option<Instant>) -> Self {
        Self { body, chunks: Chunks::new(), deadline, silent_since: None }
    }

    /// More of the answer's text; `None` at its end.
    pub(super) async fn next(&mut self) -> Result<Option<String>, Trouble> {
        loop {
            match self.chunks.next()? {
                Some(Piece::Text(text)) => return Ok(Some(text)),
                Some(Piece::End) => return Ok(None),
                None => self.read().await?,
            }
        }
    }

    /// Reads on, or finds that there is nothing more to read.
    async fn read(&mut self) -> Result<(), Trouble> {
        let frame = match self.chunks.patience() {
            None => within(self.deadline, self.body.frame()).await?,
            Some(patience) => {
                let since = *self.silent_since.get_or_insert_with(Instant::now);
                let frame = timeout_at(after(since, patience), self.body.frame()).await;
                let Ok(frame) = frame else {
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
                if let Ok(bytes) = frame.into_data()
                    && self.chunks.feed(&bytes)
                {
                    self.silent_since = None;
                }
            }
        }
        Ok(())
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

/// What the API says of a refusal; `null` if it isn't JSON, or too long for a reason.
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
