//! The command line, nothing else: reads arguments, starts the one thing asked for, turns errors into exit codes.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use newroot::runtime::{self, PullOptions, Pulled, RunError, RunOptions};

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
    /// Pull an image from a registry, and unpack its root file system.
    Pull(PullOptions),
    /// Run a program in a new container made from a pulled image.
    Run(RunOptions),
    /// What `run` starts in the new namespaces.
    #[command(hide = true)]
    Child(RunOptions),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match arguments.verb {
        Verb::Serve => Ok(ExitCode::SUCCESS),
        Verb::Pull(options) => pull(&options),
        Verb::Run(options) => Ok(exit_with(runtime::run(&options, arguments_after_verb()))),
        Verb::Child(options) => Ok(exit_with(runtime::run_child(&options).map(|never| match never {}))),
    };
    result.unwrap_or_else(|error| {
        eprintln!("newroot: {error:#}");
        ExitCode::FAILURE
    })
}

fn pull(options: &PullOptions) -> anyhow::Result<ExitCode> {
    runtime::ensure_certificates().context("cannot prepare TLS")?;
    println!("Pulling {}", options.image);
    match runtime::pull(options)? {
        Pulled::AlreadyThere { rootfs, digest } => {
            println!("Already there: {digest}; the rootfs is in {}", rootfs.display());
        }
        Pulled::Done { rootfs, left_out } => {
            if left_out > 0 {
                println!("Left out {left_out} device node(s), which only the root of a whole machine may make");
            }
            println!("Pulling done; the rootfs is in {}", rootfs.display());
        }
    }
    Ok(ExitCode::SUCCESS)
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
