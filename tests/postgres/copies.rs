//! A store's content in a database, and back.

use std::path::{Path, PathBuf};

use chatkit_rest::error::Error;
use chatkit_rest::session::{
    CopiedTable, CopyEnd, PostgresOptions, PostgresStore, Sessions as _, SqliteStore, copy_store,
};

use crate::cluster::Database;
use crate::pooler::Pooler;
use crate::stored::filling::{OF_0_1_0, contents, fill};
use crate::stored::support::Directory;
use chatkit_rest::session::contract::Store;
use chatkit_rest::session::contract::support::{list, user};

pub(crate) fn options(database: &Database) -> PostgresOptions {
    options_at(database, database.url())
}

fn options_at(database: &Database, url: &str) -> PostgresOptions {
    let mut options = PostgresOptions::parse(url).unwrap();
    database.schema().clone_into(&mut options.schema);
    options
}

fn sqlite(file: &Path) -> CopyEnd {
    CopyEnd::Sqlite(file.to_owned())
}

async fn copy(from: CopyEnd, to: CopyEnd) -> Result<Vec<CopiedTable>, Error> {
    copy_store(from, to, |progress| assert!(progress.rows <= progress.of, "{progress:?}")).await
}

fn sums(copied: &[CopiedTable]) -> Vec<(&str, u64, [u8; 32])> {
    copied.iter().map(|table| (table.name, table.rows, table.sha256)).collect()
}

fn written(copied: &[CopiedTable]) -> u64 {
    copied.iter().map(|table| table.written).sum()
}

fn other(directory: &Directory, name: &str) -> PathBuf {
    directory.file().with_file_name(name)
}

pub(crate) async fn filled() -> Directory {
    let directory = Directory::new();
    fill(&directory.store()).await;
    directory
}

/// Waits until what was closed is: connections end a moment later.
async fn copy_alone(from: CopyEnd, to: CopyEnd) -> Vec<CopiedTable> {
    for _ in 0..500 {
        match copy(from.clone(), to.clone()).await {
            Err(error) if error.chain().contains("open: stop its gateways") => {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
            copied => return copied.unwrap(),
        }
    }
    panic!("it is open still");
}

#[tokio::test]
async fn everything_goes_into_a_database_and_back() {
    let old = Directory::new();
    std::fs::copy(OF_0_1_0, old.file()).unwrap();
    drop(old.store());
    for (directory, is_pooled) in [(old, false), (filled().await, false), (filled().await, true)] {
        let database = Database::new().await;
        let pooler = is_pooled.then(|| Pooler::start(&database));
        let mut options = options(&database);
        if let Some(pooler) = &pooler {
            options = options_at(&database, &database.url_at(pooler.address()));
            options.pooler = true;
        }
        let there = CopyEnd::Postgres(Box::new(options));
        let over = copy(sqlite(&directory.file()), there.clone()).await.unwrap();
        assert_eq!(written(&over), over.iter().map(|table| table.rows).sum::<u64>());
        let back = other(&directory, "back.db");
        let again = copy(there.clone(), sqlite(&back)).await.unwrap();
        assert_eq!(sums(&again), sums(&over));
        assert_eq!(contents(&back), contents(&directory.file()));
        // And to a second schema, of what is in the first.
        let nothing = copy(sqlite(&back), there).await.unwrap();
        assert_eq!((sums(&nothing), written(&nothing)), (sums(&over), 0));
    }
}

#[tokio::test]
async fn a_copy_in_a_database_is_a_store() {
    let directory = filled().await;
    let database = Database::new().await;
    copy(sqlite(&directory.file()), CopyEnd::Postgres(Box::new(options(&database)))).await.unwrap();
    let before = directory.store();
    let store: Store = std::sync::Arc::new(PostgresStore::open(options(&database)).await.unwrap());
    for who in ["ada", "bob", "cleo", "a'b", "eve"] {
        assert_eq!(list(&store, &user(who)).await, list(&before, &user(who)).await, "{who}");
    }
    let locked = store.quarantined(None, 9).await.unwrap();
    assert_eq!(locked, before.quarantined(None, 9).await.unwrap());
    assert_eq!((locked.len(), locked[0].others.len()), (1, 2));
    assert_eq!(store.blocks(None, 9).await.unwrap(), before.blocks(None, 9).await.unwrap());
    assert_eq!(store.blocked_users(None).await.unwrap().map(|all| all.users.len()), Some(2));
    // From where the store counts on.
    let sql = format!("SELECT number FROM {}.quarantine_other ORDER BY 1", database.schema());
    let rows = database.connect().await.query(&sql, &[]).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.get(0)).collect::<Vec<i64>>(), [0, 1]);
    assert_eq!(store.signing_key([1; 32]).await.unwrap(), [9; 32]);
    for id in ["cksess_a", "cksess_b"] {
        let (there, here) = (store.client_session(id).await, before.client_session(id).await);
        assert_eq!(there.unwrap(), here.unwrap());
    }
    assert!(store.place_of_thread("thr_gone").await.unwrap().is_some());
}

