//! Writes the seeds of every target as files for cargo-fuzz: `corpus/TARGET/seed-N`.
//!
//! `cargo run -p avid-fuzz --example corpus` writes to `fuzz/corpus`; another directory may be given.

use std::io;
use std::path::PathBuf;

use avid_fuzz::TARGETS;

fn main() -> io::Result<()> {
    let default = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus"));
    let corpus = std::env::args_os().nth(1).map_or_else(default, PathBuf::from);
    for target in TARGETS {
        let dir = corpus.join(target.name);
        std::fs::create_dir_all(&dir)?;
        for (number, seed) in (0_u32..).zip((target.seeds)()) {
            std::fs::write(dir.join(format!("seed-{number}")), seed)?;
        }
    }
    Ok(())
}
