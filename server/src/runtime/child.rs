//! The child: already in its new namespaces, it sets the container up from the inside and becomes the command.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::{chdir, getpid, sethostname};

use super::config::Config;
use super::error::RunError;
use super::init;
use super::options::{MountSet, RootMethod, RunOptions};
use super::printable::printable;
use super::program::Program;
use super::signals::Held;
use super::user::User;
use super::{devices, mounts, process, root};

/// Sets the container up and becomes its command. Only comes back with an error, or as the init of a command that has
/// ended with this exit status.
pub fn run(options: &RunOptions) -> Result<u8, RunError> {
    // In a new PID namespace the child is process 1. Anywhere else it would change the machine's own mounts.
    if getpid().as_raw() != 1 {
        return Err(RunError::NotStartedByParent);
    }
    // While it can be reached: after the root has changed, it is outside.
    let config = Config::read(&options.pull.image.config(&options.pull.fs))?;
    set_up_container(options)?;
    run_command(options, &config)
}

// step: set-up-container
/// Everything between new namespaces and a container: host name, mounts, root directory.
fn set_up_container(options: &RunOptions) -> Result<(), RunError> {
    print_working_directory()?;
    if let Some(name) = &options.hostname {
        // In the new UTS namespace: the machine keeps its own name.
        sethostname(name).map_err(|errno| RunError::Hostname { errno })?;
    }
    let rootfs = options.rootfs();
    // With --no-mount-ns the mounts are the machine's own, and how they propagate is not ours to change.
    if !options.no_mount_ns {
        mounts::set_propagation(options.propagation)?;
    }
    // Before the root changes: in a user namespace the kernel allows a new /proc only where one can be seen already,
    // and after pivot_root(2) there is none.
    match options.mount {
        MountSet::None => {}
        MountSet::Proc => mounts::mount_proc(&rootfs)?,
        MountSet::Default => mounts::mount_default(&rootfs)?,
    }
    match options.root {
        RootMethod::Chroot => root::change_root(&rootfs)?,
        RootMethod::Pivot => root::pivot_root(&rootfs)?,
    }
    if options.mount == MountSet::Default {
        devices::reopen_terminal()?;
    }
    print_working_directory()
}

/// Says where this process is, on standard error: standard output belongs to the command.
fn print_working_directory() -> Result<(), RunError> {
    let directory = std::env::current_dir().map_err(RunError::WorkingDirectory)?;
    eprintln!("Working directory: {}", printable(directory.display()));
    Ok(())
}

// step: run-command
/// Becomes the command: execve(2) puts another program into this process, which keeps its number, its namespaces and
/// its root directory. So the command is process 1 of the container, unless an init is.
fn run_command(options: &RunOptions, config: &Config) -> Result<u8, RunError> {
    let image = || options.pull.image.to_string();
    let words = words(options, config);
    let (program, arguments) = words.split_first().ok_or_else(|| RunError::NoCommand { image: image() })?;
    let mut command = Command::new(program);
    // An image has its own directories for programs; the machine's PATH and other variables mean nothing in it.
    command.args(arguments).env_clear().env("PATH", PATH).env("HOME", "/root");
    command.envs(std::env::var_os("TERM").map(|terminal| ("TERM", terminal)));
    let directory = config.working_directory();
    // As root still: not everybody may enter each directory.
    chdir(directory).map_err(|errno| RunError::ImageDirectory { image: image(), path: directory.to_owned(), errno })?;
    if !config.user().is_empty() {
        let user = User::find(config.user())?;
        user.switch()?;
        command.env("HOME", user.home);
        // Changing the user has cleared it (prctl(2)), and the parent may still die first.
        let _ = prctl::set_pdeathsig(Signal::SIGKILL);
    }
    command.envs(config.environment());
    // Rust ignores SIGPIPE, and the command would inherit that.
    process::default_signals();
    let failure = if options.init {
        // Before there is a child, so that neither a signal nor its end comes too early.
        let held = Held::new(&[])?;
        match process::spawn(&mut command) {
            Ok(child) => return init::run(child, &held),
            Err(failure) => failure,
        }
    } else {
        // A name without `/` is looked for in PATH, and by now that means: below the new root.
        command.exec()
    };
    let path = config.environment().filter(|(name, _)| *name == "PATH").last().map_or(PATH, |(_, path)| path);
    Err(Program { name: &program.to_string_lossy(), path, image: &image() }.explain(&failure))
}

/// The program and its arguments: what was asked for, or else what the image says.
fn words(options: &RunOptions, config: &Config) -> Vec<OsString> {
    match options.command.as_slice() {
        [] => config.command().map(OsString::from).collect(),
        words => words.to_vec(),
    }
}

/// Where programs are looked for in a container.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
