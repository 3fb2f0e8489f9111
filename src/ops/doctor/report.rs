//! What was found, a line each. Pure.

use serde::Serialize;

use crate::terminal::is_command;

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// The relay works, and something may go wrong later.
    Warning,
    /// The relay does not work.
    Failure,
}

impl Verdict {
    /// The word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failure => "failure",
        }
    }
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How it came out.
    pub verdict: Verdict,
    /// Which check, such as `wal_level`.
    pub check: &'static str,
    /// What was found, and where it is not as it should be, what mends it.
    pub what: String,
}

/// As it should be.
#[must_use]
pub fn ok(check: &'static str, what: impl Into<String>) -> Finding {
    Finding { verdict: Verdict::Ok, check, what: one_line(what.into()) }
}

/// Something may go wrong later.
#[must_use]
pub fn warning(check: &'static str, what: impl Into<String>) -> Finding {
    Finding { verdict: Verdict::Warning, check, what: one_line(what.into()) }
}

/// The relay does not work.
#[must_use]
pub fn failure(check: &'static str, what: impl Into<String>) -> Finding {
    Finding { verdict: Verdict::Failure, check, what: one_line(what.into()) }
}

/// Names of tables and topics may be anybody's.
fn one_line(text: String) -> String {
    if !text.contains(is_command) {
        return text;
    }
    text.chars().map(|c| if is_command(c) { ' ' } else { c }).collect()
}

/// All checks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// In the order in which they were made.
    pub findings: Vec<Finding>,
}

impl Report {
    /// How many came out so.
    #[must_use]
    pub fn count(&self, verdict: Verdict) -> usize {
        self.findings.iter().filter(|finding| finding.verdict == verdict).count()
    }

    /// A line for each, and one for all; `paint` makes a verdict's word stand out.
    #[must_use]
    pub fn text(&self, paint: impl Fn(Verdict, &str) -> String) -> String {
        let width = self.findings.iter().map(|finding| finding.check.len()).max().unwrap_or(0);
        let mut text = String::new();
        for Finding { verdict, check, what } in &self.findings {
            let word = paint(*verdict, &format!("{:7}", verdict.as_str()));
            text.push_str(&format!("{word}  {check:width$}  {what}\n"));
        }
        let [failures, warnings] = [Verdict::Failure, Verdict::Warning].map(|verdict| self.count(verdict));
        text.push_str(&match (failures, warnings) {
            (0, 0) => "all is well\n".to_owned(),
            (0, warnings) => format!("the relay works; {}\n", counted(warnings, "warning")),
            (failures, 0) => format!("{}\n", counted(failures, "failure")),
            (failures, warnings) => format!("{}, {}\n", counted(failures, "failure"), counted(warnings, "warning")),
        });
        text
    }
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_check_is_a_line_and_the_last_says_what_they_come_to() {
        let findings = vec![ok("a", "fine"), warning("longer", "two\nlines"), failure("b", "bad: run `x`")];
        let text = Report { findings }.text(|_, word| word.to_owned());
        assert_eq!(
            text,
            "ok       a       fine\nwarning  longer  two lines\nfailure  b       bad: run `x`\n1 failure, 1 warning\n"
        );
        assert_eq!(Report::default().text(|_, word| word.to_owned()), "all is well\n");
    }
}
