//! A certificate and its key.

use std::sync::Arc;
use std::time::Duration;

use tokio_rustls::rustls::client::verify_server_name;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::server::ParsedCertificate;
use tokio_rustls::rustls::sign::{CertifiedKey, SigningKey};
use tokio_rustls::rustls::{Error as TlsError, InconsistentKeys};
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

use super::{broken, certificates};
use crate::pem::{InPlaceOfKey, binary};

/// A certificate, those of its authorities that come with it, and its key.
#[derive(Clone, Debug)]
pub(crate) struct Pair(Arc<CertifiedKey>);

/// Which file of a pair is at fault, and what with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PairProblem {
    Certificate(String),
    Key(String),
}

#[cfg_attr(not(feature = "config"), allow(dead_code, reason = "settings have notes of it"))]
impl Pair {
    /// Reads both files, which may be the same.
    pub(crate) fn read(certificate: &[u8], key: &[u8]) -> Result<Self, PairProblem> {
        let chain = certificates(certificate).map_err(PairProblem::Certificate)?;
        let key = self::key(key).map_err(PairProblem::Key)?;
        let key = aws_lc_rs::default_provider().key_provider.load_private_key(key);
        let key = key.map_err(|_| {
            PairProblem::Key(
                "it has a key of a kind that is not used for TLS here; expected RSA of 2048 to 8192 \
                 bits, ECDSA on P-256, P-384 or P-521, or Ed25519"
                    .into(),
            )
        })?;
        let pair = CertifiedKey::new(chain, key);
        match pair.keys_match() {
            // A key that can't tell is believed.
            Ok(()) | Err(TlsError::InconsistentKeys(InconsistentKeys::Unknown)) => {
                Ok(Self(Arc::new(pair)))
            }
            Err(TlsError::InconsistentKeys(_)) => Err(mismatch(&pair)),
            Err(error) => Err(PairProblem::Certificate(format!(
                "it begins with a certificate that can't be used ({error})"
            ))),
        }
    }

    /// Gives it for who has no other.
    pub(crate) fn certified(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.0)
    }

    /// Gives when the certificate begins and ceases to be good, since 1970.
    pub(crate) fn lasts(&self) -> Option<(Duration, Duration)> {
        let certificate = Certificate::from_der(self.0.cert.first()?).ok()?;
        let validity = certificate.tbs_certificate.validity;
        Some((validity.not_before.to_unix_duration(), validity.not_after.to_unix_duration()))
    }

    /// Tells whether the certificate is for this name or address.
    pub(crate) fn is_for(&self, host: &str) -> bool {
        let Some(certificate) = self.0.cert.first() else { return false };
        let Ok(certificate) = ParsedCertificate::try_from(certificate) else { return false };
        ServerName::try_from(host).is_ok_and(|name| verify_server_name(&certificate, &name).is_ok())
    }

    /// Tells whether each certificate is followed by that of its authority, as far as there are any.
    pub(crate) fn is_in_order(&self) -> bool {
        let names = self.0.cert.iter().map(|certificate| {
            let certificate = Certificate::from_der(certificate).ok()?.tbs_certificate;
            Some((certificate.subject, certificate.issuer))
        });
        let Some(names) = names.collect::<Option<Vec<_>>>() else { return true };
        names.iter().zip(names.iter().skip(1)).all(|((_, issuer), (next, _))| issuer == next)
    }
}

/// Says why a key isn't that of the first certificate.
fn mismatch(pair: &CertifiedKey) -> PairProblem {
    let is_its = |certificate: &CertificateDer<'static>| {
        let key: Arc<dyn SigningKey> = Arc::clone(&pair.key);
        CertifiedKey::new(vec![certificate.clone()], key).keys_match().is_ok()
    };
    if pair.cert.iter().skip(1).any(is_its) {
        return PairProblem::Certificate(
            "it has the key's certificate behind others; expected it first, and then its authorities', \
             each before the one that signed it"
                .into(),
        );
    }
    PairProblem::Key("it is not the key of the certificate".into())
}

