//! What has to hold when everything has come to rest.

use std::collections::BTreeSet;
use std::sync::Arc;

use chatkit_rest::session::{MessageCount, SessionId};

use crate::accounts::{Known, USERS};
use crate::faults::Bind;
use crate::script::Dice;
use crate::users::Hand;
use crate::world::{MAX_MESSAGES, MAX_SESSIONS, World};

impl World {
    /// Checks what holds at any time.
    pub(crate) async fn check_limits(&self) {
        for (user, name) in USERS.iter().enumerate() {
            let sessions = self.sessions(user).await.len();
            if sessions > MAX_SESSIONS {
                self.trace.broken(&format!("{name} has {sessions} sessions"));
            }
        }
        let server = self.upstream.kept.lock().unwrap();
        for (id, thread) in &server.threads {
            let said = thread.items.iter().filter(|item| item.is_users).count();
            // Messages that nobody was shown are not counted before they are read.
            let unseen = thread.unseen + self.unbound_messages(id, thread.items.len());
            if said > MAX_MESSAGES + unseen {
                self.trace.broken(&format!("{id} has {said} messages of its user"));
            }
            // Each run that has a place counts for one message, and may leave one more than that.
            let all = thread.items.len();
            if all > MAX_MESSAGES + self.binds.most_places(id) + unseen {
                self.trace.broken(&format!("{id} has {all} messages"));
            }
        }
    }

    /// Counts the messages of a run whose thread was bound and not acknowledged: they don't count.
    fn unbound_messages(&self, thread: &str, messages: usize) -> usize {
        match self.binds.threads.lock().unwrap().get(thread) {
            Some(Bind::Failed) | None => messages.min(2),
            Some(Bind::Acknowledged) => 0,
        }
    }

    /// Checks what was promised to a user, and that all of it can be gone on with and done away with.
    pub(crate) async fn check_user(self: &Arc<Self>, user: usize, dice: Dice) {
        let mut hand = Hand { world: Arc::clone(self), user, dice };
        self.is_complete(user).await;
        self.counts_are_exact(user).await;
        let sessions = hand.account().sessions.len();
        for place in 0..sessions {
            let known = hand.account().sessions[place].clone();
            if !self.is_kept(user, &known).await {
                continue;
            }
            self.answers_are_kept(&known).await;
            let read = hand.get(place, &known).await;
            if read.status == 200 {
                self.is_repaired(&known).await;
                self.can_go_on(&mut hand, place).await;
            }
        }
        self.learn_the_rest(user, &hand).await;
        self.limit_is_exact(&mut hand).await;
        let clients = hand.account().clients.len();
        for place in 0..clients {
            hand.use_client(place).await;
        }
        self.attachments_are_whose(user).await;
        let sessions = hand.account().sessions.len();
        for place in 0..sessions {
            let known = hand.account().sessions[place].clone();
            if self.is_kept(user, &known).await && hand.delete(place, &known).await != 200 {
                self.trace.broken(&format!("{} can't be deleted", known.id));
            }
        }
        if !self.sessions(user).await.is_empty() {
            self.trace.broken(&format!("{} has sessions that can't be deleted", USERS[user]));
        }
    }

    async fn is_kept(&self, user: usize, known: &Known) -> bool {
        self.sessions(user).await.iter().any(|kept| kept.id.to_string() == known.id)
    }

    /// Checks that what was acknowledged is so, and what was not is wholly so or not at all.
    async fn is_complete(&self, user: usize) {
        let kept = self.sessions(user).await;
        let account = self.accounts[user].lock().unwrap();
        let mut unknown_chats = 0;
        for session in &kept {
            let id = session.id.to_string();
            let title = session.title.as_deref();
            match account.sessions.iter().find(|known| known.id == id) {
                Some(known) if known.is_deleted => {
                    self.trace.broken(&format!("{id} is there, and was deleted"));
                }
                Some(known) if !known.may_be_called(title) => {
                    self.trace.broken(&format!("{id} is called {title:?}: {:?}", known.titles));
                }
                Some(_) => {}
                None if session.conversation.is_some() => unknown_chats += 1,
                None => {
                    if !title.is_some_and(|title| account.unanswered.iter().any(|it| it == title)) {
                        self.trace.broken(&format!("{id} is there, and nobody asked for it"));
                    }
                }
            }
        }
        if unknown_chats > account.unanswered_chats {
            self.trace.broken(&format!("{unknown_chats} conversations are there unasked"));
        }
        let kept: BTreeSet<_> = kept.iter().map(|session| session.id.to_string()).collect();
        for known in account.sessions.iter().filter(|known| !known.may_be_deleted) {
            if !kept.contains(&known.id) {
                self.trace.broken(&format!("{} is lost", known.id));
            }
        }
    }

