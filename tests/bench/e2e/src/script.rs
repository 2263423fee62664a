//! What a run shall look like, written into the message text so that it passes any gateway.
//!
//! `bench n=50 size=40 pace_us=0 id=00000000000000a1` asks the fake upstream for 50 deltas of 40
//! bytes in one burst. The id names the stream when both sides compare what was sent and received.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// The directive in a message text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Script {
    /// How many text deltas.
    pub deltas: u32,
    /// Bytes of each delta as it stands in the JSON, escapes included.
    pub size: usize,
    /// Between two deltas; zero sends as fast as the socket takes it.
    pub pace: Duration,
    /// Names the stream; of a fixed width, so that requests keep their length.
    pub id: u64,
}

impl Script {
    /// Deltas of `size` bytes, without delay.
    pub const fn burst(deltas: u32, size: usize) -> Self {
        Self { deltas, size, pace: Duration::ZERO, id: 0 }
    }

    /// Deltas of `size` bytes, one each `pace`.
    pub const fn paced(deltas: u32, size: usize, pace: Duration) -> Self {
        Self { deltas, size, pace, id: 0 }
    }

    pub const fn with_id(self, id: u64) -> Self {
        Self { id, ..self }
    }

    /// Makes the first directive in a request body; it holds no character that JSON escapes.
    pub fn find(body: &[u8]) -> Option<Self> {
        let start = memchr::memmem::find(body, PREFIX.as_bytes())?;
        let rest = body.get(start..)?;
        let end = memchr::memchr(b'"', rest)?;
        std::str::from_utf8(rest.get(..end)?).ok()?.parse().ok()
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { deltas, size, pace, id } = self;
        write!(f, "{PREFIX}{deltas} size={size} pace_us={} id={id:016x}", pace.as_micros())
    }
}

impl FromStr for Script {
    type Err = NotAScript;

    fn from_str(text: &str) -> Result<Self, NotAScript> {
        let mut script = Self::burst(0, 0);
        let rest = text.strip_prefix("bench ").ok_or(NotAScript)?;
        for word in rest.split_ascii_whitespace() {
            let (key, value) = word.split_once('=').ok_or(NotAScript)?;
            match key {
                "n" => script.deltas = value.parse().map_err(|_| NotAScript)?,
                "size" => script.size = value.parse().map_err(|_| NotAScript)?,
                "pace_us" => {
                    script.pace = Duration::from_micros(value.parse().map_err(|_| NotAScript)?);
                }
                "id" => script.id = u64::from_str_radix(value, 16).map_err(|_| NotAScript)?,
                _ => return Err(NotAScript),
            }
        }
        Ok(script)
    }
}

/// The text is no directive.
#[derive(Debug)]
pub struct NotAScript;

const PREFIX: &str = "bench n=";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survives_the_way_through_a_body() {
        let script = Script::paced(50, 40, Duration::from_millis(5)).with_id(0xa1);
        let body = format!(r#"{{"params":{{"text":"{script}","type":"input_text"}}}}"#);
        assert_eq!(Script::find(body.as_bytes()), Some(script));
    }

    #[test]
    fn other_texts_are_no_script() {
        assert_eq!(Script::find(br#"{"text":"bench n=x size=1"}"#), None);
        assert_eq!(Script::find(br#"{"text":"hello"}"#), None);
    }
}
