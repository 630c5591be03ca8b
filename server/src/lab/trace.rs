//! The calls that make containers, seen as they happen: the sandbox's filter sends each to the lab process, which lets
//! it go on and learns when it has happened. Here it only tells that something changed; it never changes a call.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use tokio::signal::unix::{SignalKind, signal};

use crate::sys::{self, Notification};

/// A call that has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// The thread that made it, as numbered outside the sandbox.
    pub thread: Pid,
    /// Its number on this architecture.
    pub number: libc::c_long,
    /// Its value or errno; `None` where the thread could not be held for a look (a debugger has it, or it is a clone).
    pub result: Option<nix::Result<i64>>,
}

/// More threads are not held at once; their calls go on unseen.
const MOST_HELD: usize = 256;

impl Call {
    /// Whether it can change a mount table, and nothing else of what the views show.
    pub fn is_about_mounts(&self) -> bool {
        [libc::SYS_mount, libc::SYS_umount2].contains(&self.number)
    }
}

/// Answers notifications until no filtered process is left, and tells of each call after it happened. An unmount waits
/// until `before_unmount` is through. Whoever was held when it was killed is waited for: its PID namespace does not end
/// before that.
///
/// While a thread waits in its call it is seized and interrupted (ptrace(2)); let go, it makes the call and stops
/// right behind it, where the registers hold the result, and is detached. Everything is done on one thread, as ptrace wants.
pub async fn follow(notifications: OwnedFd, before_unmount: impl AsyncFn(), happened: impl Fn(Call)) -> io::Result<()> {
    let notifications = sys::watch(notifications)?;
    let mut children = signal(SignalKind::child())?;
    let mut held = HashMap::new();
    let mut over = false;
    while !over || !held.is_empty() {
        tokio::select! {
            ready = notifications.readable(), if !over => {
                let mut ready = ready?;
                match waiting(notifications.get_ref())? {
                    Waiting::Call => answer(notifications.get_ref(), &mut held, &before_unmount, &happened).await?,
                    Waiting::Nothing => ready.clear_ready(),
                    Waiting::End => {
                        over = true;
                        // Their SIGCHLD may have come before they were held.
                        held.retain(|&thread, &mut number| !look(thread, number, &happened));
                    }
                }
            }
            _ = children.recv() => held.retain(|&thread, &mut number| !look(thread, number, &happened)),
        }
    }
    Ok(())
}

enum Waiting {
    Call,
    Nothing,
    End,
}

/// Receiving blocks where no call waits, and descriptors of this kind know no O_NONBLOCK: so poll first.
fn waiting(notifications: impl AsFd) -> io::Result<Waiting> {
    let mut polled = [PollFd::new(notifications.as_fd(), PollFlags::POLLIN)];
    match poll(&mut polled, PollTimeout::ZERO) {
        // SIGCHLD of a thread that has just stopped; what it interrupted is asked again.
        Err(Errno::EINTR) => return waiting(notifications),
        result => result?,
    };
    let events = polled[0].revents().unwrap_or(PollFlags::empty());
    Ok(if events.contains(PollFlags::POLLIN) {
        Waiting::Call
    } else if events.contains(PollFlags::POLLHUP) {
        Waiting::End
    } else {
        Waiting::Nothing
    })
}

async fn answer(
    notifications: impl AsFd,
    held: &mut HashMap<Pid, libc::c_long>,
    before_unmount: &impl AsyncFn(),
    happened: &impl Fn(Call),
) -> io::Result<()> {
    let Notification { id, thread, number } = match sys::receive_notification(&notifications) {
        Ok(notification) => notification,
        // Killed while it waited.
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(()),
        Err(error) if error.raw_os_error() == Some(libc::EINTR) => return Ok(()),
        Err(error) => return Err(error),
    };
    if number == libc::SYS_umount2 {
        before_unmount().await;
    }
    // A stop that is already due would make clone start over, for ever.
    let can_hold = number != libc::SYS_clone && held.len() < MOST_HELD;
    let holding = can_hold && hold(thread).is_ok();
    if holding {
        held.insert(thread, number);
    }
    match sys::continue_call(&notifications, id) {
        Err(error) if error.raw_os_error() != Some(libc::ENOENT) => return Err(error),
        _continued_or_killed => {}
    }
    if !holding {
        happened(Call { thread, number, result: None });
    }
    Ok(())
}

fn hold(thread: Pid) -> nix::Result<()> {
    ptrace::seize(thread, ptrace::Options::empty())?;
    ptrace::interrupt(thread)
}

/// Whether a held thread has stopped, or is gone; a stopped one is let go.
fn look(thread: Pid, number: libc::c_long, happened: &impl Fn(Call)) -> bool {
    let signal: Option<Signal> = match waitpid(thread, Some(WaitPidFlag::__WALL | WaitPidFlag::WNOHANG)) {
        Ok(WaitStatus::StillAlive) => return false,
        // The stop we asked for.
        Ok(WaitStatus::PtraceEvent(..)) => None,
        // A signal that was on its way comes first; it is delivered as if we were not there.
        Ok(WaitStatus::Stopped(_, signal)) => Some(signal),
        Ok(_) | Err(_) => return true,
    };
    let result = match sys::result_of_call(thread) {
        // What the kernel says to itself when a signal comes in a call that will start over.
        Err(Errno::UnknownErrno) => None,
        result => Some(result),
    };
    let _already_gone = ptrace::detach(thread, signal);
    happened(Call { thread, number, result });
    true
}
