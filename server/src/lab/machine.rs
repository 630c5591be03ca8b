//! The sandbox of the moment, as the lab process holds it: its PID 1, and the way to end it for certain. How it is made
//! is in `sandbox`.

use std::io;
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::unix::AsyncFd;

use super::channel::AsyncChannel;
use crate::sys;

/// A running sandbox. Its PID 1 may be the learner's puppet.
pub struct Machine {
    /// The connection to its PID 1.
    pub init: AsyncChannel,
    /// Its PID 1, as numbered outside.
    pub pid: Pid,
    process: AsyncFd<OwnedFd>,
}

impl Machine {
    /// Takes over a sandbox that has just been made: the zygote has not reaped its PID 1, so the number is its own.
    pub fn new(pid: Pid, init: AsyncChannel) -> io::Result<Machine> {
        Ok(Machine { init, pid, process: sys::watch(sys::pidfd(pid)?)? })
    }

    /// Kills PID 1, from outside: nothing it could do holds that up. It is dead only when the kernel has killed and
    /// reaped every other process of its PID namespace (pid_namespaces(7)), and so their mounts are gone too.
    pub async fn end(&self) -> io::Result<()> {
        self.kill()?;
        self.process.readable().await.map(drop)
    }

    /// The same, without waiting.
    pub fn kill(&self) -> io::Result<()> {
        match kill(self.pid, Signal::SIGKILL) {
            Err(Errno::ESRCH) | Ok(()) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
