//! The way of a call: it arrives from the filter and waits there; its thread is seized (ptrace(2)); perhaps it waits for
//! somebody at a page; then the thread is interrupted and the call let go, so that the thread stops right behind it, where
//! the registers hold the result; and then the thread is let go too. All on one thread, as ptrace wants.
//!
//! A thread that waits in the filter has no registers to be seen. Where they are wanted, for a line of the taught code, it
//! is told to start its call over, and so stops once before it. clone(2) is told so as well: a stop that is due when it is
//! made would have it start over for ever, so it is followed by system call stops, which must be asked for in a stop.

mod held;
mod seized;
mod stops;
mod tables;

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::ptrace;
use nix::unistd::Pid;
use shared::trace::{Call, CallId, CallState};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep_until};

use super::ask::Ask;
use super::caller::Caller;
use super::changes::Budget;
use super::stepping::{MOST_WAITING, Release};
use super::{News, Trace};
use crate::lab::seccomp;
use crate::sys::{self, Notification};
use held::{Held, Phase};
use seized::Leaving;

/// More threads are not held at once; their calls go on unseen.
const MOST_HELD: usize = 256;

struct Follower<'a, H> {
    trace: &'a Trace,
    listener: &'a OwnedFd,
    /// PID 1 of the sandbox.
    init: Pid,
    /// Whether PID 1 has been executed.
    started: bool,
    held: HashMap<Pid, Held>,
    leaving: Leaving,
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
            leaving: Leaving::new(&self.defences),
            window: None,
            budget: Budget::default(),
            happened,
        };
        let mut over = false;
        while !over || !follower.held.is_empty() || !follower.leaving.is_empty() {
            follower.make_queued(&before_unmount).await?;
            follower.leaving.let_go();
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
        let mut seized = None;
        if let Some(mut held) = self.held.remove(&thread) {
            if held.phase == Phase::Returning && held.notification.is_same_call(&notification) {
                held.notification = notification;
                return self.admit(thread, held, before_unmount).await;
            }
            // A signal's handler came in between, and makes a call of its own.
            seized = held.seized.take();
            self.end(held.call, CallState::Unseen { why: "a signal came before it was made".into() });
        }
        if thread == self.init && !self.started {
            // It cannot be traced yet, and it is the lab's doing, not the learner's.
            self.started = true;
            (self.happened)(News::Processes);
            return self.pass_on(&notification);
        }
        let is_step = seccomp::STEPS.contains(&notification.number);
        if is_step && seized.is_none() && (thread == self.init || !self.trace.lines.borrow().is_ours(thread)) {
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
        let seized = seized.or_else(|| self.leaving.seize(thread, caller.process));
        let is_ours = !caller.is_the_labs(self.init) && self.trace.lines.borrow().is_ours(caller.process);
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
        if waiting < MOST_WAITING && !held.ask.is_step() && stepping.holds(&held.caller, self.init) {
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
        if held.seized.is_some() && held.ask.changes_tables() {
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
        let watched = held.seized.is_some() && (held.is_clone() || ptrace::interrupt(thread).is_ok());
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

    fn pass_on(&self, notification: &Notification) -> io::Result<()> {
        unless_killed(sys::continue_call(self.listener, notification.id))
    }

    /// Ends what was killed while it waited, as far as no stop tells of it.
    fn lose_gone(&mut self) {
        let listener = self.listener;
        let is_gone = |held: &mut Held| {
            held.seized.is_none() && held.phase == Phase::Waiting && !sys::is_waiting(listener, held.notification.id)
        };
        let gone: Vec<_> = self.held.extract_if(|_, held| is_gone(held)).collect();
        gone.into_iter().for_each(|(_, held)| self.end(held.call, CallState::Ended));
    }

    fn lose_unseized(&mut self) {
        let gone: Vec<_> = self.held.extract_if(|_, held| held.seized.is_none()).collect();
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

/// A call whose thread was killed meanwhile needs no answer.
fn unless_killed(answered: io::Result<()>) -> io::Result<()> {
    match answered {
        Err(error) if error.raw_os_error() != Some(libc::ENOENT) => Err(error),
        _answered_or_killed => Ok(()),
    }
}
