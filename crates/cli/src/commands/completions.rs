//! `avid completions SHELL`.

use clap::CommandFactory as _;

use crate::app::Context;
use crate::args::Cli;
use crate::error::CliError;

/// For which shell.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The shell.
    #[arg(value_enum)]
    shell: clap_complete::Shell,
}

/// Prints the script.
///
/// # Errors
///
/// [`CliError`] if stdout cannot be written.
pub(crate) fn run(context: &Context, args: &Args) -> Result<(), CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "avid", &mut script);
    context.output.write(&String::from_utf8_lossy(&script))
}
