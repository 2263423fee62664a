//! A section within a section, and certificates.

use super::*;

#[test]
fn a_section_within_a_section_is_written_in_every_way_of_toml() {
    for text in [
        "[server.tls]\nkey = 7\n",
        "[server]\ntls.key = 7\n",
        "[server]\ntls = { key = 7 }\n",
        "server.tls.key = 7\n",
    ] {
        let faults = complete().toml("x.toml", text).load().unwrap_err().to_string();
        assert!(faults.contains("server.tls.key (file x.toml, line "), "{faults}");
        assert!(faults.contains("found an integer; expected the path of a file"), "{faults}");
    }
    for (text, fault) in [
        ("[server.tls]\ncertficate = \"x\"\n", "did you mean server.tls.certificate?"),
        (
            "[server]\ntls = \"x\"\n",
            "server.tls (file x.toml, line 2): is a section: expected [server.tls]",
        ),
        ("[server.tsl]\nkey = \"x\"\n", "server.tsl (file x.toml, line 1): not a setting"),
        ("[server.tls.key]\nx = 1\n", "server.tls.key (file x.toml, line 1): found a table"),
    ] {
        let faults = complete().toml("x.toml", text).load().unwrap_err().to_string();
        assert!(faults.contains(fault), "{fault} not in {faults}");
    }
}

#[cfg(feature = "tls")]
#[test]
fn certificates_are_files_that_are_read() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/forward/tls/");
    let path = |name: &str| format!("{folder}{name}");
    let (certificate, key) = (path("server.pem"), path("server.key"));
    let with = |settings: &[(&'static str, &str)]| {
        let mut sources = complete();
        for (setting, value) in settings {
            sources = sources.set("test", setting, *value);
        }
        sources.load()
    };
    let pair = [("server.tls.certificate", &*certificate), ("server.tls.key", &key)];
    let tls = with(&pair).unwrap().config.server.tls.unwrap();
    assert_eq!(tls.certificate.certificate.to_str(), Some(&*certificate));
    assert_eq!((tls.certificate.key.to_str(), tls.client_ca), (Some(&*key), None));
    assert!(complete().load().unwrap().config.server.tls.is_none());

    // What is shown to one server is not shown to another, nor trusted there.
    let authority = path("authority.pem");
    let of_model = [
        ("upstream.url", "embedded"),
        ("embedded.responder", "openai"),
        ("embedded.base_url", "https://127.0.0.1:1/v1"),
        ("embedded.model", "m"),
        ("embedded.ca", &authority),
    ];
    let config = with(&of_model).unwrap().config;
    assert_eq!(config.upstream.ca, None);
    let ResponderConfig::OpenAi(model) = config.embedded.responder else { panic!("no model") };
    assert_eq!(model.ca.unwrap().to_str(), Some(&*authority));
    for setting in ["upstream.ca", "embedded.ca", "store.ca", "server.tls.client_ca"] {
        let faults = with(&[(setting, &*key)]).unwrap_err().to_string();
        assert!(faults.contains(setting) && faults.contains("no certificate"), "{faults}");
    }
    // Who verifies by the key set has no certificate to read it with.
    let proof_key = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/keys/ed25519.private.pem");
    let (proof_key, secret) =
        (("upstream.proof_key_file", proof_key), ("upstream.proof_secret", SECRET));
    let client_ca = ("server.tls.client_ca", &*authority);
    for (settings, is_noted) in [
        (&[client_ca, proof_key][..], true),
        (&[client_ca, secret], false),
        (&[client_ca], false),
        (&[proof_key], false),
    ] {
        let notes = with(&[&pair[..], settings].concat()).unwrap().notes;
        let is = notes.iter().any(|note| {
            note.key() == "upstream.proof_key_file" && note.to_string().contains("client_ca")
        });
        assert_eq!(is, is_noted, "{settings:?}");
    }
    // A key in the place of its file is not shown.
    let faults = with(&[("server.tls.key", "plantedplantedplanted")]).unwrap_err().to_string();
    assert!(!faults.contains("planted"), "{faults}");
}
