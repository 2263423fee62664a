//! Types of single settings: text that was read once and is right from then on.

use std::fmt::{self, Write as _};
use std::time::Duration;

use jiff::tz::Offset;

/// A text that is not to be seen. `Debug` shows nothing of it, and there is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes what is to be kept out of sight.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    /// Gives the secret itself, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LogFormat {
    /// As text on a terminal, else as JSON.
    Auto,
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

impl LogFormat {
    /// Tells whether lines are JSON, where the log is a terminal or is not.
    pub fn is_json(self, is_terminal: bool) -> bool {
        match self {
            Self::Auto => !is_terminal,
            Self::Json => true,
            Self::Text => false,
        }
    }
}

pub(super) const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Which log lines are written: directives separated by commas, each a level or
/// `TARGET=LEVEL`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLevel(String);

impl LogLevel {
    /// Gives the directives, in the notation of `tracing_subscriber::filter::Targets`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut directives = Vec::new();
        for directive in text.split(',').map(str::trim) {
            let (target, level) = match directive.split_once('=') {
                Some((target, level)) => (Some(target.trim()), level.trim()),
                None => (None, directive),
            };
            let level = level.to_ascii_lowercase();
            if !LEVELS.contains(&level.as_str()) {
                return Err("has a directive that is no level".into());
            }
            match target {
                None => directives.push(level),
                Some(target) => {
                    let plain = |c: char| c.is_ascii_alphanumeric() || "_:.-".contains(c);
                    if target.is_empty() || !target.chars().all(plain) {
                        return Err("has a directive whose target is no module path".into());
                    }
                    directives.push(format!("{target}={level}"));
                }
            }
        }
        Ok(Self(directives.join(",")))
    }
}

/// A service's key for the OpenAI-compatible routes. `Debug` shows the name only.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ApiKey {
    /// Who holds it, for logs.
    pub name: String,
    /// SHA-256 of the key.
    pub sha256: [u8; 32],
}

