//! The defences that a test can turn off, by name. An attack that fails proves nothing unless it is also seen to succeed
//! without the defence that it fails at (`server/tests/attacks`). Nobody else turns one off, and `serve` warns of it.

use serde::{Deserialize, Serialize};

/// A defence. SECURITY.md says what each is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Defence {
    /// The lab process, the zygote and PID 1 each begin in a session of their own.
    Session,
    /// Limits of each process (getrlimit(2)), and of what one lab may have of namespaces, watches, queues and signals.
    Resources,
    /// The allowlist of system calls, sockets and ioctl(2) requests of the sandbox.
    Filter,
    /// No netlink(7) sockets in the sandbox.
    Netlink,
    /// No options of sockets that program netfilter.
    Netfilter,
    /// The lab's own devpts, of which it may take only so many terminals.
    Pseudoterminals,
    /// Nobody but root may have /proc/pressure wake them.
    Pressure,
    /// Device nodes that are the lab's own.
    Devices,
    /// Limits by cgroups.
    Limits,
    /// The allowlist of system calls of the lab process.
    LabFilter,
    /// A network namespace and an IPC namespace of the lab process's own.
    LabNetwork,
    /// The server that speaks HTTP has a user of its own, and no privilege.
    ServerUser,
    /// Each lab has turns of its own at the mirror's upstream, and what nobody waits for is dropped.
    Turns,
    /// The mirror's cache refuses what would pass its limit while all of it is being read.
    CacheLimit,
    /// A thread that the lab process holds is let go, or reaped, however its call ends.
    Reaping,
    /// No call of the lab process sleeps for long: an alarm interrupts it.
    Alarm,
    /// The server ends labs that outlive their time, or answer nobody.
    Warden,
    /// What is mounted from outside is read-only, and opens no device.
    MountFlags,
    /// The page of another site cannot reach a lab.
    Origin,
    /// A name that is not ours, pointed at this server by another site, is not answered.
    Host,
    /// What a page may send at once is bounded.
    Frames,
    /// The server and the labs' mirrors speak HTTP/1 alone.
    HttpOne,
    /// No connection is stuck or idle for ever, and none keeps the server from ending.
    HttpTimeouts,
    /// What a lab's mirror has in memory for it is bounded.
    MirrorBytes,
    /// No client address takes all connections or labs.
    PerAddress,
    /// A cookie is the server's own.
    SignedCookies,
    /// Headers that must be there once are there once, and say the same.
    HeadersOnce,
    /// A lab that nobody has ever used ends early.
    UnusedLabs,
}

/// Which defences stand: all of them, but for those that a test has turned off.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Defences {
    off: Vec<Defence>,
}

impl Defences {
    /// All but these.
    pub fn without(off: Vec<Defence>) -> Defences {
        Defences { off }
    }

    /// Whether this one stands.
    pub fn stand(&self, defence: Defence) -> bool {
        !self.off.contains(&defence)
    }

    /// Those that do not.
    pub fn off(&self) -> &[Defence] {
        &self.off
    }
}
