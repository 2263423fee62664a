//! What is in a file where PEM is due, by its outside alone: what of it is secret is not looked at.

/// Says what is in a file that isn't PEM, if it is known; `of` is OpenSSL's word for what it should be.
#[cfg(any(feature = "config", feature = "postgres", feature = "tls"))]
pub(crate) fn binary(bytes: &[u8], of: &str) -> Option<String> {
    /// How PKCS#12 begins: a sequence of a length of two bytes, whose first member is the number 3.
    fn is_pkcs12(bytes: &[u8]) -> bool {
        matches!(bytes, [0x30, 0x82, _, _, 2, 1, 3, ..])
    }
    if bytes.trim_ascii().is_empty() {
        return Some("it is empty".into());
    }
    if bytes.starts_with(&[0xFF, 0xFE]) || bytes.starts_with(&[0xFE, 0xFF]) {
        return Some("it is UTF-16; save it as UTF-8".into());
    }
    if has_label(bytes, "") || !bytes.starts_with(&[0x30]) {
        return None;
    }
    Some(if is_pkcs12(bytes) {
        "it is PKCS#12 (PFX), not PEM; `openssl pkcs12 -nodes -in FILE -out NEW` makes PEM of it, for the \
         certificate and the key"
            .into()
    } else {
        format!("it is DER, not PEM; `openssl {of} -inform der -in FILE -out NEW` makes PEM of it")
    })
}

/// Tells whether a line begins a part of whose name this is the end; all end with a `-`.
pub(crate) fn has_label(pem: &[u8], end: &str) -> bool {
    pem.split(|byte| *byte == b'\n').filter_map(|line| line.strip_prefix(b"-----BEGIN ")).any(
        |label| {
            let length =
                label.iter().position(|byte| *byte == b'-').map_or(label.len(), |at| at + 1);
            label.get(..length).is_some_and(|label| label.ends_with(end.as_bytes()))
        },
    )
}

/// What is known to be in the place of a private key that can be used.
#[cfg(any(feature = "operation", feature = "tls"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InPlaceOfKey {
    /// A key with a password.
    Encrypted,
    /// One of `ssh-keygen`.
    OfSsh,
    Request,
    Certificate,
    /// The public half.
    Public,
}

#[cfg(any(feature = "operation", feature = "tls"))]
impl InPlaceOfKey {
    /// Finds it; a key that can be used may be beside it.
    pub(crate) fn find(pem: &[u8]) -> Option<Self> {
        let has = |label: &str| has_label(pem, label);
        let mut lines = pem.split(|byte| *byte == b'\n');
        if has("ENCRYPTED PRIVATE KEY-")
            || lines.any(|line| line.starts_with(b"Proc-Type: 4,ENCRYPTED"))
        {
            Some(Self::Encrypted)
        } else if has("OPENSSH PRIVATE KEY-") {
            Some(Self::OfSsh)
        } else if has("CERTIFICATE REQUEST-") {
            Some(Self::Request)
        } else if has("CERTIFICATE-") {
            Some(Self::Certificate)
        } else if has("PUBLIC KEY-") {
            Some(Self::Public)
        } else {
            None
        }
    }
}
