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

/// Gives the names of algorithms that can stand beside each other: keys of several kinds are in a key
/// set, and secrets never.
pub(super) fn kinds() -> impl Iterator<Item = Vec<&'static str>> {
    let of = |symmetric| {
        let all = Algorithm::ALL.into_iter().filter(move |it| it.is_symmetric() == symmetric);
        all.flat_map(Algorithm::names).copied().collect()
    };
    [false, true].into_iter().map(of)
}

/// Gives what is wrong with algorithms of which not all take the same key.
pub(super) fn mixed(algorithms: &[Algorithm]) -> Option<String> {
    mix(algorithms, |first, other| key_kind(first) != key_kind(other))
}

fn mix(all: &[Algorithm], differ: impl Fn(Algorithm, Algorithm) -> bool) -> Option<String> {
    let (first, rest) = all.split_first()?;
    let other = rest.iter().find(|other| differ(*first, **other))?;
    Some(format!(
        "mixes {}, which takes {}, with {}, which takes {}; one key can't serve both",
        first.as_str(),
        key_kind(*first),
        other.as_str(),
        key_kind(*other),
    ))
}

/// Gives the algorithms of these names, all of which must take a secret, or all a public key.
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
    if all.is_empty() {
        return Err("is empty: no token could be verified".into());
    }
    let mixed = mix(&all, |first, other| first.is_symmetric() != other.is_symmetric());
    mixed.map_or(Ok(all), Err)
}