/// Gives the first private key of a file.
fn key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    let instead = InPlaceOfKey::find(pem);
    if instead == Some(InPlaceOfKey::Encrypted) {
        return Err(encrypted());
    }
    let found = PrivateKeyDer::pem_slice_iter(pem).next();
    match found {
        Some(Ok(key)) => return Ok(key),
        Some(Err(error)) => return Err(broken(&error)),
        None => {}
    }
    if let Some(binary) = binary(pem, "pkey") {
        return Err(binary);
    }
    let why = match instead {
        Some(InPlaceOfKey::Encrypted) => return Err(encrypted()),
        Some(InPlaceOfKey::OfSsh) => "it has a key for SSH; expected the certificate's own",
        Some(InPlaceOfKey::Request) => {
            "it is a request (CSR); expected the private key that it was made with"
        }
        Some(InPlaceOfKey::Certificate) => {
            "it has a certificate and no key; expected its private key"
        }
        Some(InPlaceOfKey::Public) => "it has a public key; expected the private one",
        None => "it has no key; expected PEM, with a line -----BEGIN PRIVATE KEY-----",
    };
    Err(why.into())
}

fn encrypted() -> String {
    "it has a key that is encrypted, and nobody is there to type its password; `openssl pkey -in FILE \
     -out NEW` takes it off"
        .into()
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

    use super::*;

    fn pem(certificates: &[&rcgen::Certificate]) -> Vec<u8> {
        certificates.iter().map(|it| it.pem()).collect::<String>().into_bytes()
    }

    #[test]
    fn a_pair_is_told_from_what_is_none() {
        let authority_key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = params.self_signed(&authority_key).unwrap();
        let issuer = Issuer::new(params, &authority_key);
        let names = ["*.example.org", "127.0.0.1"].map(str::to_owned);
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, "leaf");
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2027, 1, 1);
        let leaf = params.signed_by(&key, &issuer).unwrap();
        let key_pem = key.serialize_pem().into_bytes();

        let pair = Pair::read(&pem(&[&leaf, &authority]), &key_pem).unwrap();
        assert!(pair.is_in_order());
        assert!(pair.is_for("chat.example.org") && pair.is_for("127.0.0.1"));
        assert!(!pair.is_for("example.org") && !pair.is_for("127.0.0.2") && !pair.is_for(""));
        let (from, to) = pair.lasts().unwrap();
        assert_eq!(to.saturating_sub(from).as_secs(), 365 * 86400);
        // In one file.
        let both = [pem(&[&leaf]), key_pem.clone()].concat();
        assert_eq!(Pair::read(&both, &both).unwrap().certified().cert.len(), 1);
        assert!(!Pair::read(&pem(&[&leaf, &leaf]), &key_pem).unwrap().is_in_order());

        let mismatch = |certificate: &[u8], key: &[u8]| match Pair::read(certificate, key) {
            Ok(_) => panic!("a pair"),
            Err(PairProblem::Certificate(problem)) => format!("certificate {problem}"),
            Err(PairProblem::Key(problem)) => format!("key {problem}"),
        };
        let other = KeyPair::generate().unwrap().serialize_pem().into_bytes();
        let told = mismatch(&pem(&[&leaf, &authority]), &other);
        assert_eq!(told, "key it is not the key of the certificate");
        let told = mismatch(&pem(&[&authority, &leaf]), &key_pem);
        assert!(
            told.starts_with("certificate it has the key's certificate behind others"),
            "{told}"
        );
        let half = key_pem.get(..key_pem.len() / 2).unwrap();
        for (file, problem) in [
            (&pem(&[&leaf])[..], "key it has a certificate and no key"),
            (half, "key it ends within a part"),
            (b"", "key it is empty"),
            (&key.serialize_der(), "key it is DER, not PEM; `openssl pkey"),
            (
                b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nplanted",
                "key it has a key that is encrypted",
            ),
            (
                b"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nplanted",
                "key it has a key that is encrypted",
            ),
            (
                b"-----BEGIN OPENSSH PRIVATE KEY-----\nMAA=\n-----END OPENSSH PRIVATE KEY-----\n",
                "key it has a key for SSH",
            ),
            (
                b"-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n",
                "key it has a key of a kind",
            ),
        ] {
            let told = mismatch(&pem(&[&leaf]), file);
            assert!(told.starts_with(problem), "{told}");
            assert!(!told.contains("planted"), "{told}");
        }
        let none = b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
        assert!(mismatch(none, &key_pem).starts_with("certificate it begins with"));
    }
}
