//! The child: already in its new namespaces, it sets the container up from the inside and becomes the command.

use std::convert::Infallible;
use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use nix::unistd::{chdir, getpid, sethostname};

use super::config::Config;
use super::error::RunError;
use super::options::{MountSet, RootMethod, RunOptions};
use super::user::User;
use super::{devices, mounts, process, root};

/// Sets the container up and becomes its command. Only comes back with an error.
pub fn run(options: &RunOptions) -> Result<Infallible, RunError> {
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
    eprintln!("Working directory: {}", directory.display());
    Ok(())
}

// step: run-command
/// Becomes the command: execve(2) puts another program into this process, which keeps its number, its namespaces and
/// its root directory. So the command is process 1 of the container.
fn run_command(options: &RunOptions, config: &Config) -> Result<Infallible, RunError> {
    process::default_signals();
    let mut words: Vec<OsString> = options.command.clone();
    if words.is_empty() {
        words = config.command().map(OsString::from).collect();
    }
    let (program, arguments) =
        words.split_first().ok_or_else(|| RunError::NoCommand { image: options.pull.image.to_string() })?;
    let mut command = Command::new(program);
    // An image has its own directories for programs; the machine's PATH and other variables mean nothing in it.
    command.args(arguments).env_clear().env("PATH", PATH).env("HOME", "/root");
    command.envs(std::env::var_os("TERM").map(|terminal| ("TERM", terminal)));
    // As root still: not everybody may enter each directory.
    chdir(config.working_directory())
        .map_err(|errno| RunError::ChangeDirectory { path: config.working_directory().to_owned(), errno })?;
    if !config.user().is_empty() {
        let user = User::find(config.user())?;
        user.switch()?;
        command.env("HOME", user.home);
    }
    // A name without `/` is looked for in PATH, and by now that means: below the new root.
    let error = command.envs(config.environment()).exec();
    Err(explain(error, &program.to_string_lossy(), options))
}

/// Where programs are looked for in a container.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What exec(2) means by its errors, seen from inside the image.
fn explain(error: io::Error, program: &str, options: &RunOptions) -> RunError {
    let (program, image) = (program.to_owned(), options.pull.image.to_string());
    if error.kind() != ErrorKind::NotFound {
        return RunError::Exec { program, image, source: error };
    }
    // ENOENT speaks of the program, or of what its `#!` line or its ELF header names.
    if program.contains('/') && Path::new(&program).exists() {
        return RunError::NoInterpreter { program, image };
    }
    RunError::NoSuchProgram { program, image, hint: hint() }
}

/// What could be run instead.
fn hint() -> String {
    let shells = ["/bin/bash", "/bin/sh", "/usr/bin/sh", "/bin/ash", "/busybox/sh"];
    match shells.into_iter().find(|shell| Path::new(shell).exists()) {
        Some(shell) => format!("this image has {shell}"),
        None => "this image has no shell".to_owned(),
    }
}
