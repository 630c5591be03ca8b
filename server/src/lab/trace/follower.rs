//! The way of a call: it arrives from the filter and waits there; its thread is seized (ptrace(2)); perhaps it waits for
//! somebody at a page; then the thread is interrupted and the call let go, so that the thread stops right behind it, where
//! the registers hold the result; and then the thread is let go too. All on one thread, as ptrace wants.
//!
//! A thread that waits in the filter has no registers to be seen. Where they are wanted, for a line of the taught code, it
//! is told to start its call over, and so stops once before it. clone(2) is told so as well: a stop that is due when it is
//! made would have it start over for ever, so it is followed by system call stops, which must be asked for in a stop.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use shared::mount::PeerGroup;
use shared::protocol::ViewId;
use shared::trace::{Call, CallId, CallState, Origin};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep_until};

use super::ask::Ask;
use super::caller::Caller;
use super::changes::{Budget, Came, Tables};
use super::stepping::{MOST_WAITING, Release};
use super::warnings::warnings;
use super::why::why;
use super::{News, Trace};
use crate::sys::{self, Notification};

/// More threads are not held at once; their calls go on unseen.
const MOST_HELD: usize = 256;

/// Calls that change tables wait no longer for one of them to come back: it may wait for a file system.
const LONGEST: Duration = Duration::from_millis(50);

/// A call between its arrival and its end.
struct Held {
    /// Names it while it waits in the filter.
    notification: Notification,
    call: CallId,
    ask: Ask,
    caller: Caller,
    /// Whether its thread is ours to stop, and its end ours to hear of.
    seized: bool,
    /// Whether its program is this binary.
    is_ours: bool,
    /// The caller's view before the call.
    view: Option<ViewId>,
    /// All tables before it, where it is the one that may change them.
    before: Option<Tables>,
    phase: Phase,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
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

struct Follower<'a, H> {
    trace: &'a Trace,
    listener: &'a OwnedFd,
    /// PID 1 of the sandbox.
    init: Pid,
    /// Whether PID 1 has been executed.
    started: bool,
    held: HashMap<Pid, Held>,
    /// Until when other calls that change tables wait for the one that was looked at tables for.
    window: Option<Instant>,
    budget: Budget,
    happened: H,
}

impl Trace {
    /// Answers notifications until no filtered process is left, and tells what each call may have changed after it was
    /// made. An unmount waits until `before_unmount` is through. Whoever was held when it was killed is waited for: its
    /// PID namespace does not end before that.
    pub async fn follow(
        &self,
        notifications: OwnedFd,
        init: Pid,
        before_unmount: impl AsyncFn(),
        happened: impl Fn(News),
    ) -> io::Result<()> {
        let notifications = sys::watch(notifications)?;
        let mut children = signal(SignalKind::child())?;
        let listener = notifications.get_ref();
        let mut follower = Follower {
            trace: self,
            listener,
            init,
            started: false,
            held: HashMap::new(),
            window: None,
            budget: Budget::default(),
            happened,
        };
        let mut over = false;
        while !over || !follower.held.is_empty() {
            follower.make_queued(&before_unmount).await?;
            let window = follower.window;
            tokio::select! {
                ready = notifications.readable(), if !over => {
                    let mut ready = ready?;
                    match waiting(listener)? {
                        Waiting::Call => follower.take(&before_unmount).await?,
                        Waiting::Nothing => ready.clear_ready(),
                        Waiting::End => {
                            over = true;
                            // Their SIGCHLD may have come before they were held; and of the others nothing will come.
                            follower.look_at_all();
                            follower.lose_unseized();
                        }
                    }
                }
                _ = children.recv() => follower.look_at_all(),
                () = sleep_until(window.unwrap_or_else(Instant::now)), if window.is_some() => follower.give_up(),
                () = self.woken.notified() => follower.release(&before_unmount).await?,
            }
        }
        Ok(())
    }
}

enum Waiting {
    Call,
    Nothing,
    End,
}

