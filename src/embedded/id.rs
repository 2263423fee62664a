//! Ids.

use uuid::Uuid;

/// Makes a new id: the prefix, and 64 random bits as 16 hexadecimal digits (the SDK has 8, of which
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
    fn ids_are_different_in_every_bit() {
        let ids: HashSet<String> = (0..1000).map(|_| new_id("thr")).collect();
        assert_eq!(ids.len(), 1000);
        let numbers = ids.iter().map(|id| u64::from_str_radix(&id[4..], 16).unwrap());
        let (ones, zeros) = numbers.fold((0, 0), |(ones, zeros), n| (ones | n, zeros | !n));
        assert_eq!((ones, zeros), (u64::MAX, u64::MAX));
    }
}
