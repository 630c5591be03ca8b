//! Builds a learner's machine from outside, as root: a user namespace owned by the lab's unprivileged user, a lower
//! layer mapped into it, and the zygote that makes the sandbox. The order of the calls is the point of this file.

use std::ffi::{CStr, CString};
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::{Gid, Pid, Uid, chdir, pivot_root, setresgid, setresuid};

use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::cgroup::Delegated;
use super::channel::{AsyncChannel, Channel};
use super::init::FromInit;
use super::program::Program;
use super::uid_range::UidRange;
use super::zygote::{self, FromZygote, ToZygote};
use crate::defence::{Defence, Defences};
use crate::runtime;
use crate::sys::{self, mount_attribute};

/// What a sandbox is made from.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The root file system that is its overlay's lower layer, owned by plain uid 0, on a file system that can be
    /// mounted with an id mapping (ext4, xfs, btrfs, tmpfs; not overlay).
    pub rootfs: PathBuf,
    /// Its host name.
    pub hostname: String,
    /// Bytes that the upper layer may hold.
    pub disk: u64,
    /// Where the overlay is mounted; `None` for what this kernel can.
    pub overlay: Option<Overlay>,
    /// How many terminals a page may open; programs get some more.
    pub terminals: u32,
    /// Whether programs may program netfilter in their own network namespace.
    pub netfilter: bool,
    /// Which defences stand.
    pub defences: Defences,
}

/// Where the overlay of a sandbox is mounted, which says who can make another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
pub enum Overlay {
    /// In the sandbox, by its own root. The upper layer is a tmpfs and must have user extended attributes (Linux 6.6).
    Inside,
    /// In the base that the sandbox is made of, by the machine's root, once.
    Outside,
}

/// What [`prepare`] has made.
pub struct Prepared {
    /// The channel to the zygote.
    pub zygote: Channel,
    /// Where the overlay is mounted.
    pub overlay: Overlay,
}

/// A step of the set-up that the kernel refused.
#[derive(Debug, thiserror::Error)]
#[error("cannot {step}: {cause}")]
pub struct StepError {
    step: &'static str,
    cause: io::Error,
}

