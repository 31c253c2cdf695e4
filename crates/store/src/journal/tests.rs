//! Claims about the journal, each by its test's name.
