//! The checks behind `cargo xtask check` that cargo itself does not have.
//!
//! A rule without a checker is a wish. Each module here turns one family of house rules into a
//! function from the workspace's text (or cargo's metadata) to a [`Report`]; nothing in this
//! library prints or runs a process, so every check is tested on a few lines of made-up source.
//!
//! ```text
//! files ──► Workspace ──► tidy, spec          layout of files; rule ids against the document
//! cargo metadata ──► Metadata ──► layers, deps    arrows between crates; licences and counts
//! ```
//!
//! Not here: the order of stages, running cargo, printing (`main.rs`).

pub mod deps;
pub mod layers;
pub mod licence;
pub mod metadata;
pub mod report;
pub mod source;
pub mod spec;
pub mod tidy;
pub mod workspace;

pub use metadata::Metadata;
pub use report::Report;
pub use workspace::Workspace;
