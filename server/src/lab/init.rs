//! PID 1 of a sandbox: builds the learner's machine from inside its new namespaces, then executes itself and from
//! there on opens terminals and reaps orphans. Once executed it is the learner's to trace: the lab believes it nothing.

use std::convert::Infallible;
use std::fs;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::exit;
use std::sync::{Arc, Mutex};
use std::thread;

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::Signal;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::{chdir, pivot_root, sethostname};
use serde::{Deserialize, Serialize};

use shared::protocol::{Exit, Size, TerminalId};

use super::cgroup::{self, Delegated};
use super::channel::Channel;
use super::sandbox::{DEVICES, Overlay, Settings, Step, StepError, TTY_GROUP};
use super::seccomp::Filtered;
use super::terminal::opening;
use super::{beginning, sandbox, seccomp};
use crate::defence::Defence;
use crate::sys;

/// From the lab process to PID 1.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToInit {
    /// Open a pseudoterminal with a shell.
    Open {
        /// The lab's number for it.
        terminal: TerminalId,
        /// Its size to begin with.
        size: Size,
    },
}

/// From PID 1 to the lab process.
#[derive(Debug, Serialize, Deserialize)]
pub enum FromInit {
    /// The mirror's listening socket comes along.
    Mirror,
    /// The listener of the system call filter comes along.
    Filter,
    /// The machine could not be built.
    Failed {
        /// Why.
        message: String,
    },
    /// The terminal's master side comes along.
    Opened {
        /// The lab's number for it.
        terminal: TerminalId,
    },
    /// A shell could not be started.
    NotOpened {
        /// The lab's number for the terminal.
        terminal: TerminalId,
        /// Why.
        message: String,
    },
    /// The shell of a terminal has exited.
    Exited {
        /// The lab's number for the terminal.
        terminal: TerminalId,
        /// How.
        exit: Exit,
    },
}

/// Where the channel is after exec.
const CHANNEL: i32 = 3;

/// What the chapter's readers type: `sudo ./bin/devoxx-docker`. Here one is root already.
const SUDO: &str = "#!/bin/sh\n# You are root in this machine: sudo has nothing to add.\n\
    while [ \"${1#-}\" != \"$1\" ]; do shift; done\nexec \"${@:-sh}\"\n";

/// Builds the machine and executes `newroot init` in it, in the fork that the zygote has made for it.
pub fn build(channel: &Channel, settings: &Settings, cgroup: &Delegated) -> ! {
    let failed = match build_and_exec(channel, settings, cgroup) {
        Ok(never) => match never {},
        Err(error) => FromInit::Failed { message: error.to_string() },
    };
    // If the lab is gone, nobody is left to tell.
    let _ = channel.send(&failed, &[]);
    exit(1)
}

fn build_and_exec(channel: &Channel, settings: &Settings, cgroup: &Delegated) -> Result<Infallible, StepError> {
    beginning::new_session(&settings.defences)?;
    // A zygote that dies must not leave a sandbox behind.
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).step("ask for the zygote's death")?;
    sethostname(&settings.hostname).step("set the host name")?;
    // A cgroup namespace is rooted where its maker is: first into the delegated cgroup, and then the namespace.
    cgroup.enter().step("enter the learner's cgroup")?;
    unshare(CloneFlags::CLONE_NEWCGROUP).step("make a cgroup namespace")?;
    make_root(settings)?;
    cgroup::inside::mount_hierarchies(cgroup)?;
    make_dev(settings)?;
    furnish(&settings.hostname)?;
    // pivot_root(".", ".") stacks the old root over the new one, at the same place; detaching it leaves the new.
    chdir("root").step("change directory to the new root")?;
    pivot_root(".", ".").step("make the overlay the root")?;
    umount2(".", MntFlags::MNT_DETACH).step("detach the old root")?;
    chdir("/").step("change directory to the root")?;

    sys::loopback_up().step("set the loopback interface up")?;
    let mirror = TcpListener::bind("127.0.0.1:5000").step("listen for the registry mirror")?;
    channel.send(&FromInit::Mirror, &[mirror.as_fd()]).step("hand out the mirror's socket")?;
    let filter = sys::install_filter(&seccomp::program(Filtered::Sandbox, settings.netfilter, &settings.defences))
        .step("install the system call filter")?;
    channel.send(&FromInit::Filter, &[filter.as_fd()]).step("hand out the filter's listener")?;
    drop((mirror, filter));

    // The lab answers this call, as the first that its filter asks about, when it has dropped its privileges:
    // nothing of the learner runs before that.
    let channel = channel.as_fd().try_clone_to_owned().step("copy the channel")?;
    sys::place(channel, CHANNEL).step("place the channel")?;
    Err(sys::exec(c"/usr/local/bin/newroot", &[c"newroot", c"init"])).step("execute newroot as PID 1")
}