/// Names the step that a call belongs to, for its error.
pub trait Step<T> {
    /// The result, its error told with the step: an infinitive, as in "cannot mount the overlay".
    fn step(self, step: &'static str) -> Result<T, StepError>;
}

impl<T, E: Into<io::Error>> Step<T> for Result<T, E> {
    fn step(self, step: &'static str) -> Result<T, StepError> {
        self.map_err(|cause| StepError { step, cause: cause.into() })
    }
}

/// The process that makes sandboxes, seen from the lab process.
pub struct Zygote {
    channel: AsyncChannel,
    /// One request at a time: answers bear no name.
    asking: Mutex<()>,
}

/// A running sandbox, seen from the lab process. It ends when `init` is closed.
pub struct Sandbox {
    /// The connection to its PID 1.
    pub init: AsyncChannel,
    /// Its PID 1, as numbered outside.
    pub pid: Pid,
    /// A listening socket on 127.0.0.1:5000 of its network namespace, for the registry mirror.
    pub mirror: OwnedFd,
    /// Where the system calls that its filter asks about arrive.
    pub notifications: OwnedFd,
}

/// The device nodes that a sandbox has, with their numbers; all others stay outside, and it cannot make any.
pub const DEVICES: [(&str, u64, u64); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

/// The group that may write to terminals: write(1) and wall(1) belong to it.
pub const TTY_GROUP: u32 = 5;

/// How many pseudoterminals the programs of a lab may open besides those of its page, in its own devpts.
const MORE_TERMINALS: u32 = 16;

/// Prepares everything that needs root, and starts the zygote. The calling process, which must have one thread, ends
/// up in a mount namespace of its own whose root is a small tmpfs with nothing but what a sandbox is made of.
/// `directory` is any directory; it is covered in that namespace only. The machines will be in `cgroup`.
pub fn prepare(
    settings: &Settings,
    ids: &UidRange,
    cgroup: &Delegated,
    directory: &Path,
) -> Result<Prepared, StepError> {
    // Taken first: /proc/self/exe leads to a mount of the namespace we are in, and a copy can only be made there.
    let program = Program::take()?;
    let terminals = match settings.defences.stand(Defence::Pseudoterminals) {
        true => Some(new_terminals(settings, ids)?),
        false => None,
    };
    // A mount namespace of our own, cut off from the machine's: nothing below may propagate there.
    unshare(CloneFlags::CLONE_NEWNS).step("make a mount namespace")?;
    if settings.defences.stand(Defence::LabNetwork) {
        // All that a lab process speaks through is handed to it: it needs neither the machine's networks, loopback among
        // them, nor its System V objects.
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWIPC).step("make a network and an IPC namespace")?;
    }
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .step("make all mounts private")?;
    let lower = sys::clone_mount(&settings.rootfs).step("take a copy of the lab image's mount")?;
    make_base(settings, directory, program)?;
    if let Some(terminals) = terminals {
        sys::attach_mount(&terminals, Path::new("pts")).step("attach the lab's devpts")?;
    }
    let overlay = settings.overlay.map_or_else(best_overlay, Ok)?;

    let zygote = fork_zygote(&Settings { overlay: Some(overlay), ..settings.clone() }, ids, cgroup)?;
    map_ids(zygote.pid, ids)?;
    zygote.tell(&ToZygote::BecomeRoot)?;
    zygote.tell(&ToZygote::Nest)?;

    let user_namespace = user_namespace_of(zygote.pid)?;

    // The lower layer is owned by uid 0 on disk; mapped, it is owned by the sandbox's root. Only the host's root may
    // make such a mount. nodev: a device node in an image must never open the host's device.
    let attributes = mount_attribute::IDMAP | locked(settings, mount_attribute::RDONLY | mount_attribute::NODEV);
    sys::set_mount_attributes(&lower, attributes, Some(&user_namespace))
        .step("map the lab image into the learner's uid range (Linux 5.19, on a file system that can)")?;
    sys::attach_mount(&lower, Path::new("lower")).step("attach the lab image")?;
    if overlay == Overlay::Outside {
        mount_overlay(settings, ids)?;
    }

    // From here on the machine's own mounts are out of reach, for us and for the zygote, whose root moves with ours.
    pivot_root(".", ".").step("make the small tmpfs the root")?;
    umount2(".", MntFlags::MNT_DETACH).step("detach the old root")?;
    chdir("/").step("change directory to the new root")?;

    // Only now the zygote makes its own mount namespace: in one that belongs to a user namespace, all mounts that came
    // from outside are locked together, with their flags; the learner's root cannot undo read-only or nodev.
    zygote.tell(&ToZygote::LockMounts)?;
    Ok(Prepared { zygote: zygote.channel, overlay })
}

/// The flags of a mount from outside that are locked with it.
fn locked(settings: &Settings, attributes: u64) -> u64 {
    if settings.defences.stand(Defence::MountFlags) { attributes } else { 0 }
}

/// Overlayfs keeps marks in extended attributes, and in a user namespace it may only take `user.` ones.
fn best_overlay() -> Result<Overlay, StepError> {
    let probe = "upper/probe";
    fs::File::create(probe).step("make a file in the tmpfs")?;
    let set = rustix::fs::setxattr(probe, "user.newroot", b"?", rustix::fs::XattrFlags::empty());
    fs::remove_file(probe).step("remove the file in the tmpfs")?;
    match set {
        Ok(()) => Ok(Overlay::Inside),
        Err(rustix::io::Errno::OPNOTSUPP) => Ok(Overlay::Outside),
        Err(error) => Err(error).step("try user extended attributes on a tmpfs"),
    }
}

/// The overlay as the machine's root mounts it. nodev is locked with it when the zygote makes its mount namespace: an
/// overlay of the machine's root would open device nodes of the image.
fn mount_overlay(settings: &Settings, ids: &UidRange) -> Result<(), StepError> {
    let size = format!("size={},mode=755", settings.disk);
    let nodev = if settings.defences.stand(Defence::MountFlags) { MsFlags::MS_NODEV } else { MsFlags::empty() };
    mount(Some("upper"), "upper", Some("tmpfs"), nodev, Some(size.as_str())).step("mount the upper tmpfs")?;
    fs::create_dir("upper/files").step("make the upper directory")?;
    fs::create_dir("upper/work").step("make the work directory")?;
    std::os::unix::fs::chown("upper/files", Some(ids.first), Some(ids.first)).step("give the root to the learner")?;
    let layers = "lowerdir=lower,upperdir=upper/files,workdir=upper/work";
    mount(Some("overlay"), "merged", Some("overlay"), nodev, Some(layers)).step("mount the overlay")
}

impl Zygote {
    /// Speaks to the zygote from the running event loop.
    pub fn new(channel: Channel) -> io::Result<Zygote> {
        Ok(Zygote { channel: AsyncChannel::new(channel)?, asking: Mutex::default() })
    }

