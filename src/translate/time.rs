//! The upstream's times.
//!
//! A ChatKit server writes `datetime.now()`: the local time of its process, without a zone. An
//! integrator's own items may have one. What leaves the gateway is RFC 3339 in UTC.

use jiff::civil::DateTime;
use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp};

/// Reads a time of the upstream's, taking one without a zone as `offset` from UTC.
pub(super) fn parse(text: &str, offset: Offset) -> Option<Timestamp> {
    if let Ok(instant) = text.parse::<Timestamp>() {
        return Some(instant);
    }
    let local: DateTime = text.parse().ok()?;
    let utc = local.checked_sub(SignedDuration::from_secs(i64::from(offset.seconds()))).ok()?;
    Offset::UTC.to_timestamp(utc).ok()
}

/// The precision of the API's times, which is that of the upstream's.
pub(super) fn whole_microseconds(instant: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(instant.as_microsecond()).unwrap_or(instant)
}

/// A time of the upstream's in UTC; as it is, if it isn't one.
pub(super) fn normalize(text: &str, offset: Offset) -> String {
    parse(text, offset).map_or_else(|| text.to_owned(), |instant| instant.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn naive_times_are_read_in_the_configured_zone_and_others_in_their_own() {
        let tokyo = Offset::constant(9);
        for (text, offset, expected) in [
            ("2026-11-21T03:26:14.142749", Offset::UTC, "2026-11-21T03:26:14.142749Z"),
            ("2026-11-21T03:26:14", Offset::UTC, "2026-11-21T03:26:14Z"),
            ("2026-11-21T12:35:00", tokyo, "2026-11-21T03:35:00Z"),
            ("2026-11-21T12:35:00Z", tokyo, "2026-11-21T12:35:00Z"),
            ("2026-11-21T12:35:00.123Z", tokyo, "2026-11-21T12:35:00.123Z"),
            ("2026-11-21T12:35:00+02:00", tokyo, "2026-11-21T10:35:00Z"),
            ("yesterday", tokyo, "yesterday"),
        ] {
            assert_eq!(normalize(text, offset), expected, "{text}");
        }
    }
}
