//! Certificates and keys, each in a file, and TLS to clients.
//!
//! Files are read here to tell what is wrong with them, and again by who uses them.

use std::path::PathBuf;
use std::time::Duration;

use super::reader::SettingsReader;
use super::settings::Config;
use super::web::Upstream;

/// `[server.tls]`: how clients are spoken to.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TlsConfig {
    /// What clients are shown.
    pub certificate: CertificateConfig,
    /// The authorities that clients' certificates must be from, in PEM; `None`: clients need none.
    pub client_ca: Option<PathBuf>,
}

/// A certificate with its private key, as files in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CertificateConfig {
    /// The certificate, and behind it those of its authorities.
    pub certificate: PathBuf,
    /// Its key; may be the same file.
    pub key: PathBuf,
}

/// Reads `[server.tls]`; empty if there is none.
pub(super) fn server(read: &mut SettingsReader<'_>) -> Option<Vec<TlsConfig>> {
    let certificate = pair(read, "server.tls.certificate", "server.tls.key");
    let client_ca = authorities(read, "server.tls.client_ca");
    let (certificate, client_ca) = (certificate?.into_iter().next(), client_ca?.into_iter().next());
    match (certificate, client_ca) {
        (Some(certificate), client_ca) => Some(vec![TlsConfig { certificate, client_ca }]),
        (None, None) => Some(Vec::new()),
        (None, Some(_)) => {
            let problem = "set while listen speaks plain HTTP, where nobody shows a certificate; \
                           expected server.tls.certificate and server.tls.key beside it";
            read.refuse("server.tls.client_ca", problem.into());
            None
        }
    }
}

/// Gives a certificate and its key; empty if neither is set.
pub(super) fn pair(
    read: &mut SettingsReader<'_>,
    certificate: &'static str,
    key: &'static str,
) -> Option<Vec<CertificateConfig>> {
    let (certificate_path, key_path) = (path(read, certificate), path(read, key));
    let (certificate_path, key_path) =
        (certificate_path?.into_iter().next(), key_path?.into_iter().next());
    let (certificate_path, key_path) = match (certificate_path, key_path) {
        (Some(certificate_path), Some(key_path)) => (certificate_path, key_path),
        (None, None) => return Some(Vec::new()),
        (Some(_), None) => {
            read.refuse(key, format!("missing; {certificate} expects its private key's file"));
            return None;
        }
        (None, Some(_)) => {
            read.refuse(certificate, format!("missing; {key} expects its certificate's file"));
            return None;
        }
    };
    let config = CertificateConfig { certificate: certificate_path, key: key_path };
    is_pair(read, certificate, key, &config).then(|| vec![config])
}

/// Tells whether it is one, and records what is wrong with it otherwise.
#[cfg(feature = "tls")]
fn is_pair(
    read: &mut SettingsReader<'_>,
    certificate: &'static str,
    key: &'static str,
    config: &CertificateConfig,
) -> bool {
    use super::file::MAX_PEM_BYTES;
    use super::secret::{file_meant, refuse_file};
    use crate::certificates::{Pair, PairProblem};

    let certificate_pem = file_meant(read, certificate, &config.certificate, MAX_PEM_BYTES, Ok);
    let key_pem = file_meant(read, key, &config.key, MAX_PEM_BYTES, Ok);
    let (Some(certificate_pem), Some(key_pem)) = (certificate_pem, key_pem) else { return false };
    match Pair::read(&certificate_pem, &key_pem) {
        Ok(_) => return true,
        Err(PairProblem::Certificate(problem)) => {
            refuse_file(read, certificate, &config.certificate, &problem);
        }
        Err(PairProblem::Key(problem)) => refuse_file(read, key, &config.key, &problem),
    }
    false
}

#[cfg(not(feature = "tls"))]
fn is_pair(
    read: &mut SettingsReader<'_>,
    certificate: &'static str,
    _: &'static str,
    _: &CertificateConfig,
) -> bool {
    read.refuse(certificate, NO_TLS.into());
    false
}

/// Why a setting can't be used in a build that has no TLS.
#[cfg(not(feature = "tls"))]
const NO_TLS: &str = "needs TLS, which is not in this build (feature `tls`)";

/// Gives the path of a file that has certificates of authorities; empty if it is not set.
pub(super) fn authorities(
    read: &mut SettingsReader<'_>,
    setting: &'static str,
) -> Option<Vec<PathBuf>> {
    let path = path(read, setting)?;
    #[cfg(any(feature = "postgres", feature = "tls"))]
    if let Some(path) = path.first() {
        let max = super::file::MAX_PEM_BYTES;
        super::secret::file_meant(read, setting, path, max, |pem| {
            crate::certificates::roots(&pem).map(drop)
        })?;
    }
    #[cfg(not(feature = "tls"))]
    if !path.is_empty() && setting != "store.ca" {
        read.refuse(setting, NO_TLS.into());
        return None;
    }
    Some(path)
}

