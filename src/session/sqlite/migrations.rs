//! The file's tables, and how they came to be what they are.

use rusqlite::Connection;

/// Entry *n* brings a file from version *n* to version *n + 1*; a released entry never changes.
///
/// Times are microseconds since the Unix epoch. `lease` is the number of the last lease given, and
/// `lease_run` the id of the run that has it; it is somebody's while `lease_until` is not null.
/// `made_for_run` says that no run had it but the one that the session was made with. Text is compared
/// byte for byte (the default collation).
const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE session (
        id BLOB PRIMARY KEY CHECK (length(id) = 16),
        user_id TEXT NOT NULL,
        thread_id TEXT UNIQUE,
        title TEXT,
        created_at INTEGER NOT NULL,
        updated_at INTEGER NOT NULL,
        message_count INTEGER NOT NULL DEFAULT 0,
        lease INTEGER NOT NULL DEFAULT 0,
        lease_until INTEGER
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX session_by_user ON session (user_id, updated_at DESC, created_at DESC);
    CREATE TABLE attachment (
        id TEXT PRIMARY KEY,
        user_id TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
",
    "
    ALTER TABLE session ADD COLUMN bound_at INTEGER;
    UPDATE session SET bound_at = created_at WHERE thread_id IS NOT NULL;
    CREATE INDEX session_by_binding ON session (bound_at, id)
        WHERE bound_at IS NOT NULL;
    CREATE INDEX session_by_users_binding ON session (user_id, bound_at, id)
        WHERE bound_at IS NOT NULL;
    CREATE TABLE client_session (
        id TEXT PRIMARY KEY,
        user_id TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        expires_at INTEGER NOT NULL,
        cancelled_at INTEGER,
        requests_per_minute INTEGER NOT NULL,
        details TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX client_session_by_end ON client_session (expires_at);
    CREATE TABLE signing_key (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        key BLOB NOT NULL CHECK (length(key) = 32)
    ) STRICT;
",
    "
    ALTER TABLE session ADD COLUMN conversation TEXT;
    CREATE UNIQUE INDEX session_by_conversation ON session (conversation)
        WHERE conversation IS NOT NULL;
    CREATE TABLE conversation_sequence (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        last INTEGER NOT NULL
    ) STRICT;
    INSERT INTO conversation_sequence (id, last) VALUES (1, 0);
",
    // Until its process ends, a program that was started before the second entry binds sessions
    // without the moment, and their threads would never be listed.
    "
    UPDATE session SET bound_at = updated_at WHERE thread_id IS NOT NULL AND bound_at IS NULL;
    CREATE TRIGGER session_is_bound AFTER UPDATE OF thread_id ON session
        WHEN NEW.thread_id IS NOT NULL AND NEW.bound_at IS NULL
        BEGIN
            UPDATE session SET bound_at = updated_at WHERE id = NEW.id;
        END;
    CREATE TABLE deleted_thread (
        thread_id TEXT PRIMARY KEY,
        session_id BLOB NOT NULL CHECK (length(session_id) = 16),
        bound_at INTEGER NOT NULL,
        deleted_at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX deleted_thread_by_time ON deleted_thread (deleted_at);
    CREATE INDEX client_session_by_user ON client_session (user_id, expires_at);
",
    // The count of an adopted session that nobody has counted is 2^53 and what went by since. A
    // program that was started before this entry takes that for a count which is above every limit,
    // rather than for none, and never writes a larger one than 2^53. It deletes too, which is why
    // that is remembered by triggers.
    "
    ALTER TABLE session ADD COLUMN adopted INTEGER NOT NULL DEFAULT 0;
    CREATE INDEX session_made_for_user ON session (user_id) WHERE adopted = 0;
    ALTER TABLE attachment ADD COLUMN adopted INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE deleted_adoption (
        kind TEXT NOT NULL,
        id TEXT NOT NULL,
        PRIMARY KEY (kind, id)
    ) STRICT, WITHOUT ROWID;
    CREATE TRIGGER adopted_session_is_deleted AFTER DELETE ON session WHEN OLD.adopted
        BEGIN
            INSERT OR IGNORE INTO deleted_adoption (kind, id) VALUES ('thread', OLD.thread_id);
        END;
    CREATE TRIGGER adopted_attachment_is_deleted AFTER DELETE ON attachment WHEN OLD.adopted
        BEGIN
            INSERT OR IGNORE INTO deleted_adoption (kind, id) VALUES ('attachment', OLD.id);
        END;
",
    // Conversations may be few among a user's sessions. A lease that was given before the clock was set
    // back is told by when that was; an older program leaves the moment of an earlier one.
    "
    ALTER TABLE session ADD COLUMN leased_at INTEGER;
    CREATE INDEX session_by_users_conversation
        ON session (user_id, updated_at DESC, created_at DESC) WHERE conversation IS NOT NULL;
",
    // A thread whose id was given to two users. The row of its session may be gone; the others' are not
    // looked at.
    "
    ALTER TABLE session ADD COLUMN quarantined_at INTEGER;
    DROP INDEX session_made_for_user;
    CREATE INDEX session_made_for_user ON session (user_id)
        WHERE adopted = 0 AND quarantined_at IS NULL;
    CREATE TABLE quarantine (
        thread_id TEXT PRIMARY KEY,
        since INTEGER NOT NULL,
        times INTEGER NOT NULL,
        session_id BLOB NOT NULL CHECK (length(session_id) = 16),
        user_id TEXT NOT NULL,
        more_others INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE quarantine_other (
        thread_id TEXT NOT NULL,
        user_id TEXT NOT NULL,
        session_id BLOB NOT NULL CHECK (length(session_id) = 16),
        since INTEGER NOT NULL,
        PRIMARY KEY (thread_id, user_id)
    ) STRICT, WITHOUT ROWID;
",
    // A lease is a run's. A program that was started before this entry goes by its number, and doesn't
    // say which run it gives one to: then it is not the last run's any more.
    "
    ALTER TABLE session ADD COLUMN lease_run BLOB CHECK (length(lease_run) = 16);
    CREATE TRIGGER lease_is_taken_over AFTER UPDATE OF lease ON session
        WHEN NEW.lease <> OLD.lease AND NEW.lease_run = OLD.lease_run
        BEGIN
            UPDATE session SET lease_run = NULL WHERE id = NEW.id;
        END;
    ALTER TABLE session ADD COLUMN made_for_run INTEGER NOT NULL DEFAULT 0;
",
    "
    CREATE TABLE allowance (
        key BLOB PRIMARY KEY,
        ledger TEXT NOT NULL,
        over_at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX allowance_by_end ON allowance (over_at);
",
    // Who is shut out, and a token of what that list is, which each change draws anew.
    "
    CREATE TABLE blocked_user (
        user_id TEXT PRIMARY KEY,
        since INTEGER NOT NULL,
        reason TEXT
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE block_version (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        version BLOB NOT NULL CHECK (length(version) = 16)
    ) STRICT;
    INSERT INTO block_version (id, version) VALUES (1, zeroblob(16));
",
];

/// The version that the migrations end with.
pub(super) const VERSION: u32 = 10;

const _: () = assert!(MIGRATIONS.len() == VERSION as usize);

/// Brings a file from this version to [`VERSION`], within the transaction that says so.
pub(super) fn run_from(connection: &Connection, version: u32) -> rusqlite::Result<()> {
    for migration in MIGRATIONS.iter().skip(version as usize) {
        connection.execute_batch(migration)?;
    }
    Ok(())
}
