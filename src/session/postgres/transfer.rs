//! What is read of a schema, and written to one, when a store is copied.

use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row as Found};
use uuid::Uuid;

use super::connection::Place;
use super::failure::Failure;
use super::options::PostgresOptions;
use super::schema;
use crate::error::Error;
use crate::session::transfer::BATCH;
use crate::session::transfer::table::{Cell, Column, Kind, Row, Table};

/// A schema that is copied from or to. Nothing is kept in a connection but within a transaction, for a
/// pooler may be in between.
pub(in crate::session) struct PostgresEnd {
    /// In a transaction, so that it reads what was there when that began, whatever is written.
    reader: Client,
    /// Of a schema that is copied to.
    writer: Option<Client>,
    /// In quotes.
    schema: String,
    /// How a gateway calls its connections, where they can be told from a pooler's.
    gateways: Option<String>,
    shown: String,
    /// Which table there is a cursor for.
    reading: Option<&'static Table>,
    /// The order in which others came is told by their numbers.
    is_unnumbered: bool,
}

/// From here on, a count is what went by where nobody has counted: in rows that are copied, not in those
/// of the database, where another column says so.
const UNCOUNTED: i64 = 1 << 53;

impl PostgresEnd {
    /// Connects to a schema of this version, and reads it as it is now, whatever becomes of it.
    ///
    /// # Errors
    /// If there is none, or the database can't be reached.
    pub(in crate::session) async fn source(options: &PostgresOptions) -> Result<Self, Error> {
        Self::new(options, false).await
    }

    /// Connects to a schema, and makes or updates it if need be.
    ///
    /// # Errors
    /// If it is newer, or the database can't be reached, or refuses.
    pub(in crate::session) async fn target(options: &PostgresOptions) -> Result<Self, Error> {
        options.check()?;
        schema::migrate(&Place::new(options)?, options).await?;
        Self::new(options, true).await
    }

    async fn new(options: &PostgresOptions, is_target: bool) -> Result<Self, Error> {
        options.check()?;
        let shown = options.shown();
        let failed = |failure: Failure| schema::refused(options, failure);
        let mut place = Place::new(options)?;
        let gateways = place.config.get_application_name().map(str::to_owned);
        place.config.application_name("chatkit-rest store copy");
        let reader = place.connect(options.connect_timeout).await.map_err(failed)?;
        let writer = if is_target {
            Some(place.connect(options.connect_timeout).await.map_err(failed)?)
        } else {
            None
        };
        let version = schema::look(&reader, options).await.map_err(failed)?;
        let version = schema::known(version, options)?;
        if version != schema::VERSION {
            let why = format!(
                "its schema {} has version {version}, and this program knows {}: see chatkit-rest migrate",
                options.schema,
                schema::VERSION
            );
            return Err(schema::refused(options, why));
        }
        let end = Self {
            reader,
            writer,
            schema: format!("\"{}\"", options.schema),
            gateways: gateways.filter(|_| !options.pooler),
            shown: shown.clone(),
            reading: None,
            is_unnumbered: false,
        };
        end.begin().await.map_err(failed)?;
        Ok(end)
    }

