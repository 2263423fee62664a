//! A model behind the built-in server.

use super::*;

/// Makes a configuration with a model behind the built-in server, and these settings.
fn with_model(settings: &[(&'static str, &str)]) -> Result<Loaded, Faults> {
    let base = [
        ("upstream.url", "embedded"),
        ("embedded.responder", "openai"),
        ("embedded.base_url", "http://127.0.0.1:11434/v1"),
        ("embedded.model", "llama3.2"),
    ];
    let all = base.iter().chain(settings);
    all.fold(complete(), |sources, (key, value)| sources.set("test", key, *value)).load()
}

#[test]
fn the_key_of_a_model_comes_from_a_file_too_and_never_shows() {
    let file = TemporaryFile::new("planted-key\n");
    let path = file.path.to_str().unwrap();
    for settings in
        [("embedded.api_key_file", path), ("embedded.api_key", "planted-key")].map(|it| [it])
    {
        let loaded = with_model(&settings).unwrap();
        let key = model(&loaded.config).unwrap().api_key.as_ref().unwrap();
        assert_eq!(key.expose(), "planted-key");
        assert!(!format!("{loaded:?}").contains("planted"), "{loaded:?}");
        assert!(loaded.notes.is_empty(), "{:?}", loaded.notes);
    }
    let file = TemporaryFile::new("planted key");
    let path = file.path.to_str().unwrap();
    for (settings, problem) in [
        (&[("embedded.api_key", "planted key")][..], "embedded.api_key (set by test): has a char"),
        (&[("embedded.api_key_file", path)], "embedded.api_key_file (set by test): has a char"),
        (
            &[("embedded.api_key", "planted"), ("embedded.api_key_file", path)],
            "set beside embedded.api_key in the same layer",
        ),
        (&[("embedded.base_url", "http://u:planted@host")], "has a user or password"),
        (&[("embedded.base_url", "http://host/?key=planted")], "has a query; expected a URL such"),
        (&[("embedded.model", "a\nb")], "has a control character; expected a model's name"),
    ] {
        let faults = with_model(settings).unwrap_err();
        let text = faults.to_string();
        assert!(text.contains(problem), "{text}");
        assert!(!format!("{faults:?}").contains("planted"), "{text}");
    }
}

#[test]
fn a_model_that_answers_nobody_or_in_the_open_is_noted() {
    let notes = |loaded: Loaded| {
        let notes: Vec<_> = loaded.notes.iter().map(ToString::to_string).collect();
        notes.join("\n")
    };
    let elsewhere = with_model(&[("upstream.url", "http://127.0.0.1:8000/chatkit")]).unwrap();
    assert!(notes(elsewhere).contains("embedded.responder (set by test): has no effect"));
    let delayed = with_model(&[("embedded.token_delay", "1s")]).unwrap();
    assert!(notes(delayed).contains("embedded.token_delay (set by test): has no effect"));
    let echo = complete().set("test", "embedded.model", "llama3.2").load().unwrap();
    assert!(notes(echo).contains("embedded.model (set by test): has no effect without"));
    for (url, noted) in [
        ("http://model.example/v1", true),
        ("https://model.example/v1", false),
        ("http://localhost:1/v1", false),
        ("http://[::1]:1/v1", false),
    ] {
        let settings = [("embedded.api_key", "planted"), ("embedded.base_url", url)];
        let noted_here = notes(with_model(&settings).unwrap()).contains("unencrypted");
        assert_eq!(noted_here, noted, "{url}");
        assert_eq!(notes(with_model(&settings[1..]).unwrap()), "", "{url}");
    }
}
