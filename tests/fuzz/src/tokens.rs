//! Tokens.

use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chatkit_rest::authenticate::{Algorithm, Verifier};
use serde_json::Value;

const SECRET: &[u8] = b"a-planted-secret-that-is-long-enough-for-hs256";

static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| {
    Verifier::builder()
        .algorithms([Algorithm::Hs256])
        .secret(SECRET)
        .issuer("https://issuer.example")
        .audience("chat")
        .build()
        .expect("a verifier")
});

/// Checks that what nobody signed is never taken, and what was signed is taken only if a plain
/// reading of its header and claims says so.
///
/// Input that begins with `+` is `+HEADER\nCLAIMS`, to be signed; any other is a token as it is.
pub fn token(data: &[u8]) {
    let Some(to_sign) = data.strip_prefix(b"+") else {
        let Ok(token) = std::str::from_utf8(data) else { return };
        assert!(VERIFIER.verify(token).is_err(), "a token that nobody signed");
        return;
    };
    let mut parts = to_sign.splitn(2, |byte| *byte == b'\n');
    let (Some(header), Some(claims)) = (parts.next(), parts.next()) else { return };
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET), signed.as_bytes());
    let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag.as_ref()));
    let Ok(principal) = VERIFIER.verify(&token) else { return };

    let header: Value = serde_json::from_slice(header).expect("a header that was taken is JSON");
    let claims: Value = serde_json::from_slice(claims).expect("claims that were taken are JSON");
    assert_eq!(header["alg"], "HS256");
    assert!(header.get("crit").is_none(), "what must be understood and isn't: {header}");
    assert_eq!(claims["iss"], "https://issuer.example");
    let aud = &claims["aud"];
    let meant = aud == "chat" || aud.as_array().is_some_and(|all| all.iter().any(|a| a == "chat"));
    assert!(meant, "a token for {aud}");
    assert_eq!(claims["sub"], principal.user_id().as_str());
    assert!(!principal.is_service());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs_f64();
    assert!(claims["exp"].as_f64().is_some_and(|exp| exp > now - 61.0), "{claims}");
    assert!(claims["nbf"].as_f64().is_none_or(|nbf| nbf < now + 61.0), "{claims}");
}
