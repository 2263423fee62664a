//! Several issuers side by side.

use super::*;

fn of(issuer: &str, more: &str) -> String {
    format!("[[auth.issuers]]\nissuer = \"{issuer}\"\nsecret = \"{SECRET}\"\n{more}\n")
}

fn issuers(loaded: &Loaded) -> &[JwtConfig] {
    match &loaded.config.auth {
        AuthConfig::Issuers(several) => &several.issuers,
        other => panic!("{other:?}"),
    }
}

fn load(toml: &str) -> Result<Loaded, Faults> {
    Sources::new().toml("x.toml", toml).load()
}

const USER: &str = "user = \"{iss}|{sub}\"";

#[test]
fn each_issuer_is_read_as_one_is() {
    let first = of("https://a", &format!("{USER}\naudience = \"chat\"\nleeway = \"5s\""));
    let key = format!("{}/fixtures/keys/rsa.public.pem", env!("CARGO_MANIFEST_DIR"));
    let second = format!(
        "[[auth.issuers]]\nissuer = \"https://b\"\nalgorithms = [\"RS256\"]\nuser = \"b:{{sub}}\"\n\
         public_key_file = '{key}'\nrequire = [\"scope:chat\"]\n"
    );
    let loaded = load(&format!("auth.cookie = \"c\"\n{first}{second}"))
        .unwrap_or_else(|faults| panic!("{faults}"));
    let [a, b] = issuers(&loaded) else { panic!() };
    assert_eq!((a.audience.as_deref(), a.leeway), (Some("chat"), secs(5)));
    assert_eq!((b.audience.as_deref(), b.leeway), (None, secs(60)));
    assert_eq!((a.require.len(), b.require.len()), (0, 1));
    assert!(matches!(b.key, AuthKey::PublicKey { .. }));
    assert_eq!(loaded.config.auth.cookie(), Some("c"));
    let shown: Vec<_> = loaded.settings.iter().map(|it| format!("{it:?}")).collect();
    assert!(!shown.concat().contains(SECRET), "a secret shows");

    let word =
        format!("[{{ issuer = \"https://a\", secret = \"{SECRET}\", algorithms = [\"HS256\"] }}]");
    let variable = [("CHATKIT_REST__AUTH__ISSUERS", word.as_str())];
    let loaded = Sources::new().environment(variable).load().unwrap();
    assert_eq!(issuers(&loaded)[0].issuer.as_deref(), Some("https://a"));
}

#[test]
fn what_is_wrong_with_an_issuer_is_said_with_its_place() {
    let good = of("https://a", USER);
    for (toml, said) in [
        (of("", USER), "entry 1 has no issuer; expected the iss of its tokens"),
        (format!("{good}{}", of("https://a", USER)), "entry 2 has \"https://a\", as entry 1 has"),
        (
            of("https://a", "cookie = \"c\""),
            "entry 1 has \"cookie\"; expected no other than issuer,",
        ),
        (of("https://a", "leeway = 7"), "entry 1, leeway: 7 has no unit"),
        (
            of("https://a", "algorithms = [\"RS256\"]"),
            "entry 1, algorithms: RS256 takes a public key",
        ),
        (
            format!("{good}[[auth.issuers]]\nissuer = \"https://b\"\n{USER}"),
            "entry 2, secret: missing, so no token could be made or verified",
        ),
        (of("https://a", "user = \"{iss}{sub}\""), "entry 1, user: "),
        (
            of("https://a", "secret_file = \"/nowhere/x\""),
            "entry 1, secret_file: set beside secret",
        ),
        (
            format!("auth.secret = \"{SECRET}\"\n{good}"),
            "auth.secret (file x.toml, line 1): set beside auth.issuers",
        ),
        (
            format!("auth.issuer = \"x\"\n{good}"),
            "auth.issuer (file x.toml, line 1): set beside auth.issuers",
        ),
        (
            of("https://a", "").replace("secret =", "jwks_file = \"/nowhere/auth.d/x\"\n#"),
            "entry 1, jwks_file: the file \"/nowhere/auth.d/x\"",
        ),
        ("[auth]\nissuers = [7]".into(), "has entry 1, which is no table"),
        ("[auth]\nissuers = \"x\"".into(), "expected a list of tables"),
        (
            format!("listen = \"0.0.0.0:1\"\n{}", good.replace(SECRET, "short")),
            "entry 1 has a secret of 5 bytes that can be guessed",
        ),
        (good.repeat(17), "has more than 16 entries"),
    ] {
        let faults = load(&toml).unwrap_err().to_string();
        assert!(faults.contains(said), "{said}\n{faults}");
        assert!(!faults.contains(SECRET), "{faults}");
    }
}

