//! The avid command line.
fn main() {}
