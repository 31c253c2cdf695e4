//! Every interleaving of a small cluster of production machines, walked by an existing explorer.
//!
//! The library is empty: this crate exists so that the explorer and what it brings stay outside
//! every crate that ships, and outside the tests of `protocol`, which must stay quick. What it
//! shows and how is in `tests/suite`; why this explorer, in docs/adr/0016-stateright.md.
//!
//! Not here: the same machine under random schedules (`protocol`), nodes with disks and clocks
//! (`sim`).
