//! A call between its arrival and its end. The hold on its thread is in `seized`.

use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use shared::protocol::ViewId;
use shared::trace::CallId;

use super::seized::Seized;
use crate::lab::trace::ask::Ask;
use crate::lab::trace::caller::Caller;
use crate::lab::trace::changes::Tables;
use crate::sys::Notification;

/// A call between its arrival and its end.
pub struct Held {
    /// Names it while it waits in the filter.
    pub notification: Notification,
    pub call: CallId,
    pub ask: Ask,
    pub caller: Caller,
    /// The hold on its thread, where there is one: it is ours to stop then, and its end ours to hear of.
    pub seized: Option<Seized>,
    /// Whether its program is this binary.
    pub is_ours: bool,
    /// The caller's view before the call.
    pub view: Option<ViewId>,
    /// All tables before it, where it is the one that may change them.
    pub before: Option<Tables>,
    pub phase: Phase,
}

/// How far it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// It was told to start over, and stops before it does.
    Stopping,
    /// It starts over, and will arrive once more.
    Returning,
    /// It waits in the filter until somebody lets it go.
    Waiting,
    /// It waits in the filter until another call is through that changes tables.
    Queued,
    /// The kernel has it; the thread stops behind it.
    Made,
}

impl Held {
    pub fn is_clone(&self) -> bool {
        matches!(self.ask, Ask::Clone { .. })
    }

    pub fn is_to_start_over(&self) -> bool {
        self.seized.is_some() && (self.is_clone() || self.is_ours)
    }

    /// Lets a stopped thread go for good.
    pub fn detach(&mut self, stopped: Pid, signal: Option<Signal>) {
        if let Some(seized) = self.seized.take() {
            seized.detach(stopped, signal);
        }
    }

    /// Lets a stopped thread go on, as far as the next stop that is wanted of it.
    pub fn let_run(&self, thread: Pid, signal: Option<Signal>) -> nix::Result<()> {
        if self.is_clone() { ptrace::syscall(thread, signal) } else { ptrace::cont(thread, signal) }
    }
}

impl Notification {
    pub fn is_same_call(&self, other: &Notification) -> bool {
        (self.number, self.arguments) == (other.number, other.arguments)
    }
}
