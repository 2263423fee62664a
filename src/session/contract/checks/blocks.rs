//! Users who are shut out.

use crate::session::contract::support::{at, create, get, new_run, user};
use crate::session::contract::{Store, Stores};
use crate::session::{
    Blocked, BlockedUser, BlocksVersion, MAX_BLOCK_REASON_CHARS, OnThread, RunStart,
};

fn block_of(user_id: &str, reason: Option<&str>) -> BlockedUser {
    let mut block = BlockedUser::new(user(user_id), at(0));
    block.reason = reason.map(str::to_owned);
    block
}

async fn block(store: &Store, user_id: &str) -> Blocked {
    store.block(block_of(user_id, None)).await.unwrap()
}

/// Gives what the list is, and who is on it, in their order.
async fn all(store: &Store) -> (BlocksVersion, Vec<String>) {
    let all = store.blocked_users(None).await.unwrap().unwrap();
    let mut users: Vec<_> = all.users.iter().map(ToString::to_string).collect();
    users.sort_unstable();
    (all.version, users)
}

/// Checks that a user is blocked once, and unblocked once, whether or not anybody knows them.
pub async fn a_user_is_blocked_until_unblocked(store: &Store) {
    assert_eq!(store.blocks(None, 9).await.unwrap(), []);
    let ada = user("ada");
    assert!(!store.unblock(&ada).await.unwrap());
    let first = block_of("ada", Some("gone"));
    assert_eq!(store.block(first.clone()).await.unwrap(), Blocked::Done);
    assert_eq!(store.block(block_of("ada", Some("other"))).await.unwrap(), Blocked::Already);
    assert_eq!(store.blocks(None, 9).await.unwrap(), [first]);
    assert_eq!(all(store).await.1, ["ada"]);
    assert!(store.unblock(&ada).await.unwrap());
    assert!(!store.unblock(&ada).await.unwrap());
    assert_eq!(store.blocks(None, 9).await.unwrap(), []);
    assert_eq!(all(store).await.1, [""; 0]);
    assert_eq!(block(store, "ada").await, Blocked::Done);
}

/// Checks that whoever knows the list is told of it only once it has changed, and each time.
pub async fn a_list_of_blocked_users_is_told_once(store: &Store) {
    let nobody = store.blocked_users(None).await.unwrap();
    assert!(nobody.is_none_or(|all| all.users.is_empty()));
    let mut versions = Vec::new();
    for step in 0..4 {
        match step {
            0 => assert_eq!(block(store, "ada").await, Blocked::Done),
            1 => assert_eq!(block(store, "eve").await, Blocked::Done),
            2 => assert!(store.unblock(&user("ada")).await.unwrap()),
            _ => assert_eq!(block(store, "ada").await, Blocked::Done),
        }
        for known in &versions {
            let all = store.blocked_users(Some(*known)).await.unwrap().unwrap();
            assert_ne!(all.version, *known);
        }
        let (version, users) = all(store).await;
        assert_eq!(users, [&["ada"][..], &["ada", "eve"], &["eve"], &["ada", "eve"]][step]);
        assert_eq!(store.blocked_users(Some(version)).await.unwrap(), None);
        assert!(!versions.contains(&version));
        versions.push(version);
    }
    // Of these, nothing has changed.
    let (version, _) = all(store).await;
    assert_eq!(block(store, "ada").await, Blocked::Already);
    assert!(!store.unblock(&user("bob")).await.unwrap());
    assert_eq!(store.blocked_users(Some(version)).await.unwrap(), None);
}

/// Checks that pages of blocked users are in the order of their ids' bytes, and that none is
/// interpreted.
pub async fn blocked_users_are_told_in_pages(store: &Store) {
    let reason = "é".repeat(MAX_BLOCK_REASON_CHARS);
    let ids = ["%", "'; --", "Ada", "a_a", "aba", "ada", "ad\u{e9}", "\u{10ffff}"];
    for id in ids.iter().rev() {
        assert_eq!(store.block(block_of(id, Some(&reason))).await.unwrap(), Blocked::Done);
    }
    let expected: Vec<_> = ids.iter().map(|id| block_of(id, Some(&reason))).collect();
    assert_eq!(store.blocks(None, 99).await.unwrap(), expected);
    let mut after = None;
    let mut paged = Vec::new();
    loop {
        let page = store.blocks(after, 3).await.unwrap();
        let is_last = page.len() < 3;
        after = page.last().map(|block| block.user_id.clone());
        paged.extend(page);
        if is_last {
            break;
        }
    }
    assert_eq!(paged, expected);
    assert!(!store.unblock(&user("a%a")).await.unwrap());
    assert!(store.unblock(&user("a_a")).await.unwrap());
    assert_eq!(all(store).await.1.len(), ids.len() - 1);
}

/// Checks that a block touches nothing of the user's: who is let in is decided elsewhere.
pub async fn a_block_touches_nothing_of_the_users(store: &Store) {
    let id = create(store, "ada").await;
    let before = get(store, id).await;
    assert_eq!(block(store, "ada").await, Blocked::Done);
    assert_eq!(get(store, id).await, before);
    let begun = store.begin_run(id.into(), OnThread::Any, &user("ada"), new_run(None, at(0))).await;
    assert!(matches!(begun.unwrap(), RunStart::First { .. }));
}

/// Checks that one user who is blocked at many times at once is so once.
pub async fn of_many_blocks_at_once_there_is_one(store: &Store) {
    let blocks = (0..20).map(|_| {
        let store = store.clone();
        tokio::spawn(async move { block(&store, "ada").await })
    });
    let mut done = 0;
    for blocked in blocks.collect::<Vec<_>>() {
        done += usize::from(blocked.await.unwrap() == Blocked::Done);
    }
    assert_eq!(done, 1);
    assert_eq!(store.blocks(None, 9).await.unwrap(), [block_of("ada", None)]);
}

/// Checks that who is blocked at one is so at the other at once, and until unblocked at either.
pub async fn who_is_blocked_at_one_is_so_at_the_other([here, there]: &Stores) {
    assert_eq!(block(here, "ada").await, Blocked::Done);
    let (version, users) = all(there).await;
    assert_eq!(users, ["ada"]);
    assert_eq!(all(here).await.0, version);
    assert_eq!(block(there, "ada").await, Blocked::Already);
    assert!(there.unblock(&user("ada")).await.unwrap());
    let news = here.blocked_users(Some(version)).await.unwrap().unwrap();
    assert_eq!(news.users, []);
    assert!(!here.unblock(&user("ada")).await.unwrap());
}
