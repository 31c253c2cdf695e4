//! Where results go: text or one JSON object on stdout, everything else on stderr.
//!
//! A reader that closed the pipe is not an error of ours: `avid ls | head` ends quietly.
//!
//! Not here: progress bars ([`crate::progress`]), diagnostics ([`crate::logging`]).

use std::io::{self, IsTerminal as _, Write as _};

use serde::Serialize;

use crate::args::{ColorChoice, Globals};
use crate::config::Environment;
use crate::error::CliError;

/// How this run speaks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    format: Format,
    is_quiet: bool,
    is_colored: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Text,
    Json,
}

impl Output {
    /// From flags and environment.
    #[must_use]
    pub(crate) fn new(globals: &Globals, environment: &Environment) -> Self {
        let is_colored = match globals.color {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => !environment.no_color && io::stderr().is_terminal(),
        };
        let format = if globals.json { Format::Json } else { Format::Text };
        Self { format, is_quiet: globals.quiet, is_colored }
    }

    /// Whether results are JSON.
    #[must_use]
    pub(crate) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Whether a progress bar would be seen and is wanted.
    #[must_use]
    pub(crate) fn wants_progress(&self) -> bool {
        !self.is_quiet && !self.is_json() && io::stderr().is_terminal()
    }

    /// The result of a command: `value` for programs, `text` for people.
    ///
    /// # Errors
    ///
    /// [`CliError`] if stdout cannot be written.
    pub(crate) fn result(&self, value: &impl Serialize, text: &str) -> Result<(), CliError> {
        match self.format {
            Format::Json => self.write(&to_json(value)?),
            Format::Text if text.is_empty() => Ok(()),
            Format::Text => self.write(text),
        }
    }

    /// Like [`Self::result`], on stderr: stdout carries an object's bytes.
    ///
    /// # Errors
    ///
    /// [`CliError`] if the value cannot be shown.
    pub(crate) fn result_beside(&self, value: &impl Serialize, text: &str) -> Result<(), CliError> {
        match self.format {
            Format::Json => write_to_stderr(&to_json(value)?),
            Format::Text => self.note(text),
        }
        Ok(())
    }

    /// Text on stdout, whatever the format: completions, exported files.
    ///
    /// # Errors
    ///
    /// [`CliError`] if stdout cannot be written.
    pub(crate) fn write(&self, text: &str) -> Result<(), CliError> {
        let mut stdout = io::stdout().lock();
        let written = stdout
            .write_all(text.as_bytes())
            .and_then(|()| if text.ends_with('\n') { Ok(()) } else { stdout.write_all(b"\n") })
            .and_then(|()| stdout.flush());
        match written {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            Err(error) => Err(CliError::local(format!("cannot write to stdout: {error}"))),
            Ok(()) => Ok(()),
        }
    }

    /// A line for people who watch; silent with `--quiet`.
    pub(crate) fn note(&self, text: &str) {
        if !self.is_quiet {
            write_to_stderr(text);
        }
    }

    /// Something is wrong and the command goes on; shown even with `--quiet`.
    pub(crate) fn warn(&self, text: &str) {
        let label = if self.is_colored { "\u{1b}[33;1mwarning\u{1b}[0m" } else { "warning" };
        write_to_stderr(&format!("{label}: {text}"));
    }

    /// Why the command failed: JSON on stdout for programs, text on stderr for people.
    pub(crate) fn error(&self, error: &CliError) {
        if error.is_shown {
            return;
        }
        match self.format {
            Format::Json => drop(self.write(&error.to_json().to_string())),
            Format::Text => {
                let label = if self.is_colored { "\u{1b}[31;1merror\u{1b}[0m" } else { "error" };
                write_to_stderr(&format!("{label}: {error}"));
            }
        }
    }
}

fn to_json(value: &impl Serialize) -> Result<String, CliError> {
    serde_json::to_string(value)
        .map_err(|error| CliError::new(crate::error::Kind::Other, format!("no JSON: {error}")))
}

/// Best effort: if stderr is gone, nobody is left to be told.
fn write_to_stderr(text: &str) {
    drop(writeln!(io::stderr().lock(), "{}", text.trim_end_matches('\n')));
}

/// A size for people, in binary units: `1.5 MiB`, exact below 1 KiB.
#[must_use]
pub(crate) fn human_bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let (mut tenths, mut unit) = (u128::from(bytes) * 10 / 1024, "KiB");
    for next in UNITS.into_iter().skip(1) {
        if tenths < 10_240 {
            break;
        }
        tenths /= 1024;
        unit = next;
    }
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_shown_in_binary_units() {
        assert_eq!(human_bytes(0), "0 B");
        assert_eq!(human_bytes(1023), "1023 B");
        assert_eq!(human_bytes(1024), "1.0 KiB");
        assert_eq!(human_bytes(1536 << 10), "1.5 MiB");
        assert_eq!(human_bytes(u64::MAX), "16383.9 PiB");
    }
}
