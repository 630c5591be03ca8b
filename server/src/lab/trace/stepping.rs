//! Step-through: which calls wait until somebody says *next*, and whose do not.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use nix::unistd::Pid;
use shared::trace::CallId;

use super::caller::{Caller, parent_of, start_of};

/// More calls do not wait at once: a fork bomb of waiters would fill the lab.
pub const MOST_WAITING: usize = 64;
/// More processes are not remembered as running on; the first to be forgotten are those that have ended.
const MOST_FREE: usize = 256;
/// Ancestors of a process are followed no further.
const DEEPEST: usize = 64;

/// Whether calls wait, and what pages have said of those that do.
#[derive(Default)]
pub struct Stepping {
    on: Cell<bool>,
    /// Calls that somebody has let go, and that are still to be answered.
    released: RefCell<Vec<Release>>,
    /// Processes that run on, with the time each one started.
    free: RefCell<HashMap<Pid, Option<i64>>>,
}

/// What somebody wants of a call that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// It is made.
    Next(CallId),
    /// It is made, and its process waits no more.
    RunOn(CallId),
    /// All are made.
    All,
}

impl Stepping {
    /// Whether calls wait.
    pub fn is_on(&self) -> bool {
        self.on.get()
    }

    /// Turns it on or off. Off, all that wait go on, and nobody is remembered.
    pub fn turn(&self, on: bool) {
        self.on.set(on);
        if !on {
            self.free.borrow_mut().clear();
            self.release(Release::All);
        }
    }

    /// Lets one or all go; the follower has to be woken then.
    pub fn release(&self, release: Release) {
        let mut released = self.released.borrow_mut();
        // A page that says much more than there is to release says nothing.
        if released.len() <= MOST_WAITING {
            released.push(release);
        }
    }

    /// What was said since somebody asked.
    pub fn take_released(&self) -> Vec<Release> {
        self.released.take()
    }

    /// This process and its descendants wait no more.
    pub fn run_on(&self, process: Pid) {
        let mut free = self.free.borrow_mut();
        if free.len() >= MOST_FREE {
            free.retain(|pid, start| start_of(*pid) == *start);
        }
        if free.len() < MOST_FREE {
            free.insert(process, start_of(process));
        }
    }

    /// Whether a call of this process is to wait: it has a terminal of the learner's, before which somebody sits, it is not
    /// the lab's own doing, and nobody said that it may run on.
    pub fn holds(&self, caller: &Caller, init: Pid) -> bool {
        self.on.get() && caller.has_terminal() && !caller.is_the_labs(init) && !self.runs_on(caller, init)
    }

    fn runs_on(&self, caller: &Caller, init: Pid) -> bool {
        if self.free.borrow().is_empty() {
            return false;
        }
        let is_free = |pid: &Pid| self.free.borrow().get(pid).is_some_and(|start| *start == start_of(*pid));
        let ancestors = std::iter::successors(Some(caller.process), |pid| parent_of(*pid).filter(|pid| *pid != init));
        let runs_on = ancestors.take(DEEPEST).any(|pid| is_free(&pid));
        if runs_on {
            // Its parent may end before it, and then nobody would know whose descendant it is.
            self.run_on(caller.process);
        }
        runs_on
    }
}
