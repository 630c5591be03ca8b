//! The command line, nothing else: reads arguments, starts the one thing asked for, turns errors into exit codes.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use newroot::lab;
use newroot::runtime::{self, PullOptions, RunError, RunOptions};

/// The verbs that have more to say than the call of one function.
mod cli {
    pub mod doctor;
    pub mod http_options;
    pub mod images;
    pub mod lab_image;
    pub mod lab_options;
    pub mod labs;
    pub mod lessons;
    pub mod log;
    pub mod mirror;
    pub mod pull;
    pub mod serve;
}

/// What follows the verbs in the long help.
const AFTER_HELP: &str = "\
Begin with:
  newroot doctor                  what this machine has and lacks
  newroot serve                   the playground, on http://127.0.0.1:8080
  newroot run busybox sh          a container without it

`newroot help VERB` says more about each. Most take root.";

/// Watch the Linux kernel build a container, one system call at a time.
#[derive(Parser)]
#[command(name = "newroot", version, arg_required_else_help = true, max_term_width = 80, after_help = AFTER_HELP)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Pull an image from a registry, and unpack its root file system.
    Pull(PullOptions),
    /// Run a program in a new container made from a pulled image.
    ///
    /// The container has mount, PID, UTS and IPC namespaces of its own, and the image's rootfs as its root directory. An
    /// image that is not there is pulled first.
    Run(RunOptions),
    /// Import images from files, list those that need no registry, remove them.
    #[command(subcommand)]
    Images(cli::images::Verb),
    /// Start the playground and serve its page.
    Serve(cli::serve::Options),
    /// Say what this machine has and lacks for the playground.
    ///
    /// Looks at the machine as `serve` would with the same flags, mostly by doing once what labs need, in a process that
    /// is gone afterwards. A line begins with `ok`, with `note` (labs can do without), or with `LACKS` (they cannot); the
    /// line below it says how to mend it.
    #[command(
        after_long_help = "Exit status:\n  0  `newroot serve` will work here\n  1  it will not; the lines with LACKS say why"
    )]
    Doctor(cli::serve::Options),
    /// Show the labs that run on this machine, or end them.
    Labs(cli::labs::Options),
    /// Check lessons: that they are well-formed, and can be done.
    #[command(subcommand)]
    Lessons(cli::lessons::Verb),
    /// What `run` starts in the new namespaces.
    #[command(hide = true)]
    Child(RunOptions),
    /// Does for a server what takes root; started by `serve` only.
    #[command(hide = true)]
    Keeper,
    /// One learner's machine; started by `keeper` only.
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
        Verb::Child(options) => Ok(exit_with(runtime::run_child(&options))),
        Verb::Images(verb) => cli::images::run(verb),
        Verb::Serve(options) => cli::serve::run(options),
        Verb::Doctor(options) => Ok(cli::doctor::run(&options)),
        Verb::Labs(options) => cli::labs::run(&options),
        Verb::Lessons(verb) => cli::lessons::run(verb),
        Verb::Keeper => with_log(lab::keeper::helper::main),
        Verb::Lab => with_log(lab::process::main),
        Verb::Init => with_log(lab::init::main),
    };
    result.unwrap_or_else(|error| {
        eprintln!("newroot: {}", runtime::printable_lines(format_args!("{error:#}")));
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
        eprintln!("newroot: {}", runtime::printable_lines(format_args!("{:#}", anyhow::Error::from(error))));
        status
    });
    ExitCode::from(status)
}

fn with_log<E: std::error::Error + Send + Sync + 'static>(main: fn() -> Result<(), E>) -> Result<ExitCode> {
    cli::log::start(false);
    main()?;
    Ok(ExitCode::SUCCESS)
}
