//! TLS without a proxy in front, as it is pasted.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::book::{Block, blocks};
use crate::section;

/// What runs until the test ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _status = self.0.wait();
    }
}

/// Makes a shell's command of a block, in which the program is found by its name.
fn shell(folder: &Path, code: &str) -> Command {
    let program = Path::new(env!("CARGO_BIN_EXE_chatkit-rest"));
    let path = std::env::var("PATH").unwrap();
    let mut command = Command::new("sh");
    command
        .args(["-c", &format!("set -eu\n{code}")])
        .current_dir(folder)
        .env("PATH", format!("{}:{path}", program.parent().unwrap().display()))
        .stdin(Stdio::null());
    command
}

/// Runs what is pasted to serve; gives its port as well.
fn serving(folder: &Path, code: &str) -> (Running, String) {
    let (running, line) = said(folder, code, &[], "listening on https://127.0.0.1:");
    (running, line.chars().take_while(char::is_ascii_digit).collect())
}

/// Runs what is pasted to serve, until its log says `words`; gives what follows them in that line.
fn said(folder: &Path, code: &str, settings: &[(&str, &str)], words: &str) -> (Running, String) {
    // The shell gives its place to the program, so that this ends it.
    let code = code.replace("\nchatkit-rest", "\nexec chatkit-rest");
    let mut running = shell(folder, &code)
        .env("CHATKIT_REST__AUTH__SECRET", "0123456789abcdef0123456789abcdef")
        .env("CHATKIT_REST__LISTEN", "127.0.0.1:0")
        .env("CHATKIT_REST__STORE__URL", "memory:")
        .env("CHATKIT_REST__LOG__FORMAT", "json")
        .envs(settings.iter().copied())
        .stderr(Stdio::piped())
        .spawn()
        .map(Running)
        .unwrap();
    let mut log = BufReader::new(running.0.stderr.take().unwrap());
    let mut line = String::new();
    while log.read_line(&mut line).unwrap() > 0 {
        if let Some((_, rest)) = line.split_once(words) {
            let rest = rest.to_owned();
            // A program whose log nobody takes would fail at it.
            std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
            return (running, rest);
        }
        line.clear();
    }
    panic!("it never said {words:?}");
}

/// Makes a folder with what the commands of a section make, the first of its blocks.
fn made(name: &str, section: &'static str) -> (PathBuf, Vec<Block>) {
    let folder =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let blocks = blocks(section);
    let created = shell(&folder, &blocks[0].code).output().unwrap();
    assert!(created.status.success(), "{}", String::from_utf8_lossy(&created.stderr));
    (folder, blocks)
}

/// A gateway before another one: what it finds there is no ChatKit server, but one that it trusts.
fn trusts(folder: &Path, port: &str, ca: &str) {
    let code = format!("\nchatkit-rest serve --upstream https://localhost:{port}/nothing");
    let settings = [("CHATKIT_REST__UPSTREAM__CA", ca)];
    let words = "the upstream does not answer like a ChatKit server: ";
    let (_running, advice) = said(folder, &code, &settings, words);
    assert!(advice.starts_with("there is nothing at the path"), "{advice}");
}

#[test]
fn a_certificate_is_made_shown_and_trusted() {
    let (folder, blocks) = made("tls", section("tls"));
    let [_, serve, ask] = &blocks[..] else { panic!("{} blocks", blocks.len()) };
    let (running, port) = serving(&folder, &serve.code);
    let ask = ask.code.replace(":8080", &format!(":{port}"));
    let asked = shell(&folder, &ask).output().unwrap();
    let (out, err) =
        (String::from_utf8_lossy(&asked.stdout), String::from_utf8_lossy(&asked.stderr));
    assert!(asked.status.success(), "{err}");
    assert!(out.contains("\"ok\"") && err.is_empty(), "{out} {err}");
    // And by nobody who doesn't know it.
    let refused = shell(&folder, &ask.replace("--cacert server.pem ", "")).output().unwrap();
    assert_eq!(refused.status.code(), Some(60), "{}", String::from_utf8_lossy(&refused.stderr));
    trusts(&folder, &port, "server.pem");
    drop(running);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn an_authority_and_a_certificate_of_it_are_made_and_trusted() {
    let (folder, _) = made("authority", section("authority"));
    let serve = blocks(section("tls")).swap_remove(1);
    let (running, port) = serving(&folder, &serve.code);
    trusts(&folder, &port, "ca.pem");
    drop(running);
    std::fs::remove_dir_all(&folder).unwrap();
}
