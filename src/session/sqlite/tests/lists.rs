//! How lists are read.

use super::*;
use crate::session::pages::{SessionPlace, SessionsPage, ThreadPlace, ThreadsPage};
use crate::session::record::{ConversationIds, MessageCount};
use crate::session::sqlite::lists;
use crate::session::store::Directory as _;

/// All kinds of lists, from a place on and from the start.
pub(super) fn lists() -> Vec<(SessionsPage, ThreadsPage)> {
    let (user_id, id) = (UserId::parse("ada").unwrap(), SessionId::from_bytes([255; 16]));
    let now = Timestamp::UNIX_EPOCH;
    let mut all = Vec::new();
    for ids in [ConversationIds::Conv, ConversationIds::Integer, ConversationIds::Uuid] {
        for of_user in [true, false] {
            for ascending in [true, false] {
                for (behind, before) in [(false, false), (true, false), (false, true), (true, true)]
                {
                    let place = ThreadPlace { bound_at: now, id };
                    let after = SessionPlace { updated_at: now, created_at: now, id };
                    let after = behind.then_some(after);
                    let sessions = SessionsPage { user_id: user_id.clone(), ids, after, limit: 5 };
                    let threads = ThreadsPage {
                        user_id: of_user.then(|| user_id.clone()),
                        ascending,
                        after: behind.then_some(place),
                        until: before.then_some(place),
                        limit: 5,
                    };
                    all.push((sessions, threads));
                }
            }
        }
    }
    all
}

#[tokio::test]
async fn what_is_locked_is_in_no_list_though_something_of_it_is_to_be_written() {
    let directory = Directory::new();
    let store = directory.store();
    let id = bound(&store).await;
    let run = next(&store, id).await;
    let (other, eve) = (SessionId::random(), UserId::parse("eve").unwrap());
    let named = store.thread_named(other, &eve, "t".into(), Timestamp::UNIX_EPOCH).await;
    assert!(named.unwrap().is_some());
    let release = hold_writer(&store).await;
    settle(&store, id, run, messages(2));
    for (sessions, threads) in lists() {
        assert_eq!(store.list(sessions).await.unwrap(), []);
        assert_eq!(store.threads(threads).await.unwrap(), []);
    }
    drop(release);
}

#[tokio::test]
async fn no_list_is_read_by_the_writer_or_waits_for_it() {
    let directory = Directory::new();
    let store = directory.store();
    let id = bound(&store).await;
    let run = next(&store, id).await;
    // For as long as this is there, whoever waits for the writer waits for ever.
    let release = hold_writer(&store).await;
    // What the writer has not written yet is in them all the same.
    let title = Some("new".to_owned());
    let settled = Settlement { title: Some(title.clone()), ..messages(2) };
    settle(&store, id, run, settled);
    for (sessions, threads) in lists() {
        let wanted = sessions.ids == ConversationIds::Uuid && sessions.after.is_none();
        let listed = store.list(sessions).await.unwrap();
        assert_eq!(listed.len(), usize::from(wanted));
        assert!(listed.iter().all(|session| session.title == title));
        let listed = store.threads(threads).await.unwrap();
        assert!(listed.iter().all(|placed| placed.record.message_count == MessageCount::Known(2)));
    }
    drop(release);
}

#[tokio::test]
async fn lists_are_read_in_the_order_of_an_index() {
    let directory = Directory::new();
    let _store = directory.store();
    let connection = schema::open_for_reading(&directory.file()).unwrap();
    let check = |sql: &str| {
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let nothing = vec![rusqlite::types::Null; statement.parameter_count()];
        let plan: Vec<String> = statement
            .query_map(rusqlite::params_from_iter(nothing), |row| row.get("detail"))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        let [step] = &*plan else { panic!("{plan:?}: {sql}") };
        assert!(step.contains(" USING INDEX session_by_"), "{step}: {sql}");
        step.clone()
    };
    for (sessions, threads) in lists() {
        for range in lists::ranges(sessions.after) {
            let step = check(&lists::sessions_sql(sessions.ids, range));
            assert!(step.starts_with("SEARCH"), "{step}");
            let expected = match range {
                lists::Range::All => "(user_id=?)",
                lists::Range::SameTimes(_) => {
                    "(user_id=? AND updated_at=? AND created_at=? AND id>?)"
                }
                lists::Range::SameUpdate(_) => "(user_id=? AND updated_at=? AND created_at<?)",
                lists::Range::Earlier(_) => "(user_id=? AND updated_at<?)",
            };
            assert!(step.ends_with(expected), "{step}");
        }
        check(&lists::threads_sql(&threads));
    }
}
