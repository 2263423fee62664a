//! What came of a run of fixtures.

use std::fmt;

/// The outcome of every fixture of a run, in the order of their names.
///
/// Its [`Display`](fmt::Display) is what `chatkit-rest contract run` prints: each fixture that
/// failed with its differences, the reasons for which others were skipped, and the closing line
/// `N passed, N failed, N skipped`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub(super) outcomes: Vec<Outcome>,
}

/// What came of one fixture.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outcome {
    /// The fixture's name.
    pub name: String,
    /// What came of it.
    pub verdict: Verdict,
}

/// Whether a fixture holds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// It doesn't; never empty.
    Failed(Vec<Difference>),
    /// It does.
    Passed,
    /// It can't be run against this target, for this reason.
    Skipped(&'static str),
}

/// One thing that is not as the fixture says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Difference {
    /// The step, such as `step 2 (POST /sessions)`.
    pub step: String,
    /// What differs: `status`, `header location`, `body /data/id`, `body, byte 120`,
    /// `upstream request 1 /params/limit`.
    pub place: String,
    /// What the fixture says.
    pub expected: String,
    /// What came.
    pub got: String,
}

impl Difference {
    pub(super) fn new(
        step: &str,
        place: &str,
        expected: impl Into<String>,
        got: impl Into<String>,
    ) -> Self {
        let (step, place) = (step.to_owned(), place.to_owned());
        Self { step, place, expected: expected.into(), got: got.into() }
    }
}

impl Report {
    /// Gives every outcome.
    pub fn outcomes(&self) -> &[Outcome] {
        &self.outcomes
    }

    /// Tells how many fixtures hold.
    pub fn passed(&self) -> usize {
        self.count(|verdict| *verdict == Verdict::Passed)
    }

    /// Tells how many don't.
    pub fn failed(&self) -> usize {
        self.count(|verdict| matches!(verdict, Verdict::Failed(_)))
    }

    /// Tells how many could not be run.
    pub fn skipped(&self) -> usize {
        self.count(|verdict| matches!(verdict, Verdict::Skipped(_)))
    }

    /// Tells whether none failed.
    pub fn is_success(&self) -> bool {
        self.failed() == 0
    }

    fn count(&self, wanted: impl Fn(&Verdict) -> bool) -> usize {
        self.outcomes.iter().filter(|outcome| wanted(&outcome.verdict)).count()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut reasons: Vec<(&str, usize)> = Vec::new();
        for outcome in &self.outcomes {
            match &outcome.verdict {
                Verdict::Passed => {}
                Verdict::Failed(differences) => {
                    writeln!(f, "FAILED {}", outcome.name)?;
                    for difference in differences {
                        writeln!(f, "{difference}")?;
                    }
                }
                Verdict::Skipped(reason) => match reasons.iter_mut().find(|(r, _)| r == reason) {
                    Some((_, count)) => *count += 1,
                    None => reasons.push((reason, 1)),
                },
            }
        }
        for (reason, count) in reasons {
            writeln!(f, "skipped {count}: {reason}")?;
        }
        let (passed, failed, skipped) = (self.passed(), self.failed(), self.skipped());
        write!(f, "{passed} passed, {failed} failed, {skipped} skipped")
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  {}: {}", self.step, self.place)?;
        writeln!(f, "    expected {}", Shortened(&self.expected))?;
        write!(f, "         got {}", Shortened(&self.got))
    }
}

/// The longest value that is printed whole, in characters.
const MAX_SHOWN_CHARS: usize = 400;

/// Text for one line of a terminal.
struct Shortened<'a>(&'a str);

impl fmt::Display for Shortened<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars().take(MAX_SHOWN_CHARS) {
            if c.is_control() { write!(f, "{}", c.escape_debug())? } else { write!(f, "{c}")? }
        }
        let more = self.0.chars().count().saturating_sub(MAX_SHOWN_CHARS);
        if more > 0 { write!(f, "… ({more} characters more)") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_reads_well() {
        let outcome = |name: &str, verdict| Outcome { name: name.to_owned(), verdict };
        let difference = Difference {
            step: "step 1 (GET /sessions)".to_owned(),
            place: "body /data/0".to_owned(),
            expected: "nothing".to_owned(),
            got: format!("\"a\n{}\"", "x".repeat(500)),
        };
        let report = Report {
            outcomes: vec![
                outcome("a/1", Verdict::Passed),
                outcome("a/2", Verdict::Failed(vec![difference])),
                outcome("a/3", Verdict::Skipped("it has settings")),
                outcome("a/4", Verdict::Skipped("it has settings")),
            ],
        };
        let expected = format!(
            "FAILED a/2\n  step 1 (GET /sessions): body /data/0\n    expected nothing\n         \
             got \"a\\n{}… (104 characters more)\nskipped 2: it has settings\n\
             1 passed, 1 failed, 2 skipped",
            "x".repeat(397)
        );
        assert_eq!(report.to_string(), expected);
        assert!(!report.is_success());
    }
}
