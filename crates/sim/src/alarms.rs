//! Panics and error lines of the tested code: either fails a simulation.
//!
//! A panic in a task is swallowed by the runtime and an error line by whoever reads no log, so
//! both are caught where they are raised. One simulation runs on one thread.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::sync::Once;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

/// Something that must not happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// A panic, rather than an error line.
    pub is_panic: bool,
    /// What was said.
    pub text: String,
}

thread_local! {
    static ALARMS: RefCell<Vec<Alarm>> = const { RefCell::new(Vec::new()) };
}

static HOOK: Once = Once::new();

/// Catches panics of any thread, and this thread's error lines until the guard is dropped.
#[must_use]
pub fn catch() -> tracing::subscriber::DefaultGuard {
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            // The database panics on pages that a disk spoilt; the index makes an error of it.
            let is_caught = info.location().is_some_and(|at| at.file().contains("/redb-"));
            raise(!is_caught, format!("panic: {info}"));
            before(info);
        }));
    });
    ALARMS.with_borrow_mut(Vec::clear);
    tracing::subscriber::set_default(tracing_subscriber::registry().with(ErrorLines))
}

/// What was raised on this thread since the last call.
#[must_use]
pub fn take() -> Vec<Alarm> {
    ALARMS.with_borrow_mut(std::mem::take)
}

fn raise(is_panic: bool, text: String) {
    let alarm = Alarm { is_panic, text };
    ALARMS.with_borrow_mut(|alarms| alarms.push(alarm));
}

struct ErrorLines;

impl<S: Subscriber> Layer<S> for ErrorLines {
    fn enabled(&self, metadata: &tracing::Metadata<'_>, _: Context<'_, S>) -> bool {
        *metadata.level() == Level::ERROR
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = Line(String::from("error line:"));
        event.record(&mut line);
        raise(false, line.0);
    }
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        write!(self.0, " {field}={value:?}").expect("a string takes everything");
    }
}
