//! Times.

use jiff::Timestamp;
use serde::{Serialize, Serializer};

/// A point in time, in microseconds since 1970.
///
/// Written as Python's `datetime.now().isoformat()` writes it on a server whose clock is set to
/// UTC: no zone, six digits, none when the microseconds are 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NaiveTimestamp(i64);

impl NaiveTimestamp {
    pub(super) fn now() -> Self {
        Self(Timestamp::now().as_microsecond())
    }

    pub(super) fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    pub(super) fn micros(self) -> i64 {
        self.0
    }
}

impl Serialize for NaiveTimestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let time = Timestamp::from_microsecond(self.0).unwrap_or_default();
        let format =
            if self.0 % 1_000_000 == 0 { "%Y-%m-%dT%H:%M:%S" } else { "%Y-%m-%dT%H:%M:%S.%6f" };
        serializer.collect_str(&time.strftime(format))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_has_six_digits_or_none() {
        let written = |micros| serde_json::to_string(&NaiveTimestamp::from_micros(micros)).unwrap();
        assert_eq!(written(1_763_696_592_000_000), "\"2025-11-21T03:43:12\"");
        assert_eq!(written(1_763_696_592_000_010), "\"2025-11-21T03:43:12.000010\"");
        assert_eq!(written(0), "\"1970-01-01T00:00:00\"");
    }
}
