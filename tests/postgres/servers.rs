//! What the other tests stand on: that the servers are there, apart from each other, and gone in the end.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::cluster::{Cluster, Database, connect};
use crate::pooler::Pooler;

const ASKED: &str = "CHATKIT_REST_TEST_OWN_CLUSTER";

#[tokio::test]
async fn each_test_has_its_own_database() {
    let (one, other) = (Database::new().await, Database::new().await);
    let table = |database: &Database| format!("CREATE SCHEMA {}", database.schema());
    for database in [&one, &other] {
        database.connect().await.batch_execute(&table(database)).await.unwrap();
    }
    let name = other.url().to_owned();
    drop(one);
    connect(&name).await.batch_execute("SELECT 1").await.unwrap();
}

#[tokio::test]
async fn what_was_committed_outlives_a_stop_and_a_kill() {
    let cluster = Cluster::start();
    let database = cluster.database().await;
    database.connect().await.batch_execute("CREATE TABLE kept (number int)").await.unwrap();
    for (number, end) in [Cluster::stop, Cluster::kill].into_iter().enumerate() {
        let client = database.connect().await;
        client.execute("INSERT INTO kept VALUES (1)", &[]).await.unwrap();
        end(&cluster);
        assert!(tokio_postgres::connect(database.url(), tokio_postgres::NoTls).await.is_err());
        cluster.start_again();
        let count = database.connect().await.query_one("SELECT count(*) FROM kept", &[]).await;
        assert_eq!(count.unwrap().get::<_, i64>(0), i64::try_from(number).unwrap() + 1);
    }
}

// What a pooler takes apart: two connections, and none of a client's own.
#[tokio::test]
async fn a_pooler_gives_each_transaction_some_connection() {
    let database = Database::new().await;
    let pooler = Pooler::start(&database);
    let url = database.url_at(pooler.address());
    let (one, other) = (connect(&url).await, connect(&url).await);
    let backend = "SELECT pg_backend_pid()";
    other.batch_execute("BEGIN").await.unwrap();
    let pid = |messages: Vec<tokio_postgres::SimpleQueryMessage>| {
        messages.into_iter().find_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        })
    };
    let held = pid(other.simple_query(backend).await.unwrap());
    let first = pid(one.simple_query(backend).await.unwrap());
    assert_ne!(held, first);
    // The one that is free now is another's.
    one.batch_execute("BEGIN").await.unwrap();
    other.batch_execute("COMMIT").await.unwrap();
    assert_eq!(pid(other.simple_query(backend).await.unwrap()), held);
}

// The process of the test below.
#[tokio::test]
#[ignore = "run as a child process of the test below"]
async fn has_a_cluster() {
    if std::env::var_os(ASKED).is_none() {
        return;
    }
    let cluster = Cluster::start();
    let pid = std::fs::read_to_string(cluster.data().join("postmaster.pid")).unwrap();
    let mut out = std::io::stdout().lock();
    writeln!(out, "\ndata: {}", cluster.data().display()).unwrap();
    writeln!(out, "pid: {}", pid.lines().next().unwrap()).unwrap();
    out.flush().unwrap();
    std::future::pending::<()>().await;
}

#[test]
fn a_process_that_is_killed_leaves_no_server() {
    crate::cluster::end_without("postgres");
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "servers::has_a_cluster", "--ignored", "--nocapture"])
        .env(ASKED, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut said = |name: &str| lines.find_map(|line| line.strip_prefix(name).map(str::to_owned));
    let (data, pid) = (said("data: ").unwrap(), said("pid: ").unwrap());
    child.kill().unwrap();
    child.wait().unwrap();
    let is_gone =
        || !Command::new("kill").args(["-s", "0", &pid]).output().unwrap().status.success();
    crate::wait_until("the server has ended", || is_gone() && !Path::new(&data).exists());
}
