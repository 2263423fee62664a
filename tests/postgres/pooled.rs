//! The promises of a store through `PgBouncer`: whatever is kept in a connection would be another's there.

use std::ops::Deref;
use std::sync::Arc;

use chatkit_rest::session::PostgresStore;
use chatkit_rest::session::contract::{Store, Stores};

use crate::cluster::Database;
use crate::contract::options_at;
use crate::pooler::Pooler;

/// What is opened, with the database that it is in, which goes after it.
struct In<S> {
    opened: S,
    _database: Database,
}

impl<S> Deref for In<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.opened
    }
}

async fn open(database: &Database) -> Store {
    let pooler = Pooler::shared(database);
    let mut options = options_at(database, &database.url_at(pooler.address()));
    options.pooler = true;
    Arc::new(PostgresStore::open(options).await.unwrap())
}

async fn new() -> In<Store> {
    let database = Database::new().await;
    In { opened: open(&database).await, _database: database }
}

async fn two() -> In<Stores> {
    let database = Database::new().await;
    In { opened: [open(&database).await, open(&database).await], _database: database }
}

chatkit_rest::store_contract_tests!(new);

mod shared {
    use super::*;

    chatkit_rest::shared_store_contract_tests!(two);
}

// What is to be told from the lines above: they would pass without a pooler, too.
#[tokio::test]
async fn a_pooler_that_nobody_told_of_is_refused_and_what_to_do_is_said() {
    let database = Database::new().await;
    // Of its own, so that nobody else has its connections.
    let pooler = Pooler::start(&database);
    let options = options_at(&database, &database.url_at(pooler.address()));
    let error = PostgresStore::open(options).await.unwrap_err().chain();
    assert!(
        error.contains("a pooler in transaction mode") && error.contains("store.pooler"),
        "{error}"
    );
}
