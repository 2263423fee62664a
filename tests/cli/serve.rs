//! `chatkit-rest serve`: what it says at the start.

use std::io::{BufRead as _, BufReader, Lines, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStderr, Command, Stdio};

use crate::SECRET;

/// A gateway that runs; it ends with its owner.
pub(crate) struct Serving {
    child: Child,
    lines: Lines<BufReader<ChildStderr>>,
    /// What it said so far.
    log: String,
}

impl Serving {
    pub(crate) fn start(variables: &[(&str, &str)]) -> Self {
        Self::with_store("memory:", variables)
    }

    fn with_store(store: &str, variables: &[(&str, &str)]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_chatkit-rest"))
            .args(["serve", "--listen", "127.0.0.1:0", "--store", store])
            .env_clear()
            .env("CHATKIT_REST__AUTH__SECRET", SECRET)
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { child, lines, log: String::new() }
    }

    /// Gives the first line with this text that is yet to come.
    pub(crate) fn line(&mut self, text: &str) -> String {
        loop {
            let next = self.lines.next();
            assert!(next.is_some(), "{text}\n\nnot in\n\n{}", self.log);
            let line = next.unwrap().unwrap();
            self.log.extend([&line, "\n"]);
            if line.contains(text) {
                return line;
            }
        }
    }

    fn address(&mut self) -> SocketAddr {
        let line = self.line("listening on http://");
        let (_, rest) = line.split_once("http://").unwrap();
        rest.trim_end_matches(|c: char| !c.is_ascii_digit())
            .split('"')
            .next()
            .unwrap()
            .parse()
            .unwrap()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}

/// Starts a server that answers every request with this; ends with the process.
fn upstream(answer: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for tcp in listener.incoming() {
            let mut tcp = tcp.unwrap();
            let mut head = [0; 4096];
            // A probe that only connects sends nothing.
            if tcp.read(&mut head).is_ok_and(|bytes| bytes > 0) {
                let _gone = tcp.write_all(answer.as_bytes());
            }
        }
    });
    address
}

fn get(address: SocketAddr, path: &str) -> String {
    let mut tcp = TcpStream::connect(address).unwrap();
    write!(tcp, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    tcp.read_to_string(&mut answer).unwrap();
    answer
}

/// The store is of a gateway that could be reached, and may be another's.
#[test]
fn an_address_that_is_taken_is_told_before_the_store_is_made() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let file = concat!(env!("CARGO_TARGET_TMPDIR"), "/taken.db");
    for listener in ["LISTEN", "ADMIN__LISTEN"] {
        let output = Command::new(env!("CARGO_BIN_EXE_chatkit-rest"))
            .args(["serve", "--store", &format!("sqlite:{file}")])
            .env_clear()
            .env("CHATKIT_REST__AUTH__SECRET", SECRET)
            .env("CHATKIT_REST__LISTEN", "127.0.0.1:0")
            .env(format!("CHATKIT_REST__{listener}"), &address)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(&address), "{said}");
        assert!(said.contains("is taken by another") || listener != "LISTEN", "{said}");
        assert!(!std::path::Path::new(file).exists(), "{listener}");
    }
}

#[test]
fn the_start_says_what_is_served_and_what_is_wrong_behind_it() {
    let address =
        upstream("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    let url = format!("http://{address}/wrong?key=planted");
    for format in ["json", "text"] {
        let mut serving = Serving::start(&[
            ("CHATKIT_REST__UPSTREAM__URL", &url),
            ("CHATKIT_REST__LOG__FORMAT", format),
            ("CHATKIT_REST__CORS__ALLOWED_ORIGINS", "https://app.example"),
            ("CHATKIT_REST__CHAT__PATH", "/one-shot"),
        ]);
        let gateway = serving.address();
        let warning = serving.line("there is nothing at the path of upstream.url");
        assert!(warning.contains("WARN") && warning.contains("status 404"), "{warning}");
        let shown = format!("http://{address}/wrong");
        for said in [
            shown.as_str(),
            "memory: (gone with the process)",
            "/api/v1/chatkit",
            "/one-shot",
            "/v1/chatkit",
            "https://app.example",
            &format!("http://{gateway}/docs"),
        ] {
            assert!(serving.log.contains(said), "{said}\n\nnot in\n\n{}", serving.log);
        }
        assert!(!serving.log.contains("planted"), "{}", serving.log);
        // It is no reason not to be sent anything: another gateway would be no better.
        let ready = get(gateway, "/readyz");
        assert!(ready.starts_with("HTTP/1.1 200 "), "{ready}");
        let told = r#"{"status":"ready","upstream":"there is nothing at the path of upstream.url"#;
        assert!(ready.contains(told) && !ready.contains(&shown), "{ready}");
    }
}

#[test]
fn a_chatkit_server_is_recognised_and_the_admin_listener_told() {
    let address = upstream(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 28\r\n\r\n\
         {\"data\":[],\"has_more\":false}",
    );
    let url = format!("http://{address}/chatkit");
    let mut serving = Serving::start(&[
        ("CHATKIT_REST__UPSTREAM__URL", &url),
        ("CHATKIT_REST__LOG__FORMAT", "json"),
        ("CHATKIT_REST__ADMIN__LISTEN", "127.0.0.1:0"),
    ]);
    let line = serving.line("(admin.listen)");
    let (_, rest) = line.split_once("are on http://").unwrap();
    let admin = rest.split(' ').next().unwrap().parse().unwrap();
    let line = serving.line("the upstream answers like a ChatKit server");
    assert!(line.contains("INFO") && line.contains(&url), "{line}");
    assert!(get(admin, "/readyz").ends_with("{\"status\":\"ready\"}"));
    let pages = "no page of another origin may call";
    assert!(serving.log.contains(pages), "{}", serving.log);
}

#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
#[test]
fn a_second_process_on_one_file_is_told_what_holds_for_both() {
    const SHARED: &str = "session store: another process has it open as well";
    let folder = std::env::temp_dir().join(format!("chatkit-rest-second-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let store = format!("sqlite:{}", folder.join("a.db").display());
    let mut first = Serving::with_store(&store, &[("CHATKIT_REST__UPSTREAM__URL", "embedded")]);
    first.address();
    let mut second = Serving::with_store(&store, &[("CHATKIT_REST__UPSTREAM__URL", "embedded")]);
    let line = second.line(SHARED);
    let told = "open streams for each by itself; requests a minute too, unless limits.shared";
    assert!(line.contains(told), "{line}");
    second.address();
    assert!(!first.log.contains(SHARED), "{}", first.log);
    assert_eq!(second.log.matches(SHARED).count(), 1, "{}", second.log);
    drop((first, second));
    std::fs::remove_dir_all(&folder).unwrap();
}
