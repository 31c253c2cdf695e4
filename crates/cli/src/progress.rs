//! A progress bar on stderr, if somebody watches.
//!
//! Not here: when there is progress (`avid_client`).

use indicatif::{ProgressBar, ProgressStyle};

use crate::output::Output;

/// Shows how many bytes are done; silent if stderr is no terminal.
#[derive(Debug)]
pub(crate) struct Bar {
    bar: ProgressBar,
}

impl Bar {
    /// A bar with a word for what is being done.
    #[must_use]
    pub(crate) fn new(output: &Output, doing: &str) -> Self {
        if !output.wants_progress() {
            return Self { bar: ProgressBar::hidden() };
        }
        let bar = ProgressBar::no_length().with_message(doing.to_owned());
        bar.set_style(unsized_style());
        bar.enable_steady_tick(std::time::Duration::from_millis(200));
        Self { bar }
    }

    /// Takes the bar off the terminal, so that results stand alone.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.finish();
    }
}

impl avid_client::Progress for Bar {
    fn total(&self, bytes: Option<u64>) {
        let Some(bytes) = bytes else {
            return;
        };
        self.bar.set_length(bytes);
        self.bar.set_style(sized_style());
    }

    fn advance(&self, bytes: u64) {
        self.bar.inc(bytes);
    }

    fn note(&self, text: &str) {
        self.bar.println(text);
    }
}

fn sized_style() -> ProgressStyle {
    style("{msg} {wide_bar} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta}")
}

fn unsized_style() -> ProgressStyle {
    style("{msg} {spinner} {binary_bytes} {binary_bytes_per_sec}")
}

/// The templates are ours and constant; should one be malformed, a plain bar shows.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_are_well_formed() {
        for template in [
            "{msg} {wide_bar} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta}",
            "{msg} {spinner} {binary_bytes} {binary_bytes_per_sec}",
        ] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}
