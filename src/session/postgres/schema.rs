//! The schema and its migrations.

use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, SimpleQueryMessage};

use super::clock;
use super::connection::Place;
use super::failure::Failure;
use super::grants;
use super::options::PostgresOptions;
use super::rows;
use super::store::PostgresStore;
use crate::error::{BoxError, Error};

/// Entry *n* brings a schema from version *n* to version *n + 1*; a released entry never changes.
pub(super) const MIGRATIONS: [&str; 5] = [
    include_str!("sql/1_tables.sql"),
    include_str!("sql/2_runs.sql"),
    include_str!("sql/3_sessions.sql"),
    include_str!("sql/4_allowances.sql"),
    include_str!("sql/5_blocks.sql"),
];

/// The version that the migrations end with.
pub(super) const VERSION: i32 = 5;

/// How long the steps may take, all together.
const STEPS: Duration = Duration::from_secs(600);

const _: () = assert!(MIGRATIONS.len() == VERSION as usize);

/// What [`PostgresStore::migrate`] has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Migrated {
    /// The version that the schema had; 0 if there was none.
    pub from: u32,
    /// The version that it has.
    pub to: u32,
}

impl PostgresStore {
    /// Makes the schema, or brings it to the version that this program knows. Programs that do it at once
    /// wait for each other.
    ///
    /// # Errors
    /// If the database can't be reached, is newer or another program's, or refuses; or if its schema is of
    /// this version, and its user may not do there what a gateway does.
    pub async fn migrate(options: PostgresOptions) -> Result<Migrated, Error> {
        options.check()?;
        migrate(&Place::new(&options)?, &options).await
    }

    /// Writes what each step is in SQL, for whoever may not let a program do it. The name of the schema
    /// is taken as it is, in quotes.
    pub fn migrations(schema: &str) -> Vec<String> {
        let mut version = 0;
        let step = |text| {
            version += 1;
            let make = if version == 1 { make(schema) } else { String::new() };
            format!("BEGIN;\n{make}{}COMMIT;\n", step(schema, text, version))
        };
        MIGRATIONS.into_iter().map(step).collect()
    }
}

/// Brings the schema to [`VERSION`].
pub(super) async fn migrate(place: &Place, options: &PostgresOptions) -> Result<Migrated, Error> {
    let failed = |failure: Failure| {
        Error::store(format!("could not prepare the database {}", options.shown()), failure)
    };
    let client = place.connect(options.connect_timeout).await.map_err(failed)?;
    clock::compare(&client, options).await.map_err(failed)?;
    let from = known(look(&client, options).await.map_err(failed)?, options)?;
    if from == VERSION {
        if let Some(lacking) = grants::lacking(&client, &options.schema).await.map_err(failed)? {
            let why = format!("{lacking}: see the manual's chapter on several machines");
            return Err(refused(options, why));
        }
        return Ok(migrated(from));
    }
    let in_time = timeout(STEPS, locked(&client, options)).await;
    let locked = in_time.unwrap_or(Err(Stopped::Failed(Failure::TimedOut)));
    if locked.is_err() {
        // What was begun is undone, at the latest when the connection ends.
        let _ = timeout(options.statement_timeout, client.batch_execute("ROLLBACK")).await;
    }
    match locked {
        Ok(from) => Ok(migrated(from)),
        Err(Stopped::Refused(error)) => Err(error),
        Err(Stopped::Failed(failure)) => Err(failed(failure)),
    }
}

enum Stopped {
    Refused(Error),
    Failed(Failure),
}

impl From<Failure> for Stopped {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<tokio_postgres::Error> for Stopped {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Failed(error.into())
    }
}

/// Migrates in one transaction, which a pooler gives one connection, and gives the version before it.
async fn locked(client: &Client, options: &PostgresOptions) -> Result<i32, Stopped> {
    let schema = &options.schema;
    let lock = format!(
        "{} SELECT pg_advisory_xact_lock(hashtextextended('chatkit-rest {schema}', 0))",
        begin(options)
    );
    let migrating = "the advisory lock of who migrates it";
    client.batch_execute(&lock).await.map_err(|error| held(migrating, error.into()))?;
    let version_table = |failure| Stopped::Failed(held("its table migration", failure));
    let from = version(client, schema).await.map_err(version_table)?;
    let from = known(from, options).map_err(Stopped::Refused)?;
    if from == 0 {
        client.batch_execute(&make(schema)).await?;
    }
    for (text, version) in MIGRATIONS.into_iter().zip(1..).filter(|(_, version)| *version > from) {
        let step = step(schema, text, version);
        client.batch_execute(&step).await.map_err(|error| held("a table of its", error.into()))?;
    }
    client.batch_execute("COMMIT").await?;
    Ok(from)
}

