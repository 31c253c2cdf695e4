//! What a check found.

/// Findings of one check; no errors means it passed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Broken rules, each with the place and what to do.
    pub errors: Vec<String>,
    /// Worth a look, not worth a failure.
    pub warnings: Vec<String>,
    /// Why the check did not run, if it did not.
    pub skipped: Option<String>,
}

impl Report {
    /// A check that had nothing to look at.
    #[must_use]
    pub fn skipped(reason: &str) -> Self {
        Self { skipped: Some(reason.to_owned()), ..Self::default() }
    }

    /// Adds a broken rule.
    pub fn error(&mut self, message: impl Into<String>) {
        self.errors.push(message.into());
    }

    /// Adds a warning.
    pub fn warn(&mut self, message: impl Into<String>) {
        self.warnings.push(message.into());
    }
}
