//! TLS without a proxy in front, as it is pasted.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::book::blocks;
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

#[test]
fn a_certificate_is_made_shown_and_trusted() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("tls-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let blocks = blocks(section("tls"));
    let [make, serve, ask] = &blocks[..] else { panic!("{} blocks", blocks.len()) };
    let created = shell(&folder, &make.code).output().unwrap();
    assert!(created.status.success(), "{}", String::from_utf8_lossy(&created.stderr));

    // The shell gives its place to the program, so that this ends it.
    let serve = serve.code.replace("\nchatkit-rest", "\nexec chatkit-rest");
    let mut serving = shell(&folder, &serve)
        .env("CHATKIT_REST__AUTH__SECRET", "0123456789abcdef0123456789abcdef")
        .env("CHATKIT_REST__LISTEN", "127.0.0.1:0")
        .env("CHATKIT_REST__STORE__URL", "memory:")
        .env("CHATKIT_REST__LOG__FORMAT", "json")
        .stderr(Stdio::piped())
        .spawn()
        .map(Running)
        .unwrap();
    let lines = BufReader::new(serving.0.stderr.take().unwrap()).lines();
    let said = "listening on https://127.0.0.1:";
    let port = lines.map(Result::unwrap).find_map(|line| {
        let (_, rest) = line.split_once(said)?;
        Some(rest.chars().take_while(char::is_ascii_digit).collect::<String>())
    });
    let ask = ask.code.replace(":8080", &format!(":{}", port.unwrap()));
    let asked = shell(&folder, &ask).output().unwrap();
    let (out, err) =
        (String::from_utf8_lossy(&asked.stdout), String::from_utf8_lossy(&asked.stderr));
    assert!(asked.status.success(), "{err}");
    assert!(out.contains("\"ok\"") && err.is_empty(), "{out} {err}");
    // And by nobody who doesn't know it.
    let refused = shell(&folder, &ask.replace("--cacert server.pem ", "")).output().unwrap();
    assert_eq!(refused.status.code(), Some(60), "{}", String::from_utf8_lossy(&refused.stderr));
    drop(serving);
    std::fs::remove_dir_all(&folder).unwrap();
}