/// Begins a transaction in which no lock is waited for longer than some statements may take.
fn begin(options: &PostgresOptions) -> String {
    let most = patience(options).as_millis().min(i32::MAX as u128);
    format!("BEGIN; SET LOCAL lock_timeout = {most};")
}

/// How long is waited for a lock: whoever else migrates has some to do.
fn patience(options: &PostgresOptions) -> Duration {
    options.statement_timeout.saturating_mul(4)
}

/// Names the lock that somebody has had for too long, if it is that.
fn held(lock: &str, failure: Failure) -> Failure {
    match failure {
        Failure::Refused { code, .. } if code == SqlState::LOCK_NOT_AVAILABLE => {
            let message = format!("somebody else has {lock}, and keeps it: see pg_locks");
            Failure::Refused { code, message }
        }
        other => other,
    }
}

/// Asks for the version of the schema, as [`version`] does, but not for long.
pub(super) async fn look(
    client: &Client,
    options: &PostgresOptions,
) -> Result<Option<i32>, Failure> {
    let looking = async {
        client.batch_execute(&begin(options)).await?;
        let version = version(client, &options.schema).await;
        client.batch_execute("ROLLBACK").await?;
        version.map_err(|failure| held("its table migration", failure))
    };
    let within = patience(options).saturating_add(options.statement_timeout);
    timeout(within, looking).await.unwrap_or(Err(Failure::TimedOut))
}

/// Asks for the version of the schema: 0 if there is none, and nothing if it is another program's.
async fn version(client: &Client, schema: &str) -> Result<Option<i32>, Failure> {
    let sql = format!("SELECT max(version) FROM \"{schema}\".migration");
    // Asked for first: a transaction in which a statement failed is of no more use. And of the catalogue
    // itself, because what is remembered of it may be from before the lock.
    let there = format!(
        "SELECT a.attname::text FROM pg_catalog.pg_class AS c
        JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
        LEFT JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND NOT a.attisdropped
            AND (c.relname, a.attname) IN (('migration', 'version'), ('migration', 'applied_at'),
                ('session', 'lease_gateway'))
        WHERE n.nspname = '{schema}' AND (c.relname = 'migration'
            OR c.relname = 'session' AND a.attname IS NOT NULL)"
    );
    let there = client.query_typed(&there, &[]).await?;
    match there.len() {
        0 => return Ok(Some(0)),
        3 => {}
        _ => return Ok(None),
    }
    let rows = client.query_typed(&sql, &[]).await?;
    let version: Option<Option<i32>> = rows.first().map(|row| row.try_get(0)).transpose()?;
    Ok(Some(version.flatten().unwrap_or(0)))
}

/// Gives the version that was found, if this program can do with it.
///
/// # Errors
/// If the schema is of a newer program, or of another one.
pub(super) fn known(found: Option<i32>, options: &PostgresOptions) -> Result<i32, Error> {
    let schema = &options.schema;
    match found {
        None => Err(refused(
            options,
            format!(
                "its schema {schema} is another program's: set store.schema to a name of its own"
            ),
        )),
        Some(version) if version > VERSION => Err(refused(
            options,
            format!(
                "its schema {schema} has version {version}, which a newer gateway made: this one knows \
                {VERSION}"
            ),
        )),
        Some(version) => Ok(version),
    }
}

/// Checks how much a transaction sees, only where it can't be said for each connection.
///
/// # Errors
/// If it is not what [`check_isolation`] wants, or the database can't be reached.
pub(super) async fn ask_for_isolation(
    place: &Place,
    options: &PostgresOptions,
) -> Result<(), Error> {
    let failed = |failure| refused(options, failure);
    let client = place.connect(options.connect_timeout).await.map_err(failed)?;
    let sql = "SELECT current_setting('transaction_isolation')";
    let asked = timeout(options.statement_timeout, client.query_typed(sql, &[])).await;
    let rows = asked.map_err(|_| failed(Failure::TimedOut))?;
    let rows = rows.map_err(|error| failed(error.into()))?;
    let isolation = rows::one(&rows).and_then(|row| rows::get(row, 0)).map_err(failed)?;
    check_isolation(isolation).map_err(|why| refused(options, why))
}

