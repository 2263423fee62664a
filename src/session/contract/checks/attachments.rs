//! Whose attachments are.

use tokio::task::JoinSet;

use super::adoption::{adopt, thread};
use super::sessions::HOSTILE;
use crate::session::contract::Store;
use crate::session::contract::support::{at, attachment_owner, create_bound, delete, user};
use crate::session::{Adopted, Adoption, AdoptionConflict, Deletion, Owned};

/// Checks that an attachment has one owner, until it is disowned.
pub async fn an_attachment_has_one_owner(store: &Store) {
    let (ada, eve) = (user("ada"), user("eve"));
    assert_eq!(attachment_owner(store, "atc_1").await, None);
    assert_eq!(store.own_attachment(&ada, "atc_1").await.unwrap(), Owned::Done);
    assert_eq!(store.own_attachment(&ada, "atc_1").await.unwrap(), Owned::Done);
    assert_eq!(store.own_attachment(&eve, "atc_1").await.unwrap(), Owned::Taken);
    assert_eq!(attachment_owner(store, "atc_1").await, Some(ada.clone()));
    assert_eq!(store.own_attachment(&eve, "atc_2").await.unwrap(), Owned::Done);
    let ids = ["atc_2", "atc_0", "atc_1", "atc_2"].map(str::to_owned).to_vec();
    let owners = store.attachment_owners(ids).await.unwrap();
    assert_eq!(owners, [Some(eve.clone()), None, Some(ada), Some(eve.clone())]);
    assert_eq!(store.attachment_owners(Vec::new()).await.unwrap(), []);
    assert!(store.disown_attachment("atc_1").await.unwrap());
    assert!(!store.disown_attachment("atc_1").await.unwrap());
    assert_eq!(attachment_owner(store, "atc_1").await, None);
    assert_eq!(store.own_attachment(&eve, "atc_1").await.unwrap(), Owned::Done);
}

/// Checks that ids of attachments are kept and compared to the byte.
pub async fn ids_of_attachments_are_never_interpreted(store: &Store) {
    let long = "ü".repeat(50_000);
    for text in HOSTILE.into_iter().chain([long.as_str()]) {
        assert_eq!(store.own_attachment(&user("ada"), text).await.unwrap(), Owned::Done);
    }
    for text in HOSTILE {
        assert_eq!(attachment_owner(store, text).await, Some(user("ada")));
    }
    let owners = store.attachment_owners(HOSTILE.map(str::to_owned).to_vec()).await.unwrap();
    assert!(owners.iter().all(|owner| *owner == Some(user("ada"))), "{owners:?}");
    for stranger in ["a", "a\0bc", "A\0b", "''", "x"] {
        assert_eq!(attachment_owner(store, stranger).await, None, "{stranger:?}");
    }
}

/// Checks that an attachment that many bring at once is one user's, and the others are told.
pub async fn of_many_owners_at_once_there_is_one(store: &Store) {
    let mut calls = JoinSet::new();
    for n in 0..20 {
        let store = store.clone();
        calls.spawn(async move {
            let user_id = user(&format!("user {n}"));
            let owned = store.own_attachment(&user_id, "atc_1").await.unwrap();
            (owned == Owned::Done).then_some(user_id)
        });
    }
    let owners: Vec<_> = calls.join_all().await.into_iter().flatten().collect();
    assert_eq!(owners.len(), 1);
    assert_eq!(attachment_owner(store, "atc_1").await, owners.first().cloned());
}

fn adoption(user_id: &str, attachment_id: &str) -> Adoption {
    Adoption::Attachment { attachment_id: attachment_id.to_owned(), user_id: user(user_id) }
}

/// Tells whether the store takes on anything at all, which is of another part.
async fn adopts(store: &Store) -> bool {
    match store.adopt(Vec::new()).await {
        Ok(_) => true,
        Err(error) if error.is_lacking() => false,
        Err(error) => panic!("{error:?}"),
    }
}

/// Checks that a store that adopts gives an attachment its owner so, and takes none from another.
pub async fn an_adopted_attachment_is_its_owners(store: &Store) {
    if !adopts(store).await {
        return;
    }
    assert_eq!(store.own_attachment(&user("bob"), "atc_bob").await.unwrap(), Owned::Done);
    for (entry, expected) in [
        (adoption("ada", "atc_1"), Adopted::Done),
        (adoption("ada", "atc_1"), Adopted::Known),
        (adoption("bob", "atc_1"), Adopted::Conflict(AdoptionConflict::AnotherUser)),
        (adoption("ada", "atc_bob"), Adopted::Conflict(AdoptionConflict::AnotherUser)),
        // Look-alikes are strangers.
        (adoption("Bob", "atc_bob"), Adopted::Conflict(AdoptionConflict::AnotherUser)),
        (adoption("bob", "atc_bob"), Adopted::Known),
    ] {
        assert_eq!(adopt(store, entry).await, expected);
    }
    assert_eq!(attachment_owner(store, "atc_1").await, Some(user("ada")));
    assert_eq!(attachment_owner(store, "atc_bob").await, Some(user("bob")));
    let entries = vec![
        adoption("ada", "atc_2"),
        adoption("bob", "atc_2"),
        Adoption::Thread(thread("bob", "thr_1")),
        adoption("ada", "atc_2"),
    ];
    let expected = [
        Adopted::Done,
        Adopted::Conflict(AdoptionConflict::AnotherUser),
        Adopted::Done,
        Adopted::Known,
    ];
    assert_eq!(store.adopt(entries).await.unwrap(), expected);
    for text in HOSTILE {
        assert_eq!(adopt(store, adoption("ada", text)).await, Adopted::Done);
        assert_eq!(attachment_owner(store, text).await, Some(user("ada")));
    }
}

/// Checks that an adopted attachment that was disowned does not come back.
pub async fn an_adopted_attachment_does_not_come_back(store: &Store) {
    const DAY: i64 = 24 * 3600;
    if !adopts(store).await {
        return;
    }
    assert_eq!(adopt(store, adoption("ada", "atc_1")).await, Adopted::Done);
    assert!(store.disown_attachment("atc_1").await.unwrap());
    for user_id in ["ada", "bob"] {
        assert_eq!(adopt(store, adoption(user_id, "atc_1")).await, Adopted::Deleted);
    }
    assert_eq!(attachment_owner(store, "atc_1").await, None);
    // Nor when other things that were deleted are forgotten.
    let id = create_bound(store, "ada", "thr_1").await;
    assert_eq!(delete(store, id, at(DAY + 1)).await, Deletion::Done);
    assert_eq!(adopt(store, adoption("ada", "atc_1")).await, Adopted::Deleted);
    // An attachment of that name that is made anew is one, and is not what was adopted.
    assert_eq!(store.own_attachment(&user("bob"), "atc_1").await.unwrap(), Owned::Done);
    assert_eq!(adopt(store, adoption("bob", "atc_1")).await, Adopted::Known);
}
