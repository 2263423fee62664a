//! The upstream's times.
//!
//! A ChatKit server writes `datetime.now()`: the local time of its process, without a zone. An
//! integrator's own items may have one, and servers that are not the Python SDK write what the
//! SDK's own types read: ISO 8601 with some liberties, or the time since 1970 in seconds or
//! milliseconds. What leaves the gateway is RFC 3339 in UTC.

use std::borrow::Cow;

use jiff::civil::DateTime;
use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp};

/// The most seconds since 1970 that a number means; more are milliseconds.
const MAX_SECONDS: f64 = 2e10;

/// How many digits of a second's fraction are read.
const FRACTION_DIGITS: usize = 6;

/// Reads a time of the upstream's, taking one without a zone as `offset` from UTC; `None` if it isn't
/// a time. A number is given by its digits.
pub fn parse(text: &str, offset: Offset) -> Option<Timestamp> {
    if text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte))
        && let Ok(number) = text.parse::<f64>()
    {
        return since_1970(number);
    }
    let text = plain(text);
    let instant = if let Ok(instant) = text.parse::<Timestamp>() {
        instant
    } else {
        let local: DateTime = text.parse().ok()?;
        let utc = local.checked_sub(SignedDuration::from_secs(i64::from(offset.seconds()))).ok()?;
        Offset::UTC.to_timestamp(utc).ok()?
    };
    Some(whole_microseconds(instant))
}

fn since_1970(number: f64) -> Option<Timestamp> {
    let microseconds = if number.abs() > MAX_SECONDS { number * 1e3 } else { number * 1e6 }.round();
    // The range of times is far within that of whole numbers that a float holds.
    #[expect(clippy::cast_possible_truncation, reason = "it saturates, which is out of range too")]
    let microseconds = microseconds as i64;
    Timestamp::from_microsecond(microseconds).ok()
}

/// Gives the same time without what pydantic reads and ISO 8601 doesn't know: `_` between date and
/// time, a minus sign in place of a hyphen, and more digits of a second than count.
fn plain(text: &str) -> Cow<'_, str> {
    let mut plain = Cow::Borrowed(text);
    if text.as_bytes().get(10) == Some(&b'_') {
        plain.to_mut().replace_range(10..11, "T");
    }
    if plain.contains('\u{2212}') {
        plain = Cow::Owned(plain.replace('\u{2212}', "-"));
    }
    if let Some(point) = plain.find(['.', ',']) {
        let digits = plain.bytes().skip(point + 1).take_while(u8::is_ascii_digit).count();
        if digits > FRACTION_DIGITS {
            let excess = point + 1 + FRACTION_DIGITS..point + 1 + digits;
            plain.to_mut().replace_range(excess, "");
        }
    }
    plain
}