/// Checks that a transaction sees what others have committed since it began, which the functions go by.
///
/// # Errors
/// If it doesn't: what to do.
pub(super) fn check_isolation(isolation: &str) -> Result<(), String> {
    if isolation == "read committed" {
        return Ok(());
    }
    Err(format!(
        "its transactions are {isolation} unless it is said: set default_transaction_isolation to \
        'read committed' for its user"
    ))
}

/// Checks that no pooler gives each transaction whatever connection is free: what is prepared or set in a
/// connection would be another's there.
///
/// # Errors
/// If one does, or the database can't be reached.
pub(super) async fn check_connection(
    place: &Place,
    options: &PostgresOptions,
) -> Result<(), Error> {
    let failed = |failure: Failure| refused(options, failure);
    let one = place.connect(options.connect_timeout).await.map_err(failed)?;
    let other = place.connect(options.connect_timeout).await.map_err(failed)?;
    let checking = async {
        let of_one = process(&one, "").await?;
        // Whoever else is there may have what would tell it.
        for _ in 0..5 {
            // The second is asked for only where it can't wait for the transaction.
            let is_pooled =
                process(&other, "BEGIN;").await? == of_one || process(&one, "").await? != of_one;
            other.batch_execute("ROLLBACK").await?;
            if is_pooled {
                return Ok(true);
            }
        }
        Ok(false)
    };
    let checked = timeout(options.statement_timeout, checking).await;
    if !checked.unwrap_or(Err(Failure::TimedOut)).map_err(failed)? {
        return Ok(());
    }
    let why = "a pooler in transaction mode stands before it: set store.pooler";
    Err(refused(options, why))
}

/// Asks which process of the database a connection has, behind what comes before in the same flight.
async fn process(client: &Client, before: &str) -> Result<Option<String>, Failure> {
    let messages = client.simple_query(&format!("{before} SELECT pg_backend_pid()")).await?;
    let process = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    });
    Ok(process)
}

/// What comes before the first step: the schema may not be there. Whoever may not make schemas may have
/// been given one, which `IF NOT EXISTS` is no help with.
fn make(schema: &str) -> String {
    let (quoted, name) = (quoted(schema), schema.replace('\'', "''"));
    format!(
        "DO $make$ BEGIN
    IF NOT EXISTS (SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = '{name}') THEN
        CREATE SCHEMA {quoted};
    END IF;
END $make$;
"
    )
}

/// Writes a step, to be done in a transaction.
fn step(schema: &str, text: &str, version: i32) -> String {
    let quoted = quoted(schema);
    let first = match version {
        1 => {
            "CREATE TABLE migration (
    version integer PRIMARY KEY,
    applied_at timestamptz NOT NULL DEFAULT now()
);
"
        }
        _ => "",
    };
    format!(
        "SET LOCAL search_path TO {quoted}, pg_temp;\n{first}{text}\
        INSERT INTO migration (version) VALUES ({version});\n"
    )
}

fn quoted(schema: &str) -> String {
    format!("\"{}\"", schema.replace('"', "\"\""))
}

fn migrated(from: i32) -> Migrated {
    Migrated { from: from.unsigned_abs(), to: VERSION.unsigned_abs() }
}

/// Says why the database can't be used.
pub(super) fn refused(options: &PostgresOptions, why: impl Into<BoxError>) -> Error {
    Error::store(format!("could not use the database {}", options.shown()), why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_is_a_transaction_in_its_schema() {
        let steps = PostgresStore::migrations("some_where");
        assert_eq!(steps.len(), MIGRATIONS.len());
        for (number, step) in steps.iter().enumerate() {
            assert!(step.starts_with("BEGIN;\n") && step.ends_with("COMMIT;\n"), "{step}");
            assert!(step.contains("SET LOCAL search_path TO \"some_where\", pg_temp;"), "{step}");
            assert!(step.contains(&format!("VALUES ({});", number + 1)), "{step}");
            assert_eq!(step.contains("CREATE SCHEMA"), number == 0, "{step}");
        }
        assert!(PostgresStore::migrations("a\"b")[0].contains("\"a\"\"b\""));
    }
}
