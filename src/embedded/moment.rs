//! Times and ids.

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use uuid::Uuid;

/// A point in time, in microseconds since 1970.
///
/// Written as Python's `datetime.now().isoformat()` writes it on a server whose clock is set to
/// UTC: no zone, six digits, none when the microseconds are 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment(i64);

impl Moment {
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

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let time = Timestamp::from_microsecond(self.0).unwrap_or_default();
        let format =
            if self.0 % 1_000_000 == 0 { "%Y-%m-%dT%H:%M:%S" } else { "%Y-%m-%dT%H:%M:%S.%6f" };
        serializer.collect_str(&time.strftime(format))
    }
}

/// A new id: the prefix, and 64 random bits as 16 hexadecimal digits (the SDK has 8, of which
/// two are the same before long).
pub(super) fn new_id(prefix: &str) -> String {
    let (high, low) = Uuid::new_v4().as_u64_pair();
    // The six bits that are fixed in a UUID v4 are at different places of the two halves.
    format!("{prefix}_{:016x}", high ^ low)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_moment_has_six_digits_or_none() {
        let written = |micros| serde_json::to_string(&Moment::from_micros(micros)).unwrap();
        assert_eq!(written(1_763_696_592_000_000), "\"2025-11-21T03:43:12\"");
        assert_eq!(written(1_763_696_592_000_010), "\"2025-11-21T03:43:12.000010\"");
        assert_eq!(written(0), "\"1970-01-01T00:00:00\"");
    }

    #[test]
    fn ids_are_different_in_every_bit() {
        let ids: HashSet<String> = (0..1000).map(|_| new_id("thr")).collect();
        assert_eq!(ids.len(), 1000);
        let numbers = ids.iter().map(|id| u64::from_str_radix(&id[4..], 16).unwrap());
        let (ones, zeros) = numbers.fold((0, 0), |(ones, zeros), n| (ones | n, zeros | !n));
        assert_eq!((ones, zeros), (u64::MAX, u64::MAX));
    }
}
