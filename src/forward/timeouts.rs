use std::future::Future;
use std::pin::{Pin, pin};
use std::task::Context;
use std::time::Duration;

use tokio::task::unconstrained;
use tokio::time::{Instant, Sleep, sleep_until};

use super::ForwardErrorKind;

/// How long each part of an exchange may take.
#[derive(Clone, Debug)]
pub(super) struct Timeouts {
    pub(super) connect: Duration,
    pub(super) first_byte: Duration,
    pub(super) idle: Duration,
    pub(super) json: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(2),
            first_byte: Duration::from_secs(30),
            idle: Duration::from_secs(120),
            json: Duration::from_secs(30),
        }
    }
}

/// Watches one exchange's deadline, from the request being sent to the answer's end.
///
/// A frame costs it one flag. The clock is read, and a new deadline noted, only when there is
/// nothing more to hand over.
#[derive(Debug)]
pub(super) struct DeadlineWatch {
    deadline: Instant,
    expiry: ForwardErrorKind,
    /// When an answer must be complete, if it isn't a stream.
    whole: Instant,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// No frame has come since the deadline was noted.
    Waiting,
    /// An answer with a total timeout: its deadline no longer moves.
    Whole,
    /// A stream; its deadline stands until a frame comes.
    Stream,
    /// A stream that has moved: its idle time begins when it is next found silent.
    Moved,
}

impl DeadlineWatch {
    /// Begins now. With `json` the total timeout counts already, else only from a head that
    /// isn't a stream's.
    pub(super) fn new(timeouts: &Timeouts, json: bool) -> Self {
        let now = Instant::now();
        let mut watch = Self {
            deadline: after(now, timeouts.first_byte),
            expiry: ForwardErrorKind::FirstByteTimeout,
            whole: after(now, timeouts.json),
            phase: Phase::Waiting,
        };
        if json {
            watch.hasten();
        }
        watch
    }

    /// Notes that the head has come.
    pub(super) fn head(&mut self, is_stream: bool) {
        if is_stream {
            self.phase = Phase::Stream;
        } else {
            self.hasten();
        }
    }

    /// Notes that a piece of the body has come.
    pub(super) fn frame(&mut self) {
        match self.phase {
            Phase::Stream => self.phase = Phase::Moved,
            Phase::Waiting => {
                self.phase = Phase::Whole;
                self.deadline = self.whole;
                self.expiry = ForwardErrorKind::JsonTimeout;
            }
            Phase::Moved | Phase::Whole => {}
        }
    }

    /// Tells whether the answer is a stream.
    pub(super) fn is_stream(&self) -> bool {
        matches!(self.phase, Phase::Stream | Phase::Moved)
    }

    /// Notes that nothing is there to hand over: tells what has expired, or sees to it that `cx` is
    /// woken when something will.
    pub(super) fn poll_silence(
        &mut self,
        timeouts: &Timeouts,
        alarm: &mut Alarm,
        cx: &mut Context<'_>,
    ) -> Option<ForwardErrorKind> {
        if self.phase == Phase::Moved {
            self.phase = Phase::Stream;
            self.deadline = after(Instant::now(), timeouts.idle);
            self.expiry = ForwardErrorKind::IdleTimeout;
        }
        alarm.is_past(self.deadline, cx).then_some(self.expiry)
    }

    fn hasten(&mut self) {
        if self.whole < self.deadline {
            self.deadline = self.whole;
            self.expiry = ForwardErrorKind::JsonTimeout;
        }
    }
}

/// A timer that outlives its deadlines.
///
/// A deadline that is later than the one it is set to leaves it alone: it goes off early, sees
/// that nothing is due and is set again. So a stream of ten thousand events sets it about once
/// per idle timeout, and a connection used again and again once per first-byte timeout.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Alarm {
    /// Tells whether `deadline` has passed. If not, `cx` is woken then or before.
    ///
    /// Only the waker of the call that sets the timer is kept, so every call of one alarm must
    /// bring the same one.
    fn is_past(&mut self, deadline: Instant, cx: &mut Context<'_>) -> bool {
        if let Some(sleep) = &self.sleep
            && !sleep.is_elapsed()
            && sleep.deadline() <= deadline
        {
            return false;
        }
        if deadline <= Instant::now() {
            return true;
        }
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        sleep.as_mut().reset(deadline);
        // Out of budget, it would return without having kept the waker, and never be asked again.
        pin!(unconstrained(sleep.as_mut())).poll(cx).is_ready()
    }
}

