//! The hold on a thread (ptrace(2)). It cannot be forgotten: a thread that is held and dead stays a zombie until the lab
//! waits for it, for its parent and for the end of its PID namespace too, so every way out of the trace ends here.

use std::cell::RefCell;
use std::rc::Rc;

use nix::errno::Errno;
use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::defence::{Defence, Defences};

/// A thread that the lab has seized. Dropped, it is let go as soon as it stops or is dead.
pub struct Seized {
    thread: Pid,
    process: Pid,
    /// Where it goes when it is dropped; nowhere once it is detached or reaped.
    leaving: Option<Leaving>,
}

impl Seized {
    /// Lets go a thread that has just stopped, with the signal that it is to get.
    pub fn detach(mut self, stopped: Pid, signal: Option<Signal>) {
        // It may have been killed in its stop: then there is nothing to detach, but a zombie to wait for.
        if ptrace::detach(stopped, signal).is_ok() {
            self.leaving = None;
        }
    }

    /// Takes note that it was waited for, and is gone.
    pub fn reaped(mut self) {
        self.leaving = None;
    }
}

impl Drop for Seized {
    fn drop(&mut self) {
        if let Some(leaving) = &self.leaving
            && leaving.stands
        {
            // Only in a stop it can be let go. One that is dead already needs none.
            let _ = ptrace::interrupt(self.thread);
            leaving.list.borrow_mut().push((self.thread, self.process));
        }
    }
}

/// The threads that are held and that nothing is wanted of any more.
#[derive(Clone, Default)]
pub struct Leaving {
    /// Each with the number that it takes when it executes a program.
    list: Rc<RefCell<Vec<(Pid, Pid)>>>,
    stands: bool,
}

impl Leaving {
    /// Nobody leaves yet.
    pub fn new(defences: &Defences) -> Leaving {
        Leaving { list: Rc::default(), stands: defences.stand(Defence::Reaping) }
    }

    /// Seizes a thread of a process; `None` where it is gone, or somebody else traces it.
    pub fn seize(&self, thread: Pid, process: Pid) -> Option<Seized> {
        // System call stops are told apart from SIGTRAP.
        ptrace::seize(thread, ptrace::Options::PTRACE_O_TRACESYSGOOD).ok()?;
        Some(Seized { thread, process, leaving: Some(self.clone()) })
    }

    /// Whether nobody is left.
    pub fn is_empty(&self) -> bool {
        self.list.borrow().is_empty()
    }

    /// Lets go who has stopped, and reaps who is dead.
    pub fn let_go(&self) {
        self.list.borrow_mut().retain(|&(thread, process)| {
            let (stopped, status) = wait_for(thread, process);
            let signal = match status {
                Ok(WaitStatus::StillAlive) => return true,
                Ok(WaitStatus::Stopped(_, signal)) => Some(signal),
                Ok(WaitStatus::PtraceEvent(..) | WaitStatus::PtraceSyscall(_)) => None,
                // Reaped just now, or nobody of ours.
                Ok(_) | Err(_) => return false,
            };
            // One that was killed in its stop is waited for again.
            ptrace::detach(stopped, signal).is_err()
        });
    }
}

/// What a held thread tells of itself, and by which number.
pub fn wait_for(thread: Pid, process: Pid) -> (Pid, nix::Result<WaitStatus>) {
    let wait = |pid| waitpid(pid, Some(WaitPidFlag::__WALL | WaitPidFlag::WNOHANG));
    match wait(thread) {
        // A thread that executes a program takes its process's number (execve(2), "Effect on process attributes").
        Err(Errno::ECHILD) if process != thread => (process, wait(process)),
        status => (thread, status),
    }
}
