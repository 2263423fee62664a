//! Variables of the environment: which are settings, and which nearly.

use std::path::Path;

use super::*;

#[test]
fn a_single_underscore_is_noted() {
    let loaded = complete()
        .environment([("CHATKIT_REST_STORE_URL", "memory:"), ("CHATKIT_REST_PORT", "tcp://x")])
        .load()
        .unwrap();
    let notes: Vec<_> = loaded.notes.iter().map(ToString::to_string).collect();
    assert_eq!(
        notes,
        ["store.url (environment variable CHATKIT_REST_STORE_URL): not looked at; the variable's \
          name is CHATKIT_REST__STORE__URL"]
    );
}

#[test]
fn names_that_are_nearly_those_of_settings_are_noted_and_others_are_not() {
    for (name, key) in [
        ("CHATKIT_REST_LISTEN", Some("listen")),
        ("CHATKIT_REST_LISTNE", Some("listen")),
        ("chatkit_rest__listen", Some("listen")),
        ("CHATKIT-REST__LISTEN", Some("listen")),
        ("CHATKITREST__LISTEN", Some("listen")),
        ("CHATKIT__UPSTREAM__URL", Some("upstream.url")),
        ("CHATKIT_REST.UPSTREAM.URL", Some("upstream.url")),
        ("CHATKIT_REST_UPSTREAM__URI", Some("upstream.url")),
        ("CHAT_KIT_REST__STORE__URL", Some("store.url")),
        ("CHATKIT_REST_PREFIX", Some("rest.prefix")),
        ("CHATKIT_REST_AUTH_SECERT", Some("auth.secret")),
        ("CHATKIT_REST_UPSTREAM", Some("upstream.url")),
        ("CHATKIT_REST_STORE", Some("store.url")),
        ("CHATKIT_REST_HOST", Some("listen")),
        ("CHATKIT_REST_ADDR", Some("listen")),
        // A client's.
        ("CHATKIT_REST_API_KEY", None),
        ("CHATKIT_REST_BASE_URL", None),
        ("CHATKIT_REST_MODEL", None),
        // As Kubernetes has them for a service of that name, and others for themselves.
        ("CHATKIT_REST_PORT", None),
        ("CHATKIT_REST_PORT_8080_TCP", None),
        ("CHATKIT_REST_PORT_8080_TCP_ADDR", None),
        ("CHATKIT_REST_SERVICE_HOST", None),
        ("CHATKIT_REST_SERVICE_PORT", None),
        ("CHATKIT_REST_SERVICE_PORT_HTTP", None),
        ("CHATKIT_REST_VENV", None),
        ("CHATKIT_REST_URL", None),
        ("CHATKIT_REST_", None),
        ("CHATKIT_API_KEY", None),
        ("CHATGPT_LISTEN", None),
        ("LISTEN", None),
    ] {
        let loaded = complete().environment([(name, "planted")]).load().unwrap();
        let notes: Vec<_> = loaded.notes.iter().map(Note::key).collect();
        assert_eq!(notes, key.into_iter().collect::<Vec<_>>(), "{name}");
        if let Some(key) = key {
            let right = format!("CHATKIT_REST__{}", key.replace('.', "__").to_uppercase());
            let note = loaded.notes[0].to_string();
            assert!(note.ends_with(&right) && note.contains(name), "{note}");
            assert!(!note.contains("planted"), "{note}");
        }
    }
    for (port, noted) in [("8080", 1), ("tcp://10.0.0.1:8080", 0)] {
        let loaded = complete().environment([("CHATKIT_REST_PORT", port)]).load().unwrap();
        assert_eq!(loaded.notes.len(), noted, "{port}");
    }
    let faults = Sources::new().environment([("CHATKIT_REST_AUTH_SECRET", "planted")]).load();
    let said = faults.unwrap_err().to_string();
    assert!(said.contains("the variable's name is CHATKIT_REST__AUTH__SECRET"), "{said}");
    assert!(!said.contains("planted"), "{said}");
}

/// Gives the texts below a folder that people read, without what was installed there.
fn texts(folder: &Path, texts: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if name.starts_with('.') || name == "node_modules" {
            continue;
        }
        if path.is_dir() {
            self::texts(&path, texts);
        } else if let Ok(text) = std::fs::read_to_string(&path) {
            texts.push(text);
        }
    }
}

#[test]
fn no_variable_that_a_reader_is_told_of_is_taken_for_another() {
    const BEGIN: &str = "CHATKIT_REST_";
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut told = vec![std::fs::read_to_string(root.join("README.md")).unwrap()];
    for folder in ["src/manual", "examples"] {
        texts(&root.join(folder), &mut told);
    }
    let mut names = std::collections::BTreeSet::new();
    for text in &told {
        for (at, _) in text.match_indices(BEGIN) {
            let is_of_name = |c: &char| c.is_ascii_uppercase() || c.is_ascii_digit() || *c == '_';
            let name: String = text[at..].chars().take_while(is_of_name).collect();
            if !name.starts_with("CHATKIT_REST__") {
                names.insert(name);
            }
        }
    }
    assert!(names.contains("CHATKIT_REST_API_KEY"), "{names:?}");
    let variables = names.iter().map(|name| (name, "planted"));
    let notes = complete().environment(variables).load().unwrap().notes;
    assert!(notes.is_empty(), "{notes:?}");
}

#[test]
fn the_byte_order_mark_of_a_file_of_variables_is_noted() {
    let loaded = complete().environment([("\u{FEFF}CHATKIT_REST__STORE__URL", "memory:")]);
    let notes = loaded.load().unwrap().notes;
    assert_eq!(notes.iter().map(Note::key).collect::<Vec<_>>(), ["store.url"]);
    assert!(notes[0].to_string().ends_with("the variable's name is CHATKIT_REST__STORE__URL"));
}
