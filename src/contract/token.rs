//! Tokens for the users of fixtures.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use jsonwebtoken::crypto::aws_lc;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

use super::format::TokenKind;

/// What the gateways that a run sets up verify tokens with. It protects nothing else.
pub(super) const SECRET: &str = "the secret of fixtures, which no service uses";

const WRONG_SECRET: &str = "another secret, which is not the one configured";

/// The key of the one service that those gateways know.
const SERVICE_KEY: &str = "sk-the-key-of-fixtures";

/// That service, as `openai.api_keys` has it.
pub(super) const SERVICE: &str =
    "fixtures=b956a991225b6562c2ce001cdd5cf8d711eb4caefb17892fc4d5055a710000c1";

/// An hour, far beyond any leeway.
const HOUR: i64 = 3600;

/// Gives the token of that kind for `user`; `None` for none.
pub(super) fn mint(kind: TokenKind, user: &str) -> Option<String> {
    let now = Timestamp::now().as_second();
    let valid = json!({"sub": user, "iat": now, "exp": now + HOUR});
    match kind {
        TokenKind::None => None,
        TokenKind::Valid => sign(&valid, SECRET),
        TokenKind::WrongKey => sign(&valid, WRONG_SECRET),
        TokenKind::Expired => {
            sign(&json!({"sub": user, "iat": now - 2 * HOUR, "exp": now - HOUR}), SECRET)
        }
        TokenKind::NotYetValid => {
            sign(&json!({"sub": user, "nbf": now + HOUR, "exp": now + 2 * HOUR}), SECRET)
        }
        TokenKind::NoExpiry => sign(&json!({"sub": user, "iat": now}), SECRET),
        TokenKind::Refresh => sign(
            &json!({"sub": user, "iat": now, "exp": now + HOUR, "token_type": "refresh"}),
            SECRET,
        ),
        TokenKind::Unsigned => {
            let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
            Some(format!("{}.{}.", part(&json!({"alg": "none", "typ": "JWT"})), part(&valid)))
        }
        TokenKind::Service => Some(SERVICE_KEY.to_owned()),
        TokenKind::Malformed => Some("not-a-token".to_owned()),
    }
}

fn sign(claims: &Value, secret: &str) -> Option<String> {
    let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let header = json!({"alg": "HS256", "typ": "JWT"});
    let signed =
        format!("{}.{}", part(header.to_string().as_bytes()), part(claims.to_string().as_bytes()));
    let key = EncodingKey::from_secret(secret.as_bytes());
    // Not the provider of the process, which is a host's, and may be none.
    let hs256 = (aws_lc::DEFAULT_PROVIDER.signer_factory)(&Algorithm::HS256, &key).ok()?;
    let signature = hs256.try_sign(signed.as_bytes()).ok()?;
    Some(format!("{signed}.{}", part(&signature)))
}

/// Gives the user that a token names, as far as can be told without verifying it.
pub(super) fn subject(token: &str) -> Option<String> {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: Value = serde_json::from_slice(&payload).ok()?;
    claims.get("sub")?.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tokens_subject_is_its_user() {
        assert_eq!(subject(&mint(TokenKind::Valid, "ada").unwrap()).as_deref(), Some("ada"));
        assert_eq!(subject(&mint(TokenKind::Unsigned, "bob").unwrap()).as_deref(), Some("bob"));
        assert_eq!(subject(&mint(TokenKind::Malformed, "x").unwrap()), None);
        assert_eq!(mint(TokenKind::None, "x"), None);
    }
}
