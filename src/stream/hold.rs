//! The hold before the commit.

use std::collections::VecDeque;
use std::future::poll_fn;
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
    /// The most bytes that are held.
    pub hold_bytes: usize,
}

impl Default for HoldPolicy {
    /// 5 seconds, 64 KiB.
    fn default() -> Self {
        Self { hold_for: Duration::from_secs(5), hold_bytes: 65_536 }
    }
}

/// Holds a run until its first output, an error, its end, or the limits of `policy`.
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
    let mut held: VecDeque<Frame<Bytes>> = VecDeque::new();
    let mut held_bytes = 0_usize;
    let mut deadline: Option<Instant> = None;
    let cause = loop {
        let next = poll_fn(|cx| watch.as_mut().poll_frame(cx));
        let frame = match deadline {
            None => next.await,
            Some(deadline) => match timeout_at(deadline, next).await {
                Ok(frame) => frame,
                Err(_) => return Ok(RunBody::new(held, watch)),
            },
        };
        match frame {
            Some(Ok(frame)) => {
                held_bytes += frame.data_ref().map_or(0, Bytes::len);
                held.push_back(frame);
                let progress = watch.as_mut().progress();
                if progress.refused
                    && let Some(error) = progress.error.clone()
                {
                    break RunFailureCause::ErrorEvent(error);
                }
                let commit = progress.output
                    || held_bytes >= policy.hold_bytes
                    || (policy.hold_for.is_zero() && progress.prepared);
                if commit {
                    return Ok(RunBody::new(held, watch));
                }
                if deadline.is_none() && held_bytes > 0 && !policy.hold_for.is_zero() {
                    deadline = Some(Instant::now() + policy.hold_for);
                }
            }
            Some(Err(error)) => break RunFailureCause::Broken(error),
            None if silence == Silence::Passes && watch.as_mut().progress().prepared => {
                return Ok(RunBody::new(held, watch));
            }
            None => break RunFailureCause::Ended,
        }
    };
    let progress = watch.as_mut().progress();
    Err(RunFailure {
        cause,
        preamble: std::mem::take(&mut progress.preamble),
        events: progress.events,
    })
}
