//! A PostgreSQL for the tests, and a database in it for each.
//!
//! `CHATKIT_REST_TEST_POSTGRES` may name one, by the URL of a user who may create databases, or else
//! schemas. Where it doesn't, the process of the tests has a private one, of what `setup.sh` finds or
//! installs. What is to be stopped, or is configured in a way of its own, is private always.

use std::fmt::Write as _;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_postgres::{Client, NoTls, Transaction};
use uuid::Uuid;

use crate::guarded::{Guarded, Signal, as_other_user, folder_of_other_user, write_for_other_user};
use crate::place::Place;

const SERVER: &str = "CHATKIT_REST_TEST_POSTGRES";

/// Who owns a private server.
const USER: &str = "tester";

/// Ends a test that needs what `tests/run.sh` could not install. It counts these as skipped.
pub(crate) fn end_without(what: &str) {
    let missing = std::env::var("CHATKIT_REST_TESTS_WITHOUT").unwrap_or_default();
    let of_it = |line: &&str| line.split(": ").next() == Some(what);
    if let Some(line) = missing.lines().find(of_it) {
        panic!("skipped: {line}");
    }
}

/// Runs `setup.sh`, which says where the server is.
pub(crate) fn install(server: &str) -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/postgres/setup.sh");
    let output = Command::new("bash").arg(script).arg(server).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "tests/postgres/setup.sh {server} failed: {said}");
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
}

/// A private server, at an address that stays its own while it is stopped. Dropping it ends it, and so
/// does the end of the process, however that ends.
#[derive(Debug)]
pub(crate) struct Cluster {
    place: Place,
    password: String,
    folder: PathBuf,
    programs: PathBuf,
    server: Mutex<Option<Guarded>>,
}

impl Cluster {
    /// Starts one with its defaults, which outlives a crash of the machine.
    pub(crate) fn start() -> Self {
        Self::start_with("")
    }

    /// Starts one with these lines more in its `postgresql.conf`.
    pub(crate) fn start_with(settings: &str) -> Self {
        static PROGRAMS: LazyLock<PathBuf> = LazyLock::new(|| install("postgres"));
        end_without("postgres");
        let folder = folder_of_other_user("postgres");
        let programs = for_other_user(&PROGRAMS, &folder);
        let password = Uuid::new_v4().simple().to_string();
        let password_file = folder.join("password");
        write_for_other_user(&password_file, &password);
        let output = as_other_user(&programs.join("initdb"))
            .args(["--username", USER, "--auth", "scram-sha-256", "--encoding", "UTF8"])
            .args(["--locale", "C", "--no-sync", "--pwfile"])
            .arg(&password_file)
            .arg("--pgdata")
            .arg(folder.join("data"))
            .current_dir(&folder)
            .output()
            .unwrap();
        assert!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));
        let place = Place::new();
        let mut all = format!(
            "listen_addresses = '127.0.0.1'\nport = {}\nunix_socket_directories = ''\n\
            max_connections = 300\nshared_buffers = '32MB'\nlc_messages = 'C'\n",
            place.address().port()
        );
        all.push_str(settings);
        let file = folder.join("data/postgresql.auto.conf");
        std::fs::write(file, all).unwrap();
        let cluster = Self { place, password, folder, programs, server: Mutex::new(None) };
        cluster.start_again();
        cluster
    }

    /// Starts it after it was stopped. Comes back when it takes connections.
    pub(crate) fn start_again(&self) {
        let mut server = self.server();
        assert!(server.is_none(), "it was not stopped");
        let mut command = as_other_user(&self.programs.join("postgres"));
        command.arg("-D").arg(self.data()).current_dir(&self.folder);
        let started = Guarded::spawn(&command, Signal::Quit, Some(&self.folder));
        started.wait_for("database system is ready to accept connections");
        *server = Some(started);
    }

    /// Stops it as an administrator does who doesn't wait for its clients.
    pub(crate) fn stop(&self) {
        self.end(Signal::Int);
    }

    /// Kills it without warning. Comes back when its children have seen that, too.
    pub(crate) fn kill(&self) {
        self.end(Signal::Kill);
    }

    fn end(&self, signal: Signal) {
        let server = self.server().take();
        server.unwrap().end(signal);
    }

    fn server(&self) -> MutexGuard<'_, Option<Guarded>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.place.address()
    }

    /// Gives the folder with its data, which has its settings.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    pub(crate) fn password(&self) -> &str {
        &self.password
    }

    /// Gives the URL of one of its databases.
    pub(crate) fn url(&self, database: &str) -> String {
        self.url_at(self.address(), database)
    }

    /// Gives the URL of one of its databases where something else stands before it.
    pub(crate) fn url_at(&self, address: SocketAddr, database: &str) -> String {
        format!("postgres://{USER}:{}@{address}/{database}", self.password)
    }

    /// Makes a database in it.
    pub(crate) async fn database(&self) -> Database {
        Database::create(&self.url("postgres")).await
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(server) = self.server().take() {
            server.end(Signal::Quit);
        }
        let _removed = std::fs::remove_dir_all(&self.folder);
    }
}

/// Gives the folder of programs that the other user can run: a home is often closed to others.
fn for_other_user(programs: &Path, folder: &Path) -> PathBuf {
    let runs = as_other_user(&programs.join("postgres")).arg("--version").output();
    if runs.is_ok_and(|output| output.status.success()) {
        return programs.to_owned();
    }
    let all = programs.parent().unwrap();
    let copied = Command::new("cp").arg("-RL").arg(all).arg(folder.join("programs")).status();
    assert!(copied.unwrap().success(), "{} can't be copied", all.display());
    folder.join("programs").join(programs.file_name().unwrap())
}

