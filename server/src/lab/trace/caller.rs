//! Who makes a call: its thread and process, as `/proc` tells of them while they wait in it.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;

use nix::unistd::Pid;
use shared::protocol::Process;

use crate::lab::proc;

/// A thread that makes a call. Numbers are those outside the sandbox.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The thread.
    pub thread: Pid,
    /// Its process.
    pub process: Pid,
    /// The process's parent.
    pub parent: Pid,
    /// As pages are told of it.
    pub described: Process,
    /// The inode of its mount namespace.
    pub mount_namespace: u64,
    /// Its effective capabilities, in its user namespace, one bit for each (capabilities(7)).
    pub capabilities: u64,
    /// Whether somebody traces it: not the lab, which detaches after each call.
    pub is_traced: bool,
}

impl Caller {
    /// Looks at a thread.
    pub fn of(thread: Pid) -> io::Result<Caller> {
        let status = fs::read(format!("/proc/{thread}/status"))?;
        let status = String::from_utf8_lossy(&status);
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let number = |name: &str| field(name).and_then(|value| value.parse().ok()).ok_or(io::ErrorKind::InvalidData);
        let process = Pid::from_raw(number("Tgid:")?);
        // One number per nested PID namespace, outermost first; the second is the sandbox's.
        let inside = field("NStgid:").and_then(|numbers| numbers.split_whitespace().nth(1)?.parse().ok());
        let described = Process { pid: inside.ok_or(io::ErrorKind::NotFound)?, program: proc::program_of(process)? };
        Ok(Caller {
            thread,
            process,
            parent: Pid::from_raw(number("PPid:")?),
            described,
            mount_namespace: fs::metadata(format!("/proc/{thread}/ns/mnt"))?.ino(),
            capabilities: field("CapEff:").and_then(|set| u64::from_str_radix(set, 16).ok()).unwrap_or_default(),
            is_traced: number("TracerPid:")? != 0,
        })
    }

    /// Whether it has a capability in its user namespace.
    pub fn has(&self, capability: Capability) -> bool {
        self.capabilities >> capability as u32 & 1 == 1
    }

    /// The thread that is in another mount namespace after a call that made one: itself, or, of a clone(2), its youngest
    /// child.
    pub fn in_new_namespace(&self, is_clone: bool) -> Option<Pid> {
        let thread = self.thread;
        let youngest = || {
            let children = fs::read_to_string(format!("/proc/{thread}/task/{thread}/children")).ok()?;
            children.split_whitespace().filter_map(|pid| pid.parse().ok()).next_back().map(Pid::from_raw)
        };
        let found = if is_clone { youngest()? } else { thread };
        let namespace = fs::metadata(format!("/proc/{found}/ns/mnt")).ok()?.ino();
        (namespace != self.mount_namespace).then_some(found)
    }

    /// Whether it has a terminal: without, nobody sees that it waits.
    pub fn has_terminal(&self) -> bool {
        stat_field(self.process, TERMINAL).is_some_and(|terminal| terminal != 0)
    }

    /// Whether it is PID 1, or what that one starts a terminal's shell with: a child that leads a session, and is still a
    /// copy of it.
    pub fn is_the_labs(&self, init: Pid) -> bool {
        let words = |pid: Pid| fs::read(format!("/proc/{pid}/cmdline")).ok().filter(|words| !words.is_empty());
        self.process == init || (self.parent == init && self.leads_session() && words(self.process) == words(init))
    }

    fn leads_session(&self) -> bool {
        stat_field(self.process, SESSION) == Some(i64::from(self.process.as_raw()))
    }
}

/// Capabilities that the watched calls want, by their numbers (capabilities(7)).
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the manual tells of each")]
pub enum Capability {
    SysChroot = 18,
    SysAdmin = 21,
}

/// Places of fields behind the program's name in proc_pid_stat(5), from 0: parent, …
const PARENT: usize = 1;
const SESSION: usize = 3;
const TERMINAL: usize = 4;
const START: usize = 19;

/// The parent of a process.
pub fn parent_of(process: Pid) -> Option<Pid> {
    stat_field(process, PARENT).map(|parent| Pid::from_raw(parent as i32))
}

/// When a process started, in ticks since the machine did: with its number it names a process for good.
pub fn start_of(process: Pid) -> Option<i64> {
    stat_field(process, START)
}

fn stat_field(process: Pid, index: usize) -> Option<i64> {
    let stat = fs::read(format!("/proc/{process}/stat")).ok()?;
    // The name may have any character in it; what follows it has none.
    let after = &stat[stat.iter().rposition(|&byte| byte == b')')? + 1..];
    std::str::from_utf8(after).ok()?.split_whitespace().nth(index)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_tells_its_parent_and_session() {
        let here = nix::unistd::getpid();
        assert_eq!(parent_of(here), Some(nix::unistd::getppid()));
        let session = nix::unistd::getsid(None).expect("a session");
        assert_eq!(stat_field(here, SESSION), Some(i64::from(session.as_raw())));
        assert!(start_of(here).is_some_and(|start| start > 0) && start_of(Pid::from_raw(-1)).is_none());
    }
}
