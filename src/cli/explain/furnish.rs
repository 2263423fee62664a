//! A store in memory that has what a request names, as the caller's.

use std::fmt::Write as _;
use std::sync::Arc;

use chatkit_rest::error::Error;
use chatkit_rest::operation::Name;
use chatkit_rest::principal::UserId;
use chatkit_rest::route::Target;
use chatkit_rest::session::{
    AdoptedThread, Adoption, ConversationId, ConversationIds, Directory as _, Found, KnownBy,
    MemoryStore, NewSession, Runs as _, SessionId, SessionKey, SessionStore, Sessions as _,
};
use chatkit_rest::surface::Surface;
use jiff::Timestamp;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

const SESSION: &str = "00000000-0000-4000-8000-000000000001";
const THREAD: &str = "thr_example";

/// How many things of one request are looked after.
const MAX_THINGS: usize = 64;

/// Puts examples in the place of what is in braces. Fails with what to write if that isn't known.
pub(super) fn fill(path: &str, user: &UserId, ids: ConversationIds) -> Result<String, String> {
    let conversation = match ids {
        ConversationIds::Uuid => SESSION,
        ConversationIds::Integer => "1",
        ConversationIds::Conv => "conv_00000001",
    };
    let user = utf8_percent_encode(user.as_str(), NON_ALPHANUMERIC).to_string();
    let examples = [
        ("{session_id}", SESSION),
        ("{thread_id}", THREAD),
        ("{item_id}", "msg_example"),
        ("{attachment_id}", "atc_example"),
        ("{conversation_id}", conversation),
        ("{user_id}", &user),
    ];
    let filled =
        examples.iter().fold(path.to_owned(), |path, (name, example)| path.replace(name, example));
    let before_query = filled.split('?').next().unwrap_or_default();
    if let Some((_, rest)) = before_query.split_once('{')
        && let Some((name, _)) = rest.split_once('}')
    {
        let known = examples.map(|(name, _)| name).join(", ");
        return Err(format!("{{{name}}} is no name of the document's; in braces can be: {known}"));
    }
    Ok(filled)
}

/// What a request names, and the store that has it.
#[derive(Debug)]
pub(super) struct Furnished {
    store: Arc<MemoryStore>,
    user: UserId,
    assumed: Vec<String>,
}

impl Furnished {
    /// Makes a store with what the path and the body name. `first`: its session has no thread yet.
    pub(super) async fn with(
        target: Option<&Target<Name>>,
        body: &[u8],
        user: &UserId,
        first: bool,
    ) -> Result<Self, Error> {
        let store = Arc::new(MemoryStore::new());
        let mut furnished = Self { store, user: user.clone(), assumed: Vec::new() };
        let Some(target) = target else { return Ok(furnished) };
        let named = |name| target.parameter(name);
        let thread = named("thread_id");
        match (named("session_id"), thread) {
            // There it is the id of a secret, which nobody can make up.
            _ if target.operation() == Name::OpenAiCancelSession => {
                furnished.assumed.push("no client session, whose ids are signed".into());
            }
            // There is nothing to ask about a list of none.
            _ if target.operation() == Name::OpenAiListThreads => {
                furnished.thread(THREAD, None).await?;
            }
            (Some(session), thread) => furnished.session(session, thread, first).await?,
            (None, Some(thread)) => furnished.thread(thread, None).await?,
            (None, None) => {}
        }
        if let Some(conversation) = named("conversation_id") {
            furnished.conversation(conversation).await?;
        }
        if let Some(attachment) = named("attachment_id") {
            furnished.attachment(attachment).await?;
        }
        if let Ok(body) = serde_json::from_slice::<Value>(body) {
            let mut things = Vec::new();
            find(&body, &mut things);
            things.truncate(MAX_THINGS);
            for thing in things {
                match thing {
                    Thing::Thread(id) => furnished.thread(id, None).await?,
                    Thing::Attachment(id) => furnished.attachment(id).await?,
                    Thing::Conversation(id) if target.operation().surface() == Surface::Chat => {
                        furnished.conversation(&id).await?;
                    }
                    Thing::Conversation(_) => {}
                }
            }
        }
        Ok(furnished)
    }

