//! What is read of a file, and written to one, when a store is copied.

use std::path::{Path, PathBuf};

use rusqlite::types::{ToSqlOutput, Type, ValueRef};
use rusqlite::{Connection, ToSql, params_from_iter};

use super::alone::OpenFile;
use super::options::BUSY_TIMEOUT;
use super::schema;
use crate::error::Error;
use crate::session::transfer::BATCH;
use crate::session::transfer::table::{Cell, Row, Table};

/// A file that is copied from or to.
pub(in crate::session) struct SqliteEnd {
    // Closed before the file is, with which their locks would go.
    /// In a transaction, so that it reads what was there when that began, whatever is written.
    reader: Connection,
    /// Of a file that is copied to.
    writer: Option<Connection>,
    file: OpenFile,
    path: PathBuf,
    /// Which table is read, and behind which key.
    reading: Option<(&'static Table, Option<Row>)>,
}

impl SqliteEnd {
    /// Opens a file of this version, and reads it as it is now, whatever becomes of it.
    ///
    /// # Errors
    /// If there is no such file, or it can't be read.
    pub(in crate::session) fn source(path: &Path) -> Result<Self, Error> {
        let path = absolute(path)?;
        Self::new(path, None)
    }

    /// Opens a file, and creates or updates it if need be.
    ///
    /// # Errors
    /// If it can't be opened or written, or belongs to another program or to a newer version.
    pub(in crate::session) fn target(path: &Path) -> Result<Self, Error> {
        let path = absolute(path)?;
        let writer = schema::open_for_writing(&path, BUSY_TIMEOUT)?;
        schema::prepare_for_bulk(&writer)
            .map_err(|error| Error::store("could not prepare the session store", error))?;
        Self::new(path, Some(writer))
    }

    fn new(path: PathBuf, writer: Option<Connection>) -> Result<Self, Error> {
        let reader = schema::open_current(&path, BUSY_TIMEOUT)?;
        begin(&reader)?;
        let file = OpenFile::open(&path)
            .map_err(|error| Error::io("could not open the session store", error))?;
        Ok(Self { reader, writer, file, path, reading: None })
    }

    pub(in crate::session) fn is_shared(&self) -> bool {
        cfg!(unix) && self.file.is_shared()
    }

    pub(in crate::session) fn count(&self, table: &Table) -> Result<u64, Error> {
        let sql = format!("SELECT count(*) FROM {}", table.name);
        self.reader
            .query_row(&sql, (), |row| row.get::<_, i64>(0))
            .map(i64::unsigned_abs)
            .map_err(|error| failed("count", table, error))
    }

    pub(in crate::session) fn start(&mut self, table: &'static Table) -> Result<(), Error> {
        if self.writer.is_some() {
            self.reader.execute_batch("COMMIT").map_err(|error| failed("read", table, error))?;
            begin(&self.reader)?;
        }
        self.reading = Some((table, None));
        Ok(())
    }

    pub(in crate::session) fn more(&mut self) -> Result<Vec<Row>, Error> {
        let Some((table, last)) = self.reading.take() else { return Ok(Vec::new()) };
        let key = list(table.columns.iter().take(table.key).map(|column| column.name));
        let behind = match last {
            Some(_) => format!("WHERE ({key}) > ({})", list((0..table.key).map(|_| "?"))),
            None => String::new(),
        };
        let (names, name) = (names(table), table.name);
        let sql = format!("SELECT {names} FROM {name} {behind} ORDER BY {key} LIMIT {BATCH}");
        let after = last.as_ref().map(|row| table.key_of(row)).unwrap_or_default();
        let read = || {
            let mut statement = self.reader.prepare_cached(&sql)?;
            let rows = statement.query_map(params_from_iter(after), |row| {
                (0..table.columns.len()).map(|column| cell(row, column)).collect()
            })?;
            rows.collect::<rusqlite::Result<Vec<Row>>>()
        };
        let rows = read().map_err(|error| failed("read", table, error))?;
        self.reading = rows.last().map(|last| (table, Some(last.clone())));
        Ok(rows)
    }

    pub(in crate::session) fn write(&mut self, table: &Table, rows: &[Row]) -> Result<(), Error> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        let verb = if table.is_single { "INSERT OR REPLACE" } else { "INSERT" };
        let places = list(table.columns.iter().map(|_| "?"));
        let sql = format!("{verb} INTO {} ({}) VALUES ({places})", table.name, names(table));
        let mut write = || {
            let transaction = writer.transaction()?;
            for row in rows {
                transaction.prepare_cached(&sql)?.execute(params_from_iter(row))?;
            }
            transaction.commit()
        };
        write().map_err(|error| failed("write", table, error))
    }

    pub(in crate::session) fn finish(&self) -> Result<(), Error> {
        schema::sync_log(&self.path)
            .and_then(|()| self.file.sync())
            .map_err(|error| Error::io("could not sync the session store", error))
    }
}

/// Begins to read what is there now.
fn begin(reader: &Connection) -> Result<(), Error> {
    reader
        .execute_batch("BEGIN; SELECT count(*) FROM conversation_sequence")
        .map_err(|error| Error::store("could not read the session store", error))
}

fn failed(what: &str, table: &Table, error: rusqlite::Error) -> Error {
    Error::store(format!("could not {what} the {} of the session store", table.name), error)
}

/// Absolute, because SQLite would read a name that begins with "file:" as a URI.
fn absolute(path: &Path) -> Result<PathBuf, Error> {
    std::path::absolute(path)
        .map_err(|error| Error::io(format!("could not find {}", path.display()), error))
}

fn names(table: &Table) -> String {
    list(table.columns.iter().map(|column| column.name))
}

fn list<'a>(words: impl Iterator<Item = &'a str>) -> String {
    words.collect::<Vec<_>>().join(", ")
}

fn cell(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Cell> {
    Ok(match row.get_ref(column)? {
        ValueRef::Null => Cell::Nothing,
        ValueRef::Integer(number) => Cell::Integer(number),
        ValueRef::Text(text) => {
            let text = std::str::from_utf8(text).map_err(|error| {
                rusqlite::Error::FromSqlConversionFailure(column, Type::Text, error.into())
            })?;
            Cell::Text(text.to_owned())
        }
        ValueRef::Blob(bytes) => Cell::Bytes(bytes.to_vec()),
        ValueRef::Real(_) => {
            return Err(rusqlite::Error::InvalidColumnType(column, String::new(), Type::Real));
        }
    })
}

impl ToSql for Cell {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let value = match self {
            Self::Nothing => ValueRef::Null,
            Self::Integer(number) => ValueRef::Integer(*number),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Bytes(bytes) => ValueRef::Blob(bytes),
        };
        Ok(ToSqlOutput::Borrowed(value))
    }
}
