//! Certificates and keys in PEM files, and what to do about those that can't be used.
//!
//! Problems are the rest of a sentence, in which "it" is the file. They say nothing of what is in it
//! but its kind: a key is easily put in the place of a certificate.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use rustls_platform_verifier::BuilderVerifierExt as _;
use tokio_rustls::rustls::client::WantsClientCert;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::{Error as PemError, PemObject as _};
use tokio_rustls::rustls::{ClientConfig, ConfigBuilder, RootCertStore};

use crate::error::Error;
use crate::pem::{binary, has_label};

#[cfg(feature = "tls")]
pub(crate) use self::pair::{Pair, PairProblem};

#[cfg(feature = "tls")]
mod pair;

/// The largest file: the certificates that a system trusts are a quarter of it.
const MAX_BYTES: u64 = 1 << 20;

/// Reads a file.
///
/// # Errors
/// What the system says, or that it is too large.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    File::open(path)
        // One byte more than allowed tells a file that is too large from one that just fits.
        .and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|error| error.to_string())?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > MAX_BYTES) {
        return Err(format!("larger than {MAX_BYTES} bytes"));
    }
    Ok(bytes)
}

/// Gives the certificates of a file, which has at least one.
pub(crate) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(certificates) if certificates.is_empty() => Err(no_certificate(pem)),
        Ok(certificates) => Ok(certificates),
        // What else is in the file may be what is broken.
        Err(_) if !has_certificate(pem) => Err(no_certificate(pem)),
        Err(error) => Err(broken(&error)),
    }
}

fn has_certificate(pem: &[u8]) -> bool {
    pem.split(|byte| *byte == b'\n').any(|line| line.starts_with(b"-----BEGIN CERTIFICATE-----"))
}

/// Gives the authorities of a file.
pub(crate) fn roots(pem: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem)? {
        roots
            .add(certificate)
            .map_err(|error| format!("it has a certificate that can't be trusted ({error})"))?;
    }
    Ok(roots)
}

/// Begins the settings of a client: it trusts the authorities of the file `ca`, else what the system
/// trusts; `what` says in an error whose they are.
///
/// # Errors
/// If they can't be read.
pub(crate) fn trusting(
    ca: Option<&Path>,
    what: &str,
) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, Error> {
    // Names the provider, so that what else a program links doesn't matter.
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::config("could not set up TLS").with(error))?;
    match ca {
        Some(path) => {
            let of_file = |problem| unusable(path, what, problem);
            let roots = roots(&read(path).map_err(of_file)?).map_err(of_file)?;
            Ok(builder.with_root_certificates(roots))
        }
        None => builder.with_platform_verifier().map_err(|error| {
            Error::config("could not read the system's trusted certificates").with(error)
        }),
    }
}

/// Says that a file can't be used.
pub(crate) fn unusable(path: &Path, what: &str, problem: String) -> Error {
    Error::config(format!("{what} can't be read from {}", path.display())).with(problem)
}

/// Says what is in a file in place of a certificate.
fn no_certificate(pem: &[u8]) -> String {
    let has = |label: &str| has_label(pem, label);
    let why = if let Some(binary) = binary(pem, "x509") {
        return binary;
    } else if has("CERTIFICATE REQUEST-") {
        "it is a request (CSR); expected the certificate that an authority makes of it"
    } else if has("TRUSTED CERTIFICATE-") || has("X509 CERTIFICATE-") {
        "it is in a form of OpenSSL's own; `openssl x509 -in FILE -out NEW` makes the usual one of it"
    } else if has("PKCS7-") {
        "it is PKCS#7; `openssl pkcs7 -print_certs -in FILE -out NEW` takes the certificates out of it"
    } else if has("PRIVATE KEY-") {
        "it has a private key and no certificate; expected the certificate, in PEM"
    } else if has("PUBLIC KEY-") {
        "it has a public key and no certificate; expected the certificate, in PEM"
    } else {
        "it has no certificate; expected PEM, with a line -----BEGIN CERTIFICATE-----"
    };
    why.into()
}

fn broken(error: &PemError) -> String {
    match error {
        PemError::MissingSectionEnd { .. } => {
            "it ends within a part: it was cut, or is still being written".into()
        }
        PemError::Base64Decode(_) => "it has a part that is not base64".into(),
        PemError::NoItemsFound
        | PemError::IllegalSectionStart { .. }
        | PemError::SectionTooLarge
        | PemError::Io(_) => "it is not PEM".into(),
        // Kinds that are yet to come may have of the file what must not be told.
        _ => "it is not PEM".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_place_of_a_certificate_comes_with_what_to_do() {
        for (file, told) in [
            (&b""[..], "it is empty"),
            (b" \n", "it is empty"),
            (b"planted", "has no certificate"),
            (&[0x30, 0x82, 1, 2, 0x30, 0x82], "openssl x509 -inform der"),
            (&[0x30, 0x82, 1, 2, 2, 1, 3], "openssl pkcs12"),
            (&[0xFF, 0xFE, b'-', 0], "UTF-16"),
            (b"-----BEGIN CERTIFICATE REQUEST-----\nplanted\n", "CSR"),
            (b"-----BEGIN NEW CERTIFICATE REQUEST-----\nplanted\n", "CSR"),
            (b"-----BEGIN PRIVATE KEY-----\nplanted\n-----END PRIVATE KEY-----\n", "private key"),
            (b"-----BEGIN EC PRIVATE KEY-----\r\nplanted\r\n", "private key"),
            (b"-----BEGIN PUBLIC KEY-----\nplanted\n", "public key"),
            (b"-----BEGIN PKCS7-----\nplanted\n", "openssl pkcs7"),
            (b"-----BEGIN TRUSTED CERTIFICATE-----\nplanted\n", "openssl x509 -in"),
        ] {
            let problem = certificates(file).unwrap_err();
            assert!(problem.contains(told), "{problem}");
            assert!(!problem.contains("planted"), "{problem}");
        }
        let half = b"-----BEGIN CERTIFICATE-----\nMIIB\n";
        assert!(certificates(half).unwrap_err().contains("still being written"));
        let none = b"-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n";
        assert!(certificates(none).unwrap_err().contains("base64"));
        let empty = b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
        assert!(roots(empty).unwrap_err().contains("can't be trusted"));
    }
}
