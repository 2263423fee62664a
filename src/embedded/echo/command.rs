//! Commands in messages.

use std::time::Duration;

/// The longest message that can be ordered, in deltas.
const MAX_DELTAS: usize = 100_000;

/// The longest wait between two deltas that can be ordered.
const MAX_DELAY_MS: u64 = 60_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EchoCommand<'a> {
    Annotations,
    Close,
    Custom(&'a str),
    Cut,
    CutAfter(usize),
    Effect,
    Error,
    ErrorAfter(usize),
    Hidden,
    Image,
    Long(usize),
    Notice,
    Progress,
    Say,
    Slow(Duration),
    Stall,
    Structured,
    Task,
    Tool { name: &'a str, arguments: &'a str },
    Unicode,
    Widget,
    Workflow,
}

impl<'a> EchoCommand<'a> {
    /// Parses a message: one that is no command, or lacks the number that it needs, is to be
    /// repeated.
    pub(super) fn parse(text: &'a str) -> Self {
        let (word, rest) = word(text);
        let deltas = || word_number(rest).map(|n: usize| n.min(MAX_DELTAS));
        let command = match word {
            "/annotations" => Some(Self::Annotations),
            "/close" => Some(Self::Close),
            "/custom" => Some(Self::Custom(rest)),
            "/cut" => Some(Self::Cut),
            "/cut-after" => deltas().map(Self::CutAfter),
            "/effect" => Some(Self::Effect),
            "/error" => Some(Self::Error),
            "/error-after" => deltas().map(Self::ErrorAfter),
            "/hidden" => Some(Self::Hidden),
            "/image" => Some(Self::Image),
            "/long" => deltas().map(Self::Long),
            "/notice" => Some(Self::Notice),
            "/progress" => Some(Self::Progress),
            "/slow" => word_number(rest)
                .map(|ms: u64| Self::Slow(Duration::from_millis(ms.min(MAX_DELAY_MS)))),
            "/stall" => Some(Self::Stall),
            "/structured" => Some(Self::Structured),
            "/task" => Some(Self::Task),
            "/tool" => match self::word(rest) {
                ("", _) => None,
                (name, arguments) => Some(Self::Tool { name, arguments }),
            },
            "/unicode" => Some(Self::Unicode),
            "/widget" => Some(Self::Widget),
            "/workflow" => Some(Self::Workflow),
            _ => None,
        };
        command.unwrap_or(Self::Say)
    }
}

/// Gives the first word and what follows it.
fn word(text: &str) -> (&str, &str) {
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    (word, rest.trim())
}

fn word_number<N: std::str::FromStr>(text: &str) -> Option<N> {
    word(text).0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_stand_at_the_start() {
        for (text, command) in [
            ("/cut", EchoCommand::Cut),
            ("/cut now", EchoCommand::Cut),
            ("/cute", EchoCommand::Say),
            (" /cut", EchoCommand::Say),
            ("/cut-after 3", EchoCommand::CutAfter(3)),
            ("/cut-after", EchoCommand::Say),
            ("/long 999999999", EchoCommand::Long(MAX_DELTAS)),
            ("/long -1", EchoCommand::Say),
            ("/slow 50 hello", EchoCommand::Slow(Duration::from_millis(50))),
            ("/custom  No, really. ", EchoCommand::Custom("No, really.")),
            ("/tool f\n{\"a\": 1}", EchoCommand::Tool { name: "f", arguments: "{\"a\": 1}" }),
            ("/tool f", EchoCommand::Tool { name: "f", arguments: "" }),
            ("/tool", EchoCommand::Say),
            ("", EchoCommand::Say),
        ] {
            assert_eq!(EchoCommand::parse(text), command, "{text:?}");
        }
    }
}
