//! What every store promises, and every one that several processes share.

use std::ops::Deref;
use std::sync::Arc;

use chatkit_rest::session::contract::{Store, Stores};
use chatkit_rest::session::{PostgresOptions, PostgresStore};

use crate::cluster::Database;

/// What is opened, with the database that it is in, which goes after it.
pub(crate) struct In<S> {
    opened: S,
    _database: Database,
}

impl<S> Deref for In<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.opened
    }
}

/// Gives the options for a database of the tests, with fewer connections: many tests run at once.
pub(crate) fn options(database: &Database) -> PostgresOptions {
    options_at(database, database.url())
}

pub(crate) fn options_at(database: &Database, url: &str) -> PostgresOptions {
    let mut options = PostgresOptions::parse(url).unwrap();
    database.schema().clone_into(&mut options.schema);
    options.pool_size = 4.try_into().unwrap();
    options
}

pub(crate) async fn open(database: &Database) -> PostgresStore {
    PostgresStore::open(options(database)).await.unwrap()
}

async fn new() -> In<Store> {
    let database = Database::new().await;
    let opened: Store = Arc::new(open(&database).await);
    In { opened, _database: database }
}

async fn two() -> In<Stores> {
    let database = Database::new().await;
    let opened: Stores = [Arc::new(open(&database).await), Arc::new(open(&database).await)];
    In { opened, _database: database }
}

chatkit_rest::store_contract_tests!(new);

mod shared {
    use super::*;

    chatkit_rest::shared_store_contract_tests!(two);
}
