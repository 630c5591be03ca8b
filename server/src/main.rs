//! The command line, nothing else: reads arguments, starts the one thing asked for, turns errors into exit codes.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use newroot::lab;
use newroot::runtime::{self, PullOptions, RunError, RunOptions};

/// The verbs that have more to say than the call of one function.
mod cli {
    pub mod lab_image;
    pub mod lab_options;
    pub mod labs;
    pub mod pull;
    pub mod serve;
}

/// Watch the Linux kernel build a container, one system call at a time.
#[derive(Parser)]
#[command(name = "newroot", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Pull an image from a registry, and unpack its root file system.
    Pull(PullOptions),
    /// Run a program in a new container made from a pulled image.
    Run(RunOptions),
    /// Start the playground and serve its page.
    Serve(cli::serve::Options),
    /// Show the labs that run on this machine, or end them.
    Labs(cli::labs::Options),
    /// What `run` starts in the new namespaces.
    #[command(hide = true)]
    Child(RunOptions),
    /// One learner's machine; started by `serve` only.
    #[command(hide = true)]
    Lab,
    /// PID 1 of a learner's machine; started by `lab` only.
    #[command(hide = true)]
    Init,
}

fn main() -> ExitCode {
    let result = match Arguments::parse().verb {
        Verb::Pull(options) => cli::pull::run(&options),
        Verb::Run(options) => Ok(exit_with(runtime::run(&options, arguments_after_verb()))),
        Verb::Child(options) => Ok(exit_with(runtime::run_child(&options).map(|never| match never {}))),
        Verb::Serve(options) => cli::serve::run(options),
        Verb::Labs(options) => cli::labs::run(&options),
        Verb::Lab => with_log(lab::process::main),
        Verb::Init => with_log(lab::init::main),
    };
    result.unwrap_or_else(|error| {
        eprintln!("newroot: {error:#}");
        ExitCode::FAILURE
    })
}

/// The arguments after `newroot run`, for the child to read again.
fn arguments_after_verb() -> impl Iterator<Item = OsString> {
    std::env::args_os().skip(2)
}

fn exit_with(result: Result<u8, RunError>) -> ExitCode {
    let status = result.unwrap_or_else(|error| {
        let status = error.exit_status();
        eprintln!("newroot: {:#}", anyhow::Error::from(error));
        status
    });
    ExitCode::from(status)
}

fn with_log<E: std::error::Error + Send + Sync + 'static>(main: fn() -> Result<(), E>) -> Result<ExitCode> {
    tracing_subscriber::fmt().with_target(false).without_time().with_writer(std::io::stderr).init();
    main()?;
    Ok(ExitCode::SUCCESS)
}
