//! Claims about fragments, each by its test's name.