fn path(read: &mut SettingsReader<'_>, setting: &'static str) -> Option<Vec<PathBuf>> {
    read.optional(setting, |text| Ok(PathBuf::from(text)))
}

/// How long before its end a certificate is spoken of. What renews them does so earlier.
#[cfg(feature = "tls")]
const SOON: Duration = Duration::from_secs(14 * 86400);

/// Gives what is allowed but probably not meant, as setting and text; `now` is since 1970.
pub(super) fn notes(config: &Config, now: Duration) -> Vec<(&'static str, String)> {
    let mut notes = Vec::new();
    if let Some(tls) = &config.server.tls {
        of_pair(&tls.certificate, "server.tls.certificate", now, &mut notes);
        of_address(config, &tls.certificate, &mut notes);
        let publishes = config.upstream.proof.as_ref().is_some_and(|by| by.key_set().is_some());
        if tls.client_ca.is_some() && publishes {
            let text = "the gateway's key set (/.well-known/jwks.json) is read by nobody who shows no \
                        certificate of server.tls.client_ca: the modules that verify show none; \
                        upstream.proof_secret needs no key set";
            notes.push(("upstream.proof_key_file", text.to_owned()));
        }
    }
    let upstream = &config.upstream;
    let no_effect = match &upstream.url {
        Upstream::Url(url) if url.scheme_str() == Some("https") => None,
        Upstream::Url(_) => Some("has no effect: upstream.url is http"),
        Upstream::Embedded => Some("has no effect: upstream.url is \"embedded\""),
    };
    match (no_effect, &upstream.client_certificate) {
        (None, Some(pair)) => of_pair(pair, "upstream.client_certificate", now, &mut notes),
        (Some(no_effect), pair) => {
            let settings = [
                ("upstream.ca", upstream.ca.is_some()),
                ("upstream.client_certificate", pair.is_some()),
            ];
            let set = settings.into_iter().filter(|(_, is_set)| *is_set);
            notes.extend(set.map(|(setting, _)| (setting, no_effect.to_owned())));
        }
        (None, None) => {}
    }
    notes
}

/// Notes what will become of a certificate, or has.
#[cfg(feature = "tls")]
fn of_pair(
    config: &CertificateConfig,
    setting: &'static str,
    now: Duration,
    notes: &mut Vec<(&'static str, String)>,
) {
    let Some(pair) = again(config) else { return };
    if let Some((from, to)) = pair.lasts() {
        let at = |since: Duration| {
            let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
            jiff::Timestamp::from_second(seconds)
                .map_or_else(|_| "a time that is far away".into(), |at| at.to_string())
        };
        if now >= to {
            notes.push((setting, format!("the certificate expired at {}: it is refused", at(to))));
        } else if now < from {
            notes.push((setting, format!("the certificate is refused before {}", at(from))));
        } else if to.saturating_sub(now) < SOON {
            let days = to.saturating_sub(now).as_secs() / 86400;
            notes.push((setting, format!("the certificate expires at {}, in {days} days", at(to))));
        }
    }
    if !pair.is_in_order() {
        let text = "the certificates in the file are not each followed by that of its authority: \
                    who goes by the order can't verify it";
        notes.push((setting, text.into()));
    }
}

#[cfg(not(feature = "tls"))]
fn of_pair(
    _: &CertificateConfig,
    _: &'static str,
    _: Duration,
    _: &mut Vec<(&'static str, String)>,
) {
}

/// Notes what of a public URL isn't true of who speaks TLS without anything in front.
#[cfg(feature = "tls")]
fn of_address(
    config: &Config,
    certificate: &CertificateConfig,
    notes: &mut Vec<(&'static str, String)>,
) {
    let Some(url) = &config.server.public_url else { return };
    if !url.is_https() {
        let text = "is http, while the gateway itself speaks https (server.tls.certificate)";
        notes.push(("server.public_url", text.into()));
    }
    if let Some(pair) = again(certificate)
        && !pair.is_for(url.host())
    {
        let text = format!("the certificate (server.tls.certificate) is not for {}", url.host());
        notes.push(("server.public_url", text));
    }
}

#[cfg(not(feature = "tls"))]
fn of_address(_: &Config, _: &CertificateConfig, _: &mut Vec<(&'static str, String)>) {}

/// Reads again what was found to be right.
#[cfg(feature = "tls")]
fn again(config: &CertificateConfig) -> Option<crate::certificates::Pair> {
    let pem = |path| crate::certificates::read(path).ok();
    crate::certificates::Pair::read(&pem(&config.certificate)?, &pem(&config.key)?).ok()
}