    /// Checks that counts are right where nothing was lost, before anything is repaired; and that no
    /// conversation is left that its first run has not bound.
    async fn counts_are_exact(&self, user: usize) {
        for summary in self.sessions(user).await {
            let record = self.session(summary.id).await;
            let Some(id) = &record.thread_id else {
                if summary.conversation.is_some() {
                    self.trace.broken(&format!("{} has a conversation of nothing", USERS[user]));
                }
                continue;
            };
            let server = self.upstream.kept.lock().unwrap();
            let Some(thread) = server.threads.get(&**id) else { continue };
            let counted = record.message_count.known().unwrap_or_default();
            let counted = usize::try_from(counted).unwrap();
            let lost = thread.unseen + self.unbound_messages(id, thread.items.len());
            if counted > thread.items.len() || counted + lost < thread.items.len() {
                let has = thread.items.len();
                let line = format!("{id} has {has} messages, {counted} are counted, {lost} lost");
                self.trace.broken(&line);
            }
        }
    }

    /// Checks that what was answered whole is there to be read.
    async fn answers_are_kept(&self, known: &Known) {
        let id = SessionId::parse(&known.id).unwrap();
        let Some(thread) = self.session(id).await.thread_id else {
            if known.said.iter().any(|(_, whole)| *whole) {
                self.trace.broken(&format!("{} was answered, and has no thread", known.id));
            }
            return;
        };
        let server = self.upstream.kept.lock().unwrap();
        let Some(thread) = server.threads.get(&*thread) else {
            if !known.may_be_deleted {
                self.trace.broken(&format!("the thread of {} is lost", known.id));
            }
            return;
        };
        for (words, _) in known.said.iter().filter(|(_, whole)| *whole) {
            let times = thread.items.iter().filter(|item| item.text.ends_with(&**words)).count();
            if times != 2 {
                self.trace.broken(&format!("{words} is there {times} times"));
            }
        }
    }

    /// Checks that a session that was read has as many messages as its thread.
    async fn is_repaired(&self, known: &Known) {
        let id = SessionId::parse(&known.id).unwrap();
        let record = self.session(id).await;
        let Some(thread) = &record.thread_id else { return };
        let server = self.upstream.kept.lock().unwrap();
        let Some(thread) = server.threads.get(&**thread) else { return };
        let messages = MessageCount::Known(thread.items.len() as u64);
        if record.message_count != messages {
            let line = format!("{} is read: {:?}, {messages:?}", known.id, record.message_count);
            self.trace.broken(&line);
        }
    }

    /// Checks that a session is not busy, and has as much room as it should.
    async fn can_go_on(&self, hand: &mut Hand, place: usize) {
        let known = hand.account().sessions[place].clone();
        let id = SessionId::parse(&known.id).unwrap();
        let record = self.session(id).await;
        let is_gone = record.thread_id.as_ref().is_some_and(|thread| {
            !self.upstream.kept.lock().unwrap().threads.contains_key(&**thread)
        });
        let messages = record.message_count.known().unwrap_or_default();
        let expected = match messages {
            messages if messages >= MAX_MESSAGES as u64 => 429,
            _ if is_gone => 404,
            _ => 200,
        };
        let status = hand.run(place, &known).await;
        if status != expected {
            let line = format!("{} with {messages} messages: {status}", known.id);
            self.trace.broken(&line);
        }
    }

    /// Lets the user know of what is theirs and was not acknowledged.
    async fn learn_the_rest(&self, user: usize, hand: &Hand) {
        for session in self.sessions(user).await {
            let id = session.id.to_string();
            let account = &mut *hand.account();
            if !account.sessions.iter().any(|known| known.id == id) {
                account.learn(&id, None, session.title);
            }
        }
    }

    /// Checks that there can be as many sessions as there may be, and no more.
    async fn limit_is_exact(&self, hand: &mut Hand) {
        for _ in self.sessions(hand.user).await.len()..=MAX_SESSIONS {
            // So that any status is right, and only the number counts.
            hand.account().asked += MAX_SESSIONS;
            hand.create().await;
        }
        let sessions = self.sessions(hand.user).await.len();
        if sessions != MAX_SESSIONS {
            self.trace.broken(&format!("{} can have {sessions} sessions", USERS[hand.user]));
        }
    }

    async fn attachments_are_whose(&self, user: usize) {
        let attachments = self.accounts[user].lock().unwrap().attachments.clone();
        for file in attachments {
            let owner = self.owner_of_attachment(&file.id).await;
            match owner {
                None if file.may_be_deleted => {}
                Some(owner) if owner.as_str() == USERS[user] && !file.is_deleted => {}
                owner => self.trace.broken(&format!("{} is {owner:?}'s", file.id)),
            }
        }
    }

    /// Checks what is left at the upstream when everybody has deleted everything.
    ///
    /// A thread may be left that nobody has only where the gateway could not know of it, or could not keep it: its
    /// run ended before `thread.created` had come, or the store failed to bind it or had given the
    /// session to another run. Nobody deletes these: the same failure may have bound it after all.
    pub(crate) fn check_left(&self) {
        let server = self.upstream.kept.lock().unwrap();
        let binds = self.binds.threads.lock().unwrap();
        for (id, thread) in &server.threads {
            if thread.shown && binds.get(&**id) != Some(&Bind::Failed) {
                self.trace.broken(&format!("{id} of {} is left, and nobody's", thread.owner));
            }
        }
    }
}
