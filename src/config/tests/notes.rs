//! What is read and has no effect, or is weak: it is noted.

use super::*;

#[test]
fn settings_without_effect_and_weak_ones_are_noted() {
    let text = "[auth]\nsecret = \"short\"\nanonymous_user = \"ada\"\nshared_secret = \"x\"\n\
                [chat]\npath = \"/x\"\n[upstream]\npool_idle_timeout = \"9s\"\n\
                [limits]\nmax_body_bytes = 10";
    let loaded = Sources::new().toml("x.toml", text).load().unwrap();
    let notes: Vec<_> = loaded.notes.iter().map(Note::key).collect();
    assert_eq!(
        notes,
        [
            "auth.secret",
            "auth.anonymous_user",
            "auth.shared_secret",
            "upstream.pool_idle_timeout",
            "limits.max_message_chars",
            "chat.max_message_chars",
        ]
    );
    let last = loaded.notes.last().unwrap().to_string();
    assert!(last.contains("does not fit in limits.max_body_bytes (10)"), "{last}");
    assert!(complete().load().unwrap().notes.is_empty());

    let keys = |set: &str| {
        let text = format!("auth.secret = \"{}\"\n[openai]\n{set}", "x".repeat(32));
        let notes = Sources::new().toml("x.toml", text).load().unwrap().notes;
        notes.iter().map(|note| note.key().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(keys("enabled = true\npath = \"/y\""), ["openai.enabled"]);
    assert_eq!(keys("path = \"/y\""), ["openai.path"]);
    let key = format!("api_keys = [{{ name = \"a\", sha256 = \"{}\" }}]", "0".repeat(64));
    assert_eq!(keys(&format!("enabled = true\n{key}")), [""; 0]);
}

#[test]
fn an_upstream_that_cannot_tell_who_calls_is_noted() {
    let noted = |settings: &[(&'static str, &str)]| {
        let all = settings.iter();
        let sources =
            all.fold(complete(), |sources, (key, value)| sources.set("test", key, *value));
        let notes = sources.load().unwrap().notes;
        notes.iter().map(|note| (note.key().to_owned(), note.to_string())).collect::<Vec<_>>()
    };
    let keys = |settings: &[(&'static str, &str)]| {
        noted(settings).into_iter().map(|(key, _)| key).collect::<Vec<_>>()
    };
    let of = |url| ("upstream.url", url);
    for here in
        ["http://127.9.9.9:1/", "http://localhost:8000/chatkit", "http://[::1]/", "embedded"]
    {
        assert_eq!(keys(&[of(here)]), [""; 0], "{here}");
    }
    let (plain, encrypted) = (of("http://chat.example/chatkit"), of("https://10.0.0.1/chatkit"));
    for (url, is_encrypted) in [(plain, false), (encrypted, true)] {
        let said = noted(&[url]);
        assert_eq!(said[0].0, "upstream.url");
        assert_eq!(said[0].1.contains("not encrypted"), !is_encrypted, "{}", said[0].1);
        assert!(said[0].1.contains("upstream.proof_secret"));
    }
    let (secret, headers) =
        (("upstream.proof_secret", SECRET), ("upstream.headers", "x-api-key=k"));
    assert_eq!(keys(&[plain, secret]), [""; 0]);
    assert_eq!(keys(&[plain, ("upstream.forward_authorization", "true")]), [""; 0]);
    assert_eq!(keys(&[encrypted, headers]), [""; 0]);
    assert_eq!(keys(&[plain, headers]), ["upstream.headers"], "it is read on the way");

    assert_eq!(
        keys(&[of("embedded"), secret, headers]),
        ["upstream.proof_secret", "upstream.headers"]
    );
    assert_eq!(keys(&[("upstream.proof_audience", "a")]), ["upstream.proof_audience"]);
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/keys");
    let file = format!("{folder}/ed25519.public.pem");
    let published = ("upstream.proof_published_key_file", &*file);
    assert_eq!(keys(&[published]), ["upstream.proof_published_key_file"]);
    assert_eq!(keys(&[secret, published]), ["upstream.proof_published_key_file"]);
}

#[test]
fn limits_of_what_there_never_is_room_for_are_noted() {
    let noted = |settings: &[(&'static str, &str)]| {
        let all = settings.iter();
        let sources =
            all.fold(complete(), |sources, (key, value)| sources.set("test", key, *value));
        let notes = sources.load().unwrap().notes;
        notes.iter().map(|note| (note.key().to_owned(), note.to_string())).collect::<Vec<_>>()
    };
    let (all, user) = ("limits.max_buffered_bytes", "limits.max_buffered_bytes_per_user");
    let (body, audio) = ("limits.max_body_bytes", "limits.max_audio_bytes");
    let reply = "upstream.max_reply_bytes";
    for (settings, budget, expected) in [
        (&[(user, "2000000")][..], user, &[reply, audio][..]),
        (&[(all, "2000000")], all, &[reply, audio]),
        (&[(all, "2000000"), (body, "3000000")], all, &[reply, body, audio]),
        (&[(all, "2000000"), (user, "1500000")], user, &[reply, audio]),
        (&[(reply, "67108864")], user, &[]),
        (&[(reply, "67108865")], user, &[reply]),
        // A third more, and what may be around it.
        (&[(audio, "49545216")], user, &[]),
        (&[(audio, "49545217")], user, &[audio]),
    ] {
        let said = noted(settings);
        let keys: Vec<_> = said.iter().map(|(key, _)| key).collect();
        assert_eq!(keys, expected, "{settings:?}");
        assert!(said.iter().all(|(_, text)| text.contains(&format!("fit in {budget} ("))));
    }
}

#[test]
fn a_public_address_that_is_told_to_nobody_is_noted() {
    let noted = |settings: &[(&'static str, &str)]| {
        let all = settings.iter();
        let sources =
            all.fold(complete(), |sources, (key, value)| sources.set("test", key, *value));
        let notes = sources.load().unwrap().notes;
        notes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    let url = ("server.public_url", "https://chat.example.org");
    let upstream = ("upstream.url", "http://127.0.0.1:8000/chatkit");
    assert_eq!(noted(&[url, upstream]), "");
    let text = noted(&[url, upstream, ("upstream.forwarded", "false")]);
    assert!(text.contains("server.public_url (set by test): has no effect without upstream.forw"));
    let text = noted(&[url, ("upstream.url", "embedded")]);
    assert!(text.contains("has no effect on the built-in server"));
    for (url, twice) in [
        ("https://chat.example.org/api/v1/chatkit", true),
        ("https://chat.example.org/ai/api/v1/chatkit/", true),
        ("https://chat.example.org/api/v1", false),
        ("https://chat.example.org/ai", false),
        ("https://v1/chatkit", false),
    ] {
        let text = noted(&[("server.public_url", url), upstream]);
        assert_eq!(text.contains("ends with rest.prefix (/api/v1/chatkit)"), twice, "{url} {text}");
    }
}

#[test]
fn what_another_mode_has_no_use_for_is_noted_unless_it_is_the_default() {
    let noted = |text: &str| {
        let loaded = Sources::new().toml("x.toml", format!("[auth]\n{text}")).load();
        let notes = loaded.unwrap_or_else(|faults| panic!("{faults}")).notes;
        let idle = notes.iter().filter(|note| note.to_string().contains("has no effect"));
        idle.map(|note| note.key().to_owned()).collect::<Vec<_>>()
    };
    let none = "mode = \"none\"\nalgorithms = [\"HS512\"]\nsecret = \"x\"\nissuer = \"x\"\n\
                audience = \"x\"\nuser_claim = \"uid\"\nuser = \"{sub}\"\n\
                require = [\"a=b\"]\ntoken_type = \"at+jwt\"\nleeway = \"1s\"\n\
                cookie = \"c\"\ndanger_short_secret = true";
    assert_eq!(
        noted(none),
        [
            "auth.danger_short_secret",
            "auth.algorithms",
            "auth.secret",
            "auth.issuer",
            "auth.audience",
            "auth.user_claim",
            "auth.user",
            "auth.require",
            "auth.token_type",
            "auth.leeway",
            "auth.cookie",
        ]
    );
    let same = "mode = \"none\"\nalgorithms = [\"HS256\"]\nsecret = \"\"\nissuer = \"\"\n\
                leeway = \"60s\"\ndanger_short_secret = false";
    assert_eq!(noted(same), [""; 0]);
    let jwt =
        format!("secret = \"{SECRET}\"\nshared_secret = \"\"\nanonymous_user = \"anonymous\"");
    assert_eq!(noted(&jwt), [""; 0]);
}

#[test]
fn permission_for_a_short_secret_is_noted_beside_a_long_one() {
    let noted = |more: &[(&'static str, &str)]| {
        let set = Sources::new().set("test", "auth.danger_short_secret", "true");
        let set = more.iter().fold(set, |set, (key, value)| set.set("test", key, *value));
        let notes = set.load().unwrap_or_else(|faults| panic!("{faults}")).notes;
        notes.iter().any(|note| note.key() == "auth.danger_short_secret")
    };
    let none = ("auth.mode", "none");
    let pem = TemporaryFile::new(RSA_PUBLIC);
    let pem = ("auth.public_key_file", pem.path.to_str().unwrap());
    for (more, is) in [
        (&[("auth.secret", SECRET)][..], true),
        (&[("auth.secret", SECRET), ("auth.algorithms", "HS512")], false),
        (&[("auth.secret", "short")], false),
        (&[("auth.algorithms", "RS256"), pem], true),
        (&[none], true),
        (&[none, ("auth.shared_secret", "0123456789abcdef")], true),
        (&[none, ("auth.shared_secret", "0123456789abcde")], false),
    ] {
        assert_eq!(noted(more), is, "{more:?}");
    }
}
