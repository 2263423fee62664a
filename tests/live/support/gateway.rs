//! The gateway's binary, configured through its environment.

use std::io::{BufRead as _, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};

use super::{Caller, Client, PATIENCE, Upstream};

const BINARY: &str = env!("CARGO_BIN_EXE_chatkit-rest");

/// A running gateway with a store of its own. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Gateway {
    address: SocketAddr,
    settings: Vec<(String, String)>,
    folder: PathBuf,
    child: Child,
    log: Arc<Mutex<String>>,
}

impl Gateway {
    pub(crate) const SECRET: &str = "a secret of the live tests, long enough for HS256";

    /// Starts one with its defaults, but for the limits per user.
    pub(crate) fn start(upstream: &Upstream) -> Self {
        Self::start_with(upstream, &[])
    }

    /// Starts one with these settings, such as `("STREAM__HOLD_FOR", "0s")`.
    pub(crate) fn start_with(upstream: &Upstream, settings: &[(&str, &str)]) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("live-{}-{n}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();

        let store = format!("sqlite:{}", folder.join("sessions.db").display());
        let url = upstream.url();
        let mut all = vec![
            ("LISTEN", "127.0.0.1:0"),
            ("UPSTREAM__URL", url.as_str()),
            ("AUTH__SECRET", Self::SECRET),
            ("STORE__URL", store.as_str()),
            ("LIMITS__REQUESTS_PER_MINUTE", "0"),
        ];
        all.extend(settings);
        let settings: Vec<_> = all
            .into_iter()
            .map(|(key, value)| (format!("CHATKIT_REST__{key}"), value.to_owned()))
            .collect();
        let log = Arc::default();
        let (child, address) = spawn(&settings, &log);
        Self { address, settings, folder, child, log }
    }

    /// Ends the process without any warning (SIGKILL) and starts it again on the same store.
    pub(crate) fn kill_and_restart(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        (self.child, self.address) = spawn(&self.settings, &self.log);
    }

    /// Starts another one with the same settings, on the same store.
    pub(crate) fn replica(&self) -> Self {
        let (settings, log) = (self.settings.clone(), Arc::default());
        let (child, address) = spawn(&settings, &log);
        // The store is its owner's to remove.
        Self { address, settings, folder: PathBuf::new(), child, log }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Gives what `chatkit-rest token --service` prints.
    pub(crate) fn service_key(name: &str) -> String {
        let output = command(&[]).args(["token", "--service", name]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Gives what `chatkit-rest adopt` prints, beside this gateway and on its store.
    #[track_caller]
    pub(crate) fn adopt(&self, file: &Path) -> String {
        let output = command(&self.settings).arg("adopt").arg(file).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Gives a client without a token.
    pub(crate) fn stranger(&self) -> Client {
        Client::new(self.address)
    }

    /// Gives a client with a token for `user`, minted by `chatkit-rest token`.
    pub(crate) fn caller(&self, user: &str) -> Caller {
        let output = command(&self.settings).args(["token", "--sub", user]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let token = String::from_utf8(output.stdout).unwrap();
        Caller::new(self.stranger().with("authorization", &format!("Bearer {}", token.trim())))
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _status = self.child.wait();
        let _removed = std::fs::remove_dir_all(&self.folder);
        if std::thread::panicking() {
            #[allow(clippy::print_stderr, reason = "a failed test shows what the gateway said")]
            if let Ok(log) = self.log.lock() {
                eprintln!("--- the gateway's log ---\n{log}---");
            }
        }
    }
}

/// Gives the binary with these settings and nothing else of the environment that could configure
/// it.
fn command(settings: &[(String, String)]) -> Command {
    let mut command = Command::new(BINARY);
    command.env_clear();
    for name in ["PATH", "LLVM_PROFILE_FILE"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command.envs(settings.iter().map(|(key, value)| (key, value))).stdin(Stdio::null());
    command
}

fn spawn(settings: &[(String, String)], log: &Arc<Mutex<String>>) -> (Child, SocketAddr) {
    let mut child = command(settings)
        .arg("serve")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the gateway's binary");
    let (found, address) = channel();
    keep(child.stdout.take().unwrap(), Arc::clone(log), found.clone());
    keep(child.stderr.take().unwrap(), Arc::clone(log), found);
    // Both senders are gone, hence an error, once the process has ended.
    let address = address.recv_timeout(PATIENCE).unwrap_or_else(|error| {
        let _gone = child.kill();
        panic!("the gateway did not start ({error}):\n{}", log.lock().unwrap())
    });
    (child, address)
}

/// Reads one of the process's outputs to its end, and finds the address in it.
fn keep(output: impl Read + Send + 'static, log: Arc<Mutex<String>>, found: Sender<SocketAddr>) {
    std::thread::spawn(move || {
        let mut found = Some(found);
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if let Some(address) = listening(&line)
                && let Some(found) = found.take()
            {
                let _unless_given_up = found.send(address);
            }
            let mut log = log.lock().unwrap();
            log.push_str(&line);
            log.push('\n');
        }
    });
}

/// Gives the address in a line, plain or JSON, that has `listening on http://ADDRESS`.
fn listening(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("listening on http://")?;
    let end = rest.find(|c: char| !(c.is_ascii_digit() || ".:".contains(c))).unwrap_or(rest.len());
    rest[..end].parse().ok()
}
