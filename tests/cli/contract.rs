//! `chatkit-rest contract run`.

use crate::run;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures");

#[test]
fn help_teaches_the_command() {
    let help = run(&["contract", "run", "--help"], &[]);
    assert_eq!(help.code, 0);
    for text in ["--base-url", "--token", "--in-process", "Examples:\n  chatkit-rest contract run"]
    {
        assert!(help.out.contains(text), "{}", help.out);
    }
}

#[test]
fn fixtures_are_run_and_counted() {
    let ran = run(&["contract", "run", FIXTURES], &[]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{}", ran.out);
    let last = ran.out.lines().last().unwrap();
    let (passed, rest) = last.split_once(" passed, ").unwrap();
    assert!(passed.parse::<u32>().unwrap() >= 60, "{last}");
    assert_eq!(rest, "0 failed, 0 skipped");
}

#[test]
fn a_difference_is_printed_and_is_1() {
    let directory = Directory::new(
        r#"{
        "description": "It doesn't hold.",
        "steps": [{"request": {"method": "GET", "path": "/sessions"},
                   "expect": {"status": 201, "json": {"$rest": "$any"}}}]
    }"#,
    );
    let ran = run(&["contract", "run", directory.path()], &[]);
    assert_eq!((ran.code, ran.err.trim()), (1, "error: 1 fixture failed"));
    let expected = "FAILED mine/one\n  step 1 (GET /sessions): status\n    expected 201 Created\n";
    assert!(ran.out.starts_with(expected), "{}", ran.out);
    assert!(ran.out.ends_with("0 passed, 1 failed, 0 skipped\n"), "{}", ran.out);
}

#[test]
fn a_bad_fixture_and_wrong_usage_are_2() {
    let directory = Directory::new(r#"{"description": "x", "steps": [{"request": {}}]}"#);
    let ran = run(&["contract", "run", directory.path()], &[]);
    assert_eq!((ran.code, ran.out.as_str()), (2, ""));
    assert!(ran.err.contains("one.json: /steps/0/request: missing field `method`"), "{}", ran.err);
    for arguments in [
        &["contract"][..],
        &["contract", "run"],
        &["contract", "run", "no/such/directory"],
        &["contract", "run", FIXTURES, "--token", "x"],
        &["contract", "run", FIXTURES, "--base-url", "https://x.example"],
        &["contract", "run", FIXTURES, "--base-url", "http://x.example", "--in-process"],
    ] {
        let ran = run(arguments, &[]);
        assert_eq!(ran.code, 2, "{arguments:?}");
        assert!(ran.out.is_empty() && !ran.err.is_empty(), "{arguments:?}");
    }
}

/// A directory with one fixture, `mine/one`.
struct Directory(std::path::PathBuf);

impl Directory {
    fn new(fixture: &str) -> Self {
        let name = format!("chatkit-rest-cli-{}", uuid::Uuid::new_v4());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(path.join("mine")).unwrap();
        std::fs::write(path.join("mine/one.json"), fixture).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
