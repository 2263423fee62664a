//! The signature algorithms that tokens may have.

use super::{hint, shown};

pub use crate::authenticate::Algorithm;

/// Gives the kind of key it takes.
fn key_kind(algorithm: Algorithm) -> &'static str {
    use Algorithm as A;
    match algorithm {
        A::EdDsa => "an Ed25519 key",
        A::Es256 => "a P-256 key",
        A::Es384 => "a P-384 key",
        A::Hs256 | A::Hs384 | A::Hs512 => "a secret",
        A::Ps256 | A::Ps384 | A::Ps512 | A::Rs256 | A::Rs384 | A::Rs512 => "an RSA key",
    }
}

/// Gives the names of algorithms that take the same key, by kinds of keys.
pub(super) fn kinds() -> impl Iterator<Item = Vec<&'static str>> {
    let mut kinds: Vec<(&str, Vec<&str>)> = Vec::new();
    for algorithm in Algorithm::ALL {
        let kind = key_kind(algorithm);
        match kinds.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, names)) => names.extend(algorithm.names()),
            None => kinds.push((kind, algorithm.names().to_vec())),
        }
    }
    kinds.into_iter().map(|(_, names)| names)
}

/// Gives the algorithms of these names, all of which must take the same key.
pub(super) fn parse_all(names: &[&str]) -> Result<Vec<Algorithm>, String> {
    let mut all: Vec<Algorithm> = Vec::new();
    for name in names {
        let Ok(algorithm) = name.parse() else {
            let shown = shown::entry(name);
            if name.eq_ignore_ascii_case("Ed448") {
                return Err(format!("has {shown}; the only Edwards curve here is Ed25519"));
            }
            let known = Algorithm::ALL.into_iter().flat_map(Algorithm::names).copied();
            return Err(match hint::nearest(name, known) {
                Some(near) => format!("has {shown} (did you mean {near:?}?)"),
                None => format!("has {shown}, which is none that is accepted"),
            });
        };
        if !all.contains(&algorithm) {
            all.push(algorithm);
        }
    }
    match all.split_first() {
        None => Err("is empty: no token could be verified".into()),
        Some((first, rest)) => {
            match rest.iter().find(|other| key_kind(**other) != key_kind(*first)) {
                None => Ok(all),
                Some(other) => Err(format!(
                    "mixes {}, which takes {}, with {}, which takes {}; one key can't serve \
                         both",
                    first.as_str(),
                    key_kind(*first),
                    other.as_str(),
                    key_kind(*other),
                )),
            }
        }
    }
}