/// The server of all tests that only want a database.
enum Server {
    Private(Cluster),
    Named(String),
}

impl Server {
    fn shared() -> &'static Self {
        // What is written there is gone with the process.
        static SHARED: LazyLock<Server> = LazyLock::new(|| {
            std::env::var(SERVER).map_or_else(
                |_| {
                    let fast = "fsync = off\nfull_page_writes = off\n";
                    Server::Private(Cluster::start_with(fast))
                },
                Server::Named,
            )
        });
        if std::env::var_os(SERVER).is_none() {
            // Before what a panic would poison, for each test to say so.
            end_without("postgres");
        }
        &SHARED
    }

    fn url(&self) -> String {
        match self {
            Self::Private(cluster) => cluster.url("postgres"),
            Self::Named(url) => url.clone(),
        }
    }
}

/// A database of a test's own, or a schema where the user may make no database. Dropping it drops it,
/// whoever uses it.
#[derive(Debug)]
pub(crate) struct Database {
    /// Of the database in which it was made.
    maker: String,
    url: String,
    name: String,
    is_schema: bool,
}

impl Database {
    /// Makes one.
    pub(crate) async fn new() -> Self {
        let url = tokio::task::spawn_blocking(|| Server::shared().url()).await;
        match url {
            Ok(url) => Self::create(&url).await,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    async fn create(maker: &str) -> Self {
        let client = connect(maker).await;
        let may = "SELECT rolsuper OR rolcreatedb FROM pg_roles WHERE rolname = current_user";
        let is_schema = !client.query_one(may, &[]).await.unwrap().get::<_, bool>(0);
        let name = format!("chatkit_test_{}", Uuid::new_v4().simple());
        let mut url = maker.to_owned();
        // The schema is for the store to make.
        if !is_schema {
            client.batch_execute(&format!("CREATE DATABASE {name}")).await.unwrap();
            url = with_database(maker, &name);
        }
        Self { maker: maker.to_owned(), url, name, is_schema }
    }

    /// Gives its URL.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Gives its URL where something else stands before its server.
    pub(crate) fn url_at(&self, address: SocketAddr) -> String {
        let (start, rest) = self.url.split_once("://").unwrap();
        let (authority, rest) = rest.split_once('/').unwrap();
        let user = authority.rsplit_once('@').map_or("", |(user, _)| user);
        format!("{start}://{user}@{address}/{rest}")
    }

    /// Gives the address of its server.
    pub(crate) fn address(&self) -> SocketAddr {
        let config: tokio_postgres::Config = self.url.parse().unwrap();
        let tokio_postgres::config::Host::Tcp(host) = &config.get_hosts()[0] else {
            panic!("a server at a socket that is a file is nobody's to stand before")
        };
        let port = config.get_ports().first().copied().unwrap_or(5432);
        (host.as_str(), port).to_socket_addrs().unwrap().next().unwrap()
    }

    /// Gives the schema that the store is to have: not its default one where others have theirs beside it.
    pub(crate) fn schema(&self) -> &str {
        if self.is_schema { &self.name } else { "chatkit_rest" }
    }

    /// Waits until somebody waits for the lock that a transaction has on the sessions.
    pub(crate) async fn waits_for_lock(&self, lock: &Transaction<'_>) {
        let sql = format!(
            "SELECT count(*) FROM pg_locks
                WHERE NOT granted AND relation = '{}.session'::regclass",
            self.schema()
        );
        let until = Instant::now() + Duration::from_secs(30);
        while lock.query_one(&sql, &[]).await.unwrap().get::<_, i64>(0) == 0 {
            assert!(Instant::now() < until, "nobody waits");
        }
    }

    /// Connects to it.
    pub(crate) async fn connect(&self) -> Client {
        connect(&self.url).await
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let Self { maker, name, .. } = self;
        let sql = if self.is_schema {
            // Whoever has it open may be in the way for ever.
            format!("SET lock_timeout = '5s'; DROP SCHEMA IF EXISTS {name} CASCADE")
        } else {
            format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        };
        let dropped = async {
            // Its server may have been stopped.
            let (client, connection) = tokio_postgres::connect(maker, NoTls).await?;
            let connection = tokio::spawn(connection);
            client.batch_execute(&sql).await?;
            connection.abort();
            Ok::<_, tokio_postgres::Error>(())
        };
        // A runtime can't be waited for in another.
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                let _unless_it_is_gone = runtime.unwrap().block_on(dropped);
            });
        });
    }
}

/// Gives the URL with another database in it.
fn with_database(url: &str, name: &str) -> String {
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    let start = base.find("://").unwrap() + "://".len();
    let end = base[start..].find('/').map_or(base.len(), |slash| start + slash);
    let mut url = format!("{}/{name}", &base[..end]);
    if !query.is_empty() {
        write!(url, "?{query}").unwrap();
    }
    url
}

/// Connects to a database. The connection lasts as long as the client.
pub(crate) async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

#[test]
fn a_database_is_named_in_a_url() {
    for (url, expected) in [
        ("postgres://ada:pw@db.example:5432/postgres", "postgres://ada:pw@db.example:5432/new"),
        ("postgres://ada@db.example", "postgres://ada@db.example/new"),
        ("postgres://db.example/a?sslmode=disable", "postgres://db.example/new?sslmode=disable"),
        ("postgres://db.example?sslmode=disable", "postgres://db.example/new?sslmode=disable"),
    ] {
        assert_eq!(with_database(url, "new"), expected);
    }
}