    /// Begins to read what is there now.
    async fn begin(&self) -> Result<(), Failure> {
        let (reader, schema) = (&self.reader, &self.schema);
        let begin = format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
            SET LOCAL statement_timeout = 0;
            SET LOCAL idle_in_transaction_session_timeout = 0;
            SELECT count(*) FROM {schema}.signing_key"
        );
        Ok(reader.batch_execute(&begin).await?)
    }

    /// Tells whether another process has the store open: one that has runs says so in the database, and
    /// one that has none still has a connection, but for a moment.
    pub(in crate::session) async fn is_shared(&self) -> Result<bool, Error> {
        let schema = &self.schema;
        let sql = format!(
            "SELECT EXISTS (SELECT 1 FROM {schema}.gateway WHERE alive_until > clock_timestamp())
                OR EXISTS (SELECT 1 FROM pg_stat_activity
                    WHERE application_name = $1 AND datname = current_database())"
        );
        let name = self.gateways.clone().unwrap_or_default();
        // What the reader's transaction sees is what was there when it began.
        let client = self.writer.as_ref().unwrap_or(&self.reader);
        let asked = client.query_typed(&sql, &[(&name, Type::TEXT)]).await;
        let rows = asked.map_err(|error| self.failed("look for the gateways of", error))?;
        rows.first()
            .map_or(Ok(false), |row| row.try_get(0))
            .map_err(|error| self.failed("read", error))
    }

    pub(in crate::session) async fn count(&self, table: &Table) -> Result<u64, Error> {
        let sql = format!("SELECT count(*) FROM {}", self.place(table));
        let counted = self.reader.query_typed(&sql, &[]).await;
        let count = counted.and_then(|rows| rows.first().map_or(Ok(0), |row| row.try_get(0)));
        count.map(i64::unsigned_abs).map_err(|error| self.failed("count what is in", error))
    }

    pub(in crate::session) async fn start(&mut self, table: &'static Table) -> Result<(), Error> {
        let mut before = "";
        if self.writer.is_some() {
            let ended = self.reader.batch_execute("COMMIT").await;
            ended.map_err(|error| self.failed("read", error))?;
            let anew = self.begin().await;
            anew.map_err(|failure| Error::store(self.attempt("read"), failure))?;
        } else if self.reading.is_some() {
            before = "CLOSE copied;";
        }
        let columns: Vec<_> = table.columns.iter().map(|column| read_as(table, column)).collect();
        let key: Vec<_> = table.columns.iter().take(table.key).map(|column| column.name).collect();
        let (columns, place) = (columns.join(", "), self.place(table));
        let order =
            if table.is_single { String::new() } else { format!("ORDER BY {}", key.join(", ")) };
        let declare = format!(
            "{before} DECLARE copied NO SCROLL CURSOR FOR SELECT {columns} FROM {place} {order}"
        );
        self.reader.batch_execute(&declare).await.map_err(|error| self.failed("read", error))?;
        self.reading = Some(table);
        Ok(())
    }

    pub(in crate::session) async fn more(&mut self) -> Result<Vec<Row>, Error> {
        let Some(table) = self.reading else { return Ok(Vec::new()) };
        let fetch = format!("FETCH {BATCH} FROM copied");
        let fetched = self.reader.query_typed(&fetch, &[]).await;
        let rows = fetched.map_err(|error| self.failed("read", error))?;
        rows.iter()
            .map(|found| {
                let cells = table.columns.iter().enumerate();
                cells.map(|(at, column)| cell(found, at, column.kind)).collect()
            })
            .collect::<Result<_, Failure>>()
            .map_err(|failure| Error::store(self.attempt("read"), failure))
    }

    pub(in crate::session) async fn write(
        &mut self,
        table: &Table,
        rows: &[Row],
    ) -> Result<(), Error> {
        let Some(writer) = &self.writer else { return Ok(()) };
        let columns = table.columns.iter().enumerate();
        let arrays: Vec<_> = columns.map(|(at, column)| Array::of(rows, at, column.kind)).collect();
        let values: Vec<_> = arrays.iter().map(Array::typed).collect();
        let sql = write_sql(&self.schema, table);
        let written = writer.query_typed(&sql, &values).await;
        written.map_err(|error| self.failed(&format!("write the {} of", table.name), error))?;
        self.is_unnumbered |= table.name == "quarantine_other";
        Ok(())
    }

    /// Writes in which order the others of each thread came.
    pub(in crate::session) async fn finish(&mut self) -> Result<(), Error> {
        let (Some(writer), true) = (&self.writer, self.is_unnumbered) else { return Ok(()) };
        let schema = &self.schema;
        let number = format!(
            "UPDATE {schema}.quarantine_other AS other SET number = place.number FROM (
                SELECT thread_id, user_id,
                    row_number() OVER (PARTITION BY thread_id ORDER BY since, user_id) - 1
                        AS number
                FROM {schema}.quarantine_other
            ) AS place
            WHERE other.thread_id = place.thread_id AND other.user_id = place.user_id
                AND other.number <> place.number"
        );
        writer.batch_execute(&number).await.map_err(|error| self.failed("write", error))
    }

    /// Gives where the rows of a table are.
    fn place(&self, table: &Table) -> String {
        let name = if table.name == SEQUENCE { "conversation_number" } else { table.name };
        format!("{}.{name}", self.schema)
    }

    fn attempt(&self, what: &str) -> String {
        format!("could not {what} the database {}", self.shown)
    }

    fn failed(&self, what: &str, error: tokio_postgres::Error) -> Error {
        Error::store(self.attempt(what), Failure::from(error))
    }
}

/// A sequence here, which is no table.
const SEQUENCE: &str = "conversation_sequence";

/// Columns of text that only this program writes, and which are text in the database, too.
fn is_own_text(column: &Column) -> bool {
    ["conversation", "kind"].contains(&column.name)
}

/// Gives a column as it is read: a UUID, bytes or a number.
fn read_as(table: &Table, column: &Column) -> String {
    let name = column.name;
    match (table.name, name) {
        ("session", "message_count") => {
            format!("CASE WHEN counted THEN message_count ELSE message_count + {UNCOUNTED} END")
        }
        (SEQUENCE, "id") => "1::bigint".to_owned(),
        (SEQUENCE, _) => "CASE WHEN is_called THEN last_value ELSE last_value - 1 END".to_owned(),
        _ => match column.kind {
            Kind::Bytes | Kind::Id => name.to_owned(),
            Kind::Text if is_own_text(column) => format!("convert_to({name}, 'UTF8')"),
            Kind::Text => name.to_owned(),
            Kind::Flag => format!("{name}::int::bigint"),
            Kind::Integer | Kind::Time => format!("{name}::bigint"),
        },
    }
}