    /// Gives the store.
    pub(super) fn store(&self) -> Arc<dyn SessionStore> {
        Arc::<MemoryStore>::clone(&self.store)
    }

    /// Writes what is assumed.
    pub(super) fn describe(&self, text: &mut String) -> std::fmt::Result {
        writeln!(
            text,
            "\nAssumed: the caller is {:?}, with valid credentials",
            self.user.as_str()
        )?;
        for assumed in &self.assumed {
            writeln!(text, "  and {assumed}")?;
        }
        Ok(())
    }

    async fn session(&mut self, id: &str, thread: Option<&str>, first: bool) -> Result<(), Error> {
        let Some(session) = SessionId::parse(id) else {
            self.assumed.push(format!("no session {id:?}: ids of sessions are UUIDs"));
            return Ok(());
        };
        if first {
            let mut new = NewSession::new(self.user.clone(), Timestamp::now());
            new.id = session;
            let _made = self.store.create(new, None).await?;
            self.assumed.push(format!("their session {session}, without a thread"));
            return Ok(());
        }
        // In the place of the thread's id may stand the session's.
        let thread = thread.filter(|thread| !thread.eq_ignore_ascii_case(id)).unwrap_or(THREAD);
        self.thread(thread, Some(KnownBy::Session(session))).await
    }

    async fn conversation(&mut self, id: &str) -> Result<(), Error> {
        let session = SessionId::parse(id).map(KnownBy::Session);
        let known = session.or_else(|| ConversationId::parse(id).map(KnownBy::Conversation));
        if let Some(known) = known {
            return self.thread(THREAD, Some(known)).await;
        }
        self.assumed.push(format!("no conversation {id:?}: ids are not like that"));
        Ok(())
    }

    async fn thread(&mut self, id: &str, known_by: Option<KnownBy>) -> Result<(), Error> {
        let mut thread = AdoptedThread::new(id.into(), self.user.clone(), Timestamp::now());
        thread.known_by = known_by;
        let _known_already = self.store.adopt(vec![Adoption::Thread(thread)]).await?;
        // One that is adopted has its messages counted before anything else is asked.
        if let Some(Found::Open(session)) = self.store.get(SessionKey::Thread(id)).await? {
            self.store.set_message_count(session.id, session.message_count, 2).await?;
        }
        self.assumed.push(match known_by {
            Some(KnownBy::Session(session)) => {
                format!("their session {session}, with the ChatKit server's thread {id:?}")
            }
            Some(KnownBy::Conversation(conversation)) => {
                format!(
                    "their conversation {conversation}, with the ChatKit server's thread {id:?}"
                )
            }
            None => format!("their thread {id:?}"),
        });
        Ok(())
    }

    async fn attachment(&mut self, id: &str) -> Result<(), Error> {
        let (attachment_id, user_id) = (id.to_owned(), self.user.clone());
        let attachment = Adoption::Attachment { attachment_id, user_id };
        let _known_already = self.store.adopt(vec![attachment]).await?;
        self.assumed.push(format!("their attachment {id:?}"));
        Ok(())
    }
}

/// What a body names.
enum Thing<'b> {
    Thread(&'b str),
    Attachment(&'b str),
    Conversation(String),
}

/// Finds the names in a body, whatever its kind; it is as deep as the parser lets it be.
fn find<'b>(value: &'b Value, things: &mut Vec<Thing<'b>>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                match (name.as_str(), value) {
                    ("thread_id", Value::String(id)) => things.push(Thing::Thread(id)),
                    ("attachment_id", Value::String(id)) => things.push(Thing::Attachment(id)),
                    ("conversation_id", Value::String(id)) => {
                        things.push(Thing::Conversation(id.clone()));
                    }
                    ("conversation_id", Value::Number(id)) => {
                        things.push(Thing::Conversation(id.to_string()));
                    }
                    ("attachments", Value::Array(ids)) => {
                        things.extend(ids.iter().filter_map(Value::as_str).map(Thing::Attachment));
                    }
                    _ => find(value, things),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| find(value, things)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
