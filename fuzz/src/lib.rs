//! Runs a target of `avid-fuzz` with its memory counted, for the binaries in `fuzz_targets`.

#[path = "../../crates/fuzz/tests/suite/counting.rs"]
mod counting;

#[global_allocator]
static COUNTED: counting::Counting = counting::Counting;

/// Runs a target and holds it to its bound on memory.
pub fn run(name: &str, bytes: &[u8]) {
    let Some(target) = avid_fuzz::find(name) else {
        panic!("there is no target {name}");
    };
    let peak = counting::peak_of(|| (target.run)(bytes));
    let bound = target.bound.of(bytes.len());
    assert!(peak <= bound, "held {peak} bytes for {} of input, bound {bound}", bytes.len());
}
