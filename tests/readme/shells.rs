//! The shells that readers paste into: not only when they read a script, but when somebody sits at
//! them, with history and line editing. macOS opens such a zsh, which takes `#` for a command.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::book::{PAGES, blocks, project};

/// How a terminal pastes: as if it were typed, or in brackets if the shell asks for them.
const WAYS: [(&str, &[&str]); 5] = [
    ("typed", &["zsh", "-f", "-i"]),
    ("bracketed", &["zsh", "-f", "-i"]),
    ("typed", &["bash", "--norc", "--noprofile", "-i"]),
    ("bracketed", &["bash", "--norc", "--noprofile", "-i"]),
    ("typed", &["sh", "-i"]),
];

/// What shells say of lines that they don't take.
const COMPLAINTS: [&str; 9] = [
    "not found",
    "no matches",
    "bad pattern",
    "parse error",
    "syntax error",
    "Syntax error",
    "yntax error:",
    "event not found",
    "unexpected",
];

/// Gives zsh, and says that the tests of it are skipped where there is none.
fn zsh() -> String {
    let missing = std::env::var("CHATKIT_REST_TESTS_WITHOUT").unwrap_or_default();
    if let Some(line) = missing.lines().find(|line| line.starts_with("zsh: ")) {
        panic!("skipped: {line}");
    }
    let output = Command::new("bash")
        .arg(project().join("tests/readme/setup.sh"))
        .output()
        .expect("bash, to run tests/readme/setup.sh");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "tests/readme/setup.sh: {}\n{said}", output.status);
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Pastes a text into an interactive shell, and gives what the commands write to their standard
/// output, and the screen.
fn paste_into(mode: &str, shell: &[&str], out: &Path, text: &str) -> (String, String) {
    let mut process = Command::new("python3")
        .arg(project().join("tests/readme/paste.py"))
        .arg(mode)
        .arg(out)
        .args(shell)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("python3, to run tests/readme/paste.py");
    process.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let ran = process.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{mode} into {shell:?}: {said}");
    let screen = String::from_utf8(ran.stdout).unwrap();
    (std::fs::read_to_string(out).unwrap(), screen)
}

/// Does so in every way there is, each time with what `text` gives, and hands what came of it to
/// `check`.
pub(crate) fn paste_everywhere(mut text: impl FnMut() -> String, check: impl Fn(&str, &str)) {
    let zsh = zsh();
    let folder = std::env::temp_dir().join(format!("chatkit-rest-paste-{}", uuid::Uuid::new_v4()));
    std::fs::create_dir(&folder).unwrap();
    for (mode, shell) in WAYS {
        let mut shell = shell.to_vec();
        if shell[0] == "zsh" {
            shell[0] = &zsh;
        }
        let (output, screen) = paste_into(mode, &shell, &folder.join("out"), &text());
        let name = format!("{mode} into {shell:?}");
        for complaint in COMPLAINTS {
            assert!(!screen.contains(complaint), "{name}: {complaint}\n{screen}");
        }
        check(&name, &output);
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

/// Gives what of a shell's text somebody at a shell can't paste: where, and why.
fn faults(text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let (mut quote, mut before) = (None, '\n');
    let mut chars = text.chars().peekable();
    let mut line = 1;
    while let Some(c) = chars.next() {
        let begins = before.is_whitespace() || ";|&(".contains(before);
        match (quote, c) {
            (None | Some('"'), '\\') => {
                chars.next();
            }
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), _) if c == open => quote = None,
            (None, '#') if begins => faults.push(format!("line {line}: a comment")),
            (None | Some('"'), '!') => faults.push(format!("line {line}: an event of the history")),
            (None, '*' | '?') => faults.push(format!("line {line}: a pattern, unquoted")),
            (_, '\t') => faults.push(format!("line {line}: a tab asks for completion")),
            _ => {}
        }
        if c == '\n' {
            line += 1;
        }
        before = c;
    }
    if let Some(quote) = quote {
        faults.push(format!("a {quote} is open at the end"));
    }
    faults
}

#[test]
fn what_cannot_be_pasted_is_seen() {
    for (text, fault) in [
        ("a # b", "line 1: a comment"),
        ("a\n# it's", "line 2: a comment"),
        ("echo \"x!y\"", "line 1: an event of the history"),
        ("echo it's", "a ' is open at the end"),
        ("curl http://x/?a=b", "line 1: a pattern, unquoted"),
    ] {
        assert!(faults(text).contains(&fault.to_owned()), "{text}: {:?}", faults(text));
    }
    for text in ["a#b '#! ?' \"# ?\" \\# x", "echo \"\\\"$(x 'y')\""] {
        assert_eq!(faults(text), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn every_block_for_a_shell_can_be_pasted() {
    let mut count = 0;
    let mut check = |path: &str, text: &str| {
        for block in blocks(text).into_iter().filter(|block| block.language == "sh") {
            count += 1;
            let faults = faults(&block.code);
            assert!(faults.is_empty(), "{path}: {faults:?} in\n{}", block.code);
        }
    };
    for page in PAGES {
        check(page.path, page.text);
    }
    // An example says so in its README, or where its code begins.
    for entry in project().join("examples").read_dir().unwrap() {
        let path = entry.unwrap().path();
        let page = if path.is_dir() { path.join("README.md") } else { path };
        let Ok(text) = std::fs::read_to_string(&page) else { continue };
        let lines = text.lines().map(|line| line.strip_prefix("//! ").unwrap_or(line));
        check(&page.display().to_string(), &lines.collect::<Vec<_>>().join("\n"));
    }
    assert!(count > 40, "{count} blocks");
}

#[test]
fn every_example_of_the_program_can_be_pasted() {
    let help = |arguments: &[&str]| {
        let mut program = Command::new(env!("CARGO_BIN_EXE_chatkit-rest"));
        let ran = program.args(arguments).arg("--help").output().unwrap();
        String::from_utf8(ran.stdout).unwrap()
    };
    let top = help(&[]);
    let commands = top.split_once("Commands:\n").unwrap().1.split_once("\n\n").unwrap().0;
    let commands = commands.lines().filter_map(|line| line.split_whitespace().next());
    let mut helps: Vec<_> =
        commands.filter(|name| *name != "help").map(|name| help(&[name])).collect();
    helps.extend([top.clone(), help(&["contract", "run"])]);
    let mut count = 0;
    for help in &helps {
        for line in help.lines().filter_map(|line| line.strip_prefix("  ")) {
            if !line.contains("chatkit-rest ") || line.starts_with(' ') {
                continue;
            }
            count += 1;
            assert_eq!(faults(line), Vec::<String>::new(), "{line}");
            // Words behind it would be arguments.
            assert!(!line.contains("   "), "{line}");
        }
    }
    assert!(count > 12, "{count} examples");
}