/// The root file system: an overlay of the lab image, read-only, and a tmpfs that takes what the learner writes.
fn make_root(settings: &Settings) -> Result<(), StepError> {
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .step("make the sandbox's mounts private")?;
    if settings.overlay == Some(Overlay::Outside) {
        mount(Some("merged"), "root", None::<&str>, MsFlags::MS_BIND, None::<&str>).step("bind the overlay")?;
    } else {
        mount_overlay(settings)?;
    }
    for directory in ["proc", "sys", "dev", "mnt", "tmp", "fs", "root", "root/bin", "usr/local/bin", "etc"] {
        fs::create_dir_all(Path::new("root").join(directory)).step("make the usual directories")?;
    }
    let plain = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    // A proc mount shows the processes of the PID namespace it was made in: this one.
    mount(Some("proc"), "root/proc", Some("proc"), plain, None::<&str>).step("mount proc")?;
    mount(Some("sysfs"), "root/sys", Some("sysfs"), plain | MsFlags::MS_RDONLY, None::<&str>).step("mount sysfs")
}

fn mount_overlay(settings: &Settings) -> Result<(), StepError> {
    let size = format!("size={},mode=755", settings.disk);
    mount(Some("upper"), "upper", Some("tmpfs"), MsFlags::empty(), Some(size.as_str()))
        .step("mount the upper tmpfs")?;
    fs::create_dir("upper/files").step("make the upper directory")?;
    fs::create_dir("upper/work").step("make the work directory")?;
    // userxattr: overlayfs keeps its marks in user.* attributes, for it may not write trusted.* ones in a user
    // namespace (overlayfs.rst); tmpfs has user.* from Linux 6.6.
    let layers = "userxattr,lowerdir=lower,upperdir=upper/files,workdir=upper/work";
    mount(Some("overlay"), "root", Some("overlay"), MsFlags::empty(), Some(layers)).step("mount the overlay")
}

fn make_dev(settings: &Settings) -> Result<(), StepError> {
    mount(Some("dev"), "root/dev", Some("tmpfs"), MsFlags::MS_NOSUID, Some("size=64k,mode=755")).step("mount /dev")?;
    for (device, ..) in DEVICES {
        // Device nodes cannot be made in a user namespace; those that the machine's root has made are bind mounted.
        let (from, to) = (format!("dev/{device}"), format!("root/dev/{device}"));
        fs::File::create(&to).step("make a place for a device node")?;
        mount(Some(from.as_str()), to.as_str(), None::<&str>, MsFlags::MS_BIND, None::<&str>)
            .step("bind a device node")?;
    }
    fs::create_dir("root/dev/pts").step("make /dev/pts")?;
    fs::create_dir("root/dev/shm").step("make /dev/shm")?;
    if settings.defences.stand(Defence::Pseudoterminals) {
        mount(Some("pts"), "root/dev/pts", None::<&str>, MsFlags::MS_BIND, None::<&str>)
            .step("bind the lab's devpts")?;
    } else {
        let options = format!("newinstance,ptmxmode=0666,mode=0620,gid={TTY_GROUP}");
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
        mount(Some("devpts"), "root/dev/pts", Some("devpts"), flags, Some(options.as_str()))
            .step("mount a devpts instance of its own")?;
    }
    mount(Some("shm"), "root/dev/shm", Some("tmpfs"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV, Some("size=16m"))
        .step("mount /dev/shm")?;
    let links = [
        ("pts/ptmx", "ptmx"),
        ("/proc/self/fd", "fd"),
        ("/proc/self/fd/0", "stdin"),
        ("/proc/self/fd/1", "stdout"),
        ("/proc/self/fd/2", "stderr"),
    ];
    links.iter().try_for_each(|(to, name)| symlink(to, format!("root/dev/{name}"))).step("make the links in /dev")
}

/// What the learner finds on the machine: `newroot`, the chapter's names for it, sudo, and the host's name.
fn furnish(hostname: &str) -> Result<(), StepError> {
    let (binary, sudo) = ("root/usr/local/bin/newroot", "root/usr/local/bin/sudo");
    fs::File::create(binary).step("make a place for newroot")?;
    mount(Some("newroot"), binary, None::<&str>, MsFlags::MS_BIND, None::<&str>).step("bind newroot")?;
    for name in ["devoxx-docker", "devoxx-container"] {
        replace_link("/usr/local/bin/newroot", &format!("root/root/bin/{name}")).step("link the chapter's names")?;
    }
    fs::write(sudo, SUDO).step("write sudo")?;
    fs::set_permissions(sudo, fs::Permissions::from_mode(0o755)).step("make sudo executable")?;
    fs::write("root/etc/hostname", format!("{hostname}\n")).step("write /etc/hostname")?;
    let hosts = format!("127.0.0.1 localhost\n::1 localhost\n127.0.0.1 {hostname}\n");
    fs::write("root/etc/hosts", hosts).step("write /etc/hosts")
}

fn replace_link(to: &str, path: &str) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => symlink(to, path),
    }
}

