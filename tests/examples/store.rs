//! `own_store`: a store of one's own keeps every promise, and the gateway can use it.

use std::future::{Ready, ready};
use std::sync::Arc;

use chatkit_rest::session::MemoryStore;
use chatkit_rest::session::contract::Store;

use crate::own_store::{Counted, tour};

fn open() -> Ready<Store> {
    ready(Arc::new(Counted::new(MemoryStore::new())))
}

chatkit_rest::store_contract_tests!(open);

#[tokio::test]
async fn the_tour_is_counted() {
    let store = Arc::new(Counted::new(MemoryStore::new()));
    let said = tour(Arc::<Counted<MemoryStore>>::clone(&store)).await.unwrap();
    assert!(said.ends_with("has thread thr_1 and 2 messages"), "{said}");
    let calls: Vec<_> = store.counts().iter().map(|(name, n)| (*name, n.calls)).collect();
    assert_eq!(calls, [("begin_run", 3), ("bind", 1), ("create", 2), ("list", 1), ("settle", 2)]);
}

/// Whoever ends a run in a `Drop` doesn't wait for what comes of it.
#[tokio::test]
async fn a_call_that_is_dropped_is_counted() {
    use chatkit_rest::session::{RunId, Runs as _, SessionId, Settlement};
    let store = Counted::new(MemoryStore::new());
    drop(store.settle(SessionId::random(), RunId::random(), Settlement::default()));
    assert_eq!(store.counts().get("settle").map(|count| count.calls), Some(1));
}
