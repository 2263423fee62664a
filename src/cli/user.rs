//! `chatkit-rest user`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use chatkit_rest::config::{StoreConfig, StoreUrl};
use chatkit_rest::error::Error;
use chatkit_rest::principal::UserId;
use chatkit_rest::session::{
    BLOCK_SEEN_WITHIN, Blocked, BlockedUser, Directory, MAX_BLOCK_REASON_CHARS, MAX_BLOCKED_USERS,
    SqliteStore,
};
use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde_json::json;

use super::{CommandFailure, output, pages, settings};

/// How many users are read of the store at once.
const PAGE: usize = 500;

/// Shut users out before their tokens expire
///
/// Whatever a blocked user asks for is refused with 403 `USER_BLOCKED`, on every surface and by every
/// gateway on the store, whichever token or secret of a client session it comes with; nothing of it
/// reaches the ChatKit server, and a service gets no client session for them. What is the user's stays
/// as it is, and what was let in before the block goes on to its end, such as an answer that is streaming.
///
/// USER is the user's id, as the log's `user` has it: with `auth.user`, the whole of what that makes, such as
/// `https://login.example.com/|ada`. `block` has a note on standard error if no issuer's users are called so.
///
/// Gateways may run on the store meanwhile. `block` and `unblock` return when all of them go by it, after
/// a second: from then on nothing of a blocked user's is let in. What was let in before and still waits for
/// a place at the ChatKit server may begin there for up to `upstream.queue_timeout` more, and what a
/// connection takes.
///
/// Exit code: 0 if it is done, or was before, 1 if the user to be unblocked is not blocked, or the store
/// fails, 2 if there is no store.
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  chatkit-rest user block ada --reason \"laptop stolen\" --config gateway.toml
  chatkit-rest user list --config gateway.toml
  chatkit-rest user unblock ada --store sqlite:/var/lib/chatkit-rest/sessions.db")]
pub(super) struct User {
    #[command(subcommand)]
    step: UserStep,

    /// TOML file with settings
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,

    /// Where sessions are kept: `sqlite:FILE` or `postgres://…` (setting `store.url`)
    #[arg(long, value_name = "URL", global = true)]
    store: Option<String>,
}

#[derive(Debug, Subcommand)]
enum UserStep {
    /// Shut a user out, who may be one that nobody has heard of yet
    Block {
        /// The user's id, as the log's `user` has it: with `auth.user`, the whole of what that makes
        #[arg(value_name = "USER", value_parser = user_id)]
        user: UserId,

        /// Why, for `list`: at most 200 characters
        #[arg(long, value_name = "TEXT", value_parser = reason)]
        reason: Option<String>,
    },
    /// Let a user in again
    Unblock {
        /// The user's id
        #[arg(value_name = "USER", value_parser = user_id)]
        user: UserId,
    },
    /// Print the users who are blocked, since when, and why
    List {
        /// As JSON Lines
        #[arg(long)]
        json: bool,
    },
}

fn user_id(text: &str) -> Result<UserId, String> {
    UserId::parse(text).map_err(|error| error.to_string())
}

fn reason(text: &str) -> Result<String, String> {
    if text.chars().count() > MAX_BLOCK_REASON_CHARS {
        return Err(format!("it has more than {MAX_BLOCK_REASON_CHARS} characters"));
    }
    Ok(text.to_owned())
}

impl User {
    pub(super) fn run(self) -> Result<(), CommandFailure> {
        let settings = settings::store(self.config, self.store)?;
        let note = match &self.step {
            UserStep::Block { user, .. } => note(user, &settings.user_beginnings),
            UserStep::Unblock { .. } | UserStep::List { .. } => None,
        };
        let store = settings.config;
        match &store.url {
            StoreUrl::Sqlite(path) => in_file(path, self.step),
            StoreUrl::Postgres(_) => in_database(&store, self.step),
            _ => Err(CommandFailure::Usage(
                "store.url is memory:, which only its gateway can see; expected sqlite:FILE or \
                 postgres://…"
                    .into(),
            )),
        }?;
        Ok(note.map_or(Ok(()), |note| output::explain(&note))?)
    }
}

