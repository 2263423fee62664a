//! The binary, serving with the embedded server, without limits per user.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, LazyLock, Mutex};

/// The key of a service, and the setting that lets its holder in.
pub(crate) static KEY: LazyLock<(String, String)> = LazyLock::new(|| {
    let output = command_without_keys().args(["token", "--service", "test"]).output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let after = |prefix: &str| {
        let mut lines = printed.lines().filter_map(|line| line.trim().strip_prefix(prefix));
        lines.next().unwrap_or_else(|| panic!("no {prefix} in {printed}")).to_owned()
    };
    (after("OPENAI_API_KEY="), after("CHATKIT_REST__OPENAI__API_KEYS="))
});

/// A running gateway. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Gateway {
    address: SocketAddr,
    child: Child,
    log: Arc<Mutex<String>>,
}

impl Gateway {
    pub(crate) fn start() -> Self {
        let mut child = command()
            .arg("serve")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the gateway's binary");
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        let mut address = None;
        let mut line = String::new();
        while address.is_none() && lines.read_line(&mut line).unwrap() > 0 {
            address = listening(&line);
        }
        let Some(address) = address else {
            let _status = child.wait();
            panic!("the gateway did not start: {line}")
        };
        let log = Arc::default();
        keep(lines, Arc::clone(&log));
        Self { address, child, log }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Sends a JSON body, and gives the whole answer.
    pub(crate) fn post(&self, path: &str, token: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        write!(
            stream,
            "POST {path} HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n\
             authorization: Bearer {token}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Gives what it logged so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}

/// Gives a token for `user`.
pub(crate) fn token(user: &str) -> String {
    let output = command().args(["token", "--sub", user]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Gives the binary with settings of its own and nothing else of the environment that could be one.
pub(crate) fn command() -> Command {
    let mut command = command_without_keys();
    command.env("CHATKIT_REST__OPENAI__API_KEYS", &KEY.1);
    command
}

fn command_without_keys() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chatkit-rest"));
    command.env_clear();
    for name in ["PATH", "LLVM_PROFILE_FILE"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    for (key, value) in [
        ("LISTEN", "127.0.0.1:0"),
        ("AUTH__SECRET", "a secret of these tests, long enough for HS256"),
        ("UPSTREAM__URL", "embedded"),
        ("STORE__URL", "memory:"),
        ("LIMITS__REQUESTS_PER_MINUTE", "0"),
        ("LIMITS__MAX_SESSIONS", "0"),
        ("LIMITS__MAX_MESSAGES", "0"),
    ] {
        command.env(format!("CHATKIT_REST__{key}"), value);
    }
    command.stdin(Stdio::null());
    command
}

fn keep(output: impl Read + Send + 'static, log: Arc<Mutex<String>>) {
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            let mut log = log.lock().unwrap();
            log.push_str(&line);
            log.push('\n');
        }
    });
}

/// Gives the address in a line that has `listening on http://ADDRESS`.
fn listening(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("listening on http://")?;
    let end = rest.find(|c: char| !(c.is_ascii_digit() || ".:".contains(c))).unwrap_or(rest.len());
    rest[..end].parse().ok()
}