impl ApiKey {
    /// Makes the key itself, of the service of that name.
    ///
    /// # Errors
    /// What is wrong with the name, as the end of a sentence. It must do for the environment, too.
    pub fn of(name: &str, key: &str) -> Result<Self, String> {
        check_key_name(name)?;
        if name.contains(['=', ',', '"', '\\']) {
            return Err("has a name with one of = , \" \\".into());
        }
        if name.trim() != name {
            return Err("has a name with a blank at an end of it".into());
        }
        let mut sha256 = [0; 32];
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, key.as_bytes());
        sha256.copy_from_slice(digest.as_ref());
        Ok(Self { name: name.into(), sha256 })
    }

    /// Gives the digest in hexadecimal.
    pub fn digest(&self) -> String {
        self.sha256.iter().fold(String::with_capacity(64), |mut hex, byte| {
            // Writing to a `String` does not fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    }

    pub(super) fn parse(name: &str, sha256: &str) -> Result<Self, String> {
        check_key_name(name)?;
        let Some(sha256) = digest(sha256) else {
            return Err("has a sha256 that is not 64 hex digits".into());
        };
        if sha256[..4] == NOTHING {
            return Err("has the sha256 of nothing, so that its key is empty".into());
        }
        Ok(Self { name: name.into(), sha256 })
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKey").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What the SHA-256 of no bytes begins with.
const NOTHING: [u8; 4] = [0xE3, 0xB0, 0xC4, 0x42];

fn check_key_name(name: &str) -> Result<(), String> {
    if name.is_empty() || name.len() > 64 || name.chars().any(char::is_control) {
        return Err("has a name that is empty, too long (64), or has control characters".into());
    }
    Ok(())
}

fn digest(hex: &str) -> Option<[u8; 32]> {
    if hex.len() != 64 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut digest = [0; 32];
    for (byte, at) in digest.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(hex.get(at..at + 2)?, 16).ok()?;
    }
    Some(digest)
}

/// The longest sentence that is said in somebody's place.
pub(super) const MAX_SENTENCE_CHARS: usize = 500;

/// Gives what is said in somebody's place, which may be nothing.
pub(super) fn sentence(text: &str) -> Result<String, String> {
    if text.chars().count() > MAX_SENTENCE_CHARS {
        return Err("is too long".into());
    }
    Ok(text.trim().to_owned())
}

const NO_DURATION: &str = "is not a duration (a whole number and ms, s, m or h)";

/// Gives a duration: a whole number and one of `ms`, `s`, `m`, `h`.
///
/// # Errors
/// What is wrong with `text`, as the end of a sentence that begins with it.
pub fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let millis = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "" if !number.is_empty() => return Err("has no unit (ms, s, m or h)".into()),
        _ => return Err(NO_DURATION.into()),
    };
    let Ok(number) = number.parse::<u64>() else { return Err(NO_DURATION.into()) };
    number.checked_mul(millis).map(Duration::from_millis).ok_or_else(|| "is too long".into())
}

/// Gives an offset from UTC: `+HH:MM`, `-HH:MM` or `Z`.
pub(super) fn utc_offset(text: &str) -> Result<Offset, String> {
    let offset = || {
        if text == "Z" {
            return Some(Offset::UTC);
        }
        let (sign, time) = match text.split_at_checked(1)? {
            ("+", time) => (1, time),
            ("-", time) => (-1, time),
            _ => return None,
        };
        let (hours, minutes) = time.split_once(':')?;
        let two = |digits: &str| -> Option<i32> {
            let right = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
            if right { digits.parse().ok() } else { None }
        };
        let (hours, minutes) = (two(hours)?, two(minutes)?);
        // The zones in use end at +14:00 and -12:00.
        if hours > 18 || minutes > 59 {
            return None;
        }
        Offset::from_seconds(sign * (hours * 3600 + minutes * 60)).ok()
    };
    offset().ok_or_else(|| "is not an offset from UTC".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        for (text, millis) in
            [("500ms", 500), ("5s", 5000), ("2m", 120_000), ("1h", 3_600_000), ("0s", 0)]
        {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "s", "5", "5 s", "-5s", "+5s", "1.5s", "5S", "5d", "1m30s", "٥s"] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert_eq!(duration("99999999999999999h"), Err("is too long".into()));
        assert_eq!(duration("99999999999999999999h"), Err(NO_DURATION.into()));
    }

    #[test]
    fn offsets_are_hours_and_minutes() {
        for (text, seconds) in
            [("+05:30", 19_800), ("-03:00", -10_800), ("+00:00", 0), ("-00:45", -2700), ("Z", 0)]
        {
            assert_eq!(utc_offset(text).unwrap().seconds(), seconds, "{text}");
        }
        for text in ["", "+", "05:30", "+5:30", "+0530", "+05:60", "+24:00", "+05:30:00", "é"] {
            assert!(utc_offset(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_sentence_has_an_end() {
        let longest = "é".repeat(500);
        assert_eq!(sentence(&longest).as_deref(), Ok(&*longest));
        assert_eq!(sentence(" Done.\n").as_deref(), Ok("Done."));
        assert_eq!(sentence(""), Ok(String::new()));
        assert_eq!(sentence(&"é".repeat(501)), Err("is too long".into()));
    }

    #[test]
    fn log_levels_are_directives() {
        for (text, is) in [
            ("info", "info"),
            ("INFO", "info"),
            (" warn , hyper=Debug", "warn,hyper=debug"),
            ("off,chatkit_rest::forward=trace", "off,chatkit_rest::forward=trace"),
        ] {
            assert_eq!(LogLevel::parse(text).unwrap().as_str(), is);
        }
        for text in ["", "inf", "info,", "hyper", "a b=info", "=info", "hyper=", "x[y]=info"] {
            assert!(LogLevel::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn api_keys_are_names_with_digests() {
        let hex = "00ff".repeat(16);
        let key = ApiKey::parse("billing", &hex).unwrap();
        assert_eq!(key.sha256[..4], [0, 255, 0, 255]);
        assert_eq!(format!("{key:?}"), "ApiKey { name: \"billing\", .. }");
        let nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        for digest in ["", nothing, "sk-planted", &hex[1..], &"é".repeat(32), &"+1".repeat(32)] {
            let fault = ApiKey::parse("billing", digest).unwrap_err();
            assert!(!fault.contains("planted"));
        }
        assert!(ApiKey::parse("", &hex).is_err());
    }

    #[test]
    fn a_keys_digest_is_read_back() {
        let key = ApiKey::of("billing", "abc").unwrap();
        assert!(key.digest().starts_with("ba7816bf8f01cfea"));
        assert_eq!(ApiKey::parse("billing", &key.digest()), Ok(key));
        for name in ["", "a=b", "a,b", "a\"b", "a\nb"] {
            assert!(ApiKey::of(name, "abc").is_err(), "{name:?}");
        }
    }

    #[test]
    fn a_secret_does_not_show() {
        assert_eq!(format!("{:?}", Secret::new("planted")), "Secret(..)");
    }
}
