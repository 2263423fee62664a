//! What a token must have beside what every token has: scopes, and claims with a value.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde_json::Value;

use super::jws::UniqueMembers;

/// The most that may be required.
pub(crate) const MAX_REQUIREMENTS: usize = 32;

/// The most characters of one.
pub(crate) const MAX_REQUIREMENT_CHARS: usize = 255;

/// What begins one that is a scope.
const SCOPE: &str = "scope:";

/// Something that a token must have: `scope:chat`, `email_verified=true`, `/realm_access/roles=chat`.
///
/// - `scope:NAME`: that scope is in `scope` or `scp`, either of which may be a text with blanks between
///   its scopes (RFC 8693 section 4.2) or a list.
/// - `CLAIM=VALUE`: the claim is that text, that boolean or that integer, or a list that has it. A name
///   that begins with `/` is a JSON Pointer (RFC 6901) to what is in a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement(Kind);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Scope(String),
    Claim { name: String, value: String },
}

/// A text that is no [`Requirement`]: its text says why, as the end of a sentence that begins with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidRequirement(&'static str);

impl fmt::Display for InvalidRequirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for InvalidRequirement {}

impl FromStr for Requirement {
    type Err = InvalidRequirement;

    fn from_str(text: &str) -> Result<Self, InvalidRequirement> {
        if text.chars().count() > MAX_REQUIREMENT_CHARS {
            return Err(InvalidRequirement("has an entry of more than 255 characters"));
        }
        if text.chars().any(char::is_control) {
            return Err(InvalidRequirement("has an entry with a control character"));
        }
        if let Some(scope) = text.strip_prefix(SCOPE) {
            // RFC 6749 section 3.3.
            let is_of_scope = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\\');
            if scope.is_empty() || !scope.chars().all(is_of_scope) {
                return Err(InvalidRequirement("has an entry that names no scope after scope:"));
            }
            return Ok(Self(Kind::Scope(scope.to_owned())));
        }
        match text.split_once('=') {
            Some((name, value)) if !matches!(name, "" | "/") && !value.is_empty() => {
                Ok(Self(Kind::Claim { name: name.to_owned(), value: value.to_owned() }))
            }
            _ => Err(InvalidRequirement("has an entry that is neither scope:NAME nor CLAIM=VALUE")),
        }
    }
}

impl Requirement {
    /// Gives the scope, where it is one.
    pub fn scope(&self) -> Option<&str> {
        match &self.0 {
            Kind::Scope(scope) => Some(scope),
            Kind::Claim { .. } => None,
        }
    }

    /// Gives the claim's name and value, where it is one.
    pub fn claim(&self) -> Option<(&str, &str)> {
        match &self.0 {
            Kind::Scope(_) => None,
            Kind::Claim { name, value } => Some((name, value)),
        }
    }

    /// Gives what a client is told of it: a scope, or the name of a claim. Which value it should have
    /// is for who configures, and for the log.
    fn name(&self) -> String {
        match &self.0 {
            Kind::Scope(scope) => format!("{SCOPE}{scope}"),
            Kind::Claim { name, .. } => name.clone(),
        }
    }

    fn is_met(&self, claims: &UniqueMembers) -> bool {
        match &self.0 {
            Kind::Scope(scope) => ["scope", "scp"].iter().any(|name| match claims.get(name) {
                Some(Value::String(scopes)) => scopes.split(' ').any(|one| one == scope),
                Some(Value::Array(scopes)) => scopes.iter().any(|one| one == scope),
                _ => false,
            }),
            Kind::Claim { name, value } => match find(name, claims) {
                Some(Value::Array(several)) => several.iter().any(|one| says(one, value)),
                Some(one) => says(one, value),
                None => false,
            },
        }
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Scope(scope) => write!(f, "{SCOPE}{scope}"),
            Kind::Claim { name, value } => write!(f, "{name}={value}"),
        }
    }
}

/// Gives a claim, or what a JSON Pointer leads to in one.
fn find<'c>(name: &str, claims: &'c UniqueMembers) -> Option<&'c Value> {
    let Some(pointer) = name.strip_prefix('/') else { return claims.get(name) };
    let end = pointer.find('/').unwrap_or(pointer.len());
    let (first, rest) = pointer.split_at(end);
    claims.get(&first.replace("~1", "/").replace("~0", "~"))?.pointer(rest)
}

/// Tells whether a value is what is written in a setting.
fn says(value: &Value, word: &str) -> bool {
    match value {
        Value::String(text) => text == word,
        Value::Bool(is) => word == if *is { "true" } else { "false" },
        Value::Number(number) if number.is_i64() || number.is_u64() => number.to_string() == word,
        Value::Number(_) | Value::Null | Value::Array(_) | Value::Object(_) => false,
    }
}

/// All that is required.
#[derive(Debug, Default)]
pub(super) struct Requirements(Vec<Requirement>);

impl Requirements {
    pub(super) fn new(all: Vec<Requirement>) -> Self {
        Self(all)
    }

