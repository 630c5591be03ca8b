//! What the stops of held threads tell: that a call is about to be made again, or was made, or will never be.

use nix::errno::Errno;
use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::wait::WaitStatus;
use nix::unistd::Pid;
use shared::trace::CallState;

use super::Follower;
use super::held::{Held, Phase};
use super::seized::wait_for;
use crate::lab::trace::News;
use crate::lab::trace::why::why;
use crate::sys;

impl<H: Fn(News)> Follower<'_, H> {
    pub fn look_at_all(&mut self) {
        let threads: Vec<_> = self.held.keys().copied().collect();
        for thread in threads {
            if let Some(held) = self.held.remove(&thread)
                && let Some(held) = self.look(thread, held)
            {
                self.held.insert(thread, held);
            }
        }
    }

    /// Looks whether a held thread has stopped, or is gone. Gives back what is held still.
    fn look(&mut self, thread: Pid, mut held: Held) -> Option<Held> {
        if held.seized.is_none() {
            return Some(held);
        }
        let (stopped, status) = wait_for(thread, held.caller.process);
        let signal = match status {
            Ok(WaitStatus::StillAlive) => return Some(held),
            // The stop that was asked for.
            Ok(WaitStatus::PtraceEvent(_, Signal::SIGTRAP, _)) => None,
            Ok(WaitStatus::PtraceSyscall(_)) => return self.follow_clone(stopped, held),
            // A signal on its way is delivered as if we were not there.
            Ok(WaitStatus::Stopped(_, signal)) => {
                if held.phase != Phase::Made || held.is_clone() {
                    let _already_gone = held.let_run(stopped, Some(signal));
                    return Some(held);
                }
                Some(signal)
            }
            // Stopped by job control: it stays stopped when it is let go, and its call arrives anew when it goes on.
            Ok(WaitStatus::PtraceEvent(..)) if held.phase != Phase::Made || held.is_clone() => {
                held.detach(stopped, None);
                self.end(held.call, CallState::Unseen { why: "the program was stopped before it was made".into() });
                return None;
            }
            Ok(WaitStatus::PtraceEvent(..)) => None,
            Ok(_) | Err(_) => {
                self.close_window(&mut held);
                self.end(held.call, CallState::Ended);
                self.tell(&held.ask);
                if let Some(seized) = held.seized {
                    seized.reaped();
                }
                return None;
            }
        };
        match held.phase {
            Phase::Stopping => {
                held.phase = Phase::Returning;
                if held.is_ours {
                    let line = self.trace.lines.borrow_mut().line_of(stopped);
                    self.change(held.call, |call| call.line = line);
                }
                let _already_gone = held.let_run(stopped, None);
                Some(held)
            }
            Phase::Made if !held.is_clone() => {
                self.finish(stopped, &mut held);
                held.detach(stopped, signal);
                None
            }
            Phase::Returning | Phase::Waiting | Phase::Queued | Phase::Made => {
                let _already_gone = held.let_run(stopped, None);
                Some(held)
            }
        }
    }

    /// A system call stop of a clone(2): before it is made, or behind it.
    fn follow_clone(&mut self, thread: Pid, mut held: Held) -> Option<Held> {
        if held.phase != Phase::Made || sys::result_of_call(thread) == Err(Errno::UnknownErrno) {
            let _already_gone = ptrace::syscall(thread, None);
            let phase = if held.phase == Phase::Made { Phase::Returning } else { held.phase };
            return Some(Held { phase, ..held });
        }
        self.finish(thread, &mut held);
        held.detach(thread, None);
        None
    }

    /// A call has its result, and its thread stands behind it.
    fn finish(&mut self, thread: Pid, held: &mut Held) {
        let state = match sys::result_of_call(thread) {
            // What the kernel says to itself when a signal comes in a call that will start over.
            Err(Errno::UnknownErrno) => CallState::Unseen { why: "a signal came, and it starts over".into() },
            // It is no failure: the program sees to the connection when there is something to see.
            Err(Errno::EINPROGRESS) => CallState::Unseen { why: "the connection is still being made".into() },
            Ok(value) => CallState::Returned { value },
            Err(errno) => failed(errno, why(&held.ask, errno, &held.caller)),
        };
        match state {
            CallState::Returned { .. } => {
                self.look_behind(held);
                self.warn(held);
            }
            _ => self.close_window(held),
        }
        self.end(held.call, state);
        self.tell(&held.ask);
    }
}

fn failed(errno: Errno, why: Option<String>) -> CallState {
    CallState::Failed { errno: format!("{errno:?}"), words: errno.desc().to_owned(), why }
}
