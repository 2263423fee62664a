//! The ChatKit servers behind the gateway.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;

use serde_json::{Value, json};

use super::{Client, Exchange, Place, Reply};

/// A server that `setup.sh` can install.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Server {
    /// `node_server`, on the third-party Node SDK: without the `/_test` routes, and with a store
    /// that dies with it.
    Node,
    /// `examples/openai_chatkit_server`, on the SDK that is the measure.
    Python,
    /// `old_server`, on release 1.4 of that SDK.
    Python14,
}

impl Server {
    /// Gives what runs it. Installs it if need be; there is no running without.
    fn interpreter(self) -> &'static Path {
        static NODE: LazyLock<PathBuf> = LazyLock::new(|| install("node"));
        static PYTHON: LazyLock<PathBuf> = LazyLock::new(|| install("python"));
        static PYTHON_1_4: LazyLock<PathBuf> = LazyLock::new(|| install("python-1.4"));
        // Before what a panic would poison, for each test to say so.
        skip_without(match self {
            Self::Node => "node",
            Self::Python => "python",
            Self::Python14 => "python-1.4",
        });
        match self {
            Self::Node => &NODE,
            Self::Python => &PYTHON,
            Self::Python14 => &PYTHON_1_4,
        }
    }

    fn command(self, store: &str, port: u16) -> Command {
        let folder = match self {
            Self::Node => "tests/live/node_server",
            Self::Python => "examples/openai_chatkit_server",
            Self::Python14 => "tests/live/old_server",
        };
        let port = port.to_string();
        let mut command = Command::new(self.interpreter());
        command.current_dir(project().join(folder));
        match self {
            Self::Node => command.args(["server.mjs", &port]),
            Self::Python | Self::Python14 => command
                .args(["main.py", "--exit-on-eof", "--store", store, "--port", &port])
                .env("CHATKIT_TEST", "1")
                // Its failures are asked for; their tracebacks are noise.
                .env("CHATKIT_LOG", "CRITICAL")
                .env("PYTHONDONTWRITEBYTECODE", "1"),
        };
        command.env("TZ", "UTC");
        command
    }
}

pub(crate) fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Ends a test that needs what `tests/run.sh` could not install. It counts these as skipped.
fn skip_without(server: &str) {
    let missing = std::env::var("CHATKIT_REST_TESTS_WITHOUT").unwrap_or_default();
    let of = |line: &&str| line.split_once(": ").is_some_and(|(what, _)| what == server);
    if let Some(line) = missing.lines().find(of) {
        panic!("skipped: {line}");
    }
}

/// Runs `setup.sh`, which says where the interpreter is.
pub(crate) fn install(server: &str) -> PathBuf {
    skip_without(server);
    let output = Command::new("bash")
        .arg(project().join("tests/live/setup.sh"))
        .arg(server)
        .output()
        .expect("bash, to run tests/live/setup.sh");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "tests/live/setup.sh {server} failed: {said}");
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
}

/// Gives an interpreter with what requirements.txt names, the `openai` client among it.
pub(crate) fn python() -> &'static Path {
    Server::Python.interpreter()
}

