//! Asking again before anybody has seen anything of the answer.

use std::time::{Duration, SystemTime};

use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderValue};
use tokio::time::Instant;
use uuid::Uuid;

use super::trouble::Trouble;

/// How often a question is asked again.
const MAX_RETRIES: u32 = 2;

/// The longest pause before the first time; each other may be twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// What an API says of asking it again, beside its status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Advice {
    /// Whether to (`x-should-retry`).
    pub(super) again: Option<bool>,
    /// Not before so long (`retry-after-ms`, `retry-after`).
    pub(super) after: Option<Duration>,
}

impl Advice {
    /// Reads an answer's headers. What can't be understood is not said.
    pub(super) fn of(headers: &HeaderMap, now: SystemTime) -> Self {
        let text = |name| headers.get(name).map(HeaderValue::to_str)?.ok().map(str::trim);
        let again = match text("x-should-retry") {
            Some("true") => Some(true),
            Some("false") => Some(false),
            _ => None,
        };
        let millis = text("retry-after-ms").and_then(|text| seconds(text, 0.001));
        let after = || {
            let text = text(RETRY_AFTER.as_str())?;
            seconds(text, 1.0).or_else(|| {
                let time = httpdate::parse_http_date(text).ok()?;
                Some(time.duration_since(now).unwrap_or_default())
            })
        };
        Self { again, after: millis.or_else(after) }
    }
}

/// Gives a number of units, each of so many seconds; APIs have fractions, too.
fn seconds(text: &str, unit: f64) -> Option<Duration> {
    let number: f64 = text.parse().ok()?;
    Duration::try_from_secs_f64(number * unit).ok()
}

/// How often and until when one question is asked again.
#[derive(Debug)]
pub(super) struct Retries {
    left: u32,
    /// Whether it was asked once only.
    is_first: bool,
    pause: Duration,
    /// The answer must have begun by then.
    until: Instant,
}

impl Retries {
    pub(super) fn new(until: Instant) -> Self {
        Self { left: MAX_RETRIES, is_first: true, pause: FIRST_PAUSE, until }
    }

    /// Tells when the answer must have begun, unless it is the first that was asked for: that one
    /// has the whole time from its own request on.
    pub(super) fn deadline(&self) -> Option<Instant> {
        (!self.is_first).then_some(self.until)
    }

    /// Tells how long to wait before the question is asked again; `None` if it isn't.
    pub(super) fn next(&mut self, trouble: &Trouble) -> Option<Duration> {
        let advice = trouble.advice()?;
        self.left = self.left.checked_sub(1)?;
        let pause = pause(self.pause, advice.after, draw());
        self.pause = self.pause.saturating_mul(2);
        (pause < self.remaining()).then(|| {
            self.is_first = false;
            pause
        })
    }

    /// Tells whether there is time for another question, which is not one of those that are asked
    /// again.
    pub(super) fn allow_another(&mut self) -> bool {
        self.is_first = false;
        !self.remaining().is_zero()
    }

    fn remaining(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }
}

/// Draws anything up to `longest`, as `drawn` of 0 to 1 has it; what was asked for is kept, and a
/// tenth more at most.
fn pause(longest: Duration, asked_for: Option<Duration>, drawn: f64) -> Duration {
    match asked_for {
        None => longest.mul_f64(drawn),
        Some(least) => least.saturating_add((least / 10).mul_f64(drawn)),
    }
}

