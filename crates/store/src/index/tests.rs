//! Claims about the index, each by its test's name.
