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
///
/// ```
/// use std::time::Duration;
///
/// use chatkit_rest::stream::HoldPolicy;
///
/// let policy = HoldPolicy::default().with_hold_for(Duration::from_secs(1)).with_hold_bytes(4096);
/// assert_eq!((policy.hold_for.as_secs(), policy.hold_bytes), (1, 4096));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HoldPolicy {
    /// The longest hold, counted from the first byte. Zero commits with the preamble. Until
    /// the first byte nothing is committed; the upstream's own time-outs end that wait.
    pub hold_for: Duration,
    /// The most bytes that are held beside the preamble and `error` events: comments, events whose
    /// end hasn't come, and output that comes before its new thread is named.
    pub hold_bytes: usize,
    /// The most bytes of the preamble, and of `error` events, that are held. The user's message
    /// comes back in it, so it is about as long as what was sent, in whatever escaping.
    pub preamble_bytes: usize,
}

impl HoldPolicy {
    /// Sets the longest hold.
    #[must_use]
    pub fn with_hold_for(self, hold_for: Duration) -> Self {
        Self { hold_for, ..self }
    }

    /// Sets the most bytes that are held beside the preamble.
    #[must_use]
    pub fn with_hold_bytes(self, hold_bytes: usize) -> Self {
        Self { hold_bytes, ..self }
    }

    /// Sets the most bytes of the preamble.
    #[must_use]
    pub fn with_preamble_bytes(self, preamble_bytes: usize) -> Self {
        Self { preamble_bytes, ..self }
    }

    /// Tells how much longer than what was sent its echo can be: each byte as `\u003c`, and as much
    /// again as `hold_bytes` allows for what the upstream adds.
    pub(crate) fn echo_of(sent_bytes: usize, hold_bytes: usize) -> usize {
        sent_bytes.saturating_mul(6).saturating_add(hold_bytes)
    }
}

impl Default for HoldPolicy {
    /// Allows 5 seconds, 64 KiB, and what a message of 1 MiB can come back as.
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
/// a second, and within the hold: then the client gets both. A run that makes its thread, and has
/// output before that is named, is held until it is.
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
    hold_run(Box::pin(watch), policy, Silence::Fails, &mut |_| true).await
}

/// What a run is that ends well, and without a word, after the upstream has prepared it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Silence {
    /// A failure: somebody who says something is owed an answer.
    Fails,
    /// A run like others: an action may have nothing to say.
    Passes,
}

