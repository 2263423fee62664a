//! `chatkit-rest demo --openai`, in front of a model that the test plays.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;

use crate::run;

/// Ended with the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        if !matches!(self.0.try_wait(), Ok(None)) {
            return;
        }
        // Not with -9: then what it keeps would stay.
        let asked = Command::new("kill").arg(self.0.id().to_string()).status();
        if !asked.is_ok_and(|status| status.success()) {
            let _gone = self.0.kill();
        }
        let _status = self.0.wait();
    }
}

/// Gives a request's head and body.
fn request(stream: &TcpStream) -> (String, String) {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(reader.read_line(&mut head).unwrap(), 0, "{head}");
    }
    let head = head.to_ascii_lowercase();
    let length = head.split_once("content-length: ").unwrap().1.split_once('\r').unwrap().0;
    let mut body = vec![0; length.parse().unwrap()];
    reader.read_exact(&mut body).unwrap();
    (head, String::from_utf8(body).unwrap())
}

/// Answers one question, and gives it back.
fn answer_one(listener: &TcpListener) -> (String, String) {
    let (mut stream, _) = listener.accept().unwrap();
    let question = request(&stream);
    let event = r#"data: {"choices":[{"delta":{"content":"It is noon."}}]}"#;
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
    write!(stream, "{head}{event}\n\ndata: [DONE]\n\n").unwrap();
    question
}

/// Gives the body of the answer to one POST request.
fn post(address: &str, path: &str, token: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let length = body.len();
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_model_answers_the_demos_first_question() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base_url = format!("http://{}/v1", listener.local_addr().unwrap());
    let mut process = Command::new(env!("CARGO_BIN_EXE_chatkit-rest"))
        .args(["demo", "--listen", "127.0.0.1:0", "--openai", "--base-url", &base_url])
        .args(["--system-prompt", "Be brief."])
        .env_clear()
        .env("OPENAI_MODEL", "a-model")
        .env("OPENAI_API_KEY", "planted-key")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map(Process)
        .unwrap();
    let mut lines = BufReader::new(process.0.stdout.take().unwrap());
    let mut printed = String::new();
    while !printed.contains("\nBASE=") || !printed.ends_with('\n') {
        assert_ne!(lines.read_line(&mut printed).unwrap(), 0, "it ended after\n{printed}");
    }
    assert!(
        printed.contains(&format!(": 'The model a-model at {base_url} answers.'")),
        "{printed}"
    );
    assert!(!printed.contains("planted"), "{printed}");

    let variable = |name: &str| {
        let line = printed.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("{name} in {printed}")).to_owned()
    };
    let (token, base) = (variable("TOKEN="), variable("BASE=http://"));
    let (address, prefix) = base.split_once('/').unwrap();
    let session = post(address, &format!("/{prefix}/sessions"), &token, "{}");
    let id = session.split_once(r#""id":""#).unwrap().1.split_once('"').unwrap().0;
    let model = thread::spawn(move || answer_one(&listener));
    let path = format!("/{prefix}/sessions/{id}/threads/{id}/runs");
    let run = post(address, &path, &token, r#"{"message":"What time is it?","stream":false}"#);
    assert!(run.starts_with("HTTP/1.1 200 OK\r\n") && run.contains("It is noon."), "{run}");
    let (head, body) = model.join().unwrap();
    assert!(head.contains("\r\nauthorization: bearer planted-key\r\n"), "{head}");
    assert_eq!(
        body,
        r#"{"model":"a-model","messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"What time is it?"}],"stream":true}"#
    );
}

/// Starts a demo whose data are below `scratch`, waits until it listens, sends it the signal and gives
/// its exit code.
#[cfg(target_os = "linux")]
fn ended_by(signal: &str, scratch: &std::path::Path) -> Option<i32> {
    let mut process = Command::new(env!("CARGO_BIN_EXE_chatkit-rest"))
        .args(["demo", "--listen", "127.0.0.1:0"])
        .env_clear()
        .env("TMPDIR", scratch)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map(Process)
        .unwrap();
    let mut lines = BufReader::new(process.0.stdout.take().unwrap());
    let mut printed = String::new();
    while !printed.contains("\nBASE=") {
        assert_ne!(lines.read_line(&mut printed).unwrap(), 0, "it ended after\n{printed}");
    }
    assert_eq!(std::fs::read_dir(scratch).unwrap().count(), 1);
    let pid = process.0.id().to_string();
    assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    process.0.wait().unwrap().code()
}

// Other systems don't say whether the signal is ignored, and go by the terminals, which are none here.
#[cfg(target_os = "linux")]
#[test]
fn a_demo_whose_terminal_is_closed_leaves_nothing() {
    let scratch = std::env::temp_dir().join(format!("chatkit-rest-hup-{}", std::process::id()));
    std::fs::create_dir(&scratch).unwrap();
    // Who runs the tests with `nohup` has them inherit it.
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:\t")).unwrap();
    let outlives = u64::from_str_radix(ignored, 16).unwrap() & 1 == 1;
    for signal in if outlives { &["-TERM"][..] } else { &["-TERM", "-HUP"] } {
        assert_eq!(ended_by(signal, &scratch), Some(0), "{signal}");
        assert_eq!(std::fs::read_dir(&scratch).unwrap().count(), 0, "{signal}");
    }
    std::fs::remove_dir(&scratch).unwrap();
}

#[test]
fn what_a_model_needs_is_asked_for() {
    let elsewhere = ["--base-url", "https://model.example/v1", "--model", "m"];
    for (arguments, asked) in [
        (&["--openai"][..], "--openai: where is the API? Expected --base-url, or OPENAI_BASE_URL"),
        (&["--openai", "--base-url", "http://127.0.0.1:1"], "which model? Expected --model"),
        (&[&["--openai"], &elsewhere[..]].concat(), "OPENAI_API_KEY is not set"),
        (&["--openai", "--base-url", "nowhere", "--model", "m"], "embedded.base_url (flag --base"),
        (&elsewhere, "--openai"),
    ] {
        let ran = run(&[&["demo", "--listen", "127.0.0.1:0"], arguments].concat(), &[]);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{arguments:?}");
        assert!(ran.err.contains(asked), "{asked}\n\nnot in\n\n{}", ran.err);
    }
}

#[test]
fn an_address_that_is_none_is_told_as_serve_does() {
    for (listen, said) in [
        ("9860", "has a port but no address"),
        ("localhost:9860", "has a name in place of an IP address"),
    ] {
        let ran = run(&["demo", "--listen", listen], &[]);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""));
        assert!(
            ran.err.contains(&format!("listen (flag --listen): {listen:?} {said}")),
            "{}",
            ran.err
        );
        assert!(ran.err.contains("; did you mean \"127.0.0.1:9860\"?"), "{}", ran.err);
    }
}
