//! What a command says when it fails, and the exit code that goes with it.
//!
//! An error states three things: what happened, what is still safe, and what to do next. Its kind
//! decides the exit code, so that scripts need not read text:
//!
//! | code | kind | meaning |
//! |---|---|---|
//! | 0 | | done |
//! | 1 | `other` | anything without a code of its own |
//! | 2 | `usage` | arguments or files that cannot mean anything; nothing was tried |
//! | 3 | `not-found` | no such object, or it was deleted |
//! | 4 | `integrity` | bytes or proofs did not verify |
//! | 5 | `unavailable` | too few nodes answered; try again |
//! | 6 | `denied` | wrong key, missing grant, foreign cluster |
//! | 7 | `conflict` | the id is taken by other content, or was aborted |
//! | 8 | `local` | this machine: unreadable file, full disk, port in use |
//! | 9 | `not-placed` | committed, but fewer fragments placed than `--require` asked for |
//! | 130 | `interrupted` | Ctrl-C |
//!
//! Not here: which error of a library is which kind (`commands::failure`).

use std::io::ErrorKind;
use std::process::ExitCode;

/// What to do about a full disk.
const FREE_SPACE: &str = "free some space or choose another directory, then run it again";

/// What kind of failure, hence the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Anything without a code of its own.
    Other,
    /// Arguments or files that cannot mean anything.
    Usage,
    /// No such object.
    NotFound,
    /// Bytes or proofs did not verify.
    Integrity,
    /// Too few nodes answered.
    Unavailable,
    /// Wrong key, missing grant, foreign cluster.
    Denied,
    /// The id is taken.
    Conflict,
    /// This machine.
    Local,
    /// Committed, not placed as demanded.
    NotPlaced,
    /// Ctrl-C.
    Interrupted,
}

impl Kind {
    /// The exit code, as in the table above.
    #[must_use]
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Other => 1,
            Self::Usage => 2,
            Self::NotFound => 3,
            Self::Integrity => 4,
            Self::Unavailable => 5,
            Self::Denied => 6,
            Self::Conflict => 7,
            Self::Local => 8,
            Self::NotPlaced => 9,
            Self::Interrupted => 130,
        }
    }

    /// The name programs see with `--json`.
    #[must_use]
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Other => "other",
            Self::Usage => "usage",
            Self::NotFound => "not-found",
            Self::Integrity => "integrity",
            Self::Unavailable => "unavailable",
            Self::Denied => "denied",
            Self::Conflict => "conflict",
            Self::Local => "local",
            Self::NotPlaced => "not-placed",
            Self::Interrupted => "interrupted",
        }
    }
}

/// A failed command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CliError {
    /// Decides the exit code.
    pub(crate) kind: Kind,
    /// What happened.
    pub(crate) message: String,
    /// What is still safe, where that is in doubt.
    pub(crate) safe: Option<String>,
    /// What to do next.
    pub(crate) hint: Option<String>,
    /// The command has shown it together with its result; only the exit code is left.
    pub(crate) is_shown: bool,
}

impl CliError {
    /// An error of a kind, with what happened.
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), safe: None, hint: None, is_shown: false }
    }

    /// Arguments or files that cannot mean anything.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }

    /// Something of this machine did not work.
    pub(crate) fn local(message: impl Into<String>) -> Self {
        Self::new(Kind::Local, message)
    }

    /// A file operation failed: names the file and suggests what usually helps.
    pub(crate) fn file(doing: &str, path: &std::path::Path, source: &std::io::Error) -> Self {
        let mut error = Self::local(format!("cannot {doing} {}: {source}", path.display()));
        let hints = [
            (ErrorKind::NotFound, "check the path"),
            (
                ErrorKind::PermissionDenied,
                "check the owner and mode of the file and of its directory",
            ),
            (ErrorKind::StorageFull, FREE_SPACE),
            (ErrorKind::QuotaExceeded, FREE_SPACE),
            (ErrorKind::AlreadyExists, "choose another name or move it away"),
        ];
        let hint = hints.into_iter().find(|(kind, _)| *kind == source.kind());
        error.hint = hint.map(|(_, hint)| hint.to_owned());
        error
    }

    /// Adds what is still safe.
    #[must_use]
    pub(crate) fn safe(mut self, text: impl Into<String>) -> Self {
        self.safe = Some(text.into());
        self
    }

    /// Adds what to do next.
    #[must_use]
    pub(crate) fn hint(mut self, text: impl Into<String>) -> Self {
        self.hint = Some(text.into());
        self
    }

    /// Leaves only the exit code to be delivered.
    #[must_use]
    pub(crate) fn already_shown(mut self) -> Self {
        self.is_shown = true;
        self
    }

    /// The exit code.
    #[must_use]
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.kind.code())
    }

    /// As one JSON object, for `--json`.
    #[must_use]
    pub(crate) fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "error": {
                "kind": self.kind.name(),
                "code": self.kind.code(),
                "message": self.message,
                "safe": self.safe,
                "hint": self.hint,
            }
        })
    }
}

impl std::fmt::Display for CliError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)?;
        if let Some(safe) = &self.safe {
            write!(f, "\n  safe: {safe}")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n  help: {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for CliError {}

/// An error with everything that led to it, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [Kind; 10] = [
        Kind::Other,
        Kind::Usage,
        Kind::NotFound,
        Kind::Integrity,
        Kind::Unavailable,
        Kind::Denied,
        Kind::Conflict,
        Kind::Local,
        Kind::NotPlaced,
        Kind::Interrupted,
    ];

    #[test]
    fn the_table_in_the_documentation_is_the_code() {
        let source = include_str!("error.rs");
        for kind in KINDS {
            let row = format!("//! | {} | `{}` |", kind.code(), kind.name());
            assert!(source.contains(&row), "no row {row}");
        }
    }

    #[test]
    fn an_error_says_what_is_safe_and_what_to_do() {
        let error = CliError::local("disk is full").safe("nothing was written").hint("free space");
        assert_eq!(
            error.to_string(),
            "disk is full\n  safe: nothing was written\n  help: free space"
        );
        assert_eq!(error.to_json()["error"]["code"], 8);
    }
}
