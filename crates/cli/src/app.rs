//! From arguments to exit code.
//!
//! ```text
//! argv ──► avid: clap ─────────┐
//!     └──► client, server: ────┴─► Cli ──► one command ──► Ok | CliError ──► exit code
//!          compat
//! ```
//!
//! Not here: what a command does ([`crate::commands`]).

use std::ffi::OsString;
use std::future::Future;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser as _;
use clap::error::ErrorKind;
use tokio::signal::unix::{SignalKind, signal};

use crate::args::{Cli, Command, Globals};
use crate::commands;
use crate::compat;
use crate::config::{Environment, Paths};
use crate::error::{CliError, Kind};
use crate::logging::{self, Role};
use crate::output::Output;

/// What every command receives.
#[derive(Debug)]
pub(crate) struct Context {
    /// Which files to use.
    pub(crate) paths: Paths,
    /// Where results go.
    pub(crate) output: Output,
}

/// Runs the program.
#[must_use]
pub(crate) fn run(arguments: &[OsString]) -> ExitCode {
    let environment = Environment::read();
    let cli = match parse(arguments) {
        Ok(cli) => cli,
        Err(Stopped::Shown) => return ExitCode::SUCCESS,
        Err(Stopped::Failed(error)) => {
            let json = arguments.iter().any(|argument| argument == "--json");
            let globals = Globals { json, ..Globals::default() };
            Output::new(&globals, &environment).error(&error);
            return error.exit_code();
        }
    };
    let output = Output::new(&cli.globals, &environment);
    match start(cli, environment, output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output.error(&error);
            error.exit_code()
        }
    }
}

/// There is no command to run.
enum Stopped {
    /// Help or the version was asked for and shown.
    Shown,
    /// The arguments mean nothing.
    Failed(CliError),
}

fn parse(arguments: &[OsString]) -> Result<Cli, Stopped> {
    let name = arguments.first().map(Path::new).and_then(Path::file_name);
    let seed_name = name.and_then(|name| name.to_str()).and_then(compat::Program::from_name);
    if let Some(program) = seed_name {
        let rest = arguments.get(1..).unwrap_or_default();
        return match compat::parse(program, rest) {
            Ok(compat::Parsed::Run(cli)) => Ok(*cli),
            Ok(compat::Parsed::Help(text)) => {
                show(&text);
                Err(Stopped::Shown)
            }
            Err(error) => Err(Stopped::Failed(error)),
        };
    }
    Cli::try_parse_from(arguments).map_err(|error| {
        if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
            show(&error.render().to_string());
            return Stopped::Shown;
        }
        Stopped::Failed(usage_error(&error))
    })
}

/// Clap's message without its own label; the usage line stays, since it is what helps.
fn usage_error(error: &clap::Error) -> CliError {
    let text = error.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    CliError::usage(text.trim_end())
}

fn show(text: &str) {
    // A reader that closed the pipe has seen enough.
    drop(Output::new(&Globals::default(), &Environment::default()).write(text));
}

fn start(cli: Cli, environment: Environment, output: Output) -> Result<(), CliError> {
    let role = if matches!(cli.command, Command::Serve(_)) { Role::Node } else { Role::Client };
    logging::start(role, cli.globals.verbose, environment.log.as_deref())?;
    let paths = Paths { cluster_flag: cli.globals.cluster, key_flag: cli.globals.key, environment };
    dispatch(&Context { paths, output }, cli.command)
}

fn dispatch(context: &Context, command: Command) -> Result<(), CliError> {
    match command {
        Command::Disperse(args) => until_interrupted(commands::disperse::run(context, args)),
        Command::Retrieve(args) => until_interrupted(commands::retrieve::run(context, args)),
        Command::Stat(args) => until_interrupted(commands::stat::run(context, args)),
        Command::Ls(args) => until_interrupted(commands::ls::run(context, args)),
        Command::Rm(args) => until_interrupted(commands::rm::run(context, args)),
        Command::Cancel(args) => until_interrupted(commands::cancel::run(context, args)),
        Command::Verify(args) => until_interrupted(commands::verify::run(context, args)),
        Command::Status(args) => until_interrupted(commands::status::run(context, args)),
        Command::Serve(args) => runtime()?.block_on(commands::serve::run(context, args)),
        Command::Keygen(args) => commands::keygen::run(context, args),
        Command::Init(args) => commands::init::run(context, &args),
        Command::Grant(args) => commands::grant::run(context, args),
        Command::Cluster(args) => commands::cluster::run(context, &args),
        Command::Key(args) => commands::key::run(context, args),
        Command::Dev(args) => runtime()?.block_on(commands::dev::run(context, args)),
        Command::Demo(args) => until_interrupted(crate::demo::run(context, args)),
        Command::Bench(args) => until_interrupted(crate::bench::run(context, args)),
        Command::Completions(args) => commands::completions::run(context, &args),
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, CliError> {
    tokio::runtime::Runtime::new()
        .map_err(|error| CliError::local(format!("cannot start worker threads: {error}")))
}

/// Runs a command that Ctrl-C or SIGTERM abandons: temporary files and processes go with it.
fn until_interrupted(command: impl Future<Output = Result<(), CliError>>) -> Result<(), CliError> {
    runtime()?.block_on(async {
        let interrupted = interruption()?;
        // Commands are large futures; one allocation keeps them off this stack.
        let command = Box::pin(command);
        tokio::select! {
            result = command => result,
            name = interrupted => Err(CliError::new(Kind::Interrupted, format!("stopped by {name}"))
                .safe("nothing half-done is visible; a dispersal resumes if you repeat it")),
        }
    })
}

/// Resolves at the first SIGINT or SIGTERM, with its name.
///
/// # Errors
///
/// [`CliError`] if the signals cannot be watched.
pub(crate) fn interruption() -> Result<impl Future<Output = &'static str>, CliError> {
    let watch = |kind| {
        signal(kind).map_err(|error| CliError::local(format!("cannot watch signals: {error}")))
    };
    let (mut interrupt, mut terminate) =
        (watch(SignalKind::interrupt())?, watch(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => "SIGINT",
            _ = terminate.recv() => "SIGTERM",
        }
    })
}
