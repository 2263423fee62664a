//! What a text is that was given for a key. Who configures one is told what it is instead, and how
//! to get from there to what is wanted.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Checks that this is one public key in PEM (RFC 7468 section 13), whatever its kind; what it is
/// otherwise, as the end of a sentence.
pub(super) fn check_public_pem(text: &[u8]) -> Result<(), String> {
    const EXPECTED: &str = "expected a public key (-----BEGIN PUBLIC KEY-----)";
    if text.trim_ascii().is_empty() {
        return Err(format!("is empty; {EXPECTED}"));
    }
    if is_json(text) {
        return Err(format!("is JSON, as of a JSON Web Key, and not PEM; {EXPECTED}"));
    }
    if is_ssh(text) {
        return Err(format!(
            "is not PEM but OpenSSH's; {EXPECTED}, which `ssh-keygen -e -m PKCS8 -f FILE` prints"
        ));
    }
    let text = std::str::from_utf8(text).unwrap_or_default();
    let mut labels = labels(text);
    let Some(first) = labels.next() else {
        return Err(format!("is not PEM: it has no `-----BEGIN …-----` line; {EXPECTED}"));
    };
    // All of them are looked at: a private key may stand behind its public one.
    let count = labels.clone().count() + 1;
    let mut all = std::iter::once(first).chain(labels);
    if let Some(private) = all.clone().find(|label| label.ends_with("PRIVATE KEY")) {
        let convert = if private == "OPENSSH PRIVATE KEY" {
            "ssh-keygen -e -m PKCS8 -f FILE"
        } else {
            "openssl pkey -in FILE -pubout"
        };
        return Err(format!(
            "holds a private key, which the gateway must not have; {EXPECTED}, which `{convert}` \
             prints"
        ));
    }
    if all.clone().any(|label| label.ends_with("CERTIFICATE")) {
        return Err(format!(
            "holds a certificate; {EXPECTED}, which `openssl x509 -in FILE -noout -pubkey` prints"
        ));
    }
    if let Some(label) = all.find(|label| !matches!(*label, "PUBLIC KEY" | "RSA PUBLIC KEY")) {
        return Err(format!("holds a PEM block labelled {label}; {EXPECTED}"));
    }
    if count > 1 {
        return Err(format!(
            "holds {count} keys, of which only one could be used; expected the one that tokens \
             are signed for"
        ));
    }
    Ok(())
}

/// Gives what a text is that is no secret although it may be long enough.
pub(super) fn in_place_of_secret(text: &[u8]) -> Option<&'static str> {
    const PUBLIC: &str = "is a public key, which anybody may know";
    if let Some(first) = std::str::from_utf8(text).ok().and_then(|text| labels(text).next()) {
        let private = first.ends_with("PRIVATE KEY");
        return Some(if private { "is a private key in PEM, and no secret" } else { PUBLIC });
    }
    if is_ssh(text) {
        return Some(PUBLIC);
    }
    if is_json(text) {
        let json: serde_json::Value = serde_json::from_slice(text).ok()?;
        let is_key = ["kty", "keys"].iter().any(|member| json.get(member).is_some());
        return is_key.then_some("is a JSON Web Key, and not the secret itself");
    }
    // What stands between the lines of PEM, as some consoles show it.
    kind_of_base64(text).map(|_| PUBLIC)
}

/// Gives what kind of key a PEM block holds, as far as that can be told.
pub(super) fn kind(pem: &[u8]) -> Option<&'static str> {
    let text = std::str::from_utf8(pem).ok()?;
    let (_, block) = text.split_once("-----BEGIN ")?;
    let (label, body) = block.split_once("-----")?;
    if label == "RSA PUBLIC KEY" {
        return Some("an RSA key");
    }
    let (body, _) = body.split_once("-----END ")?;
    kind_of_base64(body.as_bytes())
}

