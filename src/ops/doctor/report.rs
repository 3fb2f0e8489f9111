//! Findings, one line each. Pure.

use serde::Serialize;

use crate::terminal::is_command;

/// The result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Severity {
    /// Nothing is wrong.
    Ok,
    /// The relay works, but something may go wrong later.
    Warning,
    /// The relay does not work.
    Failure,
}

impl Severity {
    /// The word shown in reports.
    #[must_use]
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failure => "failure",
        }
    }
}

/// The finding of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// Its result.
    pub verdict: Severity,
    /// The check's name, such as `wal_level`.
    pub check: &'static str,
    /// What was found and, unless it is ok, how to fix it.
    pub what: String,
}

/// A finding that nothing is wrong.
#[must_use]
pub(crate) fn ok(check: &'static str, what: impl Into<String>) -> Finding {
    Finding { verdict: Severity::Ok, check, what: one_line(what.into()) }
}

/// A finding that something may go wrong later.
#[must_use]
pub(crate) fn warning(check: &'static str, what: impl Into<String>) -> Finding {
    Finding { verdict: Severity::Warning, check, what: one_line(what.into()) }
}

/// A finding that the relay does not work.
#[must_use]
pub(crate) fn failure(check: &'static str, what: impl Into<String>) -> Finding {
    Finding { verdict: Severity::Failure, check, what: one_line(what.into()) }
}

/// Names of tables and topics are untrusted.
fn one_line(text: String) -> String {
    if !text.contains(is_command) {
        return text;
    }
    text.chars().map(|c| if is_command(c) { ' ' } else { c }).collect()
}

/// The findings of all checks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct DoctorReport {
    /// In the order of the checks.
    pub findings: Vec<Finding>,
}

impl DoctorReport {
    /// How many findings have this verdict.
    #[must_use]
    pub(crate) fn count(&self, verdict: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.verdict == verdict).count()
    }

    /// One line per finding and a summary; `paint` colours the verdict.
    #[must_use]
    pub(crate) fn text(&self, paint: impl Fn(Severity, &str) -> String) -> String {
        let width = self.findings.iter().map(|finding| finding.check.len()).max().unwrap_or(0);
        let mut text = String::new();
        for Finding { verdict, check, what } in &self.findings {
            let word = paint(*verdict, &format!("{:7}", verdict.as_str()));
            text.push_str(&format!("{word}  {check:width$}  {what}\n"));
        }
        let [failures, warnings] = [Severity::Failure, Severity::Warning].map(|verdict| self.count(verdict));
        text.push_str(&match (failures, warnings) {
            (0, 0) => "all checks passed\n".to_owned(),
            (0, warnings) => format!("the relay works; {}\n", counted(warnings, "warning")),
            (failures, 0) => format!("{}\n", counted(failures, "failure")),
            (failures, warnings) => format!("{}, {}\n", counted(failures, "failure"), counted(warnings, "warning")),
        });
        text
    }
}

fn counted(count: usize, what: &str) -> String {
    crate::terminal::counted(count as u64, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_has_one_line_per_check_and_a_summary() {
        let findings = vec![ok("a", "fine"), warning("longer", "two\nlines"), failure("b", "bad: run `x`")];
        let text = DoctorReport { findings }.text(|_, word| word.to_owned());
        assert_eq!(
            text,
            "ok       a       fine\nwarning  longer  two lines\nfailure  b       bad: run `x`\n1 failure, 1 warning\n"
        );
        assert_eq!(DoctorReport::default().text(|_, word| word.to_owned()), "all checks passed\n");
    }
}
