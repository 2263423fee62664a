//! A PostgreSQL of the benchmark's own, and the databases in it.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, getuid, kill_process};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::Instant;
use tokio_postgres::{Client, NoTls};

/// A running server, with its defaults but for where it listens: a commit is on the disk. Dropped, it is
/// killed.
pub struct Cluster {
    child: Child,
    address: SocketAddr,
    password: String,
    log: PathBuf,
    /// Removed last.
    _folder: TempDir,
}

impl Cluster {
    /// Starts one, of the programs that `tests/postgres/setup.sh` finds or installs; as another user where
    /// this one is root, whom PostgreSQL refuses.
    ///
    /// # Errors
    ///
    /// No PostgreSQL, or it does not start.
    pub async fn start() -> Result<Self> {
        let programs = programs().await?;
        let user = other_user().await?;
        let folder = tempfile::Builder::new().prefix("chatkit-rest-bench-").tempdir()?;
        let own = |path: &Path| match user {
            Some((user, group)) => chown(path, Some(user), Some(group)),
            None => Ok(()),
        };
        let password = std::fs::read_to_string("/proc/sys/kernel/random/uuid")?.trim().to_owned();
        let (data, password_file) = (folder.path().join("data"), folder.path().join("password"));
        std::fs::write(&password_file, &password)?;
        own(folder.path())?;
        own(&password_file)?;
        let mut command = as_user(&programs.join("initdb"), user);
        command.args(["--username", USER, "--auth", "scram-sha-256", "--encoding", "UTF8"]);
        command.args(["--locale", "C", "--no-sync", "--pwfile"]).arg(password_file);
        command.arg("--pgdata").arg(&data).current_dir(folder.path());
        let made = command.output().await.context("initdb does not start")?;
        if !made.status.success() {
            bail!("initdb: {}", String::from_utf8_lossy(&made.stderr));
        }
        // Free now; whoever takes it first in between makes the start fail.
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let log = folder.path().join("log");
        let mut command = as_user(&programs.join("postgres"), user);
        command.arg("-D").arg(&data).current_dir(folder.path());
        command.args(["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]);
        command.arg("-c").arg(format!("port={}", address.port()));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log)?);
        let child = command.kill_on_drop(true).spawn().context("postgres does not start")?;
        let mut cluster = Self { child, address, password, log, _folder: folder };
        cluster.is_ready().await?;
        Ok(cluster)
    }

    async fn is_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while let Err(error) = self.connect(MAINTENANCE).await {
            if self.child.try_wait()?.is_some() || Instant::now() > deadline {
                let log = std::fs::read_to_string(&self.log).unwrap_or_default();
                return Err(error.context(format!("postgres: {log}")));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// Makes a database, and gives its URL.
    ///
    /// # Errors
    ///
    /// The server's.
    pub async fn create(&self, database: &str) -> Result<String> {
        let client = self.connect(MAINTENANCE).await?;
        client.batch_execute(&format!("CREATE DATABASE {database}")).await?;
        Ok(self.url(database))
    }

    /// Does at once what the server would do some time after many rows were written, so that nothing that
    /// is measured pays for it.
    ///
    /// # Errors
    ///
    /// The server's.
    pub async fn settle(&self, database: &str) -> Result<()> {
        let client = self.connect(database).await?;
        client.batch_execute("VACUUM ANALYZE").await?;
        Ok(client.batch_execute("CHECKPOINT").await?)
    }

    /// Tells how many transactions were committed in a database, all that ended [`COUNTED_AFTER`] ago.
    ///
    /// # Errors
    ///
    /// The server's.
    pub async fn transactions(&self, database: &str) -> Result<u64> {
        let client = self.connect(MAINTENANCE).await?;
        let sql = "SELECT xact_commit FROM pg_stat_database WHERE datname = $1";
        let count: i64 = client.query_one(sql, &[&database]).await?.try_get(0)?;
        Ok(count.unsigned_abs())
    }

    /// Ends it, whoever is connected.
    ///
    /// # Errors
    ///
    /// It had ended before.
    pub async fn stop(mut self) -> Result<()> {
        let pid = self.child.id().and_then(|pid| Pid::from_raw(pid.try_into().ok()?));
        kill_process(pid.context("postgres had ended")?, Signal::INT)?;
        self.child.wait().await?;
        Ok(())
    }

    fn url(&self, database: &str) -> String {
        let Self { address, password, .. } = self;
        format!("postgres://{USER}:{password}@{address}/{database}?sslmode=disable")
    }

    async fn connect(&self, database: &str) -> Result<Client> {
        let (client, connection) = tokio_postgres::connect(&self.url(database), NoTls).await?;
        // It ends with the client.
        tokio::task::spawn_local(connection);
        Ok(client)
    }
}

/// Gives the folder with `initdb` and `postgres`.
async fn programs() -> Result<PathBuf> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../postgres/setup.sh");
    let output = Command::new("bash").arg(script).output().await?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8(output.stdout)?.trim().into())
}

/// Gives user and group of who runs what root may not.
async fn other_user() -> Result<Option<(u32, u32)>> {
    if !getuid().is_root() {
        return Ok(None);
    }
    for name in ["postgres", "nobody"] {
        let mut ids = [0; 2];
        for (id, flag) in ids.iter_mut().zip(["-u", "-g"]) {
            let output = Command::new("id").args([flag, name]).output().await?;
            *id = String::from_utf8_lossy(&output.stdout).trim().parse().unwrap_or_default();
        }
        let [user, group] = ids;
        if user > 0 && group > 0 {
            return Ok(Some((user, group)));
        }
    }
    bail!("neither postgres nor nobody is a user, and PostgreSQL is not to be root's")
}

fn as_user(program: &Path, user: Option<(u32, u32)>) -> Command {
    let Some((user, group)) = user else { return Command::new(program) };
    let mut command = Command::new("setpriv");
    command.args([format!("--reuid={user}"), format!("--regid={group}"), "--clear-groups".into()]);
    command.arg("--").arg(program);
    command
}

/// Connections that are idle count what they did after so long at the latest.
pub const COUNTED_AFTER: Duration = Duration::from_secs(11);
const MAINTENANCE: &str = "postgres";
const USER: &str = "bench";
const PATIENCE: Duration = Duration::from_secs(60);
