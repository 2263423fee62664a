//! What proves to the upstream that it is the gateway that calls.

use std::path::PathBuf;

use http::Uri;

use super::reader::SettingsReader;
use super::secret::{self, key_file};
use super::web::Upstream;
use crate::proof::{InvalidKey, MIN_SECRET_BYTES, Signer};

const KEY: &str = "upstream.proof_key_file";
pub(super) const PUBLISHED: &str = "upstream.proof_published_key_file";

/// All of them, the keys first.
pub(super) const ALL: [&str; 6] = [
    "upstream.proof_secret",
    "upstream.proof_secret_file",
    KEY,
    PUBLISHED,
    "upstream.proof_issuer",
    "upstream.proof_audience",
];

/// The most characters of an issuer or audience, which are in every request.
pub(super) const MAX_NAME_CHARS: usize = 255;

/// Gives what signs requests to `url`; empty if nothing does.
pub(super) fn read(read: &mut SettingsReader<'_>, url: Option<&Upstream>) -> Option<Vec<Signer>> {
    let secret = secret(read);
    let key = pem(read, KEY);
    let published = pem(read, PUBLISHED);
    let issuer = read.text("upstream.proof_issuer", |text| match text {
        "" => Err("is empty".into()),
        text => name(text),
    });
    let audience = read.optional("upstream.proof_audience", name);

    let (secret, key, published) = (secret?, key?, published?);
    let (issuer, audience) = (issuer?, audience?);
    let signer = match (secret.into_iter().next(), key.first()) {
        (None, None) => return Some(Vec::new()),
        (Some((setting, _)), Some(_)) => {
            read.refuse(setting, format!("set beside {KEY}; expected only one of the two"));
            return None;
        }
        (Some((_, signer)), None) => signer,
        (None, Some(pem)) => made(read, KEY, Signer::ed25519_pem(pem))?,
    };
    let mut signer = signer.with_issuer(&issuer);
    if signer.key_set().is_some() {
        for pem in &published {
            signer = made(read, PUBLISHED, signer.publishing_pem(pem))?;
        }
    }
    let Upstream::Url(url) = url? else { return Some(Vec::new()) };
    let audience = audience.into_iter().next().unwrap_or_else(|| origin(url));
    Some(vec![signer.with_audience(&audience)])
}

/// Gives what signs by the secret, and where that was said.
fn secret(read: &mut SettingsReader<'_>) -> Option<Vec<(&'static str, Signer)>> {
    let secret = secret::read(read, "upstream.proof_secret", "upstream.proof_secret_file")?;
    let Some((setting, secret)) = secret.into_iter().next() else { return Some(Vec::new()) };
    let secret = secret.expose();
    // What two programs in two languages read of a setting or a file is to be the same bytes.
    let plain = secret.bytes().all(|byte| byte.is_ascii_graphic());
    match Signer::hs256(secret) {
        Ok(signer) if plain => Some(vec![(setting, signer)]),
        _ => {
            let problem = format!(
                "expected at least {MIN_SECRET_BYTES} visible ASCII characters (make them with \
                 `openssl rand -hex 32`)"
            );
            read.refuse(setting, problem);
            None
        }
    }
}

fn pem(read: &mut SettingsReader<'_>, name: &'static str) -> Option<Vec<String>> {
    let path = read.optional(name, |text| Ok(PathBuf::from(text)))?;
    match path.first() {
        Some(path) => key_file(read, name, path).map(|pem| vec![pem]),
        None => Some(Vec::new()),
    }
}

fn made(
    read: &mut SettingsReader<'_>,
    setting: &'static str,
    made: Result<Signer, InvalidKey>,
) -> Option<Signer> {
    made.map_err(|why| read.refuse(setting, format!("the file can't be used: it {why}"))).ok()
}

fn name(text: &str) -> Result<String, String> {
    if text.chars().count() > MAX_NAME_CHARS {
        return Err(format!("has more than {MAX_NAME_CHARS} characters"));
    }
    Ok(text.to_owned())
}

/// Gives an origin as it is written where one is compared (RFC 6454 section 6.2).
fn origin(url: &Uri) -> String {
    let scheme = url.scheme_str().unwrap_or_default();
    let host = url.host().unwrap_or_default().to_ascii_lowercase();
    match (scheme, url.port_u16()) {
        (_, None) | ("http", Some(80)) | ("https", Some(443)) => format!("{scheme}://{host}"),
        (_, Some(port)) => format!("{scheme}://{host}:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_without_path_and_the_schemes_own_port() {
        for (url, expected) in [
            ("http://127.0.0.1:8000/chatkit", "http://127.0.0.1:8000"),
            ("https://Chat.Example:443/a?b=c", "https://chat.example"),
            ("http://a:80", "http://a"),
            ("http://a:443", "http://a:443"),
            ("http://[::1]:8000/", "http://[::1]:8000"),
        ] {
            assert_eq!(origin(&url.parse().unwrap()), expected);
        }
    }
}
