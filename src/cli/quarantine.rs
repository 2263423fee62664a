//! `chatkit-rest quarantine`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use chatkit_rest::config::{StoreConfig, StoreUrl};
use chatkit_rest::error::Error;
use chatkit_rest::session::{Directory, QuarantinedThread, Released, SqliteStore, ThreadId};
use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde_json::json;

use super::{CommandFailure, output, pages, settings};

/// How many threads are read of the store at once.
const PAGE: usize = 500;

/// See to the threads whose id was given to several users
///
/// An upstream whose ids are short gives one of them twice some day. Its thread then has what two
/// users wrote, or more. The gateway refuses all but the first (`THREAD_ID_REUSED`), logs an error with both users, and
/// locks the thread: from then on nobody reads or writes it, its owner neither (`THREAD_QUARANTINED`),
/// until it is released or deleted here.
///
/// Look at the thread in the ChatKit server's own store, take out what the others wrote (`list`
/// names them, with --json the first 100 and since when), and release it; or delete it there, and its session here. And give the server longer ids, see "Ids of
/// threads" in the manual's chapter on security.
///
/// A gateway may run on the store meanwhile; it obeys at once.
///
/// Exit code: 0 if it is done, 1 if the thread is not in quarantine or the store fails, 2 if there is
/// no store.
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  chatkit-rest quarantine list --config gateway.toml
  chatkit-rest quarantine release thr_0f3a91c2 --config gateway.toml
  chatkit-rest quarantine delete thr_0f3a91c2 --store sqlite:/var/lib/chatkit-rest/sessions.db")]
pub(super) struct Quarantine {
    #[command(subcommand)]
    step: QuarantineStep,

    /// TOML file with settings
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,

    /// Where sessions are kept: `sqlite:FILE` or `postgres://…` (setting `store.url`)
    #[arg(long, value_name = "URL", global = true)]
    store: Option<String>,
}

#[derive(Debug, Subcommand)]
enum QuarantineStep {
    /// Print the threads in quarantine: whose each is, and which others got its id then
    List {
        /// As JSON Lines
        #[arg(long)]
        json: bool,
    },
    /// Give a thread back to its first owner, who sees all that is in it; where its session was
    /// deleted, let its id be given to a new thread
    Release {
        /// The upstream's id of the thread
        #[arg(value_name = "THREAD_ID")]
        thread: String,
    },
    /// Delete the session of a thread, which stays upstream; its id stays locked until it is released
    Delete {
        /// The upstream's id of the thread
        #[arg(value_name = "THREAD_ID")]
        thread: String,
    },
}

impl Quarantine {
    pub(super) fn run(self) -> Result<(), CommandFailure> {
        let store = settings::store(self.config, self.store)?.config;
        match &store.url {
            StoreUrl::Sqlite(path) => in_file(path, self.step),
            StoreUrl::Postgres(_) => in_database(&store, self.step),
            _ => Err(CommandFailure::Usage(
                "store.url is memory:, which only its gateway can see; expected sqlite:FILE or \
                 postgres://…"
                    .into(),
            )),
        }
    }
}

fn in_file(path: &Path, step: QuarantineStep) -> Result<(), CommandFailure> {
    if !path.exists() {
        return Err(super::no_store(path));
    }
    if let QuarantineStep::List { json } = step {
        let read = async |after: Option<ThreadId>| {
            SqliteStore::read_quarantine(path, after.as_ref(), PAGE)
        };
        return super::wait(list(read, json))?;
    }
    // One that is of this version, so that opening it changes nothing.
    SqliteStore::read_quarantine(path, None, 0)?;
    super::wait(take(&SqliteStore::open(path)?, step))?
}

#[cfg(feature = "postgres")]
fn in_database(store: &StoreConfig, step: QuarantineStep) -> Result<(), CommandFailure> {
    use chatkit_rest::session::PostgresStore;

    let options = store.postgres()?;
    super::wait(async {
        let store = PostgresStore::open(options).await?;
        let taken = take(&store, step).await;
        store.close().await;
        taken
    })?
}

