//! The parent: starts the child in new namespaces. It stays in this machine's namespaces itself.

use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStringExt;

use nix::sched::CloneFlags;
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::execv;

use super::attend::attend;
use super::certificates::ensure_certificates;
use super::error::RunError;
use super::options::{PullOptions, RootMethod, RunOptions};
use super::privilege::why_no_namespaces;
use super::process;
use super::progress::Progress;
use super::pull::pull;
use super::signals::Held;
use super::terminal::Terminal;

// step: new-mount-namespace
/// Runs a container until its command ends; returns its exit status, or 128 + the signal that ended it.
///
/// `arguments` are those that the options were read from: the child reads them again.
pub fn run(options: &RunOptions, arguments: impl Iterator<Item = OsString>) -> Result<u8, RunError> {
    // A namespace is a list that processes share: host names (UTS), process numbers (PID), shared memory (IPC).
    let mut namespaces = CloneFlags::CLONE_NEWUTS | CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWIPC;
    if !options.no_mount_ns {
        // The list of mounts. The child starts with a copy of this process's list, and what it mounts goes into its
        // copy. (Copies of shared mounts still tell each other; `mounts` ends that.)
        namespaces |= CloneFlags::CLONE_NEWNS;
    } else if options.root == RootMethod::Pivot {
        return Err(RunError::PivotWithoutNamespace);
    }
    let arguments: Vec<CString> = arguments.map(to_c_string).collect();
    let again = |verb| [c"newroot".to_owned(), verb].into_iter().chain(arguments.iter().cloned()).collect::<Vec<_>>();
    // One that only root may get at is there: what else is lacking, the calls below say better.
    if let Ok(false) = options.rootfs().try_exists() {
        pull_first(options)?;
        // Pulling takes threads and memory; clone(2) below must find this process as fresh as if it had just started.
        let Err(errno) = execv(c"/proc/self/exe", &again(c"run".to_owned()));
        return Err(RunError::StartOver { errno });
    }
    let terminal = Terminal::remember();
    // From here on, so that no signal comes too early. SIGTSTP is Ctrl-Z; SIGTTOU would come of taking the terminal back.
    let held = Held::new(&[Signal::SIGTSTP, Signal::SIGTTOU])?;
    // The kernel buries the children of a process that ignores this signal, and their exit statuses with them.
    process::default_signal(Signal::SIGCHLD);
    // The program starts itself again: `newroot run alpine sh` becomes `newroot child alpine sh`. All memory is new
    // after that, so nothing of this process's state can follow into the container by accident.
    let command = again(c"child".to_owned());
    let child = process::clone(namespaces, || become_child(&command))
        .map_err(|errno| RunError::Clone { errno, why: why_no_namespaces(errno) })?;
    let status = attend(child, &held)?;
    terminal.take_back(status > 128);
    Ok(status)
}

/// Pulls the image that is to be run. Says so on standard error: standard output belongs to the command.
fn pull_first(options: &RunOptions) -> Result<(), RunError> {
    let PullOptions { image, fs, .. } = &options.pull;
    eprintln!("{image} is not below {} yet; pulling it", fs.display());
    ensure_certificates().map_err(RunError::Certificates)?;
    pull(&options.pull, &Progress::on_standard_error()).map(drop).map_err(|error| RunError::Pull(Box::new(error)))
}

// step: start-again
/// The first thing that happens in the new namespaces. Returns only if it fails, with an exit status.
fn become_child(command: &[CString]) -> u8 {
    // Without its parent nobody could reach the container any more: let it be killed when the parent dies.
    let _ = prctl::set_pdeathsig(Signal::SIGKILL);
    // What the parent holds back, and what it was started to ignore, is no business of the container.
    process::default_signals();
    let Err(errno) = execv(c"/proc/self/exe", command);
    eprintln!("newroot: cannot exec /proc/self/exe: {errno}; is /proc mounted?");
    125
}

/// An argument as execve(2) takes it. Arguments came from execve(2), so there is no zero byte to cut at.
fn to_c_string(argument: OsString) -> CString {
    let bytes = argument.into_vec().into_iter().take_while(|&byte| byte != 0);
    CString::new(bytes.collect::<Vec<u8>>()).unwrap_or_default()
}
