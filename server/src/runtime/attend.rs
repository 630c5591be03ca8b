//! The parent while the container runs: hands signals on to it, stops with it, and waits for its end.

use std::io::{Write, stderr};

use nix::sys::signal::{SigSet, Signal, kill, raise};
use nix::sys::wait::{Id, WaitPidFlag, waitid, waitpid};
use nix::unistd::Pid;

use super::error::RunError;
use super::init::exit_status;
use super::signals::{Held, heeds};

/// The exit status of whoever was killed by SIGKILL.
const KILLED: u8 = 128 + Signal::SIGKILL as u8;

// step: forward-signals
/// Hands signals on to the container until it has ended; returns its exit status, or 128 + the signal that ended it.
pub fn attend(child: Pid, held: &Held) -> Result<u8, RunError> {
    let mut killed_for = None;
    loop {
        let taken = held.take()?;
        match taken.signal {
            // WNOHANG, since SIGCHLD tells of a child that was stopped, too.
            Signal::SIGCHLD => match waitpid(child, Some(WaitPidFlag::WNOHANG)).map(exit_status) {
                Ok(None) => {}
                // The signal that was meant counts, not the one that did it.
                Ok(Some(KILLED)) => return Ok(killed_for.map_or(KILLED, |signal: Signal| 128 + signal as u8)),
                Ok(Some(status)) => return Ok(status),
                Err(errno) => return Err(RunError::Wait { errno }),
            },
            _ if heeds(child, taken.signal) => taken.hand_on(child),
            Signal::SIGTSTP => pause_with(child),
            Signal::SIGTTOU => {}
            signal => {
                // Any other process would have ended by it. Process 1 does not even get it (pid_namespaces(7)): there
                // is one signal that it cannot be spared, if it comes from outside its namespace.
                say_why_killed(signal);
                killed_for = Some(signal);
                // ESRCH: it has just ended by itself, and SIGCHLD is on its way.
                let _ = kill(child, Signal::SIGKILL);
            }
        }
    }
}

fn say_why_killed(signal: Signal) {
    // Not eprintln!, which panics where nobody reads any more: the terminal may be gone, and SIGHUP be about that.
    let _ = writeln!(
        stderr(),
        "newroot: {signal} does not reach process 1 of the container, which has no handler for it; killing it instead \
         (with --init the command is not process 1)"
    );
}

/// Ctrl-Z: stops the container and this process, so that the shell which has started it gets its terminal back, until
/// `fg` or `bg` lets both go on.
fn pause_with(child: Pid) {
    // Like SIGKILL, SIGSTOP reaches process 1 from outside.
    let _ = kill(child, Signal::SIGSTOP);
    // Not before it has stopped (or ended; WNOWAIT leaves that to be told): it could still read what is typed next.
    let _ = waitid(Id::Pid(child), WaitPidFlag::WSTOPPED | WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT);
    // Not SIGSTOP for this process: where no shell waits, SIGTSTP does nothing, and nobody is stuck.
    let stop: SigSet = [Signal::SIGTSTP].into_iter().collect();
    let _ = raise(Signal::SIGTSTP);
    // Here it stops: a signal that was held back comes when it no longer is.
    let _ = stop.thread_unblock().and_then(|()| stop.thread_block());
    let _ = kill(child, Signal::SIGCONT);
}
