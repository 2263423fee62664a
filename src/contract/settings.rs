//! The configuration that a fixture's gateway runs with.

use std::collections::BTreeMap;

use super::token;
use crate::config::{Config, Faults, Sources};

/// Stands for an upstream that isn't reached by address.
pub(super) const NO_ADDRESS: &str = "http://127.0.0.1:9/chatkit";

/// Gives the configuration of `settings`, in front of the upstream at `upstream`.
pub(super) fn config(
    settings: &BTreeMap<String, String>,
    upstream: &str,
) -> Result<Config, Faults> {
    let mut all: BTreeMap<&str, &str> = [
        ("listen", "127.0.0.1:0"),
        ("upstream.url", upstream),
        ("store.url", "memory:"),
        ("auth.secret", token::SECRET),
        ("openai.api_keys", token::SERVICE),
    ]
    .into();
    if settings.get("auth.mode").is_some_and(|mode| mode == "none") {
        all.remove("auth.secret");
    }
    all.extend(settings.iter().map(|(key, value)| (key.as_str(), value.as_str())));
    let variables = all.into_iter().map(|(key, value)| (variable(key), value));
    Ok(Sources::new().environment(variables).load()?.config)
}

/// Gives what is wrong with a fixture's settings, and with which of them.
pub(super) fn fault(settings: &BTreeMap<String, String>) -> Option<(String, String)> {
    let faults = config(settings, NO_ADDRESS).err()?;
    let fault = faults.into_iter().next()?;
    let key = settings.keys().find(|key| fault.to_string().contains(&variable(key)));
    Some((key.cloned().unwrap_or_default(), fault.to_string()))
}

fn variable(key: &str) -> String {
    format!("CHATKIT_REST__{}", key.to_uppercase().replace('.', "__"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_that_is_not_known_is_named() {
        let settings = |key: &str, value: &str| BTreeMap::from([(key.into(), value.into())]);
        assert!(fault(&settings("limits.max_sessions", "2")).is_none());
        let (key, _) = fault(&settings("limits.max_sesions", "2")).unwrap();
        assert_eq!(key, "limits.max_sesions");
        let (key, _) = fault(&settings("stream.hold_for", "5")).unwrap();
        assert_eq!(key, "stream.hold_for");
    }
}
