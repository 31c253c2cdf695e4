//! Conversions between lengths in memory and lengths on disk, without casts.
//!
//! Not here: arithmetic; callers use `checked_*` and `saturating_*` on the results.

/// A length in memory as a length on disk.
pub(crate) fn to_u64(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

/// A length on disk as a length in memory; the largest `usize` if it does not fit.
///
/// Callers bound the value first, so the saturated case can only make an allocation check fail.
pub(crate) fn to_usize(len: u64) -> usize {
    usize::try_from(len).unwrap_or(usize::MAX)
}

/// A `u32` length as a length in memory.
pub(crate) fn len_of(len: u32) -> usize {
    usize::try_from(len).unwrap_or(usize::MAX)
}
