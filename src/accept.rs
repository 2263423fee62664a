//! Reading `Accept` (RFC 9110 section 12.5.1), as far as the gateway needs it.

/// Thousandths of quality with which `accept` takes `media_type`, ranges included; 0 is "not".
///
/// The most specific range decides, as the RFC has it. Parameters other than `q` are ignored.
#[cfg(any(test, feature = "validate"))]
pub(crate) fn quality(accept: &str, media_type: &str) -> u16 {
    let kind = media_type.split('/').next().unwrap_or_default();
    let mut best: (u8, u16) = (0, 0);
    for (range, q) in ranges(accept) {
        let specificity = if range.eq_ignore_ascii_case(media_type) {
            3
        } else if range.strip_suffix("/*").is_some_and(|k| k.eq_ignore_ascii_case(kind)) {
            2
        } else if range == "*/*" {
            1
        } else {
            continue;
        };
        if specificity > best.0 || (specificity == best.0 && q > best.1) {
            best = (specificity, q);
        }
    }
    best.1
}

/// Does as [`quality`] does, but only where `media_type` is named in full.
pub(crate) fn named_quality(accept: &str, media_type: &str) -> u16 {
    ranges(accept)
        .filter(|(range, _)| range.eq_ignore_ascii_case(media_type))
        .map(|(_, q)| q)
        .max()
        .unwrap_or(0)
}

fn ranges(accept: &str) -> impl Iterator<Item = (&str, u16)> {
    accept.split(',').filter_map(|part| {
        let mut pieces = part.split(';').map(str::trim);
        let range = pieces.next().filter(|range| !range.is_empty())?;
        let q = pieces
            .find_map(|piece| {
                let (name, value) = piece.split_once('=')?;
                name.trim().eq_ignore_ascii_case("q").then(|| thousandths(value.trim()))
            })
            .unwrap_or(1000);
        Some((range, q))
    })
}

/// Gives a qvalue in thousandths; what is not one counts as 1, as if it weren't there.
fn thousandths(q: &str) -> u16 {
    let Some(rest) = q.strip_prefix('0') else { return 1000 };
    let digits = rest.strip_prefix('.').unwrap_or(rest).bytes().take(3);
    let mut value = 0;
    let mut unit = 100;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return 1000;
        }
        value += u16::from(digit - b'0') * unit;
        unit /= 10;
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_specific_range_decides() {
        for (accept, json, sse) in [
            ("*/*", 1000, 1000),
            ("", 0, 0),
            ("application/json", 1000, 0),
            ("text/event-stream, application/json;q=0.5", 500, 1000),
            ("*/*;q=0.1, text/*;q=0.25, application/json; q=0.000", 0, 250),
            ("TEXT/Event-Stream", 0, 1000),
            ("application/json;charset=utf-8;q=0.7", 700, 0),
            ("application/json;q=nonsense", 1000, 0),
        ] {
            assert_eq!(quality(accept, "application/json"), json, "{accept}");
            assert_eq!(quality(accept, "text/event-stream"), sse, "{accept}");
        }
        assert_eq!(named_quality("*/*", "application/json"), 0);
    }
}
