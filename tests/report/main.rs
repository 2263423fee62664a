//! `tests/run.sh` over what `cargo test` printed once, in `logs`: it may excuse nothing but what was
//! skipped.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test ends where an expectation fails")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What is missing.
const CHROMIUM: &str = "chromium: no browser here";

/// What the end says beside `FAILED:`, where one was skipped.
const SKIPPED: &str = "\
MISSING:
chromium: no browser here
SKIPPED for it, so many tests:
      1 chromium: no browser here
";

/// A project in which the script finds nothing but what it calls.
fn project(name: &str, missing: Option<&str>) -> PathBuf {
    let project = Path::new(env!("CARGO_TARGET_TMPDIR")).join("report").join(name);
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    for script in ["run.sh", "report/report.awk"] {
        write(
            &project.join("tests").join(script),
            &fs::read_to_string(tests.join(script)).unwrap(),
        );
    }
    let (servers, readers) = (["tests/live", "tests/postgres"], ["tests/openapi", "tests/browser"]);
    for setup in servers.into_iter().chain(readers).chain(["tests/readme", "packaging"]) {
        write(&project.join(setup).join("setup.sh"), "#!/usr/bin/env bash\n");
    }
    if let Some(why) = missing.and_then(|line| line.split(": ").nth(1)) {
        let says = format!("#!/usr/bin/env bash\necho '{why}' >&2\nexit 1\n");
        write(&project.join("tests/browser/setup.sh"), &says);
    }
    write(&project.join("bin/cargo"), "#!/usr/bin/env bash\ncat \"$LOG\"\nexit \"$STATUS\"\n");
    project
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Runs the script where cargo prints this log and ends with `status`. Gives whether it succeeds, and
/// what it says at the end.
fn run(log: &str, status: u8, missing: Option<&str>, ci: &str) -> (bool, String) {
    let project = project(&format!("{log}-{status}-{}{ci}", missing.is_some()), missing);
    let log = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/report/logs/{log}.log"));
    let path = format!("{}:{}", project.join("bin").display(), std::env::var("PATH").unwrap());
    let output = Command::new("bash")
        .arg(project.join("tests/run.sh"))
        .env("PATH", path)
        .env("LOG", &log)
        .env("STATUS", status.to_string())
        .env("CI", ci)
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    // Behind the log, an empty line and how long it took.
    let (_, end) = said.rsplit_once("\n\n[").unwrap();
    let (_, end) = end.split_once("] ").unwrap();
    (output.status.success(), end.to_owned())
}

#[test]
fn what_passes_and_what_is_skipped_succeeds() {
    assert_eq!(run("passed", 0, None, ""), (true, "nothing failed\n".to_owned()));
    for log in ["skipped", "skipped_not_captured"] {
        let end = format!("nothing failed\n{SKIPPED}");
        assert_eq!(run(log, 101, Some(CHROMIUM), ""), (true, end.clone()), "{log}");
        assert_eq!(run(log, 101, Some(CHROMIUM), "false"), (true, end), "{log}");
    }
}

#[test]
fn what_is_skipped_is_a_failure_where_ci_is_set() {
    let end = format!("nothing failed\n{SKIPPED}That is a failure, because CI is set.\n");
    assert_eq!(run("skipped", 101, Some(CHROMIUM), "true"), (false, end));
}

#[test]
fn a_skip_for_what_is_there_is_a_failure() {
    let end = "FAILED:\ntests/a.rs: chromium\n".to_owned();
    assert_eq!(run("skipped", 101, None, ""), (false, end));
}

#[test]
fn one_that_is_skipped_hides_no_failure() {
    let elsewhere = ["asserts", "catches", "ends", "other", "returns"]
        .map(|name| format!("tests/a.rs: {name}"));
    let elsewhere = elsewhere.join("\n");
    for (log, failed) in [
        // A line of the test's outcome that something else was printed into.
        ("broken_line", "tests/a.rs: prints"),
        // The same of a name: who it was is not known.
        ("name_lost", "tests/a.rs: 1 failed, of which 0 are named"),
        // The skip was another thread's, was not what ended the test, or is for something else.
        ("skipped_elsewhere", &*elsewhere),
        ("skipped_elsewhere_not_captured", &*elsewhere),
        (
            "crash",
            "tests/b.rs: process didn't exit successfully: `target/debug/deps/b-323c49a525c9eae4` \
             (signal: 6, SIGABRT: process abort signal)",
        ),
        (
            "crash_after_result",
            "tests/b.rs: process didn't exit successfully: `target/debug/deps/b-323c49a525c9eae4` \
             (signal: 11, SIGSEGV: invalid memory reference)",
        ),
    ] {
        let skipped = if log == "name_lost" {
            SKIPPED.replace("      1 chromium: no browser here", "      0, of those that were run")
        } else {
            SKIPPED.to_owned()
        };
        let end = format!("FAILED:\n{failed}\n{skipped}");
        assert_eq!(run(log, 101, Some(CHROMIUM), ""), (false, end), "{log}");
    }
}

#[test]
fn what_cargo_says_is_a_failure() {
    for (log, status, failed) in [
        (
            "does_not_compile",
            101,
            "error[E0425]: cannot find function `exitt` in module `std::process`\n\
             error: could not compile `p` (test \"b\") due to 1 previous error",
        ),
        ("no_such_target", 101, "error: no test target named `nosuch` in default-run packages"),
        ("passed", 101, "cargo test ended with status 101"),
        ("passed", 137, "cargo test ended with status 137"),
    ] {
        assert_eq!(run(log, status, None, ""), (false, format!("FAILED:\n{failed}\n")), "{log}");
    }
    let end = format!("FAILED:\ncargo test ended with status 137\n{SKIPPED}");
    assert_eq!(run("skipped", 137, Some(CHROMIUM), ""), (false, end));
}