/// Gives the bits of the modulus of an RSA key (RFC 8017 appendix A.1.1).
pub(super) fn rsa_bits(key: &[u8]) -> Option<usize> {
    let modulus = element(0x02, element(0x30, key)?)?;
    let zeros = modulus.iter().take_while(|byte| **byte == 0).count();
    let modulus = modulus.get(zeros..)?;
    let (first, rest) = modulus.split_first()?;
    Some(rest.len() * 8 + usize::try_from(8 - first.leading_zeros()).ok()?)
}

/// Gives the content of the first element, if it is of that kind (DER).
fn element(tag: u8, der: &[u8]) -> Option<&[u8]> {
    let [found, length, rest @ ..] = der else { return None };
    let (length, rest) = match length & 0x7F {
        short if *length < 0x80 => (usize::from(short), rest),
        count @ 1..=4 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(count))?;
            (bytes.iter().fold(0, |sum, byte| (sum << 8) | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    rest.get(..length).filter(|_| *found == tag)
}

fn kind_of_base64(text: &[u8]) -> Option<&'static str> {
    /// Identifiers of keys as they are encoded (RFC 3279, 5480 and 8410), curves before the kind.
    const KINDS: [(&[u8], &str); 10] = [
        (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01", "an RSA key"),
        (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a", "an RSA key for PSS alone"),
        (b"\x2a\x86\x48\xce\x3d\x03\x01\x07", "a P-256 key"),
        (b"\x06\x05\x2b\x81\x04\x00\x22", "a P-384 key"),
        (b"\x06\x05\x2b\x81\x04\x00\x23", "a P-521 key"),
        (b"\x06\x05\x2b\x81\x04\x00\x0a", "a secp256k1 key"),
        (b"\x06\x03\x2b\x65\x70", "an Ed25519 key"),
        (b"\x06\x03\x2b\x65\x71", "an Ed448 key"),
        (b"\x06\x03\x2b\x65\x6e", "an X25519 key"),
        (b"\x2a\x86\x48\xce\x3d\x02\x01", "an elliptic curve's key"),
    ];
    let text: Vec<u8> = text.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let der = STANDARD.decode(text).ok()?;
    element(0x30, &der)?;
    // The key itself, which could have any bytes, comes after these.
    let head = der.get(..32).unwrap_or(&der);
    let has = |id: &[u8]| head.windows(id.len()).any(|window| window == id);
    KINDS.into_iter().find(|(id, _)| has(id)).map(|(_, kind)| kind)
}

fn is_json(text: &[u8]) -> bool {
    text.trim_ascii_start().starts_with(b"{")
}

fn is_ssh(text: &[u8]) -> bool {
    let text = text.trim_ascii_start();
    [&b"ssh-rsa "[..], b"ssh-ed25519 ", b"ecdsa-sha2-", b"---- BEGIN SSH2 PUBLIC KEY"]
        .iter()
        .any(|mark| text.starts_with(mark))
}

fn labels(text: &str) -> impl Iterator<Item = &str> + Clone {
    text.split("-----BEGIN ").skip(1).filter_map(|rest| Some(rest.split_once("-----")?.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_of_a_modulus_is_read_from_its_encoding() {
        let key = |modulus: &[u8]| {
            let length = u8::try_from(modulus.len()).unwrap();
            let mut key = vec![0x30, length + 5, 0x02, length];
            key.extend(modulus);
            key.extend([0x02, 0x01, 0x03]);
            key
        };
        for (modulus, bits) in [
            (&[0x00, 0x80, 0x01][..], Some(16)),
            (&[0x7F, 0x01], Some(15)),
            (&[0x01], Some(1)),
            (&[0x00], None),
            (&[], None),
        ] {
            assert_eq!(rsa_bits(&key(modulus)), bits, "{modulus:?}");
        }
        let whole = key(&[0x7F; 100]);
        for cut in 0..103 {
            assert_eq!(rsa_bits(&whole[..cut]), None, "{cut}");
        }
        assert_eq!(rsa_bits(&[0x30, 0x85, 1, 1, 1, 1, 1, 1]), None);
        assert_eq!(rsa_bits(&[0x30, 0x84, 0xFF, 0xFF, 0xFF, 0xFF, 0x02]), None);
    }
}
