//! The program as a user meets it: arguments and environment in, output and exit code out.

#![expect(clippy::unwrap_used, reason = "what carries the tests may panic like them")]

mod adopt;
mod adopt_beside;
mod contract;
mod demo;
mod explain;
mod key_set;
mod quarantine;
mod serve;
mod shell;
mod store;
#[cfg(feature = "tls")]
mod tls;
mod user;

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// What a run of the program left behind.
struct Ran {
    code: i32,
    out: String,
    err: String,
}

/// Runs the program with these variables and no others.
fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Ran {
    let output = Command::new(env!("CARGO_BIN_EXE_chatkit-rest"))
        .args(arguments)
        .env_clear()
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    Ran {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A file that is removed when the test ends.
struct File(PathBuf);

impl File {
    fn new(content: &str) -> Self {
        let name = format!("chatkit-rest-cli-{}", uuid::Uuid::new_v4());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, content).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn help_teaches_each_command() {
    let top = run(&["--help"], &[]);
    assert_eq!((top.code, top.err.as_str()), (0, ""));
    for line in ["  chatkit-rest demo\n", "chatkit-rest check --config", "Exit codes: 0 fine"] {
        assert!(top.out.contains(line), "{}", top.out);
    }
    for (command, flags) in [
        ("adopt", &["--config", "--store", "--dry-run", "--report"][..]),
        ("check", &["--config", "--listen", "--upstream", "--store", "--fetch-keys"]),
        ("completions", &["bash", "elvish", "fish", "powershell", "zsh"]),
        ("config", &["schema"]),
        ("man", &["--directory"]),
        ("demo", &["--listen", "--openai", "--base-url", "--model", "OPENAI_API_KEY"]),
        ("explain", &["--data", "--header", "--user", "--first", "--config"]),
        ("migrate", &["--print", "--from", "--config", "--store"]),
        ("openapi", &["--config"]),
        ("quarantine", &["list", "release", "delete", "--config", "--store"]),
        ("serve", &["--config", "--listen", "--upstream", "--store"]),
        ("store", &["copy"]),
        ("token", &["--sub", "--service", "--ttl", "--claim", "--config"]),
        ("user", &["block", "unblock", "list", "--config", "--store"]),
    ] {
        assert!(top.out.contains(&format!("\n  {command} ")), "{command}");
        let help = run(&[command, "--help"], &[]);
        assert_eq!(help.code, 0, "{command}");
        assert!(help.out.contains("Example:\n  "), "{command} has no example");
        assert!(help.out.contains(&format!("chatkit-rest {command}")), "{command}");
        for flag in flags {
            assert!(help.out.contains(flag), "{command} {flag}");
        }
    }
    assert_eq!(
        run(&["--version"], &[]).out,
        concat!("chatkit-rest ", env!("CARGO_PKG_VERSION"), "\n")
    );
}

#[test]
fn wrong_usage_is_2() {
    for arguments in [
        &[][..],
        &["fly"],
        &["serve", "--colour"],
        &["serve", "extra"],
        &["demo", "--listen", "nowhere"],
        &["demo", "--listen", "0.0.0.0:0"],
        &["token"],
        &["token", "--sub", "ada", "--ttl", "soon"],
        &["token", "--sub", "ada", "--claim", "novalue"],
    ] {
        let ran = run(arguments, &[]);
        assert_eq!(ran.code, 2, "{arguments:?}");
        assert!(ran.out.is_empty() && !ran.err.is_empty(), "{arguments:?}");
    }
    let ran = run(&["token"], &[]);
    assert!(
        ran.err.contains("--sub <USER>") && ran.err.contains("--service <NAME>"),
        "{}",
        ran.err
    );
    assert_eq!(run(&["token", "--sub", "ada", "--service", "support"], &[]).code, 2);
}

#[test]
fn check_tells_what_is_set_and_where() {
    let file = File::new("[limits]\nmax_sessions = 3\n[auth]\nanonymous_user = \"ada\"\n");
    let ran = run(
        &["check", "--config", file.path(), "--store", "memory:", "--listen", "127.0.0.1:0"],
        &[("CHATKIT_REST__AUTH__SECRET", SECRET)],
    );
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let path = file.path();
    for line in [
        "listen = \"127.0.0.1:0\" (flag --listen)".to_owned(),
        "auth.secret = (hidden) (environment variable CHATKIT_REST__AUTH__SECRET)".into(),
        "store.url = \"memory:\" (flag --store)".into(),
        format!("limits.max_sessions = 3 (file {path}, line 2)"),
        format!("note: auth.anonymous_user (file {path}, line 4): has no effect with auth.mode"),
        "The configuration is fine: 5 settings are set, the others are at their defaults.".into(),
    ] {
        assert!(ran.out.contains(&line), "{line}\n\nnot in\n\n{}", ran.out);
    }
}

#[test]
fn check_and_serve_report_every_fault_and_no_secret() {
    let file = File::new(
        "[auth]\nsecret = \"planted\"\nsecert = \"planted\"\n[upstream]\nurl = \"http://u:planted@h/\"\n",
    );
    let variables = [
        ("CHATKIT_REST__STORE__URL", "postgresql+asyncpg://u:planted@h/d"),
        ("CHATKIT_REST__AUTH__SECRET_FILE", "planted"),
        ("CHATKIT_REST__OPENAI__API_KEYS", "planted"),
        ("CHATKIT_REST__AUTH__PASSWORD", "planted"),
        ("CHATKIT_REST__LISTEN", "here"),
    ];
    for command in ["check", "serve", "token"] {
        let mut arguments = vec![command, "--config", file.path()];
        if command == "token" {
            arguments.extend(["--sub", "ada"]);
        }
        let ran = run(&arguments, &variables);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{command}");
        for part in [
            "error: auth.secert (file ",
            "line 3): not a setting",
            "did you mean auth.secret?",
            "error: upstream.url (file ",
            "error: store.url (environment variable CHATKIT_REST__STORE__URL)",
            "error: auth.secret_file (environment variable CHATKIT_REST__AUTH__SECRET_FILE)",
            "error: openai.api_keys (",
            "error: listen (environment variable CHATKIT_REST__LISTEN): \"here\" is not an IP address with a port",
            "\n7 faults in the configuration.\n",
        ] {
            assert!(ran.err.contains(part), "{part}\n\nnot in\n\n{}", ran.err);
        }
        assert!(!ran.err.contains("planted"), "{}", ran.err);
    }
}

#[test]
fn check_refuses_what_serve_would() {
    let ran = run(
        &["check", "--store", "memory:"],
        &[("CHATKIT_REST__AUTH__SECRET", SECRET), ("CHATKIT_REST__AUTH__LEEWAY", "11m")],
    );
    assert_eq!((ran.code, ran.out.as_str()), (2, ""));
    assert!(ran.err.contains("auth.leeway (") && ran.err.contains("10m"), "{}", ran.err);
}

#[test]
fn a_gateway_without_a_key_does_not_start() {
    let ran = run(&["serve"], &[]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("openssl rand -hex 32") && ran.err.contains("chatkit-rest demo"));
}

#[test]
fn a_token_is_what_the_configuration_verifies() {
    let variables = [
        ("CHATKIT_REST__AUTH__SECRET", SECRET),
        ("CHATKIT_REST__AUTH__ALGORITHMS", "HS512,HS256"),
        ("CHATKIT_REST__AUTH__ISSUER", "me"),
        ("CHATKIT_REST__AUTH__AUDIENCE", "you"),
        ("CHATKIT_REST__AUTH__USER_CLAIM", "uid"),
    ];
    let claims = ["--claim", "plan=pro", "--claim", "roles=[\"admin\"]", "--claim", "level=3"];
    let ran = run(&[&["token", "--sub", "ada", "--ttl", "2h"], &claims[..]].concat(), &variables);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let token = ran.out.strip_suffix('\n').unwrap();

    let key = jsonwebtoken::DecodingKey::from_secret(SECRET.as_bytes());
    let mut rules = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::HS512);
    rules.set_issuer(&["me"]);
    rules.set_audience(&["you"]);
    let claims = jsonwebtoken::decode::<Value>(token, &key, &rules).unwrap().claims;
    assert_eq!(claims["uid"], "ada");
    assert_eq!(claims["plan"], "pro");
    assert_eq!(claims["roles"][0], "admin");
    assert_eq!(claims["level"], 3);
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 7200);

    let other = jsonwebtoken::DecodingKey::from_secret(b"another");
    assert!(jsonwebtoken::decode::<Value>(token, &other, &rules).is_err());
}

#[test]
fn a_token_has_the_type_that_is_asked_for() {
    for (setting, typ) in [
        ("", "JWT"),
        ("any", "JWT"),
        ("at+jwt", "at+jwt"),
        ("application/x+jwt", "application/x+jwt"),
    ] {
        let variables =
            [("CHATKIT_REST__AUTH__SECRET", SECRET), ("CHATKIT_REST__AUTH__TOKEN_TYPE", setting)];
        let ran = run(&["token", "--sub", "ada"], &variables);
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{setting}");
        let header = jsonwebtoken::decode_header(ran.out.trim()).unwrap();
        assert_eq!(header.typ.as_deref(), Some(typ), "{setting}");
    }
}

#[test]
fn a_token_is_refused_where_it_could_not_be_verified() {
    let pem = File::new(include_str!("../../fixtures/keys/rsa.public.pem"));
    for (variables, reason) in [
        (
            &[
                ("CHATKIT_REST__AUTH__ALGORITHMS", "RS256"),
                ("CHATKIT_REST__AUTH__PUBLIC_KEY_FILE", pem.path()),
            ][..],
            "only the holder of the private key can make one",
        ),
        (
            &[("CHATKIT_REST__AUTH__MODE", "none"), ("CHATKIT_REST__AUTH__ANONYMOUS_USER", "ada")],
            "requests need no token",
        ),
        (&[], "openssl rand -hex 32"),
    ] {
        let ran = run(&["token", "--sub", "ada"], variables);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""));
        assert!(ran.err.contains(reason), "{}", ran.err);
    }
    let variables = [("CHATKIT_REST__AUTH__SECRET", SECRET)];
    let ran = run(&["token", "--sub", "ada", "--claim", "exp=1"], &variables);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("set by --sub or --ttl"));
    assert_eq!(run(&["token", "--sub", ""], &variables).code, 2);
}
