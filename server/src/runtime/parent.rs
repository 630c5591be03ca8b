//! The parent: starts the child in new namespaces and waits for it. It stays in this machine's namespaces itself.

use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStringExt;

use nix::errno::Errno;
use nix::sched::CloneFlags;
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, execv};

use super::certificates::ensure_certificates;
use super::error::{PullError, RunError};
use super::image::Image;
use super::options::{PullOptions, RootMethod, RunOptions};
use super::process;
use super::pull::pull;

// step: new-mount-namespace
/// Runs a container until its command ends; returns its exit status, or 128 + the signal that ended it.
///
/// `arguments` are those that the options were read from: the child reads them again.
pub fn run(options: &RunOptions, arguments: impl Iterator<Item = OsString>) -> Result<u8, RunError> {
    let arguments: Vec<CString> = arguments.map(to_c_string).collect();
    let again = |verb| [c"newroot".to_owned(), verb].into_iter().chain(arguments.iter().cloned()).collect::<Vec<_>>();
    if !options.rootfs().is_dir() {
        pull_first(options)?;
        // Pulling takes threads and memory; clone(2) below must find this process as fresh as if it had just started.
        let Err(errno) = execv(c"/proc/self/exe", &again(c"run".to_owned()));
        return Err(RunError::StartOver { errno });
    }
    // A namespace is a list that processes share: host names (UTS), process numbers (PID), shared memory (IPC).
    let mut namespaces = CloneFlags::CLONE_NEWUTS | CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWIPC;
    if !options.no_mount_ns {
        // The list of mounts. The child starts with a copy of this process's list, and what it mounts goes into its
        // copy. (Copies of shared mounts still tell each other; `mounts` ends that.)
        namespaces |= CloneFlags::CLONE_NEWNS;
    } else if options.root == RootMethod::Pivot {
        return Err(RunError::PivotWithoutNamespace);
    }
    // The program starts itself again: `newroot run alpine sh` becomes `newroot child alpine sh`. All memory is new
    // after that, so nothing of this process's state can follow into the container by accident.
    let command = again(c"child".to_owned());
    let child = process::clone(namespaces, || become_child(&command)).map_err(|errno| RunError::Clone { errno })?;
    wait_for(child)
}

/// Pulls the image that is to be run. Says so on standard error: standard output belongs to the command.
fn pull_first(options: &RunOptions) -> Result<(), RunError> {
    let PullOptions { image, fs, .. } = &options.pull;
    eprintln!("{image} is not below {} yet; pulling it", fs.display());
    ensure_certificates().map_err(RunError::Certificates)?;
    match pull(&options.pull, |layer| eprintln!("layer {}/{} done", layer.number, layer.of)) {
        Ok(_) => Ok(()),
        // Then only what is here can be run.
        Err(source @ (PullError::Unreachable { .. } | PullError::Mirror { .. })) => {
            let others = match Image::all(fs).as_slice() {
                [] => "no other image is there".to_owned(),
                names => format!("there is {}", names.join(", ")),
            };
            Err(RunError::NotPulled { image: image.to_string(), fs: fs.clone(), others, source: Box::new(source) })
        }
        Err(error) => Err(RunError::Pull(Box::new(error))),
    }
}

/// The first thing that happens in the new namespaces. Returns only if it fails, with an exit status.
fn become_child(command: &[CString]) -> u8 {
    // Without its parent nobody could reach the container any more: let it be killed when the parent dies.
    let _ = prctl::set_pdeathsig(Signal::SIGKILL);
    let Err(errno) = execv(c"/proc/self/exe", command);
    eprintln!("newroot: cannot exec /proc/self/exe: {errno}; is /proc mounted?");
    125
}

/// Waits until the child has ended, in either of the two ways a process can end.
fn wait_for(child: Pid) -> Result<u8, RunError> {
    loop {
        match waitpid(child, None) {
            // An exit status has eight bits (_exit(2)).
            Ok(WaitStatus::Exited(_, status)) => return Ok(status as u8),
            // The shells' custom, so that a status above 128 says which signal it was.
            Ok(WaitStatus::Signaled(_, signal, _)) => return Ok(128 + signal as u8),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(RunError::Wait { errno }),
        }
    }
}

/// An argument as execve(2) takes it. Arguments came from execve(2), so there is no zero byte to cut at.
fn to_c_string(argument: OsString) -> CString {
    let bytes = argument.into_vec().into_iter().take_while(|&byte| byte != 0);
    CString::new(bytes.collect::<Vec<u8>>()).unwrap_or_default()
}