/// Cuts an instant to the precision of the API's times, which is that of the upstream's.
pub(crate) fn whole_microseconds(instant: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(instant.as_microsecond()).unwrap_or(instant)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str, offset: Offset) -> Option<String> {
        parse(text, offset).map(|instant| instant.to_string())
    }

    #[test]
    fn naive_times_are_read_in_the_configured_zone_and_others_in_their_own() {
        let tokyo = Offset::constant(9);
        for (text, offset, expected) in [
            ("2026-11-21T03:26:14.142749", Offset::UTC, "2026-11-21T03:26:14.142749Z"),
            ("2026-11-21T03:26:14", Offset::UTC, "2026-11-21T03:26:14Z"),
            ("2026-11-21T12:35:00", tokyo, "2026-11-21T03:35:00Z"),
            ("2026-11-21", tokyo, "2026-11-20T15:00:00Z"),
            ("2026-11-21T12:35:00Z", tokyo, "2026-11-21T12:35:00Z"),
            ("2026-11-21T12:35:00.123Z", tokyo, "2026-11-21T12:35:00.123Z"),
            ("2026-11-21T12:35:00+02:00", tokyo, "2026-11-21T10:35:00Z"),
            ("1795232100", tokyo, "2026-11-21T03:35:00Z"),
        ] {
            assert_eq!(read(text, offset).as_deref(), Some(expected), "{text}");
        }
    }

    // What `TypeAdapter(datetime)` of pydantic 2.14.3 makes of JSON texts and numbers, with naive
    // times taken as UTC.
    #[test]
    fn times_are_read_as_the_sdks_types_read_them() {
        for (text, expected) in [
            ("2026-11-21T03:26", "2026-11-21T03:26:00Z"),
            ("2026-11-21 03:26:14", "2026-11-21T03:26:14Z"),
            ("2026-11-21_03:26:14", "2026-11-21T03:26:14Z"),
            ("2026-11-21t03:26:14z", "2026-11-21T03:26:14Z"),
            ("2026-11-21T03:26:14+0200", "2026-11-21T01:26:14Z"),
            ("2026-11-21T03:26:14-05:30", "2026-11-21T08:56:14Z"),
            ("2026-11-21T03:26:14+00:00", "2026-11-21T03:26:14Z"),
            ("2026-11-21T03:26:14-00:00", "2026-11-21T03:26:14Z"),
            ("2026-11-21T03:26:14\u{2212}02:00", "2026-11-21T05:26:14Z"),
            ("2026-11-21T03:26Z", "2026-11-21T03:26:00Z"),
            ("2026-11-21T03:26+02:00", "2026-11-21T01:26:00Z"),
            ("2026-11-21", "2026-11-21T00:00:00Z"),
            ("2026-11-21T03:26:14.1", "2026-11-21T03:26:14.1Z"),
            ("2026-11-21T03:26:14,142Z", "2026-11-21T03:26:14.142Z"),
            ("2026-11-21T03:26:14.1234569Z", "2026-11-21T03:26:14.123456Z"),
            ("2026-11-21T03:26:14.123456789Z", "2026-11-21T03:26:14.123456Z"),
            ("2026-11-21T03:26:14.123456789", "2026-11-21T03:26:14.123456Z"),
            ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
            // Seconds, and milliseconds from some number on.
            ("1795232100", "2026-11-21T03:35:00Z"),
            ("+1795232100", "2026-11-21T03:35:00Z"),
            ("1795232100.5", "2026-11-21T03:35:00.5Z"),
            ("1795232100.", "2026-11-21T03:35:00Z"),
            ("1795232100.000001", "2026-11-21T03:35:00.000001Z"),
            ("1795232100.1234567", "2026-11-21T03:35:00.123457Z"),
            ("1795232100.9999999", "2026-11-21T03:35:01Z"),
            ("1.7952321e9", "2026-11-21T03:35:00Z"),
            ("1795232100123", "2026-11-21T03:35:00.123Z"),
            ("1795232100123.75", "2026-11-21T03:35:00.12375Z"),
            ("-1795232100.25", "1913-02-10T20:24:59.75Z"),
            ("0", "1970-01-01T00:00:00Z"),
            (".5", "1970-01-01T00:00:00.5Z"),
            ("-1", "1969-12-31T23:59:59Z"),
            ("20261121", "1970-08-23T12:05:21Z"),
            ("20000000000", "2603-10-11T11:33:20Z"),
            ("20000000001", "1970-08-20T11:33:20.001Z"),
            ("-20000000001", "1969-05-14T12:26:39.999Z"),
            ("253402300799", "1978-01-11T21:31:40.799Z"),
            ("-62135596800000", "0001-01-01T00:00:00Z"),
        ] {
            assert_eq!(read(text, Offset::UTC).as_deref(), Some(expected), "{text}");
        }
        for none in [
            "",
            "yesterday",
            "2026-W47-6",
            "Sat, 21 Nov 2026 03:26:14 GMT",
            "2026-11-21 03:26:14 UTC",
            "2026-11-21T03:26:14GMT",
            "1795232100123456",
            "1795232100123456789",
            "253402300800000",
            "1e300",
            "inf",
            "nan",
            "-",
            "1_795_232_100",
        ] {
            assert_eq!(read(none, Offset::UTC), None, "{none}");
        }
    }

    proptest! {
        #[test]
        fn nothing_is_too_odd_to_be_looked_at(text in "\\PC{0,40}", number in any::<f64>()) {
            let _ = parse(&text, Offset::constant(-9));
            let _ = parse(&number.to_string(), Offset::UTC);
        }

        #[test]
        fn a_moment_survives_being_written(micros in -2_000_000_000_000_000_i64..4_000_000_000_000_000) {
            let moment = Timestamp::from_microsecond(micros).unwrap();
            prop_assert_eq!(parse(&moment.to_string(), Offset::constant(3)), Some(moment));
            let seconds = format!("{}.{:06}", micros / 1_000_000, (micros % 1_000_000).abs());
            if micros >= 0 {
                prop_assert_eq!(parse(&seconds, Offset::constant(3)), Some(moment));
            }
        }
    }
}
