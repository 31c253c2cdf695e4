//! The `avid` binary: one program for nodes, clients, demo and benchmark.
//!
//! Everything is in the modules below; this file names them and returns the exit code.
//!
//! Not here: what is done on which arguments ([`app`]), the protocol (`protocol`, `node`, `client`).

mod app;
mod args;
mod bench;
mod commands;
mod compat;
mod config;
mod demo;
mod error;
mod files;
mod local;
mod logging;
mod output;
mod progress;

use std::process::ExitCode;

const _: () = assert!(!avid_types::canary::IS_BUILT, "avid is never built with deliberate bugs");

fn main() -> ExitCode {
    app::run(&std::env::args_os().collect::<Vec<_>>())
}
