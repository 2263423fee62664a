//! The Python ChatKit server.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;

use serde_json::{Value, json};

use super::{Client, Exchange, Reply};

/// The interpreter that has the SDK. Installs it if need be; there is no running without.
static PYTHON: LazyLock<PathBuf> = LazyLock::new(|| {
    let setup = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/live/setup.sh");
    let output = Command::new("bash")
        .arg(setup)
        .stderr(Stdio::inherit())
        .output()
        .expect("bash, to run tests/live/setup.sh");
    assert!(output.status.success(), "tests/live/setup.sh failed: {}", output.status);
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
});

/// An interpreter with what requirements.txt names, the `openai` client among it.
pub(crate) fn python() -> &'static Path {
    &PYTHON
}

/// Shared by the tests that neither stop it nor need another store. It ends with this process,
/// whose end closes its stdin.
static SHARED: LazyLock<Upstream> = LazyLock::new(|| Upstream::start("memory"));

/// A running server. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Upstream {
    address: SocketAddr,
    store: String,
    child: Child,
}

impl Upstream {
    pub(crate) fn shared() -> &'static Self {
        &SHARED
    }

    /// Starts a server with this `--store`.
    pub(crate) fn start(store: &str) -> Self {
        Self::start_at(store, 0)
    }

    fn start_at(store: &str, port: u16) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/openai_chatkit_server");
        let mut child = Command::new(&*PYTHON)
            .args(["main.py", "--exit-on-eof", "--store", store, "--port", &port.to_string()])
            .current_dir(folder)
            .env("CHATKIT_TEST", "1")
            // Its failures are asked for; their tracebacks are noise.
            .env("CHATKIT_LOG", "CRITICAL")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("TZ", "UTC")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the Python server");
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line
            .strip_prefix("listening on http://")
            .and_then(|rest| rest.split('/').next()?.parse().ok())
            .unwrap_or_else(|| panic!("the Python server did not start: {line:?}"));
        Self { address, store: store.into(), child }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/chatkit", self.address)
    }

    /// Ends the process at once, as a crash does. The port is kept for [`Self::restart`].
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again, at the same address and on the same store.
    pub(crate) fn restart(&mut self) {
        let started = Self::start_at(&self.store, self.address.port());
        assert_eq!(started.address, self.address);
        *self = started;
    }

    /// Sends a ChatKit request past the gateway and reads the head of the response.
    pub(crate) fn open(&self, user: &str, kind: &str, params: &Value) -> Exchange {
        let body = json!({ "type": kind, "params": params }).to_string();
        let client = Client::new(self.address).with("x-user-id", user);
        client.send("POST", "/chatkit", Some(body.as_bytes()))
    }

    /// Sends a ChatKit request past the gateway.
    pub(crate) fn behind_the_gateway(&self, user: &str, kind: &str, params: &Value) -> Reply {
        self.open(user, kind, params).finish()
    }

    /// How many requests of this type came with this user's id.
    pub(crate) fn count(&self, user: &str, kind: &str) -> u64 {
        let stats = Client::new(self.address).call("GET", "/_test/stats").value();
        stats["users"][user][kind].as_u64().unwrap_or_default()
    }

    /// How many requests of any type came with this user's id.
    pub(crate) fn count_all(&self, user: &str) -> u64 {
        let stats = Client::new(self.address).call("GET", "/_test/stats").value();
        let counts = stats["users"][user].as_object();
        counts.map_or(0, |counts| counts.values().filter_map(Value::as_u64).sum())
    }

    /// What was sent in the user's last stream so far, and how it ended: `open`, `clean`, `cut`
    /// or `cancelled`.
    pub(crate) fn last_stream(&self, user: &str) -> (Vec<u8>, String) {
        Self::stream(Client::new(self.address).send(
            "GET",
            &format!("/_test/last_stream?user={user}"),
            None,
        ))
    }

    /// The same once that stream has ended.
    pub(crate) fn ended_stream(&self, user: &str) -> (Vec<u8>, String) {
        Self::stream(Client::new(self.address).send(
            "GET",
            &format!("/_test/wait?user={user}"),
            None,
        ))
    }

    fn stream(exchange: Exchange) -> (Vec<u8>, String) {
        let reply = exchange.finish();
        assert_eq!(reply.status, 200, "{}", reply.text());
        let end = reply.header("x-stream-end").unwrap().to_owned();
        (reply.body, end)
    }

    /// Lets a store call (`name[:n]`) fail in this user's next request.
    pub(crate) fn fail(&self, user: &str, call: &str) {
        let reply = Client::new(self.address).json(
            "POST",
            &format!("/_test/fail?user={user}&call={call}"),
            &json!({}),
        );
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}