    /// Makes a sandbox. Errors tell the step that failed inside.
    pub async fn start(&self) -> io::Result<Sandbox> {
        let (init, theirs) = Channel::pair()?;
        let FromZygote::Started { pid } = self.ask(&ToZygote::Start, theirs).await? else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let pid = Pid::from_raw(pid);
        let init = AsyncChannel::new(init)?;
        let mirror = expect_descriptor(&init, "its mirror's socket").await?;
        let notifications = expect_descriptor(&init, "its filter's listener").await?;
        Ok(Sandbox { init, pid, mirror, notifications })
    }

    /// The host name in a UTS namespace.
    pub async fn hostname(&self, namespace: fs::File) -> io::Result<String> {
        match self.ask(&ToZygote::Hostname, namespace).await? {
            FromZygote::Hostname { name } => Ok(name),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    async fn ask(&self, request: &ToZygote, descriptor: impl AsFd) -> io::Result<FromZygote> {
        let _alone = self.asking.lock().await;
        self.channel.send_with(request, &[descriptor.as_fd()])?;
        match self.channel.receive().await? {
            (FromZygote::Failed { message }, _) => Err(io::Error::other(message)),
            (answer, _) => Ok(answer),
        }
    }
}

/// PID 1 is still our own code here: it becomes the learner's to trace only when it executes.
async fn expect_descriptor(init: &AsyncChannel, what: &str) -> io::Result<OwnedFd> {
    match init.receive().await? {
        (FromInit::Failed { message }, _) => Err(io::Error::other(message)),
        (_, mut descriptors) if descriptors.len() == 1 => Ok(descriptors.remove(0)),
        (other, _) => Err(io::Error::other(format!("the sandbox sent {other:?} instead of {what}"))),
    }
}

/// A tmpfs with the parts of the machine that a sandbox needs to be built: proc and sysfs (a user namespace may only
/// mount new ones where it can see whole ones), six device nodes, and this very program.
fn make_base(settings: &Settings, directory: &Path, program: Program) -> Result<(), StepError> {
    mount(Some("newroot"), directory, Some("tmpfs"), MsFlags::MS_NOSUID, Some("size=1m,mode=755"))
        .step("mount a tmpfs for the sandbox's parts")?;
    chdir(directory).step("change directory to the tmpfs")?;
    for name in ["lower", "upper", "merged", "root", "proc", "sys", "dev", "pts", "program", "programs", "empty"] {
        fs::create_dir(name).step("make a directory in the tmpfs")?;
    }
    let recursively = MsFlags::MS_BIND | MsFlags::MS_REC;
    mount(Some("/proc"), "proc", None::<&str>, recursively, None::<&str>).step("bind /proc")?;
    mount(Some("/sys"), "sys", None::<&str>, MsFlags::MS_BIND, None::<&str>).step("bind /sys")?;
    make_devices(&settings.defences)?;
    let binary = program.mount()?;
    fs::File::create("newroot").step("make a place for the newroot binary")?;
    let attributes = locked(settings, mount_attribute::RDONLY | mount_attribute::NOSUID | mount_attribute::NODEV);
    sys::set_mount_attributes(&binary, attributes, None).step("make the newroot binary read-only")?;
    sys::attach_mount(&binary, Path::new("newroot")).step("attach the newroot binary")
}

/// The machine's own nodes would be the same files for everybody: a lock, a watch or a new time of one reaches all.
fn make_devices(defences: &Defences) -> Result<(), StepError> {
    // A file system of their own, so that a row of the learner's mount table says `/null` and not where we keep it.
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    mount(Some("dev"), "dev", Some("tmpfs"), flags, Some("size=16k,mode=755"))
        .step("mount a tmpfs for device nodes")?;
    for (name, major, minor) in DEVICES {
        let (host, ours) = (format!("/dev/{name}"), format!("dev/{name}"));
        if defences.stand(Defence::Devices) {
            let everybody = Mode::from_bits_truncate(0o666);
            mknod(ours.as_str(), SFlag::S_IFCHR, everybody, makedev(major, minor))
                .step("make a device node (CAP_MKNOD)")?;
            // Not what the umask has left of it.
            fs::set_permissions(&ours, fs::Permissions::from_mode(0o666)).step("open a device node to everybody")?;
            continue;
        }
        fs::File::create(&ours).step("make a place for a device node")?;
        mount(Some(host.as_str()), ours.as_str(), None::<&str>, MsFlags::MS_BIND, None::<&str>)
            .step("bind a device node")?;
    }
    Ok(())
}

/// The lab's devpts, mounted by the machine's root, and from its first mount namespace: so a learner cannot lift the limit of
/// its terminals by a remount; and it draws from those that the kernel keeps for mounts of that namespace (kernel.pty.reserve),
/// while all that learners mount themselves share the rest. Whoever takes all of these keeps no other lab from opening its
/// terminals. (In a container there is no such reserve to be had.)
fn new_terminals(settings: &Settings, ids: &UidRange) -> Result<OwnedFd, StepError> {
    let text = |number: u32| CString::new(number.to_string()).map_err(io::Error::other);
    let group = text(ids.first + TTY_GROUP).step("name the group of terminals")?;
    let most = text(settings.terminals + MORE_TERMINALS).step("count terminals")?;
    let options: [(&CStr, Option<&CStr>); 5] = [
        (c"newinstance", None),
        (c"ptmxmode", Some(c"0666")),
        (c"mode", Some(c"0620")),
        (c"gid", Some(&group)),
        (c"max", Some(&most)),
    ];
    sys::new_mount(c"devpts", &options, mount_attribute::NOSUID | mount_attribute::NOEXEC)
        .step("mount the lab's devpts")
}

struct Newborn {
    channel: Channel,
    pid: Pid,
}

/// Starts the zygote in a user namespace that belongs to the lab's user. A namespace is owned by the effective user
/// who makes it, and its owner has all capabilities in it from outside: that is what the lab keeps when it drops the rest.
fn fork_zygote(settings: &Settings, ids: &UidRange, cgroup: &Delegated) -> Result<Newborn, StepError> {
    let (channel, theirs) = Channel::pair().step("make the zygote's socket")?;
    let (root, lab) = (Uid::from_raw(0), Uid::from_raw(ids.lab));
    let (root_group, lab_group) = (Gid::from_raw(0), Gid::from_raw(ids.lab));
    setresgid(root_group, lab_group, root_group).step("take the lab's group")?;
    setresuid(root, lab, root).step("take the lab's user")?;
    // Changing the effective user cleared the effective capabilities; some distributions let only CAP_SYS_ADMIN make
    // user namespaces.
    sys::raise_capabilities().step("raise capabilities again")?;
    let pid = runtime::clone(CloneFlags::CLONE_NEWUSER, || zygote::main(&theirs, settings, ids, cgroup))
        .step("make a user namespace")?;
    setresuid(root, root, root).step("become root again")?;
    setresgid(root_group, root_group, root_group).step("become root's group again")?;
    Ok(Newborn { channel, pid })
}

impl Newborn {
    fn tell(&self, message: &ToZygote) -> Result<(), StepError> {
        self.channel.send(message, &[]).step("speak to the zygote")?;
        match self.channel.receive().step("hear from the zygote")? {
            (FromZygote::Failed { message }, _) => Err(io::Error::other(message)).step("prepare the zygote"),
            (FromZygote::Done | FromZygote::Started { .. } | FromZygote::Hostname { .. }, _) => Ok(()),
        }
    }
}

/// Maps ids 0 to 65535 of the zygote's user namespace to the lab's own range on the machine (user_namespaces(7)).
fn map_ids(zygote: Pid, ids: &UidRange) -> Result<(), StepError> {
    let map = format!("0 {} {}", ids.first, UidRange::MAPPED);
    fs::write(format!("/proc/{zygote}/uid_map"), &map).step("map user ids")?;
    fs::write(format!("/proc/{zygote}/gid_map"), &map).step("map group ids")
}

fn user_namespace_of(zygote: Pid) -> Result<OwnedFd, StepError> {
    let namespace = fs::File::open(format!("/proc/{zygote}/ns/user")).step("open the user namespace")?;
    Ok(namespace.into())
}
