//! `auth.issuers`: several issuers side by side, each read as `[auth]` is where there is one.

use super::auth::{self, AuthConfig, JwtConfig};
use super::error::{Fault, Origin};
use super::key;
use super::layers::Layers;
use super::reader::SettingsReader;
use crate::authenticate::UserTemplate;

/// The most issuers.
pub(super) const MAX_ISSUERS: usize = 16;

const LIST: &str = "auth.issuers";

/// What of `[auth]` each issuer has for itself.
pub(super) const OF_ISSUER: [&str; 16] = [
    "issuer",
    "audience",
    "algorithms",
    "secret",
    "secret_file",
    "danger_short_secret",
    "public_key_file",
    "jwks_url",
    "jwks_file",
    "discovery",
    "danger_plain_http",
    "user_claim",
    "user",
    "require",
    "token_type",
    "leeway",
];

/// Several issuers, at least one, whose names differ.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct IssuersConfig {
    /// How the tokens of each are verified. Each has an [`issuer`](JwtConfig::issuer), and no cookie.
    pub issuers: Vec<JwtConfig>,
    /// Whether they may name the same user.
    pub danger_shared_users: bool,
    /// Cookie that may carry a token of any.
    pub cookie: Option<String>,
}

/// Reads the list; empty if there is none.
pub(super) fn read(read: &mut SettingsReader<'_>) -> Option<Vec<JwtConfig>> {
    let tables = read.tables(LIST)?;
    if tables.len() > MAX_ISSUERS {
        read.refuse(LIST, format!("has more than {MAX_ISSUERS} entries"));
        return None;
    }
    let origin = read.layers.origin(LIST);
    let mut issuers = Vec::new();
    let faults_before = read.faults.len();
    for (entry, fields) in (1..).zip(tables) {
        let mut layers = Layers::defaults();
        for (name, value) in fields {
            let is_known = OF_ISSUER.contains(&&*name);
            if let Some(key) = is_known.then(|| key::find(&format!("auth.{name}"))).flatten() {
                layers.push(key, origin.clone(), value);
            } else {
                let known = OF_ISSUER.join(", ");
                let problem = format!("entry {entry} has {name:?}; expected no other than {known}");
                read.refuse(LIST, problem);
            }
        }
        let mut own = SettingsReader { layers: &layers, faults: Vec::new() };
        let auth = auth::read(&mut own);
        for Fault { key, problem, hint, .. } in own.faults {
            let setting = key.unwrap_or_default().replace("auth.", "");
            let problem = format!("entry {entry}, {setting}: {}", without_section(&problem));
            let (key, origin) = (Some(LIST.to_owned()), origin.clone());
            read.faults.push(Fault { key, origin, problem, hint });
        }
        let Some(AuthConfig::Jwt(jwt)) = auth else { continue };
        match &jwt.issuer {
            None => {
                let problem = "has no issuer; expected the iss of its tokens, which tells them from \
                               the others'";
                read.refuse(LIST, format!("entry {entry} {problem}"));
            }
            Some(issuer) => {
                if let Some(other) =
                    issuers.iter().position(|it: &JwtConfig| it.issuer == jwt.issuer)
                {
                    let problem =
                        format!("entry {entry} has {issuer:?}, as entry {} has", other + 1);
                    read.refuse(LIST, problem);
                }
            }
        }
        issuers.push(jwt);
    }
    (read.faults.len() == faults_before).then_some(issuers)
}

/// Takes the section off the names of an issuer's settings, which have none in its table.
fn without_section(text: &str) -> String {
    let mut told = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("auth.") {
        told.push_str(before);
        let name = after.split(|c: char| !c.is_ascii_lowercase() && c != '_').next();
        let is_word = before.chars().next_back().is_none_or(|c| matches!(c, ' ' | '(' | '`'));
        if !(is_word && name.is_some_and(|name| OF_ISSUER.contains(&name))) {
            told.push_str("auth.");
        }
        rest = after;
    }
    told + rest
}

/// Gives what the ids of each issuer's users begin with; nothing if any of them can't be told. Only what
/// says it is read, and what is wrong with that is no fault.
pub(super) fn beginnings(layers: &Layers) -> Vec<String> {
    let mut read = SettingsReader { layers, faults: Vec::new() };
    if read.text("auth.mode", |mode| Ok(mode == "jwt")) != Some(true) {
        return Vec::new();
    }
    let tables = read.tables(LIST).unwrap_or_default();
    if tables.is_empty() {
        return beginning(layers).into_iter().collect();
    }
    let of_each = tables.into_iter().map(|fields| {
        let mut layers = Layers::defaults();
        for (name, value) in fields {
            if let Some(key) = key::find(&format!("auth.{name}")) {
                layers.push(key, Origin::Default, value);
            }
        }
        beginning(&layers)
    });
    of_each.collect::<Option<_>>().unwrap_or_default()
}

fn beginning(layers: &Layers) -> Option<String> {
    let mut read = SettingsReader { layers, faults: Vec::new() };
    let issuer = read.optional("auth.issuer", |text| Ok(text.to_owned()))?;
    let template = read.optional("auth.user", auth::template)?.into_iter().next();
    let template = template.unwrap_or_else(|| UserTemplate::of_claim("sub"));
    Some(template.beginning(issuer.first().map(String::as_str)))
}

/// Refuses what only one issuer could have, and issuers of whom one could vouch for another's users.
pub(super) fn check(read: &mut SettingsReader<'_>, issuers: &[JwtConfig], may_share: bool) {
    for leaf in OF_ISSUER {
        let name = format!("auth.{leaf}");
        if read.differs(&name) {
            let problem = format!(
                "set beside {LIST} ({}), each of which has its own; expected it there",
                read.layers.origin(LIST)
            );
            read.refuse(&name, problem);
        }
    }
    if may_share {
        return;
    }
    let beginnings: Vec<_> =
        issuers.iter().map(|it| it.user_template().beginning(it.issuer.as_deref())).collect();
    for (at, one) in beginnings.iter().enumerate() {
        let others = beginnings.iter().enumerate().skip(at + 1);
        let same = others.filter(|(_, other)| one.starts_with(*other) || other.starts_with(one));
        for (other, _) in same {
            read.refuse(
                LIST,
                format!(
                    "entries {} and {} may give two people one user id, so that each sees the \
                     other's conversations; expected user = \"{{iss}}|{{sub}}\" in both, or another \
                     text before {{sub}} in each, or auth.danger_shared_users = true if a user of one \
                     is meant to be the user of that id of the other",
                    at + 1,
                    other + 1
                ),
            );
        }
    }
}
