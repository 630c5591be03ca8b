//! The lab's part in following its sandbox's calls: what each may have changed, and what pages say of those that wait.

use std::os::fd::OwnedFd;
use std::rc::Rc;

use nix::unistd::Pid;
use shared::trace::CallId;
use tokio::time::Instant;

use super::super::trace::{News, Trace};
use super::Lab;

impl Lab {
    /// What is known of the calls.
    pub(in super::super) fn trace(&self) -> &Trace {
        &self.trace
    }

    /// Sees every call of the sandbox with this PID 1 until that has ended.
    pub(super) async fn follow_calls(self: Rc<Self>, notifications: OwnedFd, init: Pid) {
        let before_unmount = async || {
            let closing = self.views.borrow_mut().let_go();
            for task in closing {
                let _ended_or_aborted = task.await;
            }
        };
        let happened = |news| match news {
            News::Calls => self.changed(),
            News::Tables => self.views.borrow().doubt_all(),
            News::Processes => self.scan_due.notify_one(),
        };
        if let Err(error) = self.trace.follow(notifications, init, before_unmount, happened).await {
            // Programs would wait for an answer for ever.
            tracing::error!("system calls can no longer be answered: {error}");
            self.end("its system calls can no longer be answered");
        }
    }

    /// Whether calls wait, from now on.
    pub(in super::super) fn step_through(&self, on: bool) {
        self.used();
        self.trace.step_through(on);
        self.changed();
    }

    /// Calls that wait for a page that does not come back go on.
    pub(super) fn stop_waiting_for_nobody(&self) {
        if self.trace.is_stepping() && self.pages.are_gone(Instant::now().into_std()) {
            self.trace.step_through(false);
        }
    }

    /// A page lets a call be made.
    pub(in super::super) fn next_call(&self, call: CallId) {
        self.used();
        self.trace.next(call);
    }

    /// A page lets a call be made, and its process run on.
    pub(in super::super) fn run_on(&self, call: CallId) {
        self.used();
        self.trace.run_on(call);
    }
}
