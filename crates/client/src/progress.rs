//! How an operation tells its caller where it stands.

/// Receives the advance of one operation. Called from the operation's own task: must not block.
pub trait Progress: Send + Sync {
    /// Object bytes there will be in all, if known.
    fn total(&self, bytes: Option<u64>);
    /// So many more object bytes are done.
    fn advance(&self, bytes: u64);
    /// A sentence for people.
    fn note(&self, text: &str);
}

/// Tells nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn total(&self, _bytes: Option<u64>) {}
    fn advance(&self, _bytes: u64) {}
    fn note(&self, _text: &str) {}
}
