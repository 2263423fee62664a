//! `own_store`: a store of one's own holds the promises, and the gateway can use it.

use std::sync::Arc;

use chatkit_rest::session::MemoryStore;

use crate::own_store::{Counted, tour};
use crate::support::Store;

fn store() -> Store {
    Arc::new(Counted::new(MemoryStore::new()))
}

macro_rules! promises {
    ($($section:ident: $($promise:ident),+;)+) => {$($(
        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn $promise() {
            crate::contract::$section::$promise(&store()).await;
        }
    )+)+};
}

promises! {
    clients:
        threads_are_in_the_order_of_their_binding,
        the_first_signing_key_stays,
        an_active_client_session_is_cancelled_once;
    sessions:
        a_session_is_stored_as_it_was_given,
        whose_a_thread_is_is_told_anew_each_time,
        fifty_creates_at_once_stop_at_the_limit,
        lists_are_newest_first_and_ties_are_settled,
        pages_of_sessions_follow_one_another,
        a_title_is_set_and_taken_away,
        an_attachment_has_one_owner,
        a_ping_is_answered;
    runs:
        twenty_first_runs_at_once_make_one_lease,
        a_thread_belongs_to_one_session,
        a_recount_replaces_only_what_it_saw,
        what_is_settled_is_seen_at_once,
        a_deleted_session_is_settled_in_silence;
}

#[tokio::test]
async fn the_tour_is_counted() {
    let store = Arc::new(Counted::new(MemoryStore::new()));
    let said = tour(Arc::<Counted<MemoryStore>>::clone(&store)).await.unwrap();
    assert!(said.ends_with("has thread thr_1 and 2 messages"), "{said}");
    let calls: Vec<_> = store.counts().into_iter().map(|(name, n)| (name, n.calls)).collect();
    assert_eq!(calls, [("begin_run", 3), ("bind", 1), ("create", 2), ("list", 1), ("settle", 2)]);
}
