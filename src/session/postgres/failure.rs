//! Why the database didn't do what it was asked to. No text has a secret or a parameter in it.

use std::error::Error as _;
use std::fmt;

use deadpool::managed::{PoolError, TimeoutType};
use tokio_postgres::error::SqlState;

use crate::error::BoxError;

/// What comes of statements that are another's: prepared by it, or not at all.
const OF_A_POOLER: [SqlState; 3] = [
    SqlState::INVALID_SQL_STATEMENT_NAME,
    SqlState::DUPLICATE_PSTATEMENT,
    SqlState::PROTOCOL_VIOLATION,
];

/// What became of a call that failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// All connections are in use, and none was given back in time.
    Exhausted,
    /// The same, but because the database doesn't answer.
    Unanswered,
    /// The store is closed: nothing was sent.
    Closed,
    /// None could be made: nothing was sent.
    Connect(String),
    /// One was made, but could not be set up for what is asked: nothing was sent.
    Prepare(String),
    /// It was sent, and nobody knows whether it was done.
    Lost(String),
    /// It was sent and not answered in time: the same.
    TimedOut,
    /// The database says that it did nothing.
    Refused { code: SqlState, message: String },
    /// It may have been done, but not by what runs left before, which the database did not write.
    Behind { code: SqlState, message: String },
    /// It answered something else than a store does.
    Malformed(BoxError),
}

impl Failure {
    /// Tells whether it may have been done.
    pub(super) fn is_unknown(&self) -> bool {
        matches!(self, Self::Lost(_) | Self::TimedOut | Self::Behind { .. } | Self::Malformed(_))
    }

    /// Says the same of two statements, of which this is the first's and the other may have been done.
    pub(super) fn of_both(self) -> Self {
        match self {
            Self::Refused { code, message } => Self::Behind { code, message },
            other => other,
        }
    }

    /// Tells whether what failed may be done when it is asked for again, on another connection.
    pub(super) fn was_in_the_way(&self) -> bool {
        match self {
            Self::Refused { code, .. } | Self::Behind { code, .. } => [
                SqlState::T_R_DEADLOCK_DETECTED,
                SqlState::T_R_SERIALIZATION_FAILURE,
                // Of a statement that was prepared before somebody migrated.
                SqlState::FEATURE_NOT_SUPPORTED,
                SqlState::READ_ONLY_SQL_TRANSACTION,
            ]
            .contains(code),
            Self::Closed
            | Self::Exhausted
            | Self::Unanswered
            | Self::Connect(_)
            | Self::Prepare(_)
            | Self::Lost(_)
            | Self::TimedOut
            | Self::Malformed(_) => false,
        }
    }

    /// Tells whether connections may be to one that is the primary no more, or not writable yet, while
    /// others would find who is.
    pub(super) fn is_of_old_connections(&self) -> bool {
        match self {
            Self::Lost(_) => true,
            Self::Refused { code, .. } | Self::Behind { code, .. } => {
                *code == SqlState::READ_ONLY_SQL_TRANSACTION
            }
            Self::Closed
            | Self::Exhausted
            | Self::Unanswered
            | Self::Connect(_)
            | Self::Prepare(_)
            | Self::TimedOut
            | Self::Malformed(_) => false,
        }
    }

    /// Tells whether it is what a database that is away comes to, or one that can only be read.
    pub(super) fn is_absence(&self) -> bool {
        match self {
            Self::Unanswered
            | Self::Connect(_)
            | Self::Prepare(_)
            | Self::Lost(_)
            | Self::TimedOut => true,
            Self::Refused { code, .. } | Self::Behind { code, .. } => {
                *code == SqlState::READ_ONLY_SQL_TRANSACTION
            }
            Self::Closed | Self::Exhausted | Self::Malformed(_) => false,
        }
    }

    /// Tells whether it may be asked for again, of what is harmless if it was done: one that timed out has
    /// had its time.
    pub(super) fn is_worth_another(&self) -> bool {
        matches!(self, Self::Lost(_)) || self.was_in_the_way()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the store is closed"),
            Self::Exhausted => f.write_str(
                "all connections to the database are in use; raise pool_size if that goes on",
            ),
            Self::Unanswered => f.write_str(
                "the database does not answer, and all connections to it are waited for",
            ),
            Self::Connect(why) => write!(f, "could not connect to the database: {why}"),
            Self::Prepare(why) => {
                write!(f, "could not prepare a connection to the database: {why}")
            }
            Self::Lost(why) => write!(f, "the connection to the database was lost: {why}"),
            Self::TimedOut => f.write_str("the database did not answer in time"),
            Self::Refused { code, message } => {
                write!(f, "the database refused: {message} ({})", code.code())?;
                if OF_A_POOLER.contains(code) {
                    f.write_str("; behind a pooler in transaction mode set store.pooler")?;
                }
                Ok(())
            }
            Self::Behind { code, message } => write!(
                f,
                "the database could not write what runs left before: {message} ({})",
                code.code()
            ),
            Self::Malformed(why) => write!(f, "the database answered something else: {why}"),
        }
    }
}

impl std::error::Error for Failure {}

impl From<tokio_postgres::Error> for Failure {
    /// Takes that of a statement.
    fn from(error: tokio_postgres::Error) -> Self {
        match error.as_db_error() {
            // Cancelled because it took too long, which undoes it.
            Some(refused) if *refused.code() == SqlState::QUERY_CANCELED => Self::Refused {
                code: SqlState::QUERY_CANCELED,
                message: "the statement took too long".to_owned(),
            },
            // Whoever shuts the database down may do so after a commit and before its answer.
            Some(refused) if refused.code().code().starts_with("57P") => {
                Self::Lost(refused.message().to_owned())
            }
            Some(refused) => Self::Refused {
                code: refused.code().clone(),
                message: refused.message().to_owned(),
            },
            None => Self::Lost(describe(&error)),
        }
    }
}

impl From<PoolError<Self>> for Failure {
    fn from(error: PoolError<Self>) -> Self {
        match error {
            PoolError::Backend(failure) => failure,
            PoolError::Timeout(TimeoutType::Wait) => Self::Exhausted,
            PoolError::Timeout(TimeoutType::Create | TimeoutType::Recycle)
            | PoolError::PostCreateHook(_) => Self::Connect("it did not answer in time".to_owned()),
            PoolError::Closed | PoolError::NoRuntimeSpecified => Self::Closed,
        }
    }
}

/// Says what went wrong, without the details and hints of the database, which may have values in them.
pub(super) fn describe(error: &tokio_postgres::Error) -> String {
    if let Some(refused) = error.as_db_error() {
        return format!("{} ({})", refused.message(), refused.code().code());
    }
    match error.source() {
        Some(source) => crate::error::chain(source),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_poolers_names_the_setting() {
        for (code, is_named) in
            [("26000", true), ("42P05", true), ("08P01", true), ("42P01", false)]
        {
            let refused =
                Failure::Refused { code: SqlState::from_code(code), message: "no".to_owned() };
            let told = refused.to_string();
            assert_eq!(told.contains("set store.pooler"), is_named, "{told}");
        }
    }
}