    /// Gives what these claims lack.
    pub(super) fn check(&self, claims: &UniqueMembers) -> Result<(), Missing> {
        let missing = || self.0.iter().filter(|requirement| !requirement.is_met(claims));
        if missing().next().is_none() {
            return Ok(());
        }
        let scopes: Vec<_> = self.0.iter().filter_map(Requirement::scope).collect();
        Err(Missing(Arc::new(Lack {
            requirements: missing().cloned().collect(),
            scope: (!scopes.is_empty()).then(|| scopes.join(" ")),
        })))
    }
}

/// What a good token lacks of what is required.
#[derive(Clone, PartialEq, Eq)]
pub struct Missing(Arc<Lack>);

#[derive(PartialEq, Eq)]
struct Lack {
    requirements: Vec<Requirement>,
    /// All scopes that are required, whichever of them it lacks.
    scope: Option<String>,
}

impl Missing {
    /// Lists what is missing, at least one.
    pub fn requirements(&self) -> &[Requirement] {
        &self.0.requirements
    }

    /// Gives the scopes that a token needs, as `WWW-Authenticate` has them (RFC 6750 section 3).
    pub(super) fn scope(&self) -> Option<&str> {
        self.0.scope.as_deref()
    }

    /// Lists what a client is told.
    pub(super) fn names(&self) -> Vec<String> {
        self.0.requirements.iter().map(Requirement::name).collect()
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, requirement) in self.0.requirements.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}{requirement}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Missing({self})")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn met(requirement: &str, claims: Value) -> bool {
        let claims: UniqueMembers = serde_json::from_value(claims).unwrap();
        let requirement = requirement.parse().unwrap();
        Requirements::new(vec![requirement]).check(&claims).is_ok()
    }

    #[test]
    fn scopes_are_words_of_a_text_or_entries_of_a_list() {
        for claims in [
            json!({"scope": "chat"}),
            json!({"scope": "openid chat read"}),
            json!({"scp": "read chat"}),
            json!({"scp": ["read", "chat"]}),
            json!({"scope": ["chat"]}),
            json!({"scope": "read", "scp": ["chat"]}),
        ] {
            assert!(met("scope:chat", claims.clone()), "{claims}");
        }
        for claims in [
            json!({}),
            json!({"scope": ""}),
            json!({"scope": "chat2 xchat Chat chat,read"}),
            json!({"scope": "a\tchat"}),
            json!({"scope": {"chat": true}}),
            json!({"scp": ["read chat"]}),
            json!({"scp": [["chat"]]}),
            json!({"scopes": "chat"}),
            json!({"scope": true}),
        ] {
            assert!(!met("scope:chat", claims.clone()), "{claims}");
        }
    }

    #[test]
    fn a_claim_says_what_is_written() {
        for (requirement, claims) in [
            ("email_verified=true", json!({"email_verified": true})),
            ("email_verified=true", json!({"email_verified": "true"})),
            ("a=false", json!({"a": false})),
            ("n=-7", json!({"n": -7})),
            ("n=7", json!({"n": "7"})),
            ("org=a=b", json!({"org": "a=b"})),
            ("roles=admin", json!({"roles": ["user", "admin"]})),
            ("https://x.example/roles=admin", json!({"https://x.example/roles": "admin"})),
            ("/realm_access/roles=chat", json!({"realm_access": {"roles": ["chat"]}})),
            ("/a~1b/0/c~0=x", json!({"a/b": [{"c~": "x"}]})),
            ("/sub=x", json!({"sub": "x"})),
        ] {
            assert!(met(requirement, claims.clone()), "{requirement} {claims}");
        }
        for (requirement, claims) in [
            ("a=true", json!({"a": false})),
            ("a=true", json!({"a": 1})),
            ("a=true", json!({"a": "True"})),
            ("a=null", json!({"a": null})),
            ("a=7", json!({"a": 7.0})),
            ("a=7.5", json!({"a": 7.5})),
            ("a=x", json!({"a": [["x"]]})),
            ("a=x", json!({"a": {"x": true}})),
            ("a=x", json!({"A": "x"})),
            ("a/b=x", json!({"a": {"b": "x"}})),
            ("/a/b=x", json!({"a": {"c": "x"}})),
            ("/a/b=x", json!({"/a/b": "x"})),
            ("a=x", json!({"a": " x"})),
        ] {
            assert!(!met(requirement, claims.clone()), "{requirement} {claims}");
        }
    }

    #[test]
    fn a_requirement_is_a_scope_or_a_claim() {
        for text in
            ["scope:chat", "scope:a=b", "a=b", "a==", "/a/b=c", "scope=chat", "a b=c d", "é=é"]
        {
            assert_eq!(text.parse::<Requirement>().unwrap().to_string(), text);
        }
        for text in
            ["", "scope:", "scope:a b", "scope:é", "scope:\"", "a", "=b", "a=", "/=b", "a=\n"]
        {
            assert!(text.parse::<Requirement>().is_err(), "{text}");
        }
        assert!(format!("a={}", "x".repeat(254)).parse::<Requirement>().is_err());
    }
}
