//! The command line, nothing else: reads arguments, starts the one thing asked for, turns errors into exit codes.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Watch the Linux kernel build a container, one system call at a time.
#[derive(Parser)]
#[command(name = "newroot", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Start the playground and serve its page.
    Serve,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match arguments.verb {
        Verb::Serve => ExitCode::SUCCESS,
    }
}
