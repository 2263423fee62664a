//! A store in PostgreSQL, which has real time and a runtime of its own.

use std::sync::Arc;
use std::time::Duration;

use chatkit_rest::session::{PostgresOptions, PostgresStore};
use tokio::runtime::Runtime;

use crate::cluster::Database;
use crate::faults::Opening;

/// What is slow on a machine that has much else to do is no fault of a seed's.
const PATIENCE: Duration = Duration::from_secs(60);

/// A database that is empty before each seed.
#[derive(Debug)]
pub(crate) struct InPostgres {
    opened: Vec<Arc<PostgresStore>>,
    database: Database,
    runtime: Runtime,
}

impl InPostgres {
    pub(crate) fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = { runtime }.worker_threads(2).enable_all().build().unwrap();
        let database = runtime.block_on(Database::new());
        Self { opened: Vec::new(), database, runtime }
    }

    /// Empties it, and gives two openings of it, as two machines have them.
    pub(crate) fn open(&mut self) -> Vec<Opening> {
        let (database, before) = (&self.database, std::mem::take(&mut self.opened));
        self.opened = self.runtime.block_on(async {
            for store in before {
                store.close().await;
            }
            let drop = format!("DROP SCHEMA IF EXISTS {} CASCADE", database.schema());
            database.connect().await.batch_execute(&drop).await.unwrap();
            let mut opened = Vec::new();
            for _ in 0..2 {
                opened.push(Arc::new(open(database).await));
            }
            opened
        });
        let home = self.runtime.handle();
        let opening = |store: &Arc<PostgresStore>| Opening {
            store: Arc::<PostgresStore>::clone(store),
            blocks: true,
            home: Some(home.clone()),
        };
        self.opened.iter().map(opening).collect()
    }
}

async fn open(database: &Database) -> PostgresStore {
    let mut options = PostgresOptions::parse(database.url()).unwrap();
    database.schema().clone_into(&mut options.schema);
    options.pool_size = 4.try_into().unwrap();
    options.connect_timeout = PATIENCE;
    options.wait_timeout = PATIENCE;
    options.statement_timeout = PATIENCE;
    PostgresStore::open(options).await.unwrap()
}
