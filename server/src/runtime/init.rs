//! `--init`: process 1 of the container, when the command shall not be it. It hands signals on and buries the dead.

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::error::RunError;
use super::signals::Held;

// step: init
/// Stays process 1 until the command, its child, ends; returns its exit status.
///
/// Process 1 has two duties that programs do not know of. A process whose parent has ended becomes its child, and stays
/// a zombie until it is waited for. And a signal for which it has no handler never reaches it; its child has no such
/// privilege, so that SIGTERM ends a plain `sleep`.
pub fn run(child: Pid, held: &Held) -> Result<u8, RunError> {
    loop {
        let taken = held.take()?;
        if taken.signal != Signal::SIGCHLD {
            taken.hand_on(child);
        } else if let Some(status) = bury(child)? {
            // With process 1 the kernel ends whatever is left in the PID namespace.
            return Ok(status);
        }
    }
}

/// Waits for every child that has ended; returns the exit status of this one, if it was among them.
fn bury(child: Pid) -> Result<Option<u8>, RunError> {
    let mut status = None;
    loop {
        // Until there is no more: two that end at once send one SIGCHLD (signal(7)).
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(status),
            Ok(ended) if ended.pid() == Some(child) => status = exit_status(ended),
            Ok(_) => {}
            Err(errno) => return Err(RunError::Bury { errno }),
        }
    }
}

// step: exit-status
/// The exit status that a process has ended with; none where it has not ended.
pub fn exit_status(status: WaitStatus) -> Option<u8> {
    match status {
        // An exit status has eight bits (_exit(2)).
        WaitStatus::Exited(_, status) => Some(status as u8),
        // The shells' custom, so that a status above 128 says which signal it was.
        WaitStatus::Signaled(_, signal, _) => Some(128 + signal as u8),
        _ => None,
    }
}