/// The life of PID 1 after exec: `newroot init`.
pub fn main() -> Result<(), sandbox::StepError> {
    let channel =
        Arc::new(Channel::from(sys::inherited(CHANNEL).step("find the lab: init is started by the lab only")?));
    let shells = Arc::new(Shells::default());
    let reaper = thread::spawn({
        let (channel, shells) = (channel.clone(), shells.clone());
        move || reap(&channel, &shells)
    });
    // When the cgroup's memory is full, the kernel kills what the learner started first, then this, and the lab process,
    // which has told nobody yet, last.
    prefer_for_oom("self", 500);
    loop {
        let Ok((ToInit::Open { terminal, size }, _)) = channel.receive() else {
            // The lab is gone; with PID 1 the kernel ends every process of the sandbox.
            return Ok(());
        };
        let mut running = shells.lock();
        let opened = opening::open_in_sandbox(size).map(|(pid, master)| {
            prefer_for_oom(pid, 1000);
            running.push((pid, terminal));
            master
        });
        drop(running);
        reaper.thread().unpark();
        let sent = match opened {
            Ok(master) => channel.send(&FromInit::Opened { terminal }, &[OwnedFd::as_fd(&master)]),
            Err(error) => channel.send(&FromInit::NotOpened { terminal, message: error.to_string() }, &[]),
        };
        if sent.is_err() {
            return Ok(());
        }
    }
}

/// Tells the kernel whom to kill rather than others when memory runs out (proc(5), oom_score_adj); what it starts is
/// like it. Raising the figure is anybody's right.
fn prefer_for_oom(process: impl std::fmt::Display, score: u32) {
    // One that has just ended needs none.
    let _ = fs::write(format!("/proc/{process}/oom_score_adj"), score.to_string());
}

/// The shells that run, by process number. Held locked while one is started, so that the reaper takes no child from
/// under the hands of std, which reaps a child itself when its exec fails.
#[derive(Default)]
struct Shells(Mutex<Vec<(u32, TerminalId)>>);

impl Shells {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(u32, TerminalId)>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Reaps every child of PID 1: shells, and the orphans that the kernel hands to it.
fn reap(channel: &Channel, shells: &Shells) {
    loop {
        // First only look; the zombie stays until the lock says that nobody else is about to reap it.
        let (pid, exit) = match waitid(Id::All, WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) {
            // No child at all: sleep until a shell is started; every other process descends from one.
            Err(Errno::ECHILD) => {
                thread::park();
                continue;
            }
            Ok(WaitStatus::Exited(pid, status)) => (pid, Exit::Status(status)),
            Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, Exit::Signal(signal as i32)),
            Ok(_) | Err(_) => continue,
        };
        let mut running = shells.lock();
        let _already_reaped = waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG);
        if let Some(place) = running.iter().position(|(shell, _)| *shell == pid.as_raw() as u32) {
            let (_, terminal) = running.swap_remove(place);
            if channel.send(&FromInit::Exited { terminal, exit }, &[]).is_err() {
                return;
            }
        }
    }
}
