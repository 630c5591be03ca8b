//! Signals on their way into the container: held back, so that they can be taken one by one and handed on. What becomes
//! of each is decided by `parent`, outside the container, and by `init`, inside.

use std::fs;

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::{Pid, getpgid, getpgrp};

use super::error::RunError;

/// What asks a program to end, or tells it something. SIGWINCH is not among them: the kernel sends it to everyone in
/// the terminal's foreground.
const HANDED_ON: [Signal; 6] =
    [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM, Signal::SIGUSR1, Signal::SIGUSR2];

/// Signals that wait to be taken.
pub struct Held(SignalFd);

/// A signal that was taken.
pub struct Taken {
    /// Which one.
    pub signal: Signal,
    /// Whether a key of the terminal sent it: then everyone in the terminal's foreground has got it.
    by_key: bool,
}

impl Held {
    // step: hold-signals
    /// Holds signals back from here on: those that are handed on, those named, and the word that a child has ended.
    pub fn new(more: &[Signal]) -> Result<Held, RunError> {
        // What this process was started to ignore (by nohup(1), or by a script that put it in the background) it goes
        // on ignoring.
        let ignored = signals_of("self", &["SigIgn:"]);
        let wanted = HANDED_ON.iter().chain(more).filter(|&&signal| ignored & bit(signal) == 0);
        let set: SigSet = wanted.copied().chain([Signal::SIGCHLD]).collect();
        // A blocked signal is not lost, and does nothing: it waits. That holds for process 1 of a container too, which
        // the kernel otherwise spares each signal that it has no handler for.
        set.thread_block().map_err(|errno| RunError::HoldSignals { errno })?;
        // Handlers would run in the midst of anything. From a descriptor signals are read when it suits.
        SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC)
            .map(Held)
            .map_err(|errno| RunError::SignalDescriptor { errno })
    }

    /// Waits for the next one.
    pub fn take(&self) -> Result<Taken, RunError> {
        loop {
            match self.0.read_signal() {
                Ok(Some(info)) => {
                    let signal = Signal::try_from(info.ssi_signo as i32);
                    let signal = signal.map_err(|errno| RunError::TakeSignal { errno })?;
                    // The kernel's own signals have this code, and those of kill(2) another (sigaction(2)).
                    return Ok(Taken { signal, by_key: info.ssi_code == libc::SI_KERNEL });
                }
                Ok(None) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(RunError::TakeSignal { errno }),
            }
        }
    }
}

impl Taken {
    /// Sends it on, unless the process got it from the terminal itself.
    pub fn hand_on(&self, process: Pid) {
        if !(self.by_key && getpgid(Some(process)) == Ok(getpgrp())) {
            // ESRCH: it has just ended, and needs no signal any more.
            let _ = kill(process, self.signal);
        }
    }
}

/// Whether a signal has any effect on process 1 of a PID namespace: whether it catches, ignores or blocks it. The
/// default action of a signal is for all other processes (pid_namespaces(7)).
pub fn heeds(first: Pid, signal: Signal) -> bool {
    // What an init blocks it takes by sigwait(3) later on. Ctrl-Z is nothing that it waits for: but whoever is just about
    // to fork blocks everything for a moment.
    let fields: &[&str] =
        if signal == Signal::SIGTSTP { &["SigCgt:", "SigIgn:"] } else { &["SigCgt:", "SigIgn:", "SigBlk:"] };
    signals_of(&first.to_string(), fields) & bit(signal) != 0
}

/// The signals in some fields of /proc/PID/status (proc_pid_status(5)), a bit each. None where nothing can be read.
fn signals_of(process: &str, fields: &[&str]) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let masks = status.lines().filter_map(|line| fields.iter().find_map(|field| line.strip_prefix(field)));
    masks.filter_map(|mask| u64::from_str_radix(mask.trim(), 16).ok()).fold(0, |all, mask| all | mask)
}

/// The bit of a signal: the lowest is signal 1.
fn bit(signal: Signal) -> u64 {
    1 << (signal as u64 - 1)
}
