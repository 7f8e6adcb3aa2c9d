//! What was found, for people and for machines.

use std::fmt::Write as _;

use serde::Serialize;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Ok,
    /// Could not be looked at, or does not apply.
    Skipped,
    /// It works, and somebody should look at it.
    Warning,
    /// Nodes do not start, or something that they promise does not hold.
    Failed,
}

impl Verdict {
    const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Skipped => "skipped",
            Self::Warning => "warning",
            Self::Failed => "failed",
        }
    }
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub about: &'static str,
    pub verdict: Verdict,
    pub found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

impl Finding {
    pub(super) fn ok(about: &'static str, found: impl Into<String>) -> Self {
        Self { about, verdict: Verdict::Ok, found: found.into(), advice: None }
    }

    pub(super) fn skipped(about: &'static str, found: impl Into<String>) -> Self {
        Self { verdict: Verdict::Skipped, ..Self::ok(about, found) }
    }

    pub(super) fn warning(about: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { about, verdict: Verdict::Warning, found: found.into(), advice: Some(advice.into()) }
    }

    pub(super) fn failed(about: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { verdict: Verdict::Failed, ..Self::warning(about, found, advice) }
    }
}

/// Everything that was found, in the order in which it was looked at.
#[derive(Debug, Default)]
pub struct Report {
    pub findings: Vec<Finding>,
}

impl Report {
    pub(super) fn push(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    pub(super) fn extend(&mut self, findings: impl IntoIterator<Item = Finding>) {
        self.findings.extend(findings);
    }

    /// Whether nothing failed.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.count(Verdict::Failed) == 0
    }

    fn count(&self, verdict: Verdict) -> usize {
        self.findings.iter().filter(|finding| finding.verdict == verdict).count()
    }

    /// For a terminal: a line for each finding, and one below it with what to do.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for Finding { about, verdict, found, advice } in &self.findings {
            let _ = writeln!(text, "{:<8} {about:<12} {found}", verdict.word());
            if let Some(advice) = advice {
                let _ = writeln!(text, "{:<21} -> {advice}", "");
            }
        }
        let [failed, warned, skipped, ok] =
            [Verdict::Failed, Verdict::Warning, Verdict::Skipped, Verdict::Ok].map(|verdict| self.count(verdict));
        let _ = writeln!(text, "\n{failed} failed, {warned} warned, {ok} ok, {skipped} skipped");
        text
    }

    /// For machines: `{"ok":true,"findings":[{"about":…,"verdict":…,"found":…,"advice":…}]}`.
    #[must_use]
    pub fn to_json(&self) -> String {
        let report = serde_json::json!({ "ok": self.is_well(), "findings": self.findings });
        format!("{report}\n")
    }
}