/// Gives `now + duration`, at most some thirty years ahead.
pub(crate) fn after(now: Instant, duration: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);
    now + duration.min(FAR)
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use tokio::time::advance;

    use super::*;
    use ForwardErrorKind as K;

    fn seconds(first_byte: u64, idle: u64, json: u64) -> Timeouts {
        Timeouts {
            connect: Duration::MAX,
            first_byte: Duration::from_secs(first_byte),
            idle: Duration::from_secs(idle),
            json: Duration::from_secs(json),
        }
    }

    async fn expiry(watch: &mut DeadlineWatch, timeouts: &Timeouts) -> (K, u64) {
        let (begin, mut alarm) = (Instant::now(), Alarm::default());
        let kind = std::future::poll_fn(|cx| match watch.poll_silence(timeouts, &mut alarm, cx) {
            Some(kind) => std::task::Poll::Ready(kind),
            None => std::task::Poll::Pending,
        })
        .await;
        (kind, begin.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_upstream_expires_by_its_phase() {
        let timeouts = seconds(30, 120, 60);
        let mut watch = DeadlineWatch::new(&timeouts, false);
        assert_eq!(expiry(&mut watch, &timeouts).await, (K::FirstByteTimeout, 30));

        let mut watch = DeadlineWatch::new(&timeouts, false);
        watch.head(true);
        assert_eq!(expiry(&mut watch, &timeouts).await, (K::FirstByteTimeout, 30));

        let mut watch = DeadlineWatch::new(&timeouts, false);
        watch.head(true);
        watch.frame();
        assert_eq!(expiry(&mut watch, &timeouts).await, (K::IdleTimeout, 120));

        let mut watch = DeadlineWatch::new(&timeouts, false);
        watch.head(false);
        watch.frame();
        watch.frame();
        assert_eq!(expiry(&mut watch, &timeouts).await, (K::JsonTimeout, 60));
    }

    #[tokio::test(start_paused = true)]
    async fn the_total_timeout_counts_before_the_head_only_when_json_was_asked_for() {
        let timeouts = seconds(30, 120, 10);
        let mut watch = DeadlineWatch::new(&timeouts, true);
        assert_eq!(expiry(&mut watch, &timeouts).await, (K::JsonTimeout, 10));
        let mut watch = DeadlineWatch::new(&timeouts, false);
        assert_eq!(expiry(&mut watch, &timeouts).await, (K::FirstByteTimeout, 30));
        let mut watch = DeadlineWatch::new(&timeouts, false);
        watch.head(false);
        assert_eq!(expiry(&mut watch, &timeouts).await, (K::JsonTimeout, 10));
    }

    #[tokio::test(start_paused = true)]
    async fn each_frame_puts_off_the_idle_deadline_without_touching_the_timer() {
        let timeouts = seconds(30, 10, 60);
        let mut cx = Context::from_waker(Waker::noop());
        let (mut watch, mut alarm) = (DeadlineWatch::new(&timeouts, false), Alarm::default());
        watch.head(true);
        watch.frame();
        assert_eq!(watch.poll_silence(&timeouts, &mut alarm, &mut cx), None);
        let set_to = alarm.sleep.as_ref().unwrap().deadline();
        for _ in 0..9 {
            advance(Duration::from_secs(1)).await;
            watch.frame();
            assert_eq!(watch.poll_silence(&timeouts, &mut alarm, &mut cx), None);
            assert_eq!(alarm.sleep.as_ref().unwrap().deadline(), set_to);
        }
        // It goes off early, once, and is set to what is due now.
        advance(Duration::from_secs(1)).await;
        assert_eq!(watch.poll_silence(&timeouts, &mut alarm, &mut cx), None);
        assert_eq!(alarm.sleep.as_ref().unwrap().deadline(), set_to + Duration::from_secs(9));
        advance(Duration::from_secs(9)).await;
        assert_eq!(
            watch.poll_silence(&timeouts, &mut alarm, &mut cx),
            Some(ForwardErrorKind::IdleTimeout)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn an_alarm_set_too_late_is_set_earlier() {
        let mut alarm = Alarm::default();
        let mut cx = Context::from_waker(Waker::noop());
        let now = Instant::now();
        assert!(!alarm.is_past(after(now, Duration::MAX), &mut cx));
        let soon = now + Duration::from_secs(1);
        assert!(!alarm.is_past(soon, &mut cx));
        assert_eq!(alarm.sleep.as_ref().unwrap().deadline(), soon);
    }
}