/// Does as [`hold`] does, where a run may be silent. `room` says whether there is room for so many
/// bytes, all in all; where there is none, no more is held.
pub(crate) async fn hold_run<B, O>(
    mut watch: Pin<Box<Watch<B, O>>>,
    policy: HoldPolicy,
    silence: Silence,
    room: &mut (dyn FnMut(usize) -> bool + Send),
) -> Result<RunBody<B, O>, RunFailure>
where
    B: Body<Data = Bytes, Error: Into<BoxError>>,
    O: RunObserver,
{
    let mut held = HeldFrames::default();
    let mut deadline = HoldDeadline::default();
    let end = loop {
        let Some(next) = deadline.next_frame(watch.as_mut()).await else {
            let progress = watch.as_mut().progress();
            if progress.refused && !progress.output {
                break None;
            }
            return Ok(RunBody::new(held.frames, watch));
        };
        match next {
            Some(Ok(frame)) => {
                held.push(frame, &watch);
                // Somebody whose thread isn't named has nothing to come back to.
                let may_wait = watch.awaits_thread() && !policy.hold_for.is_zero();
                let progress = watch.as_mut().progress();
                let is_over = held.is_over(policy) || !room(held.memory());
                if progress.refused && !progress.output && is_over {
                    break None;
                }
                let commit = (progress.output && !may_wait)
                    || is_over
                    || (policy.hold_for.is_zero() && progress.prepared && !progress.refused);
                if commit {
                    return Ok(RunBody::new(held.frames, watch));
                }
                if progress.refused && !progress.output {
                    deadline.shorten(AFTER_ERROR.min(policy.hold_for));
                } else if held.bytes() > 0 && !policy.hold_for.is_zero() {
                    deadline.begin(policy.hold_for);
                }
            }
            Some(Err(error)) => break Some(RunFailureCause::Broken(error)),
            None => {
                let progress = watch.as_mut().progress();
                let may_be_silent =
                    silence == Silence::Passes && progress.prepared && !progress.refused;
                if progress.output || may_be_silent {
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

/// What frames may cost beside their bytes, however few of those may be held.
const CRUMBS_BYTES: usize = 65_536;

/// What is held.
#[derive(Default)]
struct HeldFrames {
    frames: VecDeque<Frame<Bytes>>,
    /// Of the preamble, and of `error` events. A frame counts as what it costs to keep, so that
    /// crumbs are bounded too.
    preamble_bytes: usize,
    other_bytes: usize,
    /// What the frames of those cost.
    other_frames: usize,
    /// The events that have passed.
    events: u64,
}

impl HeldFrames {
    /// Keeps a frame that came out of `watch` just now.
    fn push<B, O: RunObserver>(&mut self, frame: Frame<Bytes>, watch: &Watch<B, O>) {
        let bytes = frame.data_ref().map_or(0, Bytes::len);
        // Before any output every event that has passed belongs to the preamble, or is an error.
        let events = watch.events();
        if !watch.has_output() && (events > self.events || watch.is_within_preamble()) {
            self.preamble_bytes += bytes + size_of::<Frame<Bytes>>();
        } else {
            self.other_bytes += bytes;
            self.other_frames += size_of::<Frame<Bytes>>();
        }
        self.events = events;
        self.frames.push_back(frame);
    }

    fn bytes(&self) -> usize {
        self.preamble_bytes + self.other_bytes
    }

    /// Gives the same, and what the frames cost.
    fn memory(&self) -> usize {
        self.bytes() + self.other_frames
    }

    fn is_over(&self, policy: HoldPolicy) -> bool {
        self.other_bytes >= policy.hold_bytes
            || self.other_frames > policy.hold_bytes.max(CRUMBS_BYTES)
            || self.preamble_bytes > policy.preamble_bytes
    }
}

/// Until when the next frame is waited for; for ever, as long as nobody says.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct HoldDeadline(Option<Instant>);

impl HoldDeadline {
    /// Ends after `time`, unless an end is set already.
    fn begin(&mut self, time: Duration) {
        self.0.get_or_insert_with(|| Instant::now() + time);
    }

    /// Ends after `time` at the latest.
    pub(super) fn shorten(&mut self, time: Duration) {
        let end = Instant::now() + time;
        self.0 = Some(self.0.map_or(end, |set| set.min(end)));
    }

    /// Gives the next frame; `None` if it doesn't come in time.
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

#[cfg(all(test, feature = "operation"))]
mod tests {
    use std::task::Context;

    use super::super::watch::NoObserver;
    use super::*;

    const ANSWER: &str = r#"{"type":"thread.item.done","item":{"type":"assistant_message"}}"#;
    const CREATED: &str = r#"{"type":"thread.created","thread":{"id":"t"}}"#;
    const DELTA: &str = r#"{"type":"thread.item.updated"}"#;

    /// One event in each frame; then it stalls, or ends.
    struct Events(VecDeque<Bytes>, bool);

    impl Body for Events {
        type Data = Bytes;
        type Error = BoxError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
            match self.0.pop_front() {
                Some(event) => Poll::Ready(Some(Ok(Frame::data(event)))),
                None if self.1 => Poll::Pending,
                None => Poll::Ready(None),
            }
        }
    }

    /// Tells whether what is committed has no thread.
    async fn is_threadless(events: &[&str], stalls: bool, policy: HoldPolicy) -> Option<bool> {
        let events = events.iter().map(|event| Bytes::from(format!("data: {event}\n\n"))).collect();
        let watch = Watch::new(Events(events, stalls), NoObserver).making_thread();
        hold(watch, policy).await.ok().map(|body| body.is_threadless())
    }

    #[tokio::test(start_paused = true)]
    async fn output_before_its_thread_is_held_until_that_is_named() {
        let policy = HoldPolicy::default();
        for events in
            [&[ANSWER, CREATED][..], &[CREATED, ANSWER], &[DELTA, DELTA, ANSWER, CREATED, DELTA]]
        {
            let begun = Instant::now();
            assert_eq!(is_threadless(events, true, policy).await, Some(false), "{events:?}");
            assert_eq!(begun.elapsed(), Duration::ZERO);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn crumbs_are_held_for_what_they_cost() {
        let committed_at = async |crumbs: usize| {
            let frames = (0..crumbs).map(|_| Bytes::from_static(b":")).collect();
            let begun = Instant::now();
            let watch = Watch::new(Events(frames, true), NoObserver);
            assert!(hold(watch, HoldPolicy::default()).await.is_ok());
            begun.elapsed()
        };
        let enough = CRUMBS_BYTES / size_of::<Frame<Bytes>>();
        assert_eq!(committed_at(enough).await, HoldPolicy::default().hold_for);
        assert_eq!(committed_at(enough + 1).await, Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_thread_that_is_never_named_is_waited_for_within_the_hold() {
        let policy = HoldPolicy::default();
        let begun = Instant::now();
        assert_eq!(is_threadless(&[ANSWER], true, policy).await, Some(true));
        assert_eq!(begun.elapsed(), policy.hold_for);
        assert_eq!(is_threadless(&[ANSWER, DELTA], false, policy).await, Some(true));

        let begun = Instant::now();
        let brief = HoldPolicy { hold_for: Duration::ZERO, ..policy };
        assert_eq!(is_threadless(&[ANSWER], true, brief).await, Some(true));
        let small = HoldPolicy { hold_bytes: 2 * DELTA.len() + ANSWER.len(), ..policy };
        assert_eq!(is_threadless(&[ANSWER, DELTA, DELTA, CREATED], true, small).await, Some(true));
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }
}
