//! `PgBouncer` before a database, which gives each transaction whatever connection is free.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{LazyLock, OnceLock};

use crate::cluster::{Database, end_without, install};
use crate::guarded::{Guarded, Signal, as_other_user, folder_of_other_user, write_for_other_user};
use crate::place::Place;

/// A pooler in transaction mode with two connections to the server, so that two statements of a client
/// seldom meet the same one. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Pooler {
    place: Place,
    folder: PathBuf,
    server: Option<Guarded>,
}

impl Pooler {
    /// Gives the one before the server of all tests.
    pub(crate) fn shared(database: &Database) -> &'static Self {
        static SHARED: OnceLock<Pooler> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(database))
    }

    /// Starts one before the server of a database. Comes back when it takes connections.
    pub(crate) fn start(database: &Database) -> Self {
        static PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| install("pgbouncer"));
        end_without("pgbouncer");
        let folder = folder_of_other_user("pgbouncer");
        let place = Place::new();
        let config: tokio_postgres::Config = database.url().parse().unwrap();
        let (user, password) = (config.get_user().unwrap(), config.get_password().unwrap_or(b""));
        let password = std::str::from_utf8(password).unwrap();
        let server = database.address();
        let mut settings = String::from("[databases]\n");
        writeln!(settings, "* = host={} port={}\n[pgbouncer]", server.ip(), server.port()).unwrap();
        writeln!(settings, "listen_addr = 127.0.0.1\nlisten_port = {}", place.address().port())
            .unwrap();
        settings.push_str(
            "unix_socket_dir =\n\
            auth_type = plain\n\
            auth_file = users\n\
            pool_mode = transaction\n\
            default_pool_size = 2\n\
            max_client_conn = 2000\n",
        );
        write_for_other_user(&folder.join("pgbouncer.ini"), &settings);
        let user = format!("\"{user}\" \"{}\"\n", password.replace('"', "\"\""));
        write_for_other_user(&folder.join("users"), &user);
        let mut command = as_other_user(&PROGRAM);
        command.arg("pgbouncer.ini").current_dir(&folder);
        let server = Guarded::spawn(&command, Signal::Quit, Some(&folder));
        server.wait_for("process up");
        Self { place, folder, server: Some(server) }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.place.address()
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        drop(self.server.take());
        let _removed = std::fs::remove_dir_all(&self.folder);
    }
}
