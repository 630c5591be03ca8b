//! The zygote: root of the learner's user namespace and of nothing else. It makes the sandbox's PID 1, and makes it
//! again after a reset, without any privilege on the host. It exits when the lab process is gone.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::exit;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Gid, Pid, Uid, getpid, setgroups, setresgid, setresuid};
use serde::{Deserialize, Serialize};

use super::cgroup::Delegated;
use super::channel::Channel;
use super::sandbox::{Settings, Step, StepError};
use super::seccomp::Filtered;
use super::uid_range::UidRange;
use super::{beginning, init, seccomp};
use crate::{runtime, sys};

/// How long the namespaces of a former machine may take to go.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(2);

/// From the lab process to the zygote. Each is answered with one [`FromZygote`].
#[derive(Debug, Serialize, Deserialize)]
pub enum ToZygote {
    /// The id maps are written: become uid 0 of the user namespace.
    BecomeRoot,
    /// Make a user namespace within the user namespace, for the learner: the limits of the outer one are out of their reach.
    Nest,
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
    if keep_only(channel, ids, cgroup).is_err() || beginning::new_session(&settings.defences).is_err() {
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
            ToZygote::Nest => nest(settings).map(|()| FromZygote::Done),
            ToZygote::LockMounts => lock_mounts(settings).map(|()| FromZygote::Done),
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

/// Counts are limited in the namespace that this process is root of by now (`beginning::COUNTS`), and a second one made in it.
/// Only a process that is still in the outer one may write the inner one's id maps (user_namespaces(7)): a child does.
fn nest(settings: &Settings) -> Result<(), StepError> {
    beginning::limit_counts("proc", &settings.defences).step("limit the lab's namespaces and watches")?;
    // A process that has changed its user has files in /proc that are the machine's root's, and so out of the child's reach.
    // Nothing of the learner's runs yet that could trace it.
    sys::set_traceable(true).step("own its files in /proc")?;
    let (ready, theirs) = Channel::pair().step("make a socket to the child")?;
    let zygote = getpid();
    let child = runtime::clone(CloneFlags::empty(), || u8::from(map_inner_ids(&theirs, zygote).is_err()))
        .step("start a child that maps ids")?;
    unshare(CloneFlags::CLONE_NEWUSER).step("make the learner's user namespace")?;
    ready.send(&(), &[]).step("speak to the child")?;
    match waitpid(child, None).step("wait for the child")? {
        WaitStatus::Exited(_, 0) => {}
        _failed => return Err(io::Error::from(io::ErrorKind::PermissionDenied)).step("map the learner's ids"),
    }
    become_root()?;
    sys::set_traceable(false).step("give up its files in /proc")
}

fn map_inner_ids(channel: &Channel, zygote: Pid) -> io::Result<()> {
    channel.receive::<()>()?;
    for map in ["uid_map", "gid_map"] {
        fs::write(format!("proc/{zygote}/{map}"), format!("0 0 {}", UidRange::MAPPED))?;
    }
    Ok(())
}

fn lock_mounts(settings: &Settings) -> Result<(), StepError> {
    unshare(CloneFlags::CLONE_NEWNS).step("make the zygote's mount namespace")?;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .step("make the zygote's mounts private")?;
    // From here on it does what PID 1 does, and no more.
    let filter = seccomp::program(Filtered::Zygote, settings.netfilter, &settings.defences);
    sys::install_silent_filter(&filter).step("install the zygote's filter")
}

fn start(channel: Option<OwnedFd>, settings: &Settings, cgroup: &Delegated) -> Result<FromZygote, StepError> {
    let channel = channel.ok_or(io::ErrorKind::InvalidInput).step("start a sandbox without a channel")?;
    cgroup.empty().step("remove the former machine's cgroups")?;
    let namespaces = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWIPC;
    // A learner may have set those of their own user namespace to 0, and nothing would be made any more.
    beginning::limit_counts("/proc", &settings.defences).step("set the numbers of namespaces back")?;
    let channel = Channel::from(channel);
    let since = Instant::now();
    loop {
        match runtime::clone(namespaces, || init::build(&channel, settings, cgroup)) {
            Ok(pid) => return Ok(FromZygote::Started { pid: pid.as_raw() }),
            // As many as a lab may have (`beginning::COUNTS`): those of the former machine, which the kernel takes apart in
            // the background. Nothing tells when it is through.
            Err(Errno::ENOSPC) if since.elapsed() < PATIENCE => sleep(PAUSE),
            Err(error) => return Err(error).step("make the sandbox's namespaces"),
        }
    }
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
