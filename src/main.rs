//! The command `walpost`: arguments to configuration to runtime to exit code.

use std::process::ExitCode;

use clap::Parser;
use walpost::cli::{self, Cli};

fn main() -> ExitCode {
    cli::main(Cli::parse())
}