/// Receiving blocks where no call waits, and descriptors of this kind know no O_NONBLOCK: so poll first.
fn waiting(listener: &OwnedFd) -> io::Result<Waiting> {
    let mut polled = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
    match poll(&mut polled, PollTimeout::ZERO) {
        // SIGCHLD of a thread that has just stopped; what it interrupted is asked again.
        Err(Errno::EINTR) => return waiting(listener),
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

impl<H: Fn(News)> Follower<'_, H> {
    /// Takes a call that has arrived.
    async fn take(&mut self, before_unmount: &impl AsyncFn()) -> io::Result<()> {
        let notification = match sys::receive_notification(self.listener) {
            Ok(notification) => notification,
            // Killed while it waited.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EINTR)) => return Ok(()),
            Err(error) => return Err(error),
        };
        self.lose_gone();
        let thread = notification.thread;
        let mut seized = false;
        if let Some(mut held) = self.held.remove(&thread) {
            if held.phase == Phase::Returning && held.notification.is_same_call(&notification) {
                held.notification = notification;
                return self.admit(thread, held, before_unmount).await;
            }
            // A signal's handler came in between, and makes a call of its own.
            seized = held.seized;
            self.end(held.call, CallState::Unseen { why: "a signal came before it was made".into() });
        }
        if thread == self.init && !self.started {
            // It cannot be traced yet, and it is the lab's doing, not the learner's.
            self.started = true;
            (self.happened)(News::Processes);
            return self.pass_on(&notification);
        }
        let (Ok(caller), Some(ask)) = (Caller::of(thread), Ask::read(&notification)) else {
            return self.pass_on(&notification);
        };
        // If it waits still, then what was read is its own, and not of somebody who has its number by now.
        if !sys::is_waiting(self.listener, notification.id) {
            return Ok(());
        }
        let call = self.begin(&ask, &caller);
        if self.held.len() >= MOST_HELD {
            self.end(call, CallState::Unseen { why: "too many calls were under way at once".into() });
            self.pass_on(&notification)?;
            self.tell(&ask);
            return Ok(());
        }
        seized = seized || seize(thread).is_ok();
        let is_ours = self.trace.lines.borrow().is_ours(caller.process);
        let mut held =
            Held { notification, call, ask, caller, seized, is_ours, view: None, before: None, phase: Phase::Waiting };
        if held.is_to_start_over() && ptrace::interrupt(thread).is_ok() {
            held.phase = Phase::Stopping;
            let started_over = sys::restart_call(self.listener, held.notification.id);
            self.held.insert(thread, held);
            return unless_killed(started_over);
        }
        self.admit(thread, held, before_unmount).await
    }

    /// Lets a call wait, or be made.
    async fn admit(&mut self, thread: Pid, held: Held, before_unmount: &impl AsyncFn()) -> io::Result<()> {
        let stepping = &self.trace.stepping;
        let waiting = self.held.values().filter(|held| held.phase == Phase::Waiting).count();
        if waiting < MOST_WAITING && stepping.holds(&held.caller, self.init) {
            self.change(held.call, |call| call.state = CallState::Waiting);
            self.held.insert(thread, Held { phase: Phase::Waiting, ..held });
            return Ok(());
        }
        self.make(thread, held, before_unmount).await
    }

    /// Lets go the calls that somebody has let go.
    async fn release(&mut self, before_unmount: &impl AsyncFn()) -> io::Result<()> {
        self.lose_gone();
        for release in self.trace.stepping.take_released() {
            let is_meant = |held: &Held| match release {
                Release::Next(call) | Release::RunOn(call) => held.call == call,
                Release::All => true,
            };
            let waiting = self.held.iter().filter(|(_, held)| held.phase == Phase::Waiting && is_meant(held));
            let mut threads: Vec<_> = waiting.map(|(thread, held)| (held.call, *thread)).collect();
            threads.sort();
            for (_, thread) in threads {
                let Some(held) = self.held.remove(&thread) else { continue };
                if matches!(release, Release::RunOn(_)) {
                    self.trace.stepping.run_on(held.caller.process);
                }
                self.make(thread, held, before_unmount).await?;
            }
        }
        Ok(())
    }

    /// Lets the kernel have a call.
    async fn make(&mut self, thread: Pid, mut held: Held, before_unmount: &impl AsyncFn()) -> io::Result<()> {
        if held.seized && held.ask.changes_tables() {
            if self.window.is_some() {
                self.held.insert(thread, Held { phase: Phase::Queued, ..held });
                return Ok(());
            }
            self.look_before(&mut held);
        }
        if matches!(held.ask, Ask::Unmount { .. }) {
            before_unmount().await;
        }
        // What follows a call by its stops needs no interruption, which clone(2) would not bear.
        let watched = held.seized && (held.is_clone() || ptrace::interrupt(thread).is_ok());
        if !watched {
            self.close_window(&mut held);
        }
        let (call, notification) = (held.call, held.notification);
        self.change(call, |call| call.state = CallState::Made);
        if watched {
            held.phase = Phase::Made;
            self.held.insert(thread, held);
            return self.pass_on(&notification);
        }
        let why = match held.caller.is_traced {
            true => "a debugger holds the thread, as strace(1) does".to_owned(),
            false => "its thread cannot be stopped behind it".to_owned(),
        };
        self.end(call, CallState::Unseen { why });
        self.pass_on(&notification)?;
        self.tell(&held.ask);
        Ok(())
    }

    /// Lets go the calls that waited for another one to be through.
    async fn make_queued(&mut self, before_unmount: &impl AsyncFn()) -> io::Result<()> {
        while self.window.is_none() {
            let queued = self.held.iter().filter(|(_, held)| held.phase == Phase::Queued);
            let Some((_, thread)) = queued.map(|(thread, held)| (held.call, *thread)).min() else { return Ok(()) };
            let Some(held) = self.held.remove(&thread) else { return Ok(()) };
            self.make(thread, held, before_unmount).await?;
        }
        Ok(())
    }

    /// Looks at all tables before a call changes them, if there is time for that.
    fn look_before(&mut self, held: &mut Held) {
        if !self.budget.allows() {
            return;
        }
        let mut views = self.trace.views.borrow_mut();
        held.view = views.ensure(held.caller.thread, held.caller.process).ok().flatten();
        held.before = self.budget.look(&mut views);
        if held.before.is_some() {
            self.window = Some(Instant::now() + LONGEST);
        }
    }

    /// The call for which others wait is not back in time: it goes unexplained, for others change tables from here on.
    fn give_up(&mut self) {
        self.window = None;
        self.held.values_mut().for_each(|held| held.before = None);
    }

    /// Looks at all tables again. What is different is what the call has changed.
    fn look_behind(&mut self, held: &mut Held) {
        let mut views = self.trace.views.borrow_mut();
        let (thread, process) = (held.caller.thread, held.caller.process);
        let (changes, came, copied) = if let Some(before) = held.before.take() {
            self.window = None;
            let view = views.ensure(thread, process).ok().flatten();
            let Some(after) = self.budget.look(&mut views) else { return };
            let (changes, came) = before.changes(&after, held.view, view);
            (changes, came, false)
        } else if held.ask.copies_namespace() && self.budget.allows() {
            let Some(thread) = held.caller.in_new_namespace(held.is_clone()) else { return };
            let process = if held.is_clone() { thread } else { process };
            let Some(view) = views.ensure(thread, process).ok().flatten() else { return };
            let Some(after) = self.budget.look(&mut views) else { return };
            let (changes, came) = after.copies(view);
            (changes, came, true)
        } else {
            return;
        };
        drop(views);
        let Some(call) = self.trace.calls.borrow().get(held.call) else { return };
        let mut origins = self.trace.origins.borrow_mut();
        origins.keep_only(&self.trace.views.borrow());
        for Came { view, row, carried_by } in came {
            if !(copied && origins.has(view, row.id)) {
                origins.add(view, row, &Rc::new(origin_of(&call, carried_by, copied)));
            }
        }
        drop(origins);
        self.change(held.call, |call| call.changes = changes);
    }

    fn pass_on(&self, notification: &Notification) -> io::Result<()> {
        unless_killed(sys::continue_call(self.listener, notification.id))
    }

    fn look_at_all(&mut self) {
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
        if !held.seized {
            return Some(held);
        }
        let (stopped, status) = match wait(thread) {
            // A thread that executes a program takes its process's number (execve(2), "Effect on process attributes").
            Err(Errno::ECHILD) if held.caller.process != thread => (held.caller.process, wait(held.caller.process)),
            status => (thread, status),
        };
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
                let _already_gone = ptrace::detach(stopped, None);
                self.end(held.call, CallState::Unseen { why: "the program was stopped before it was made".into() });
                return None;
            }
            Ok(WaitStatus::PtraceEvent(..)) => None,
            Ok(_) | Err(_) => {
                self.close_window(&mut held);
                self.end(held.call, CallState::Ended);
                self.tell(&held.ask);
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
                let _already_gone = ptrace::detach(stopped, signal);
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
        let _already_gone = ptrace::detach(thread, None);
        None
    }

    /// A call has its result, and its thread stands behind it.
    fn finish(&mut self, thread: Pid, held: &mut Held) {
        let state = match sys::result_of_call(thread) {
            // What the kernel says to itself when a signal comes in a call that will start over.
            Err(Errno::UnknownErrno) => CallState::Unseen { why: "a signal came, and it starts over".into() },
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

    /// Tells what is to be known of a call that has succeeded.
    fn warn(&self, held: &Held) {
        let changes = self.trace.calls.borrow().get(held.call).map(|call| call.changes.clone()).unwrap_or_default();
        let warnings = warnings(&held.ask, &held.caller, self.init, &changes, &self.trace.views.borrow());
        if !warnings.is_empty() {
            self.change(held.call, |call| call.warnings = warnings);
        }
    }

    /// A call that others wait for is through, and has changed nothing.
    fn close_window(&mut self, held: &mut Held) {
        if held.before.take().is_some() {
            self.window = None;
        }
    }

    /// Ends what was killed while it waited, as far as no stop tells of it.
    fn lose_gone(&mut self) {
        let listener = self.listener;
        let is_gone = |held: &mut Held| {
            !held.seized && held.phase == Phase::Waiting && !sys::is_waiting(listener, held.notification.id)
        };
        let gone: Vec<_> = self.held.extract_if(|_, held| is_gone(held)).collect();
        gone.into_iter().for_each(|(_, held)| self.end(held.call, CallState::Ended));
    }

    fn lose_unseized(&mut self) {
        let gone: Vec<_> = self.held.extract_if(|_, held| !held.seized).collect();
        gone.into_iter().for_each(|(_, held)| self.end(held.call, CallState::Ended));
    }

    fn begin(&self, ask: &Ask, caller: &Caller) -> CallId {
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
        let ordinal = self.trace.views.borrow_mut().ordinal_of(caller.mount_namespace);
        let (name, kind) = ask.name();
        let id = self.trace.calls.borrow_mut().begin(|id| Call {
            id,
            at,
            process: caller.described.clone(),
            ordinal: Some(ordinal),
            name: name.to_owned(),
            kind,
            arguments: ask.arguments(),
            about: ask.about(),
            line: None,
            state: CallState::Made,
            warnings: Vec::new(),
            changes: Vec::new(),
        });
        (self.happened)(News::Calls);
        id
    }

    fn change(&self, call: CallId, change: impl FnOnce(&mut Call)) {
        self.trace.calls.borrow_mut().change(call, change);
        (self.happened)(News::Calls);
    }

    fn end(&self, call: CallId, state: CallState) {
        self.change(call, |call| call.state = state);
    }

    /// Tells what a call may have changed.
    fn tell(&self, ask: &Ask) {
        let only_tables = ask.changes_tables() && !matches!(ask, Ask::PivotRoot { .. });
        (self.happened)(if only_tables { News::Tables } else { News::Processes });
    }
}

impl Held {
    fn is_clone(&self) -> bool {
        matches!(self.ask, Ask::Clone { .. })
    }

    fn is_to_start_over(&self) -> bool {
        self.seized && (self.is_clone() || self.is_ours)
    }

    /// Lets a stopped thread go on, as far as the next stop that is wanted of it.
    fn let_run(&self, thread: Pid, signal: Option<Signal>) -> nix::Result<()> {
        if self.is_clone() { ptrace::syscall(thread, signal) } else { ptrace::cont(thread, signal) }
    }
}

impl Notification {
    fn is_same_call(&self, other: &Notification) -> bool {
        (self.number, self.arguments) == (other.number, other.arguments)
    }
}

fn origin_of(call: &Call, carried_by: Option<PeerGroup>, copied: bool) -> Origin {
    Origin {
        call: call.id,
        at: call.at,
        name: call.name.clone(),
        process: call.process.clone(),
        line: call.line.clone(),
        carried_by,
        copied,
    }
}

fn failed(errno: Errno, why: Option<String>) -> CallState {
    CallState::Failed { errno: format!("{errno:?}"), words: errno.desc().to_owned(), why }
}

/// System call stops are told apart from SIGTRAP.
fn seize(thread: Pid) -> nix::Result<()> {
    ptrace::seize(thread, ptrace::Options::PTRACE_O_TRACESYSGOOD)
}

fn wait(thread: Pid) -> nix::Result<WaitStatus> {
    waitpid(thread, Some(WaitPidFlag::__WALL | WaitPidFlag::WNOHANG))
}

/// A call whose thread was killed meanwhile needs no answer.
fn unless_killed(answered: io::Result<()>) -> io::Result<()> {
    match answered {
        Err(error) if error.raw_os_error() != Some(libc::ENOENT) => Err(error),
        _answered_or_killed => Ok(()),
    }
}
