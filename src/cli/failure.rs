//! How a command fails, and with which exit code.

use std::fmt;

use chatkit_rest::config::Faults;
use chatkit_rest::error::Error;

/// Why a command did not do what it was asked to.
#[derive(Debug)]
pub(crate) enum CommandFailure {
    /// Not everything was adopted.
    Adopt { left: u64 },
    /// The configuration is not right.
    Configuration(Faults),
    /// What was to be adopted is nothing.
    AdoptNothing { from: String },
    /// A signal ended it when so many lines were done.
    AdoptStopped { after: u64, dry_run: bool, has_report: bool },
    /// Fixtures don't hold.
    Contract { failed: usize },
    /// A second signal ended the gateway before its streams had ended.
    Interrupted,
    /// No token can be verified by the key set. The text says why, of the set or each of its keys.
    KeySet(String),
    /// The user is not blocked.
    NotBlocked { user: String },
    /// The thread is not in quarantine.
    NotQuarantined { thread: String },
    /// Something outside failed.
    Runtime(Error),
    /// The command line asks for something that can't be.
    Usage(String),
}

impl CommandFailure {
    /// Gives 1: a run-time failure. 2: wrong usage or configuration. 130: stopped by a signal.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Configuration(_) | Self::Usage(_) => 2,
            Self::Runtime(error) if error.is_config() => 2,
            Self::AdoptStopped { .. } => 130,
            Self::Adopt { .. }
            | Self::AdoptNothing { .. }
            | Self::Contract { .. }
            | Self::Interrupted
            | Self::KeySet(_)
            | Self::NotBlocked { .. }
            | Self::NotQuarantined { .. }
            | Self::Runtime(_) => 1,
        }
    }
}

impl fmt::Display for CommandFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Adopt { left: 1 } => f.write_str("error: 1 line was not adopted"),
            Self::Adopt { left } => write!(f, "error: {left} lines were not adopted"),
            Self::AdoptNothing { from } => {
                write!(f, "error: {from} has no lines; did the command that wrote it fail?")
            }
            Self::AdoptStopped { after, dry_run, has_report } => {
                match after {
                    0 => f.write_str("Stopped before the first line was done. ")?,
                    after => write!(f, "Stopped after line {after}. ")?,
                }
                f.write_str(match (dry_run, after) {
                    (true, _) => "Nothing was written.",
                    (false, 0) => "Nothing was adopted.",
                    (false, _) => "What is adopted stays; the same command goes on from there.",
                })?;
                f.write_str(if *has_report { " It takes another --report then." } else { "" })
            }
            Self::Configuration(faults) => {
                for fault in faults {
                    writeln!(f, "error: {fault}")?;
                }
                match faults.len() {
                    1 => f.write_str("1 fault in the configuration."),
                    faults => write!(f, "{faults} faults in the configuration."),
                }
            }
            Self::Contract { failed: 1 } => f.write_str("error: 1 fixture failed"),
            Self::Contract { failed } => write!(f, "error: {failed} fixtures failed"),
            Self::Interrupted => f.write_str("error: ended by a second signal; streams were cut"),
            Self::KeySet(why) => write!(f, "error: {why}"),
            Self::NotBlocked { user } => {
                write!(f, "error: the user {user:?} is not blocked; see user list")
            }
            Self::NotQuarantined { thread } => {
                write!(f, "error: no session of {thread:?} is in quarantine; see quarantine list")
            }
            Self::Runtime(error) => write!(f, "error: {}", error.chain()),
            Self::Usage(text) => write!(f, "error: {text}"),
        }
    }
}

impl From<Error> for CommandFailure {
    fn from(error: Error) -> Self {
        Self::Runtime(error)
    }
}

impl From<Faults> for CommandFailure {
    fn from(faults: Faults) -> Self {
        Self::Configuration(faults)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_tell_whose_fault_it_is() {
        let io = Error::io("could not listen", std::io::Error::other("in use"));
        assert_eq!(CommandFailure::Runtime(io).exit_code(), 1);
        assert_eq!(CommandFailure::Interrupted.exit_code(), 1);
        assert_eq!(CommandFailure::Runtime(Error::config("bad key")).exit_code(), 2);
        assert_eq!(CommandFailure::Usage("no".into()).exit_code(), 2);
    }
}
