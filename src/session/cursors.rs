//! The cursors that this room makes: sealed, so that only who was given one can use it.
//!
//! A seal is for one user and one list. What was made up, cut, given to somebody else or by another
//! list is told by nobody from what was never given. The key comes of the one that the store keeps,
//! so all replicas have the same, before and after a restart.

use std::fmt;
use std::sync::{Arc, OnceLock};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::admitted::store_down;
use super::store::SessionStore;
use crate::error::Error;
use crate::principal::UserId;
use crate::rejection::Rejection;

/// So many bytes of the HMAC-SHA-256: nobody guesses 128 bits.
const TAG_BYTES: usize = 16;

/// A list that has cursors of this room's making.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum List {
    /// One-shot chat's conversations.
    Conversations,
    /// The sessions that REST shows.
    Sessions,
    /// The threads that the pass-through shows.
    Threads,
}

impl List {
    /// What is in it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Conversations => "conversations",
            Self::Sessions => "sessions",
            Self::Threads => "threads",
        }
    }
}

/// Seals cursors, and tells which were sealed. Cloning is a reference count.
#[derive(Clone)]
pub(super) struct Cursors(Arc<Inner>);

struct Inner {
    store: Arc<dyn SessionStore>,
    /// It never changes once the store has it.
    key: OnceLock<Key>,
}

impl Cursors {
    pub(super) fn new(store: Arc<dyn SessionStore>) -> Self {
        Self(Arc::new(Inner { store, key: OnceLock::new() }))
    }

    /// Writes `text`, which has no `~`, so that it can be [read](Self::read).
    ///
    /// # Errors
    /// If the store fails.
    pub(super) async fn write(
        &self,
        list: List,
        user: &UserId,
        text: &str,
    ) -> Result<String, Rejection> {
        let tag = tag(self.key().await?, list, user, text);
        Ok(format!("{text}~{}", URL_SAFE_NO_PAD.encode(tag)))
    }

    /// The text of a cursor that was written for this user and this list.
    ///
    /// # Errors
    /// If the store fails.
    pub(super) async fn read<'a>(
        &self,
        list: List,
        user: &UserId,
        cursor: &'a str,
    ) -> Result<Option<&'a str>, Rejection> {
        let Some((text, seal)) = cursor.rsplit_once('~') else { return Ok(None) };
        let Ok(seal) = URL_SAFE_NO_PAD.decode(seal) else { return Ok(None) };
        let tag = tag(self.key().await?, list, user, text);
        Ok(verify_slices_are_equal(&tag, &seal).is_ok().then_some(text))
    }

    async fn key(&self) -> Result<&Key, Rejection> {
        if let Some(key) = self.0.key.get() {
            return Ok(key);
        }
        let mut fresh = [0; 32];
        rand::fill(&mut fresh).map_err(|_| {
            store_down(Error::store("could not draw a signing key", "no random numbers"))
        })?;
        let kept = self.0.store.signing_key(fresh).await.map_err(store_down)?;
        // One of its own: what seals a cursor signs no client secret.
        let own = sign(&Key::new(HMAC_SHA256, &kept), b"chatkit-rest cursors");
        Ok(self.0.key.get_or_init(|| Key::new(HMAC_SHA256, own.as_ref())))
    }
}

impl fmt::Debug for Cursors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cursors").finish_non_exhaustive()
    }
}

fn tag(key: &Key, list: List, user: &UserId, text: &str) -> [u8; TAG_BYTES] {
    let user = user.as_str();
    // The length before it: no user's id can go on in the text.
    let sealed = sign(key, format!("{}:{}:{user}:{text}", list.name(), user.len()).as_bytes());
    let mut tag = [0; TAG_BYTES];
    for (to, from) in tag.iter_mut().zip(sealed.as_ref()) {
        *to = *from;
    }
    tag
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::MemoryStore;

    fn user(id: &str) -> UserId {
        UserId::parse(id).unwrap()
    }

    #[tokio::test]
    async fn a_cursor_is_good_for_its_user_and_its_list_wherever_its_store_is() {
        let store = Arc::new(MemoryStore::new());
        let here = Cursors::new(Arc::<MemoryStore>::clone(&store));
        let there = Cursors::new(Arc::<MemoryStore>::clone(&store));
        let elsewhere = Cursors::new(Arc::new(MemoryStore::new()));
        let ada = user("ada");
        let cursor = here.write(List::Threads, &ada, "1.2.x").await.unwrap();
        let read = |cursors: Cursors, list, user: UserId, cursor: String| async move {
            cursors.read(list, &user, &cursor).await.unwrap().map(str::to_owned)
        };
        for cursors in [&here, &there] {
            let text = read(cursors.clone(), List::Threads, ada.clone(), cursor.clone()).await;
            assert_eq!(text.as_deref(), Some("1.2.x"));
        }
        for (cursors, list, whose) in [
            (&elsewhere, List::Threads, "ada"),
            (&here, List::Conversations, "ada"),
            (&here, List::Sessions, "ada"),
            (&here, List::Threads, "eve"),
            (&here, List::Threads, "ad"),
        ] {
            let text = read(cursors.clone(), list, user(whose), cursor.clone()).await;
            assert_eq!(text, None, "{list:?} {whose}");
        }
        for at in 0..cursor.len() {
            let mut changed = cursor.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            for cut in [String::from_utf8(changed).unwrap(), cursor[..at].to_owned()] {
                let text = read(here.clone(), List::Threads, ada.clone(), cut.clone()).await;
                assert_eq!(text, None, "{cut}");
            }
        }
    }
}