/// Gives what is to be said of a user whom no token can name. There may be such a one: a service makes
/// client sessions for whomever it likes.
fn note(user: &UserId, beginnings: &[String]) -> Option<String> {
    let user = user.as_str();
    if beginnings.is_empty() || beginnings.iter().any(|beginning| user.starts_with(beginning)) {
        return None;
    }
    let beginnings: Vec<_> = beginnings.iter().map(|beginning| format!("{beginning:?}")).collect();
    Some(format!(
        "note: no token's user is {user:?}: by auth.user, their ids begin with {}; block the whole id, \
         as the log's user has it\n",
        beginnings.join(" or ")
    ))
}

fn in_file(path: &Path, step: UserStep) -> Result<(), CommandFailure> {
    if !path.exists() {
        return Err(super::no_store(path));
    }
    if let UserStep::List { json } = step {
        let read =
            async |after: Option<UserId>| SqliteStore::read_blocks(path, after.as_ref(), PAGE);
        return super::wait(list(read, json))?;
    }
    // One that is of this version, so that opening it changes nothing.
    SqliteStore::read_blocks(path, None, 0)?;
    let place = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    super::wait(take(&SqliteStore::open(path)?, &place.display().to_string(), step))?
}

#[cfg(feature = "postgres")]
fn in_database(store: &StoreConfig, step: UserStep) -> Result<(), CommandFailure> {
    use chatkit_rest::session::PostgresStore;

    let options = store.postgres()?;
    super::wait(async {
        let store = PostgresStore::open(options).await?;
        let taken = take(&store, "this database", step).await;
        store.close().await;
        taken
    })?
}

#[cfg(not(feature = "postgres"))]
fn in_database(_: &StoreConfig, _: UserStep) -> Result<(), CommandFailure> {
    Err(super::no_database())
}

/// Does what is to be done in the store, which is at that place.
async fn take(store: &impl Directory, place: &str, step: UserStep) -> Result<(), CommandFailure> {
    match step {
        UserStep::Block { user, reason } => block(store, place, user, reason).await,
        UserStep::Unblock { user } => unblock(store, place, user).await,
        UserStep::List { json } => list(async |after| store.blocks(after, PAGE).await, json).await,
    }
}

async fn block(
    store: &impl Directory,
    place: &str,
    user: UserId,
    reason: Option<String>,
) -> Result<(), CommandFailure> {
    let mut block = BlockedUser::new(user.clone(), Timestamp::now());
    block.reason = reason;
    let blocked = store.block(block).await?;
    let user = user.as_str();
    let text = match blocked {
        Blocked::Done => format!("Blocked: every gateway on {place} refuses {user:?} now.\n"),
        Blocked::Already => format!("{user:?} is blocked already, as user list says.\n"),
        Blocked::Full => {
            return Err(CommandFailure::Runtime(Error::store(
                "could not block a user",
                format!("{MAX_BLOCKED_USERS} are, and that is as many as can be"),
            )));
        }
    };
    // Also where it was before: that may be a moment ago.
    tokio::time::sleep(BLOCK_SEEN_WITHIN).await;
    Ok(output::print(&text)?)
}

async fn unblock(store: &impl Directory, place: &str, user: UserId) -> Result<(), CommandFailure> {
    if !store.unblock(&user).await? {
        return Err(CommandFailure::NotBlocked { user: user.as_str().to_owned() });
    }
    tokio::time::sleep(BLOCK_SEEN_WITHIN).await;
    let user = user.as_str();
    Ok(output::print(&format!("Unblocked: every gateway on {place} lets {user:?} in again.\n"))?)
}

async fn list(
    read: impl AsyncFn(Option<UserId>) -> Result<Vec<BlockedUser>, Error>,
    as_json: bool,
) -> Result<(), CommandFailure> {
    let none = (!as_json).then_some("No user is blocked.\n");
    let line = |text: &mut String, user: &_, is_first| line(text, user, as_json, is_first);
    pages::print(read, PAGE, |user| user.user_id, line, none).await
}

/// Writes one user. Quoted, an id or a reason can't do anything to a terminal.
fn line(text: &mut String, user: &BlockedUser, as_json: bool, is_first: bool) {
    let BlockedUser { user_id, since, reason, .. } = user;
    let user_id = user_id.as_str();
    // Writing to a `String` does not fail.
    let _ = if as_json {
        let line = json!({"user_id": user_id, "since": since.to_string(), "reason": reason});
        writeln!(text, "{line}")
    } else {
        if is_first {
            let _ = writeln!(text, "USER  SINCE  REASON");
        }
        let reason = reason.as_ref().map_or("-".to_owned(), |reason| format!("{reason:?}"));
        writeln!(text, "{user_id:?}  {since:.0}  {reason}")
    };
}
