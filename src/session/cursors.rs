//! The cursors that this room makes: sealed, so that only who was given one can use it.
//!
//! A seal is for one user and one list, or for one thread's in it. What was made up, cut, given to
//! somebody else or by another list is told by nobody from what was never given. The key comes of the one that the store keeps,
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

/// A list whose cursors this room makes, or seals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum List {
    /// A thread's items, as the pass-through shows them.
    ChatKitItems,
    /// One-shot chat's conversations.
    Conversations,
    /// A thread's items, as REST shows them.
    Items,
    /// A conversation's messages.
    Messages,
    /// A thread's items, as the OpenAI-compatible API shows them.
    OpenAiItems,
    /// The sessions that REST shows.
    Sessions,
    /// The threads that the pass-through shows.
    Threads,
}

impl List {
    /// Tells what is in it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::ChatKitItems => "ChatKit items",
            Self::Conversations => "conversations",
            Self::Items => "items",
            Self::Messages => "messages",
            Self::OpenAiItems => "OpenAI items",
            Self::Sessions => "sessions",
            Self::Threads => "threads",
        }
    }
}

/// What a cursor is good for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scope<'a> {
    list: List,
    user: &'a UserId,
    /// The upstream's thread, where each has a list of its own.
    thread: Option<&'a str>,
}

impl<'a> Scope<'a> {
    /// Makes the scope of a user's list.
    pub(super) fn of(list: List, user: &'a UserId) -> Self {
        Self { list, user, thread: None }
    }

    /// Makes the scope of the list of one of the user's threads.
    pub(super) fn of_thread(list: List, user: &'a UserId, thread: &'a str) -> Self {
        Self { list, user, thread: Some(thread) }
    }

    /// Gives what is signed for `text`. A length is before what is anybody's choice, so that none
    /// of it can go on in what comes next.
    fn message(self, text: &str) -> String {
        let (list, user) = (self.list.name(), self.user.as_str());
        let users = user.len();
        match self.thread {
            None => format!("{list}:{users}:{user}:{text}"),
            Some(thread) => {
                let threads = thread.len();
                format!("{list}:{users}:{user}:{threads}:{thread}:{text}")
            }
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

    /// Writes `text` so that it can be [read](Self::read).
    ///
    /// # Errors
    /// If the store fails.
    pub(super) async fn write(&self, scope: Scope<'_>, text: &str) -> Result<String, Rejection> {
        let tag = tag(self.key().await?, scope, text);
        Ok(format!("{text}~{}", URL_SAFE_NO_PAD.encode(tag)))
    }

    /// Reads the text of a cursor that was written for this list.
    ///
    /// # Errors
    /// If the store fails.
    pub(super) async fn read<'a>(
        &self,
        scope: Scope<'_>,
        cursor: &'a str,
    ) -> Result<Option<&'a str>, Rejection> {
        let Some((text, seal)) = cursor.rsplit_once('~') else { return Ok(None) };
        let Ok(seal) = URL_SAFE_NO_PAD.decode(seal) else { return Ok(None) };
        let tag = tag(self.key().await?, scope, text);
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

/// Tells whether a cursor ends as a sealed one does, whoever sealed it for what.
pub(super) fn looks_sealed(cursor: &str) -> bool {
    let seal = cursor.rsplit_once('~').and_then(|(_, seal)| URL_SAFE_NO_PAD.decode(seal).ok());
    seal.is_some_and(|seal| seal.len() == TAG_BYTES)
}

impl fmt::Debug for Cursors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cursors").finish_non_exhaustive()
    }
}

fn tag(key: &Key, scope: Scope<'_>, text: &str) -> [u8; TAG_BYTES] {
    let sealed = sign(key, scope.message(text).as_bytes());
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
        let cursor = here.write(Scope::of(List::Threads, &ada), "1.2.x").await.unwrap();
        let read = |cursors: Cursors, list, user: UserId, cursor: String| async move {
            let scope = Scope::of(list, &user);
            cursors.read(scope, &cursor).await.unwrap().map(str::to_owned)
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

    #[tokio::test]
    async fn what_is_sealed_looks_so() {
        let cursors = Cursors::new(Arc::new(MemoryStore::new()));
        let ada = user("ada");
        for text in ["", "msg_1", "a~b"] {
            let cursor = cursors.write(Scope::of(List::Threads, &ada), text).await.unwrap();
            assert!(looks_sealed(&cursor), "{cursor}");
            assert!(!looks_sealed(text) && !looks_sealed(&cursor[..cursor.len() - 1]), "{cursor}");
        }
    }

    #[tokio::test]
    async fn a_threads_cursor_is_good_for_that_thread_whatever_is_in_it() {
        let cursors = Cursors::new(Arc::new(MemoryStore::new()));
        let (ada, eve) = (user("ada"), user("eve"));
        for text in ["msg_1", "", "~", "a~b", "own.2.msg_1", "a b+c&\u{f6}"] {
            let scope = Scope::of_thread(List::Items, &ada, "thr_1");
            let cursor = cursors.write(scope, text).await.unwrap();
            assert_eq!(cursors.read(scope, &cursor).await.unwrap(), Some(text));
            for other in [
                Scope::of_thread(List::Items, &ada, "thr_2"),
                Scope::of_thread(List::Items, &ada, "thr_"),
                Scope::of_thread(List::Items, &eve, "thr_1"),
                Scope::of_thread(List::Messages, &ada, "thr_1"),
                Scope::of_thread(List::ChatKitItems, &ada, "thr_1"),
                Scope::of_thread(List::OpenAiItems, &ada, "thr_1"),
                Scope::of(List::Items, &ada),
            ] {
                assert_eq!(cursors.read(other, &cursor).await.unwrap(), None, "{other:?} {text}");
            }
        }
        // What is one's end is not the other's beginning.
        let scopes = [("thr_1", "1:x"), ("thr_1:1", "x"), ("thr_1:1:x", "")];
        let written =
            scopes.map(|(thread, text)| Scope::of_thread(List::Items, &ada, thread).message(text));
        assert!(written[0] != written[1] && written[1] != written[2] && written[0] != written[2]);
    }
}
