//! The zygote: root of the learner's user namespace and of nothing else. It makes the sandbox's PID 1, and makes it
//! again after a reset, without any privilege on the host. It exits when the lab process is gone.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::exit;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use serde::{Deserialize, Serialize};

use super::cgroup::Delegated;
use super::channel::Channel;
use super::init;
use super::sandbox::{Settings, Step, StepError};
use super::uid_range::UidRange;
use crate::{runtime, sys};

/// From the lab process to the zygote. Each is answered with one [`FromZygote`].
#[derive(Debug, Serialize, Deserialize)]
pub enum ToZygote {
    /// The id maps are written: become uid 0 of the user namespace.
    BecomeRoot,
    /// All mounts from outside are in place: make a mount namespace that locks them.
    LockMounts,
    /// Make a sandbox; the descriptor that comes along is its PID 1's end of a channel.
    Start,
    /// Say the host name in the UTS namespace whose descriptor comes along.
    Hostname,
}

/// From the zygote to the lab process.
#[derive(Debug, Serialize, Deserialize)]
pub enum FromZygote {
    /// Done as asked.
    Done,
    /// PID 1 of the sandbox has started.
    Started {
        /// Its number in the zygote's PID namespace, which is the lab's too.
        pid: i32,
    },
    /// The host name that was asked for.
    Hostname {
        /// As the learner has set it.
        name: String,
    },
    /// It could not be done.
    Failed {
        /// Why.
        message: String,
    },
}

/// The life of the zygote, from the fork on.
pub fn main(channel: &Channel, settings: &Settings, ids: &UidRange, cgroup: &Delegated) -> ! {
    if keep_only(channel, ids, cgroup).is_err() {
        exit(1);
    }
    loop {
        let (request, mut descriptors) = match channel.receive::<ToZygote>() {
            Ok(received) => received,
            Err(_lab_is_gone) => exit(0),
        };
        // Former sandboxes' remains.
        while waitpid(None, Some(WaitPidFlag::WNOHANG)).is_ok_and(|status| status.pid().is_some()) {}
        let answer = match request {
            ToZygote::BecomeRoot => become_root().map(|()| FromZygote::Done),
            ToZygote::LockMounts => lock_mounts().map(|()| FromZygote::Done),
            ToZygote::Start => start(descriptors.pop(), settings, cgroup),
            ToZygote::Hostname => hostname(descriptors.pop()),
        };
        let answer = answer.unwrap_or_else(|error| FromZygote::Failed { message: error.to_string() });
        if channel.send(&answer, &[]).is_err() {
            exit(0);
        }
    }
}

/// A fork inherits every descriptor; what the learner's side can reach must hold none of the lab's or the server's.
/// The lock on the uid range stays: the range is taken as long as any process of the lab lives.
fn keep_only(channel: &Channel, ids: &UidRange, cgroup: &Delegated) -> io::Result<()> {
    for standard in 0..=2 {
        let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
        sys::place(null.into(), standard)?;
    }
    let mut kept = vec![0, 1, 2, channel.as_raw_fd(), ids.lock.as_raw_fd()];
    kept.extend(cgroup.descriptors());
    sys::close_all_but(&mut kept)
}

fn become_root() -> Result<(), StepError> {
    let (user, group) = (Uid::from_raw(0), Gid::from_raw(0));
    setgroups(&[]).step("leave all supplementary groups")?;
    setresgid(group, group, group).step("become group 0 of the user namespace")?;
    setresuid(user, user, user).step("become uid 0 of the user namespace")
}

fn lock_mounts() -> Result<(), StepError> {
    unshare(CloneFlags::CLONE_NEWNS).step("make the zygote's mount namespace")?;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .step("make the zygote's mounts private")
}

fn start(channel: Option<OwnedFd>, settings: &Settings, cgroup: &Delegated) -> Result<FromZygote, StepError> {
    let channel = channel.ok_or(io::ErrorKind::InvalidInput).step("start a sandbox without a channel")?;
    cgroup.empty().step("remove the former machine's cgroups")?;
    let namespaces = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWIPC;
    let channel = Channel::from(channel);
    let pid =
        runtime::clone(namespaces, || init::build(&channel, settings, cgroup)).step("make the sandbox's namespaces")?;
    Ok(FromZygote::Started { pid: pid.as_raw() })
}

/// Goes into a UTS namespace of the learner's for a look, and back: whoever starts a sandbox must be where it was.
fn hostname(namespace: Option<OwnedFd>) -> Result<FromZygote, StepError> {
    let namespace = namespace.ok_or(io::ErrorKind::InvalidInput).step("go to a UTS namespace without a descriptor")?;
    let own = File::open("/proc/self/ns/uts").step("open the zygote's UTS namespace")?;
    setns(namespace, CloneFlags::CLONE_NEWUTS).step("go to a UTS namespace")?;
    let name = nix::unistd::gethostname();
    setns(own, CloneFlags::CLONE_NEWUTS).step("go back to the zygote's UTS namespace")?;
    let name = name.step("read a host name")?;
    Ok(FromZygote::Hostname { name: name.to_string_lossy().into_owned() })
}