#[cfg(not(feature = "postgres"))]
fn in_database(_: &StoreConfig, _: QuarantineStep) -> Result<(), CommandFailure> {
    Err(super::no_database())
}

async fn take(store: &impl Directory, step: QuarantineStep) -> Result<(), CommandFailure> {
    match step {
        QuarantineStep::List { json } => {
            list(async |after| store.quarantined(after, PAGE).await, json).await
        }
        QuarantineStep::Release { thread } => release(store, thread).await,
        QuarantineStep::Delete { thread } => delete(store, thread).await,
    }
}

async fn list(
    read: impl AsyncFn(Option<ThreadId>) -> Result<Vec<QuarantinedThread>, Error>,
    as_json: bool,
) -> Result<(), CommandFailure> {
    let none = (!as_json).then_some("No thread is in quarantine.\n");
    let line = |text: &mut String, thread: &_, is_first| line(text, thread, as_json, is_first);
    pages::print(read, PAGE, |thread| thread.thread_id, line, none).await
}

/// Writes one thread. Ids are texts from outside: quoted, they can't do anything to a terminal.
fn line(text: &mut String, thread: &QuarantinedThread, as_json: bool, is_first: bool) {
    let QuarantinedThread {
        thread_id,
        since,
        times,
        owner_session,
        owner,
        others,
        more_others,
        is_deleted,
        ..
    } = thread;
    let state = if *is_deleted { "deleted" } else { "locked" };
    // Writing to a `String` does not fail.
    let _ = if as_json {
        let line = json!({
            "thread_id": &**thread_id,
            "state": state,
            "since": since.to_string(),
            "times": times,
            "owner": {"user_id": owner.as_str(), "session_id": owner_session.to_string()},
            "others": others.iter().map(|other| json!({
                "user_id": other.user_id.as_str(),
                "session_id": other.session_id.to_string(),
                "since": other.since.to_string(),
            })).collect::<Vec<_>>(),
            "more_others": more_others,
        });
        writeln!(text, "{line}")
    } else {
        if is_first {
            let _ = writeln!(text, "THREAD  STATE  SINCE  TIMES  OWNER  OTHERS");
        }
        let (thread_id, owner) = (&**thread_id, owner.as_str());
        let _ = write!(text, "{thread_id:?}  {state}  {since:.0}  {times}  {owner:?}  ");
        for (n, other) in others.iter().enumerate() {
            let before = if n == 0 { "" } else { ", " };
            let _ = write!(text, "{before}{:?}", other.user_id.as_str());
        }
        if *more_others > 0 {
            let _ = write!(text, " and {more_others} times more");
        }
        writeln!(text)
    };
}

async fn release(store: &impl Directory, thread: String) -> Result<(), CommandFailure> {
    let text = match store.release(&thread).await? {
        Released::Unknown => return Err(CommandFailure::NotQuarantined { thread }),
        Released::ToOwner => format!(
            "Released: {thread:?} is its first owner's again, who sees all that is in it now.\n"
        ),
        Released::Id => format!("Released: a new thread may have the id {thread:?} again.\n"),
    };
    Ok(output::print(&text)?)
}

async fn delete(store: &impl Directory, thread: String) -> Result<(), CommandFailure> {
    if !store.delete_quarantined(&thread, Timestamp::now()).await? {
        return Err(CommandFailure::NotQuarantined { thread });
    }
    Ok(output::print(&format!(
        "Deleted: the session of {thread:?} is gone; its owner's list no longer has it.\n\
         The thread is in the ChatKit server still, with what all of them wrote. Delete it there, in the\n\
         server's own store: over the gateway nobody can.\n\
         Until then its id stays locked, so that no new thread gets it. When the thread is gone, let the\n\
         id be used again: chatkit-rest quarantine release {thread:?}\n"
    ))?)
}
