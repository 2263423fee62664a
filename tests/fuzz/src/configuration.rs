//! Configuration files.

use chatkit_rest::config::Sources;

const SECRET: &str = "kept-0123456789abcdef0123456789abcdef";

/// Checks that reading a configuration never panics, and what is said of one never has a secret in
/// it, whatever follows the secret, on its own line too.
pub fn config(data: &[u8]) {
    let Ok(rest) = std::str::from_utf8(data) else { return };
    // What is in other files is not this target's.
    if rest.contains("_file") {
        return;
    }
    let text = format!("[auth]\nsecret = \"{SECRET}\"{rest}");
    let said = match Sources::new().toml("settings", text).load() {
        Ok(loaded) => format!("{:?} {:?} {:?}", loaded.config, loaded.notes, loaded.settings),
        Err(faults) => format!("{faults} {faults:?}"),
    };
    assert!(!said.contains(SECRET), "a secret is told: {said}");
    assert!(said.len() <= 128 * 1024 + 64 * data.len(), "{} bytes are said", said.len());
}
