//! `chatkit-rest demo` as a reader starts it.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::shells::paste_everywhere;

/// A demo on a free port, ended with the test.
pub(crate) struct Demo {
    process: Child,
    /// Kept open: the demo may write until its end.
    _out: BufReader<ChildStdout>,
    /// The lines that a reader of the tour pastes first: who they are, and where to.
    pub(crate) variables: String,
    /// All the lines it prints.
    lines: String,
}

/// How the last line that it prints begins.
const LAST: &str = "echo 'More words";

impl Demo {
    pub(crate) fn start() -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_chatkit-rest"))
            .args(["demo", "--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(process.stdout.take().unwrap());
        let mut lines = String::new();
        while !lines.lines().any(|line| line.starts_with(LAST)) {
            assert_ne!(out.read_line(&mut lines).unwrap(), 0, "it ended after\n{lines}");
        }
        let is_variable = |line: &&str| {
            ["TOKEN=", "BOB=", "BASE=", "KEY=", "HOSTED="]
                .iter()
                .any(|variable| line.starts_with(variable))
        };
        let variables: Vec<_> = lines.lines().filter(is_variable).collect();
        let variables = variables.join("\n");
        Self { process, _out: out, variables, lines }
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        if !matches!(self.process.try_wait(), Ok(None)) {
            return;
        }
        // Not with -9: then what it keeps would stay.
        let asked = Command::new("kill").arg(self.process.id().to_string()).status();
        if !asked.is_ok_and(|status| status.success()) {
            let _gone = self.process.kill();
        }
        let _status = self.process.wait();
    }
}

/// Pastes all that the demo prints into a shell, and gives what the shell shows.
fn paste(shell: &str) -> String {
    let demo = Demo::start();
    let script = format!("set -eu\n{}", demo.lines);
    let ran = Command::new(shell).args(["-c", &script]).output().unwrap();
    assert!(ran.status.success(), "{shell}: {}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).unwrap()
}

/// Expects the answers to all that it prints, in their order.
fn assert_answers(shell: &str, mut shown: &str) {
    for piece in [
        "data: {\"type\":\"thread.created\"",
        "You said: Hello there",
        "\n200\n",
        "{\"success\":true,\"data\":{\"session_id\":",
        "You said: And again",
        "\"message_count\":4",
        "\"meta\":{\"total\":1,\"has_more\":false,\"after\":null}} 200\n",
        "{\"object\":\"list\",\"data\":[{\"id\":\"thr_",
        "HTTP/1.1 403 Forbidden",
        "HTTP/1.1 400 Bad Request",
        "\"pointer\":\"/mesage\"",
        "HTTP/1.1 502 Bad Gateway",
        "\"allow_retry\":true",
    ] {
        shown = shown.split_once(piece).unwrap_or_else(|| panic!("{shell}: {piece}\n{shown}")).1;
    }
}

#[test]
fn what_it_prints_works_when_pasted() {
    for shell in ["bash", "sh"] {
        assert_answers(shell, &paste(shell));
    }
}

#[test]
fn what_it_prints_works_when_pasted_at_a_terminal() {
    // One for each, as the answers say what is there already.
    let mut demo = None;
    paste_everywhere(|| demo.insert(Demo::start()).lines.clone(), assert_answers);
}
