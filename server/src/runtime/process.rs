//! The calls of the taught code that Rust cannot prove safe, each behind a small safe function. Nothing else here.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::errno::Errno;
use nix::sched::CloneFlags;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::unistd::Pid;

/// clone(2): starts `child` in a new process that has the given new namespaces and a copy of this process's memory.
/// What `child` returns is its exit status.
///
/// Errors with EBUSY in a process of several threads: the copy would have only the calling one, and could wait forever
/// for a lock that another one held.
pub fn clone(namespaces: CloneFlags, child: impl Fn() -> u8) -> nix::Result<Pid> {
    if !is_single_threaded() {
        return Err(Errno::EBUSY);
    }
    let mut stack = vec![0; 1 << 20];
    // SAFETY: without CLONE_VM the child works on copies of this memory and of `stack`, which outlive it, and with one
    // thread alone the copy is in no state that this process could not have been in. A MiB is ample for a call of exec.
    unsafe {
        nix::sched::clone(
            Box::new(|| isize::from(child())),
            &mut stack,
            namespaces,
            // What the kernel sends to the parent when the child ends; waitpid(2) needs it to be this one.
            Some(Signal::SIGCHLD as i32),
        )
    }
}

/// Sets every signal to its default action and unblocks all of them: exec(2) hands ignored and blocked signals on, so
/// without this a container started from a script's background would be deaf to Ctrl-C.
pub fn default_signals() {
    Signal::iterator().for_each(default_signal);
    // Only an unknown operation can fail here (sigprocmask(2)).
    let _ = SigSet::empty().thread_set_mask();
}

/// Sets a signal to its default action.
pub fn default_signal(signal: Signal) {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // SAFETY: SIG_DFL is no handler, so no code of ours can be called from a signal. SIGKILL and SIGSTOP answer EINVAL:
    // they always have their default action.
    let _ = unsafe { sigaction(signal, &default) };
}

/// Starts a command with every signal as by default. A child inherits what this process holds back, and keeps it over
/// execve(2); so for this one that is undone.
pub fn spawn(command: &mut Command) -> io::Result<Pid> {
    // SAFETY: between fork and exec only what signal-safety(7) lists may be called, and that lists sigaction(2) and
    // sigprocmask(2); nothing else is called.
    unsafe {
        command.pre_exec(|| {
            default_signals();
            Ok(())
        })
    };
    Ok(Pid::from_raw(command.spawn()?.id() as i32))
}

/// setenv(3) for this process and those it starts. Errors with EBUSY in a process of several threads.
pub fn set_variable(name: &str, value: &str) -> nix::Result<()> {
    if !is_single_threaded() {
        return Err(Errno::EBUSY);
    }
    // SAFETY: no other thread exists that could read the environment meanwhile.
    unsafe { std::env::set_var(name, value) };
    Ok(())
}

fn is_single_threaded() -> bool {
    std::fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.count() == 1)
}
