//! What signatures are checked with.

use std::path::PathBuf;

use super::AuthKey;
use crate::authenticate::{check_public_key, check_secret};
use crate::config::algorithm::{self, Algorithm};
use crate::config::meaning::Secret;
use crate::config::reader::SettingsReader;
use crate::config::{key_set, layers, secret};

/// Refuses whatever else says what signatures are checked with, beside the key set of `name`.
pub(super) fn check_alone(
    read: &mut SettingsReader<'_>,
    name: &str,
    others: &[&'static str],
    secret: &[(&'static str, Secret)],
    public_key: &[AuthKey],
) -> Option<()> {
    let others = others.iter().copied();
    let secrets = secret.iter().map(|(name, _)| *name);
    let public_keys = public_key.iter().map(|_| "auth.public_key_file");
    let mut others = others.chain(secrets).chain(public_keys);
    let Some(other) = others.next() else { return Some(()) };
    read.refuse(other, format!("set beside {name}; expected only one of the two"));
    None
}

/// Gives the key that fits the algorithms; a fault where it is missing or the other one is there
/// too.
pub(super) fn key(
    read: &mut SettingsReader<'_>,
    algorithms: &[Algorithm],
    secret: Vec<(&'static str, Secret)>,
    public_key: Vec<AuthKey>,
) -> Option<AuthKey> {
    if let Some(mixed) = algorithm::mixed(algorithms) {
        read.refuse("auth.algorithms", mixed);
        return None;
    }
    let names: Vec<_> = algorithms.iter().map(|algorithm| algorithm.as_str()).collect();
    let names = names.join(", ");
    let symmetric = algorithms.iter().all(|algorithm| algorithm.is_symmetric());
    let (secret, public_key) = (secret.into_iter().next(), public_key.into_iter().next());
    match (secret, public_key) {
        // Where one may have been meant, that is at fault, and not that there is none.
        (None, None) if may_have_said_a_key(read) => None,
        (None, None) if symmetric => {
            let (setting, is) = unset(read, &["auth.secret", "auth.secret_file"]);
            let of_issuer = match read.set_by("auth.issuer") {
                Some(_) => {
                    "for an identity provider's tokens auth.discovery = true or auth.jwks_url; "
                }
                None => "",
            };
            read.refuse(
                setting,
                format!(
                    "{is}, so no token could be made or verified; {of_issuer}{names} expects auth.secret or \
                     auth.secret_file (make a secret with `openssl rand -hex 32`), or other \
                     auth.algorithms with auth.public_key_file. To try the gateway out without \
                     any of them: `chatkit-rest demo`"
                ),
            );
            None
        }
        (None, None) => {
            let [url, file, _] = key_set::SETTINGS;
            let (setting, is) = unset(read, &["auth.public_key_file", url, file]);
            read.refuse(
                setting,
                format!(
                    "{is}, so no token could be verified; {names} expects auth.jwks_url with the key \
                     set of your identity provider, or auth.public_key_file with one key (make a key pair with `openssl genpkey -algorithm …` and \
                     `openssl pkey -pubout`). To try the gateway out without any: \
                     `chatkit-rest demo`"
                ),
            );
            None
        }
        (None, Some(_)) if symmetric => {
            read.refuse(
                "auth.algorithms",
                format!(
                    "{names} takes a secret, but only auth.public_key_file is set; expected the \
                     algorithm of that key, such as RS256 or ES256"
                ),
            );
            None
        }
        (Some(_), None) if !symmetric => {
            read.refuse(
                "auth.algorithms",
                format!(
                    "{names} takes a public key, but only auth.secret is set; expected \
                     auth.public_key_file, or HS256"
                ),
            );
            None
        }
        (Some((name, _)), Some(_)) => {
            let (unused, used) = if symmetric {
                ("auth.public_key_file", name)
            } else {
                (name, "auth.public_key_file")
            };
            let problem = format!("{names} is checked with {used}; expected only one of the two");
            read.refuse(unused, problem);
            None
        }
        (Some((setting, secret)), None) => match check_secret(secret.expose().as_bytes()) {
            Ok(()) => Some(AuthKey::Secret(secret)),
            Err(why) => {
                read.refuse(setting, why);
                None
            }
        },
        (None, Some(key)) => {
            if let AuthKey::PublicKey { pem, .. } = &key
                && let Err(why) = check_public_key(algorithms, pem.as_bytes())
            {
                read.refuse("auth.public_key_file", format!("the file {why}"));
                return None;
            }
            Some(key)
        }
    }
}

/// Tells whether a fault that was found may be all that keeps a key from being there: of a file that
/// can't be read, of a key's setting, or of a name that is nearly one's or its section's.
fn may_have_said_a_key(read: &SettingsReader<'_>) -> bool {
    const KEYS: [&str; 6] = [
        "auth.secret",
        "auth.secret_file",
        "auth.public_key_file",
        "auth.jwks_url",
        "auth.jwks_file",
        "auth.discovery",
    ];
    let of_one = |key: &str| KEYS.contains(&key);
    let meant_one = |hint: &str| {
        hint == "[auth]" || KEYS.iter().any(|key| hint == *key || hint == layers::variable(key))
    };
    read.faults
        .iter()
        .any(|fault| fault.key().is_none_or(of_one) || fault.hint().is_some_and(meant_one))
}

/// Gives which of the settings of a key that is not there is to be named, and what is wrong with it: the
/// one that was set to nothing, or the first.
fn unset<'n>(read: &SettingsReader<'_>, names: &[&'n str]) -> (&'n str, &'static str) {
    match names.iter().find(|name| read.set_by(name).is_some()) {
        Some(name) => (name, "is empty"),
        None => (names.first().copied().unwrap_or_default(), "missing"),
    }
}

pub(super) fn public_key(read: &mut SettingsReader<'_>) -> Option<Vec<AuthKey>> {
    let path = read.optional("auth.public_key_file", |text| Ok(PathBuf::from(text)))?;
    let Some(path) = path.into_iter().next() else { return Some(Vec::new()) };
    let pem = secret::key_file(read, "auth.public_key_file", &path)?;
    Some(vec![AuthKey::PublicKey { path, pem }])
}