/// Gives the statement that adds rows, whose columns are its parameters.
fn write_sql(schema: &str, table: &Table) -> String {
    if table.name == SEQUENCE {
        return format!(
            "SELECT setval('{schema}.conversation_number', last)
            FROM unnest($1::bigint[], $2::bigint[]) AS rows (id, last) WHERE last > 0"
        );
    }
    let mut names: Vec<_> = table.columns.iter().map(|column| column.name).collect();
    let arrays: Vec<_> = table
        .columns
        .iter()
        .zip(1..)
        .map(|(column, at)| format!("${at}::{}[]", type_of(column.kind)))
        .collect();
    let of = names.join(", ");
    let mut values: Vec<_> = table.columns.iter().map(write_as).collect();
    match table.name {
        "session" => {
            let is_uncounted = format!("adopted <> 0 AND message_count >= {UNCOUNTED}");
            for (name, value) in names.iter().zip(&mut values) {
                if *name == "message_count" {
                    *value = format!(
                        "CASE WHEN {is_uncounted} THEN message_count - {UNCOUNTED} ELSE message_count END"
                    );
                }
            }
            names.push("counted");
            values.push(format!("NOT ({is_uncounted})"));
        }
        "quarantine_other" => {
            names.push("number");
            values.push(
                "row_number() OVER (PARTITION BY thread_id ORDER BY since, user_id) - 1".into(),
            );
        }
        _ => {}
    }
    let replace = match table.name {
        "signing_key" => " ON CONFLICT (id) DO UPDATE SET key = excluded.key",
        _ => "",
    };
    format!(
        "INSERT INTO {schema}.{} ({}) SELECT {} FROM unnest({}) AS rows ({of}){replace}",
        table.name,
        names.join(", "),
        values.join(", "),
        arrays.join(", ")
    )
}

fn write_as(column: &Column) -> String {
    let name = column.name;
    match column.kind {
        Kind::Text if is_own_text(column) => format!("convert_from({name}, 'UTF8')"),
        Kind::Flag => format!("{name} <> 0"),
        Kind::Bytes | Kind::Id | Kind::Integer | Kind::Text | Kind::Time => name.to_owned(),
    }
}

fn type_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Bytes | Kind::Text => "bytea",
        Kind::Id => "uuid",
        Kind::Flag | Kind::Integer | Kind::Time => "bigint",
    }
}

fn cell(found: &Found, at: usize, kind: Kind) -> Result<Cell, Failure> {
    Ok(match kind {
        Kind::Bytes => found.try_get::<_, Option<Vec<u8>>>(at)?.map_or(Cell::Nothing, Cell::Bytes),
        Kind::Text => match found.try_get::<_, Option<Vec<u8>>>(at)? {
            Some(bytes) => {
                let text = String::from_utf8(bytes);
                Cell::Text(text.map_err(|error| Failure::Malformed(error.into()))?)
            }
            None => Cell::Nothing,
        },
        Kind::Id => match found.try_get::<_, Option<Uuid>>(at)? {
            Some(id) => Cell::Bytes(id.as_bytes().to_vec()),
            None => Cell::Nothing,
        },
        Kind::Flag | Kind::Integer | Kind::Time => {
            found.try_get::<_, Option<i64>>(at)?.map_or(Cell::Nothing, Cell::Integer)
        }
    })
}

/// A column of rows that are written.
enum Array<'r> {
    Bytes(Vec<Option<&'r [u8]>>),
    Ids(Vec<Option<Uuid>>),
    Numbers(Vec<Option<i64>>),
}

impl<'r> Array<'r> {
    fn of(rows: &'r [Row], at: usize, kind: Kind) -> Self {
        let cells = rows.iter().map(|row| row.get(at));
        match kind {
            Kind::Bytes | Kind::Text => Self::Bytes(cells.map(bytes).collect()),
            Kind::Id => {
                let id = |cell| bytes(cell).and_then(|bytes| Uuid::from_slice(bytes).ok());
                Self::Ids(cells.map(id).collect())
            }
            Kind::Flag | Kind::Integer | Kind::Time => {
                let number = |cell: Option<&Cell>| match cell {
                    Some(Cell::Integer(number)) => Some(*number),
                    Some(Cell::Bytes(_) | Cell::Nothing | Cell::Text(_)) | None => None,
                };
                Self::Numbers(cells.map(number).collect())
            }
        }
    }

    fn typed(&self) -> (&(dyn ToSql + Sync), Type) {
        match self {
            Self::Bytes(bytes) => (bytes, Type::BYTEA_ARRAY),
            Self::Ids(ids) => (ids, Type::UUID_ARRAY),
            Self::Numbers(numbers) => (numbers, Type::INT8_ARRAY),
        }
    }
}

fn bytes(cell: Option<&Cell>) -> Option<&[u8]> {
    match cell? {
        Cell::Text(text) => Some(text.as_bytes()),
        Cell::Bytes(bytes) => Some(bytes),
        Cell::Integer(_) | Cell::Nothing => None,
    }
}
