//! The key set of an issuer: where it is, and what goes with it.

use std::path::PathBuf;

use http::Uri;

use super::algorithm::Algorithm;
use super::auth::AuthKey;
use super::file;
use super::reader::SettingsReader;
use super::secret;
use super::web;
use crate::authenticate::{MAX_KEY_SET_BYTES, check_key_set};

/// The largest file with a key set.
const MAX_BYTES: u64 = MAX_KEY_SET_BYTES as u64;

/// The settings that each name a key set.
pub(super) const SETTINGS: [&str; 3] = ["auth.jwks_url", "auth.jwks_file", "auth.discovery"];

/// The algorithms of a key set that nobody named: one for each kind of key, so that a key that doesn't
/// say itself what it is for is for one alone (RFC 8725 section 3.1).
pub(super) const ALGORITHMS: [Algorithm; 4] =
    [Algorithm::Rs256, Algorithm::Es256, Algorithm::Es384, Algorithm::EdDsa];

/// What is said of key sets.
pub(super) struct KeySets {
    url: Vec<Uri>,
    file: Vec<(PathBuf, String)>,
    discovery: bool,
    danger_plain_http: bool,
}

/// Reads the settings of key sets alone.
pub(super) fn read(read: &mut SettingsReader<'_>) -> Option<KeySets> {
    let url = read.optional("auth.jwks_url", web::upstream_url);
    let file = key_set_file(read);
    let discovery = read.boolean("auth.discovery");
    let danger_plain_http = read.boolean("auth.danger_plain_http");
    Some(KeySets {
        url: url?,
        file: file?,
        discovery: discovery?,
        danger_plain_http: danger_plain_http?,
    })
}

fn key_set_file(read: &mut SettingsReader<'_>) -> Option<Vec<(PathBuf, String)>> {
    let path = read.optional("auth.jwks_file", |text| Ok(PathBuf::from(text)))?;
    let Some(path) = path.into_iter().next() else { return Some(Vec::new()) };
    let json = secret::file_meant(read, "auth.jwks_file", &path, MAX_BYTES, file::decode)?;
    Some(vec![(path, json)])
}

impl KeySets {
    /// Tells which settings name a set.
    pub(super) fn named(&self) -> impl Iterator<Item = &'static str> {
        let is_named = [!self.url.is_empty(), !self.file.is_empty(), self.discovery];
        SETTINGS.into_iter().zip(is_named).filter(|(_, is)| *is).map(|(name, _)| name)
    }

    /// Gives the one set, whose setting is `name`, and the algorithms that its keys are for.
    pub(super) fn key(
        self,
        read: &mut SettingsReader<'_>,
        name: &'static str,
        algorithms: Vec<Algorithm>,
        issuer: Option<&str>,
    ) -> Option<(AuthKey, Vec<Algorithm>)> {
        let algorithms = if read.set_by("auth.algorithms").is_none() {
            ALGORITHMS.to_vec()
        } else if let Some(secret) = algorithms.iter().find(|it| it.is_symmetric()) {
            read.refuse(
                "auth.algorithms",
                format!(
                    "{secret} takes a secret, but {name} is set, whose keys anybody may know; expected \
                     those of the issuer's keys, such as RS256, or none: then it is RS256, ES256, ES384 \
                     and EdDSA"
                ),
            );
            return None;
        } else {
            algorithms
        };
        if let Some((path, json)) = self.file.into_iter().next() {
            if let Err(why) = check_key_set(&algorithms, json.as_bytes()) {
                read.refuse(name, format!("the file {why}"));
                return None;
            }
            return Some((AuthKey::KeySetFile { path, json }, algorithms));
        }
        let plain = self.danger_plain_http;
        if let Some(url) = self.url.into_iter().next() {
            check_encrypted(read, name, &url, plain)?;
            let key = AuthKey::KeySetUrl { url: url.to_string(), danger_plain_http: plain };
            return Some((key, algorithms));
        }
        let Some(issuer) = issuer else {
            read.refuse(
                name,
                "is true, and there is no auth.issuer to be asked; expected the issuer's URL there, or \
                 auth.jwks_url in place of this"
                    .into(),
            );
            return None;
        };
        match web::upstream_url(issuer) {
            Ok(url) if url.query().is_none() => {
                check_encrypted(read, "auth.issuer", &url, plain)?;
            }
            refused => {
                let why = refused.err().unwrap_or_else(|| "has a query".into());
                let problem = format!(
                    "{why}, so auth.discovery can't ask it; expected auth.jwks_url in place of that"
                );
                read.refuse("auth.issuer", problem);
                return None;
            }
        }
        Some((AuthKey::Discovery { danger_plain_http: plain }, algorithms))
    }
}

fn check_encrypted(
    read: &mut SettingsReader<'_>,
    name: &'static str,
    url: &Uri,
    danger_plain_http: bool,
) -> Option<()> {
    if url.scheme_str() == Some("https") || danger_plain_http || web::is_local(url) {
        return Some(());
    }
    let problem = "is http, so whoever is on the way could sign for every user; expected https, or \
                   where nobody is on the way auth.danger_plain_http = true";
    read.refuse(name, problem.into());
    None
}

/// Gives what is allowed but probably not meant of a key set, as setting and text.
pub(super) fn notes(key: &AuthKey, issuer: Option<&str>) -> Vec<(&'static str, String)> {
    let mut notes = Vec::new();
    let (is_plain, danger) = match key {
        AuthKey::KeySetUrl { url, danger_plain_http } => (is_plain(url), *danger_plain_http),
        AuthKey::Discovery { danger_plain_http } => {
            (issuer.is_some_and(is_plain), *danger_plain_http)
        }
        AuthKey::KeySetFile { .. } | AuthKey::PublicKey { .. } | AuthKey::Secret(_) => {
            (false, false)
        }
    };
    if danger {
        let text = if is_plain {
            "whoever can answer for the host of the key set can sign for every user"
        } else {
            "has no effect: the key set comes by https, or from this machine"
        };
        notes.push(("auth.danger_plain_http", text.to_owned()));
    }
    if issuer.is_none() && matches!(key, AuthKey::KeySetUrl { .. }) {
        let text = "is empty: whatever issuer these keys sign for is let in, and large providers sign \
                    for all their customers with the same ones";
        notes.push(("auth.issuer", text.to_owned()));
    }
    notes
}

fn is_plain(url: &str) -> bool {
    web::upstream_url(url)
        .is_ok_and(|url| url.scheme_str() != Some("https") && !web::is_local(&url))
}
