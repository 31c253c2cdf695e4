//! One thread, virtual time, and a runtime whose own random choices follow from the seed.
//!
//! Time stands still while any task can run and jumps to the next timer when none can, so a
//! simulated minute costs what happens in it and nothing more.

use std::future::Future;

use tokio::runtime::{Builder, RngSeed};

/// Runs a simulation to its end.
///
/// # Panics
///
/// If the operating system gives no runtime, or the simulation panics.
pub fn run<T>(seed: u64, simulation: impl Future<Output = T>) -> T {
    let mut builder = Builder::new_current_thread();
    builder.enable_time().start_paused(true).rng_seed(RngSeed::from_bytes(&seed.to_le_bytes()));
    let runtime = builder.build().expect("a runtime of one thread needs no resources");
    runtime.block_on(simulation)
}
