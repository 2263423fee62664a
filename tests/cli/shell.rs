//! What the program says of itself to shells, to `man` and to editors.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::run;

const COMMANDS: [&str; 14] = [
    "adopt",
    "check",
    "completions",
    "config",
    "contract",
    "demo",
    "man",
    "migrate",
    "openapi",
    "quarantine",
    "serve",
    "store",
    "token",
    "user",
];

/// Has a program read a script without running it; nothing where the program isn't there.
fn parses(program: &str, arguments: &[&str], script: &str) -> Option<bool> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    Some(child.wait().unwrap().success())
}

#[test]
fn each_shell_reads_its_completions() {
    for (shell, check) in [
        ("bash", &["-n"][..]),
        ("zsh", &["-n"]),
        ("fish", &["--no-execute"]),
        ("powershell", &[]),
        ("elvish", &[]),
    ] {
        let ran = run(&["completions", shell], &[]);
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{shell}");
        for word in COMMANDS.into_iter().chain(["config", "upstream", "dry-run"]) {
            assert!(ran.out.contains(word), "{shell} {word}");
        }
        if !check.is_empty() {
            assert_ne!(parses(shell, check, &ran.out), Some(false), "{shell}");
            let broken = format!("{}\nif (((", ran.out);
            assert_ne!(parses(shell, check, &broken), Some(true), "{shell}");
        }
    }
    assert_eq!(run(&["completions", "tcsh"], &[]).code, 2);
}

#[test]
fn the_manual_has_every_command() {
    let ran = run(&["man"], &[]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert!(ran.out.contains(".TH chatkit-rest 1"), "{}", ran.out);
    for command in COMMANDS {
        let name = format!("chatkit\\-rest\\-{command}(1)");
        assert!(ran.out.contains(&name), "{name}\n{}", ran.out);
    }
    for (words, page) in [
        (&["check"][..], "check"),
        (&["quarantine", "list"], "quarantine-list"),
        (&["config", "schema"], "config-schema"),
    ] {
        let ran = run(&[&["man"], words].concat(), &[]);
        assert_eq!((ran.code, ran.err.as_str()), (0, ""));
        assert!(ran.out.contains(&format!(".TH chatkit-rest-{page} 1")), "{page}: {}", ran.out);
        let synopsis = format!("\\fBchatkit\\-rest {}\\fR", words.join(" "));
        assert!(ran.out.contains(&synopsis), "{synopsis}: {}", ran.out);
    }
    for words in [&["chekc"][..], &["check", "list"], &["check", "--directory", "."]] {
        let ran = run(&[&["man"], words].concat(), &[]);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{words:?}");
    }
    let ran = run(&["man", "chekc"], &[]);
    assert!(ran.err.contains("there is no \"chekc\"; expected one of adopt, check"), "{}", ran.err);
    let directory = std::env::temp_dir().join(format!("chatkit-rest-man-{}", uuid::Uuid::new_v4()));
    std::fs::create_dir(&directory).unwrap();
    let ran = run(&["man", "--directory", directory.to_str().unwrap()], &[]);
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (0, "", ""));
    for command in COMMANDS.into_iter().chain(["config-schema", "quarantine-list"]) {
        let page = directory.join(format!("chatkit-rest-{command}.1"));
        let page = std::fs::read_to_string(&page).unwrap_or_else(|_| panic!("{}", page.display()));
        assert!(page.contains(&format!(".TH chatkit-rest-{command} 1")), "{command}: {page}");
    }
    assert!(!directory.join("chatkit-rest-help.1").exists());
    std::fs::remove_dir_all(&directory).unwrap();
    let ran = run(&["man", "--directory", directory.to_str().unwrap()], &[]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("could not write the pages"), "{}", ran.err);
}

#[test]
fn the_schema_is_the_settings() {
    let ran = run(&["config", "schema"], &[]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let schema: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(schema, chatkit_rest::config::schema());
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
}