#[tokio::test]
async fn a_copy_into_a_database_goes_on_where_it_was_stopped() {
    let directory = filled().await;
    let database = Database::new().await;
    let there = || CopyEnd::Postgres(Box::new(options(&database)));
    let whole = copy(sqlite(&directory.file()), there()).await.unwrap();
    let client = database.connect().await;
    let execute = async |sql: &str| {
        let path = format!("SET search_path TO {}; {sql}", database.schema());
        client.batch_execute(&path).await.unwrap();
    };
    execute(
        "DELETE FROM session WHERE id > (SELECT id FROM session ORDER BY id LIMIT 1 OFFSET 600);
        DELETE FROM attachment; DELETE FROM client_session; DELETE FROM signing_key;
        DELETE FROM quarantine_other WHERE user_id = 'dan';
        SELECT setval('conversation_number', 1, false)",
    )
    .await;
    let rest = copy(sqlite(&directory.file()), there()).await.unwrap();
    assert_eq!(sums(&rest), sums(&whole));
    assert!((600..written(&whole)).contains(&written(&rest)), "{rest:?}");

    execute("UPDATE session SET title = 'other' WHERE thread_id = 'thr_adopted_700'").await;
    execute("DELETE FROM client_session").await;
    let error = copy(sqlite(&directory.file()), there()).await.unwrap_err();
    assert!(
        error.chain().contains("the store to copy to has another session"),
        "{}",
        error.chain()
    );
    let asked = format!("SELECT count(*) FROM {}.client_session", database.schema());
    let left: i64 = client.query_one(&asked, &[]).await.unwrap().get(0);
    assert_eq!(left, 0, "nothing is written");
}

#[tokio::test]
async fn a_database_that_a_gateway_has_open_is_not_copied() {
    let database = Database::new().await;
    let there = CopyEnd::Postgres(Box::new(options(&database)));
    let directory = filled().await;
    let store = PostgresStore::open(options(&database)).await.unwrap();
    // As whoever asks for its health does.
    store.ping().await.unwrap();
    for (from, to, which) in [
        (sqlite(&directory.file()), there.clone(), "to copy to open"),
        (there.clone(), sqlite(&other(&directory, "back.db")), "to copy from open"),
    ] {
        let error = copy(from, to).await.unwrap_err();
        assert!(error.chain().contains(which), "{}", error.chain());
    }
    // A gateway of another schema's is in nobody's way.
    let mut beside = options(&database);
    beside.schema = format!("{}_2", database.schema());
    copy(sqlite(&directory.file()), CopyEnd::Postgres(Box::new(beside))).await.unwrap();
    drop(store);
    copy_alone(sqlite(&directory.file()), there).await;
}

#[tokio::test]
async fn only_a_schema_of_this_version_is_copied_from() {
    let database = Database::new().await;
    let directory = Directory::new();
    let to = sqlite(&directory.file());
    let error = copy(CopyEnd::Postgres(Box::new(options(&database))), to).await.unwrap_err();
    assert!(error.chain().contains("has version 0"), "{}", error.chain());
    let _: SqliteStore = SqliteStore::open(&directory.file()).unwrap();
}