/// Starts the server at `place`, and returns once it listens.
fn serve(server: Server, store: &str, place: &Place, settings: &[(&str, String)]) -> Child {
    let mut child = server
        .command(store, place.address().port())
        .envs(settings.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{server:?} does not start: {error}"));
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line
        .strip_prefix("listening on http://")
        .and_then(|rest| rest.split('/').next()?.parse().ok())
        .unwrap_or_else(|| panic!("{server:?} did not start: {line:?}"));
    assert_eq!(place.address(), address);
    child
}

/// A running server. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Upstream {
    server: Server,
    /// Its address, which stays its own while it is down.
    place: Place,
    store: String,
    /// Of its environment.
    settings: Vec<(&'static str, String)>,
    child: Child,
}

impl Upstream {
    /// Makes the server that is the measure.
    pub(crate) fn shared() -> &'static Self {
        Self::shared_server(Server::Python)
    }

    /// Gives the one that is shared by the tests that neither stop it nor need another store. It
    /// ends with this process, whose end closes its stdin.
    pub(crate) fn shared_server(server: Server) -> &'static Self {
        static NODE: LazyLock<Upstream> = LazyLock::new(|| Upstream::start_server(Server::Node));
        static PYTHON: LazyLock<Upstream> =
            LazyLock::new(|| Upstream::start_server(Server::Python));
        static PYTHON_1_4: LazyLock<Upstream> =
            LazyLock::new(|| Upstream::start_server(Server::Python14));
        let _installed = server.interpreter();
        match server {
            Server::Node => &NODE,
            Server::Python => &PYTHON,
            Server::Python14 => &PYTHON_1_4,
        }
    }

    /// Starts the server that is the measure with this `--store`.
    pub(crate) fn start(store: &str) -> Self {
        Self::start_at(Server::Python, store, Place::new())
    }

    /// Starts a server of its own for a test, with a store in its memory.
    pub(crate) fn start_server(server: Server) -> Self {
        Self::start_at(server, "memory", Place::new())
    }

    /// Starts one that asks for the gateway's proof, by what `by` says in its environment.
    pub(crate) fn asking_for_proof(server: Server, by: (&'static str, &str)) -> Self {
        let place = Place::new();
        let audience = ("GATEWAY_PROOF_AUDIENCE", format!("http://{}", place.address()));
        let settings = vec![audience, (by.0, by.1.to_owned())];
        let child = serve(server, "memory", &place, &settings);
        Self { server, place, store: "memory".into(), settings, child }
    }

    fn start_at(server: Server, store: &str, place: Place) -> Self {
        let child = serve(server, store, &place, &[]);
        Self { server, place, store: store.into(), settings: Vec::new(), child }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/chatkit", self.place.address())
    }

    pub(crate) fn origin(&self) -> String {
        format!("http://{}", self.place.address())
    }

    /// Gives a client that goes past the gateway.
    pub(crate) fn client(&self) -> Client {
        Client::new(self.place.address())
    }

    /// Ends the process at once, as a crash does.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again, at the same address and on the same store.
    pub(crate) fn restart(&mut self) {
        self.child = serve(self.server, &self.store, &self.place, &self.settings);
    }

    /// Sends a ChatKit request past the gateway and reads the head of the response.
    pub(crate) fn open(&self, user: &str, kind: &str, params: &Value) -> Exchange {
        self.try_open(user, kind, params).expect("a response")
    }

    /// Gives the same, where the server may hang up without a response.
    pub(crate) fn try_open(&self, user: &str, kind: &str, params: &Value) -> Option<Exchange> {
        let body = json!({ "type": kind, "params": params }).to_string();
        let client = Client::new(self.place.address())
            .with("x-user-id", user)
            // The Node server reads nothing else.
            .with("content-type", "application/json");
        client.try_send("POST", "/chatkit", Some(body.as_bytes()))
    }

    /// Sends a ChatKit request past the gateway.
    pub(crate) fn behind_the_gateway(&self, user: &str, kind: &str, params: &Value) -> Reply {
        self.open(user, kind, params).finish()
    }

    /// Tells how many requests of this type came with this user's id.
    pub(crate) fn count(&self, user: &str, kind: &str) -> u64 {
        let stats = Client::new(self.place.address()).call("GET", "/_test/stats").value();
        stats["users"][user][kind].as_u64().unwrap_or_default()
    }

    /// Tells how many requests of any type came with this user's id.
    pub(crate) fn count_all(&self, user: &str) -> u64 {
        let stats = Client::new(self.place.address()).call("GET", "/_test/stats").value();
        let counts = stats["users"][user].as_object();
        counts.map_or(0, |counts| counts.values().filter_map(Value::as_u64).sum())
    }

    /// Gives what was sent in the user's last stream so far, and how it ended: `open`, `clean`,
    /// `cut` or `cancelled`.
    pub(crate) fn last_stream(&self, user: &str) -> (Vec<u8>, String) {
        Self::stream(Client::new(self.place.address()).send(
            "GET",
            &format!("/_test/last_stream?user={user}"),
            None,
        ))
    }

    /// Gives the same once that stream has ended.
    pub(crate) fn ended_stream(&self, user: &str) -> (Vec<u8>, String) {
        Self::stream(Client::new(self.place.address()).send(
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
        let reply = Client::new(self.place.address()).json(
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