#[test]
fn a_variable_that_is_no_line_of_toml_is_told_so() {
    for word in [r#"[{"issuer":"https://a"}]"#, "[{ issuer = \"https://a\" }"] {
        let variable = [("CHATKIT_REST__AUTH__ISSUERS", word)];
        let faults = Sources::new().environment(variable).load().unwrap_err().to_string();
        assert!(faults.contains("is no line of TOML"), "{faults}");
        assert!(!faults.contains("https://a"), "{faults}");
    }
}

#[test]
fn issuers_that_could_name_one_user_are_refused_unless_that_is_meant() {
    let two =
        |one: &str, other: &str| format!("{}{}", of("https://a", one), of("https://a/b", other));
    let meant = "auth.danger_shared_users = true\n";
    for (one, other) in [
        ("", ""),
        (USER, ""),
        (USER, "user = \"{sub}|{iss}\""),
        ("user = \"{sub}|{iss}\"", "user = \"{sub}|{iss}\""),
        ("user = \"a{sub}\"", "user = \"ab{sub}\""),
        ("user = \"x:{sub}\"", "user = \"x:{sub}\""),
        ("user_claim = \"oid\"", "user = \"b:{sub}\""),
    ] {
        let toml = two(one, other);
        let faults = load(&toml).unwrap_err().to_string();
        assert!(faults.contains("entries 1 and 2 may give two people one user id"), "{faults}");
        load(&format!("{meant}{toml}")).unwrap_or_else(|faults| panic!("{faults}"));
    }
    for (one, other) in [
        (USER, USER),
        (USER, "user = \"{iss}:{sub}\""),
        ("user = \"a:{sub}\"", "user = \"b:{sub}\""),
        (USER, "user = \"b:{sub}\""),
    ] {
        load(&two(one, other)).unwrap_or_else(|faults| panic!("{one} {other} {faults}"));
    }
    let notes = complete().toml("x.toml", meant).load().unwrap().notes;
    assert!(notes.iter().any(|note| note.key() == "auth.danger_shared_users"), "{notes:?}");
}

#[test]
fn each_may_have_a_key_set_of_its_own() {
    let text = format!(
        "[[auth.issuers]]\nissuer = \"https://a\"\n{USER}\njwks_url = \"https://a/keys\"\n\
         [[auth.issuers]]\nissuer = \"https://b\"\n{USER}\ndiscovery = true\n\
         [[auth.issuers]]\nissuer = \"http://c\"\n{USER}\njwks_url = \"http://c/keys\"\n\
         danger_plain_http = true\n"
    );
    let loaded = load(&text).unwrap_or_else(|faults| panic!("{faults}"));
    let [a, b, c] = issuers(&loaded) else { panic!() };
    assert!(matches!(&a.key, AuthKey::KeySetUrl { url, .. } if url == "https://a/keys"));
    assert!(matches!(b.key, AuthKey::Discovery { .. }));
    assert!(matches!(c.key, AuthKey::KeySetUrl { danger_plain_http: true, .. }));
    let sources: Vec<_> = [a, b, c].map(|jwt| jwt.fetch_keys().unwrap().unwrap().source()).into();
    assert_eq!(
        sources,
        ["https://a/keys", "https://b/.well-known/openid-configuration", "http://c/keys"]
    );

    let both = text.replace("discovery = true", "discovery = true\njwks_url = \"https://b/keys\"");
    let faults = load(&both).unwrap_err().to_string();
    assert!(faults.contains("entry 2, "), "{faults}");
}