/// Gives a number of 0 to 1.
fn draw() -> f64 {
    // The upper half of a version 4 UUID begins with 32 random bits.
    let (bits, ..) = Uuid::new_v4().as_fields();
    f64::from(bits) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::super::report::ApiReport;
    use super::*;
    use crate::forward::{ForwardError, ForwardErrorKind};

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        fields.iter().map(|(n, v)| (n.parse().unwrap(), HeaderValue::from_static(v))).collect()
    }

    #[test]
    fn what_an_api_asks_for_is_heard() {
        let now = httpdate::parse_http_date("Mon, 02 Nov 2026 10:00:00 GMT").unwrap();
        let after = |fields: &[_]| Advice::of(&headers(fields), now).after.map(|it| it.as_millis());
        for (value, millis) in [
            ("3", Some(3000)),
            (" 0 ", Some(0)),
            ("1.5", Some(1500)),
            ("Mon, 02 Nov 2026 10:00:07 GMT", Some(7000)),
            ("Mon, 02 Nov 2026 09:00:00 GMT", Some(0)),
            ("-1", None),
            ("inf", None),
            ("NaN", None),
            ("1e300", None),
            ("soon", None),
        ] {
            assert_eq!(after(&[("retry-after", value)]), millis, "{value}");
        }
        assert_eq!(after(&[("retry-after", "9"), ("retry-after-ms", "20")]), Some(20));
        assert_eq!(after(&[("retry-after", "9"), ("retry-after-ms", "x")]), Some(9000));
        for (value, again) in [("true", Some(true)), ("false", Some(false)), ("maybe", None)] {
            assert_eq!(Advice::of(&headers(&[("x-should-retry", value)]), now).again, again);
        }
    }

    #[test]
    fn a_pause_is_drawn_and_never_shorter_than_what_was_asked_for() {
        let second = Duration::from_secs(1);
        assert_eq!(pause(second, None, 0.0), Duration::ZERO);
        assert_eq!(pause(second, None, 1.0), second);
        assert_eq!(pause(second, Some(20 * second), 0.0), 20 * second);
        assert_eq!(pause(second, Some(20 * second), 1.0), 22 * second);
        assert_eq!(pause(second, Some(Duration::MAX), 1.0), Duration::MAX);
        assert!((0..100).all(|_| (0.0..=1.0).contains(&draw())));
    }

    fn status(code: u16, advice: Advice) -> Trouble {
        let report = ApiReport::of(Some(code), &serde_json::Value::Null);
        Trouble::Status(StatusCode::from_u16(code).unwrap(), report, advice)
    }

    #[tokio::test(start_paused = true)]
    async fn a_question_is_asked_three_times_at_most_and_in_time() {
        let until = Instant::now() + Duration::from_secs(30);
        let mut retries = Retries::new(until);
        let trouble = status(503, Advice::default());
        assert_eq!(retries.deadline(), None);
        assert!(retries.next(&trouble).is_some_and(|pause| pause <= FIRST_PAUSE));
        assert_eq!(retries.deadline(), Some(until));
        assert!(retries.next(&trouble).is_some_and(|pause| pause <= 2 * FIRST_PAUSE));
        assert_eq!(retries.next(&trouble), None);

        let after = |seconds| Advice { after: Some(Duration::from_secs(seconds)), again: None };
        assert!(Retries::new(until).next(&status(429, after(20))).is_some());
        assert_eq!(Retries::new(until).next(&status(429, after(30))), None);
        tokio::time::advance(Duration::from_secs(31)).await;
        assert_eq!(Retries::new(until).next(&status(429, after(0))), None);
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_may_help_is_tried() {
        let next = |trouble: Trouble| {
            Retries::new(Instant::now() + Duration::from_secs(30)).next(&trouble).is_some()
        };
        let said = |again| Advice { again: Some(again), after: None };
        let exchange = |kind| Trouble::Exchange(ForwardError::new(kind));
        let reported = |may_pass| Trouble::Reported(ApiReport { may_pass, ..ApiReport::default() });
        for trouble in [
            status(429, Advice::default()),
            status(409, Advice::default()),
            status(400, said(true)),
            exchange(ForwardErrorKind::Connect),
            exchange(ForwardErrorKind::Head),
            reported(Some(true)),
        ] {
            let shown = format!("{trouble:?}");
            assert!(next(trouble), "{shown}");
        }
        for trouble in [
            status(400, Advice::default()),
            status(503, said(false)),
            exchange(ForwardErrorKind::BodyCut),
            exchange(ForwardErrorKind::ConnectTimeout),
            exchange(ForwardErrorKind::FirstByteTimeout),
            reported(Some(false)),
            reported(None),
            Trouble::Empty,
            Trouble::Filtered,
            Trouble::Unreadable,
        ] {
            let shown = format!("{trouble:?}");
            assert!(!next(trouble), "{shown}");
        }
    }
}
