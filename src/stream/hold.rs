//! The hold before the commit.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame};
use tokio::time::{Instant, timeout_at};

use super::body::RunBody;
use super::failure::{RunFailure, RunFailureCause};
use super::watch::{RunObserver, Watch};
use crate::error::BoxError;

/// How long and how much is held before the status is fixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoldPolicy {
    /// The longest hold, counted from the first byte. Zero commits with the preamble. Until
    /// the first byte nothing is committed; the upstream's own time-outs end that wait.
    pub hold_for: Duration,
    /// The most bytes that are held beside the preamble and `error` events: comments, and events
    /// whose end hasn't come.
    pub hold_bytes: usize,
    /// The most bytes of the preamble, and of `error` events, that are held. The user's message
    /// comes back in it, so it is about as long as what was sent, in whatever escaping.
    pub preamble_bytes: usize,
}

impl HoldPolicy {
    /// How much longer than what was sent its echo can be: each byte as `\u003c`, and as much
    /// again as `hold_bytes` allows for what the upstream adds.
    pub(crate) fn echo_of(sent_bytes: usize, hold_bytes: usize) -> usize {
        sent_bytes.saturating_mul(6).saturating_add(hold_bytes)
    }
}

impl Default for HoldPolicy {
    /// 5 seconds, 64 KiB, and what a message of 1 MiB can come back as.
    fn default() -> Self {
        let hold_bytes = 65_536;
        Self {
            hold_for: Duration::from_secs(5),
            hold_bytes,
            preamble_bytes: Self::echo_of(1 << 20, hold_bytes),
        }
    }
}

/// How long what may follow an `error` event before any output is waited for. One that was raised
/// ends the run; one that was yielded doesn't, and the answer comes after it.
pub(super) const AFTER_ERROR: Duration = Duration::from_millis(250);

/// Holds a run until its first output, a failure, its end, or the limits of `policy`.
///
/// An `error` event before any output is the failure unless output follows it within a quarter of
/// a second, and within the hold: then the client gets both.
///
/// Cancel-safe: dropping the future drops the body, which ends the exchange with the upstream.
///
/// # Errors
/// [`RunFailure`] if the run failed before any output. Its body is dropped then.
pub async fn hold<B, O>(watch: Watch<B, O>, policy: HoldPolicy) -> Result<RunBody<B, O>, RunFailure>
where
    B: Body<Data = Bytes, Error: Into<BoxError>>,
    O: RunObserver,
{
    hold_run(watch, policy, Silence::Fails).await
}

/// What a run is that ends well, and without a word, after the upstream has prepared it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Silence {
    /// A failure: somebody who says something is owed an answer.
    Fails,
    /// A run like others: an action may have nothing to say.
    Passes,
}

/// [`hold`], where a run may be silent.
pub(crate) async fn hold_run<B, O>(
    watch: Watch<B, O>,
    policy: HoldPolicy,
    silence: Silence,
) -> Result<RunBody<B, O>, RunFailure>
where
    B: Body<Data = Bytes, Error: Into<BoxError>>,
    O: RunObserver,
{
    let mut watch = Box::pin(watch);
    let mut held = Held::default();
    let mut patience = Patience::default();
    let end = loop {
        let Some(next) = patience.next_frame(watch.as_mut()).await else {
            if watch.as_mut().progress().refused {
                break None;
            }
            return Ok(RunBody::new(held.frames, watch));
        };
        match next {
            Some(Ok(frame)) => {
                held.push(frame, &watch);
                let progress = watch.as_mut().progress();
                let commit = progress.output
                    || held.is_over(policy)
                    || (policy.hold_for.is_zero() && progress.prepared && !progress.refused);
                if commit {
                    return Ok(RunBody::new(held.frames, watch));
                }
                if progress.refused {
                    patience.shorten(AFTER_ERROR.min(policy.hold_for));
                } else if held.bytes() > 0 && !policy.hold_for.is_zero() {
                    patience.begin(policy.hold_for);
                }
            }
            Some(Err(error)) => break Some(RunFailureCause::Broken(error)),
            None => {
                let progress = watch.as_mut().progress();
                if silence == Silence::Passes && progress.prepared && !progress.refused {
                    return Ok(RunBody::new(held.frames, watch));
                }
                break Some(RunFailureCause::Ended);
            }
        }
    };
    let progress = watch.as_mut().progress();
    let cause = match progress.refusal() {
        // Whatever came of the stream afterwards.
        Some(error) => RunFailureCause::ErrorEvent(error),
        None => end.unwrap_or(RunFailureCause::Ended),
    };
    Err(RunFailure {
        cause,
        preamble: std::mem::take(&mut progress.preamble),
        events: progress.events,
    })
}

/// What is held.
#[derive(Default)]
struct Held {
    frames: VecDeque<Frame<Bytes>>,
    /// Of the preamble, and of `error` events. A frame counts as what it costs to keep, so that
    /// crumbs are bounded too.
    preamble_bytes: usize,
    other_bytes: usize,
    /// The events that have passed.
    events: u64,
}

impl Held {
    /// Keeps a frame that came out of `watch` just now.
    fn push<B, O: RunObserver>(&mut self, frame: Frame<Bytes>, watch: &Watch<B, O>) {
        let bytes = frame.data_ref().map_or(0, Bytes::len);
        // Before any output every event that has passed belongs to the preamble, or is an error.
        let events = watch.events();
        if events > self.events || watch.is_within_preamble() {
            self.preamble_bytes += bytes + size_of::<Frame<Bytes>>();
        } else {
            self.other_bytes += bytes;
        }
        self.events = events;
        self.frames.push_back(frame);
    }

    fn bytes(&self) -> usize {
        self.preamble_bytes + self.other_bytes
    }

    fn is_over(&self, policy: HoldPolicy) -> bool {
        self.other_bytes >= policy.hold_bytes || self.preamble_bytes > policy.preamble_bytes
    }
}

/// Until when the next frame is waited for; for ever, as long as nobody says.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Patience(Option<Instant>);

impl Patience {
    /// Ends after `time`, unless an end is set already.
    fn begin(&mut self, time: Duration) {
        self.0.get_or_insert_with(|| Instant::now() + time);
    }

    /// Ends after `time` at the latest.
    pub(super) fn shorten(&mut self, time: Duration) {
        let end = Instant::now() + time;
        self.0 = Some(self.0.map_or(end, |set| set.min(end)));
    }

    /// The next frame; `None` if it doesn't come in time.
    pub(super) async fn next_frame<B, O>(
        self,
        mut watch: Pin<&mut Watch<B, O>>,
    ) -> Option<Option<Result<Frame<Bytes>, BoxError>>>
    where
        B: Body<Data = Bytes, Error: Into<BoxError>>,
        O: RunObserver,
    {
        if let Some(end) = self.0 {
            // What is there already needs no timer.
            let ready = poll_fn(|cx| Poll::Ready(watch.as_mut().poll_frame(cx))).await;
            return match ready {
                Poll::Ready(next) => Some(next),
                Poll::Pending => {
                    timeout_at(end, poll_fn(|cx| watch.as_mut().poll_frame(cx))).await.ok()
                }
            };
        }
        Some(poll_fn(|cx| watch.as_mut().poll_frame(cx)).await)
    }
}
