//! What the claims of a token must say (RFC 7519 section 4.1).

use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::jws::UniqueMembers;
use super::require::{Missing, Requirements};
use super::{InvalidToken, TokenType, UserTemplate};
use crate::principal::Principal;

/// The last second of the year 9999. A later date is no date: mostly it is milliseconds, which
/// would make a token live for tens of thousands of years.
const LATEST: i64 = 253_402_300_799;

/// Whom tokens must come from and be meant for, what they must have, and where they name the user.
#[derive(Debug)]
pub(super) struct ClaimRules {
    pub(super) issuer: Option<String>,
    pub(super) audience: Option<String>,
    pub(super) user: UserTemplate,
    pub(super) token_type: TokenType,
    pub(super) requirements: Requirements,
}

impl ClaimRules {
    /// Gives everything but the clock; `typ` is the header's. A good token may lack what is required.
    pub(super) fn check(
        &self,
        typ: Option<&str>,
        claims: &UniqueMembers,
    ) -> Result<(Result<Principal, Missing>, Lifetime), InvalidToken> {
        self.token_type.check(typ, claims)?;
        let lifetime = Lifetime::of(claims)?;
        if let Some(issuer) = &self.issuer
            && claims.get("iss").and_then(Value::as_str) != Some(issuer)
        {
            return Err(InvalidToken::Issuer);
        }
        self.check_audience(claims.get("aud"))?;
        let user = self.user.user(claims)?;
        // A subject is a text where another claim names the user, too; only a number is let pass,
        // which is a common mistake.
        if claims.get("sub").is_some_and(|sub| sub.is_array() || sub.is_object()) {
            return Err(InvalidToken::Malformed);
        }
        let standing = self.requirements.check(claims).map(|()| Principal::new(user));
        Ok((standing, lifetime))
    }

    /// Checks a token's audience (RFC 7519 section 4.1.3): who is not named in a token's `aud` must
    /// refuse it, and that goes for a gateway without a name of its own, too.
    fn check_audience(&self, claim: Option<&Value>) -> Result<(), InvalidToken> {
        let meant = match (&self.audience, claim) {
            (None, claim) => claim.is_none(),
            (Some(audience), Some(Value::String(only))) => only == audience,
            (Some(audience), Some(Value::Array(many))) => {
                many.iter().all(Value::is_string) && many.iter().any(|one| one == audience)
            }
            (Some(_), _) => false,
        };
        meant.then_some(()).ok_or(InvalidToken::Audience)
    }
}

/// When a token may be used, in seconds since 1970.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lifetime {
    expires: i64,
    not_before: Option<i64>,
}

impl Lifetime {
    fn of(claims: &UniqueMembers) -> Result<Self, InvalidToken> {
        let expires = claims.get("exp").and_then(|date| numeric_date(date, f64::floor));
        let expires = expires.ok_or(InvalidToken::NoExpiry)?;
        let not_before = match claims.get("nbf") {
            None => None,
            Some(date) => match numeric_date(date, f64::ceil) {
                Some(start) if start >= 0 => Some(start),
                _ => return Err(InvalidToken::Malformed),
            },
        };
        Ok(Self { expires, not_before })
    }

    /// Refuses on the second of `exp` and later, and before that of `nbf`, give or take `leeway`
    /// (RFC 7519 sections 4.1.4 and 4.1.5).
    pub(super) fn check(self, now: SystemTime, leeway: Duration) -> Result<(), InvalidToken> {
        let now = unix_seconds(now);
        let leeway = i64::try_from(leeway.as_secs()).unwrap_or(i64::MAX);
        if now >= self.expires.saturating_add(leeway) {
            return Err(InvalidToken::Expired);
        }
        if self.not_before.is_some_and(|start| now < start.saturating_sub(leeway)) {
            return Err(InvalidToken::NotYetValid);
        }
        Ok(())
    }
}

/// Gives a `NumericDate` (RFC 7519 section 2): a JSON number and never a string. One that is not
/// whole is rounded by `round`, to the side on which the token lives no longer for it.
fn numeric_date(value: &Value, round: fn(f64) -> f64) -> Option<i64> {
    let Value::Number(number) = value else { return None };
    let seconds = if let Some(seconds) = number.as_i64() {
        seconds
    } else {
        let seconds = number.as_f64().filter(|seconds| seconds.abs() < 1e15)?;
        #[expect(clippy::cast_possible_truncation, reason = "bounded by the line above")]
        let whole = round(seconds) as i64;
        whole
    };
    (-LATEST..=LATEST).contains(&seconds).then_some(seconds)
}

fn unix_seconds(time: SystemTime) -> i64 {
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_secs()).map_or(i64::MIN, |secs| -secs),
    }
}
