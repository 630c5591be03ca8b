//! What the child does to the mounts of its namespace, before its root changes.

use std::os::fd::AsRawFd;
use std::path::Path;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};

use super::error::RunError;
use super::mount_table::why_not_mount;
use super::options::Propagation;
use super::rootfs::Rootfs;
use super::{cgroups, devices};

// step: propagation
/// Sets how mounts travel between this namespace and the one it was copied from.
///
/// A new mount namespace is a copy, but its mounts stay in the peer groups of the originals. Where `/` is `shared`, as
/// systemd makes it, a mount in the copy would appear in the original all the same.
pub fn set_propagation(propagation: Propagation) -> Result<(), RunError> {
    let flag = match propagation {
        Propagation::Private => MsFlags::MS_PRIVATE,
        Propagation::Slave => MsFlags::MS_SLAVE,
        Propagation::Shared => MsFlags::MS_SHARED,
        Propagation::Unchanged => return Ok(()),
    };
    // With such a flag mount(2) mounts nothing, and looks at the target only. MS_REC: not only `/`, but all below it.
    mount(NONE, "/", NONE, MsFlags::MS_REC | flag, NONE).map_err(|errno| RunError::Propagation { errno })
}

/// An argument of mount(2) that it does not look at.
pub const NONE: Option<&str> = None;

// step: mount-proc
/// Mounts a proc file system on the image's /proc. It shows the processes of the PID namespace it is mounted in: the
/// container's. `ps` reads nothing else.
pub fn mount_proc(rootfs: &Path) -> Result<(), RunError> {
    mount_in_image(rootfs, &PROC)
}

// step: mount-default
/// Mounts what Docker mounts in each container, in its order. An image is only files; these are made by the kernel.
pub fn mount_default(rootfs: &Path) -> Result<(), RunError> {
    mount_in_image(rootfs, &PROC)?;
    mount_in_image(rootfs, &DEV)?;
    devices::fill(rootfs)?;
    mount_terminals(rootfs)?;
    mount_in_image(rootfs, &SHM)?;
    // These show more of the machine than its processes, so not each kernel and not each user namespace has them to
    // give. Most programs do without.
    unless_refused("/sys", mount_in_image(rootfs, &SYS))?;
    unless_refused("/sys/fs/cgroup", cgroups::mount_cgroups(rootfs))?;
    unless_refused("/dev/mqueue", mount_in_image(rootfs, &MQUEUE))
}

/// Goes on, with a word, without a file system that the kernel refuses.
fn unless_refused(place: &str, result: Result<(), RunError>) -> Result<(), RunError> {
    match result {
        Err(refused @ RunError::Mount { .. }) => {
            eprintln!("Left out {place}: {refused}");
            Ok(())
        }
        result => result,
    }
}

/// A file system to mount: where in the image, of which type, with which options of its own.
#[derive(Clone, Copy)]
pub struct FileSystem<'a> {
    /// Its mount point, from the image's root.
    pub place: &'a str,
    /// Its type, as in filesystems(5).
    pub kind: &'static str,
    /// What holds for each file in it.
    pub flags: MsFlags,
    /// What only its type understands.
    pub options: Option<&'a str>,
}

/// No set-user-ID programs and no devices: what is no business of this file system shall not come in by it.
const PLAIN: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV);
/// No programs at all: nobody executes what only the kernel writes.
pub const DATA: MsFlags = PLAIN.union(MsFlags::MS_NOEXEC);

/// `ps`, `mount` and `df` ask it for all they know.
const PROC: FileSystem<'static> = FileSystem { place: "proc", kind: "proc", flags: DATA, options: None };
/// In memory, so that devices never get into the image. Devices must work here, so it is not NODEV.
const DEV: FileSystem<'static> =
    FileSystem { place: "dev", kind: "tmpfs", flags: MsFlags::MS_NOSUID, options: Some("mode=755,size=64k") };
/// Shared memory of POSIX (shm_open(3)) is files in here, which everybody may make, and nobody remove another's.
const SHM: FileSystem<'static> =
    FileSystem { place: "dev/shm", kind: "tmpfs", flags: DATA, options: Some("mode=1777,size=64m") };
/// The kernel's devices and settings are the machine's own, hence read-only.
const SYS: FileSystem<'static> =
    FileSystem { place: "sys", kind: "sysfs", flags: DATA.union(MsFlags::MS_RDONLY), options: None };
/// Message queues of POSIX (mq_overview(7)): those of the new IPC namespace.
const MQUEUE: FileSystem<'static> = FileSystem { place: "dev/mqueue", kind: "mqueue", flags: DATA, options: None };

/// Mounts /dev/pts. A new instance: the container's pseudoterminals count from 0, and the machine's are out of reach.
fn mount_terminals(rootfs: &Path) -> Result<(), RunError> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    let terminals = |options| FileSystem { place: "dev/pts", kind: "devpts", flags, options: Some(options) };
    // Group 5 is called `tty` on nearly every Linux, and write(1) and wall(1) rely on it.
    match mount_in_image(rootfs, &terminals("newinstance,ptmxmode=0666,mode=0620,gid=5")) {
        // A user namespace need not have a group 5.
        Err(RunError::Mount { errno: Errno::EINVAL, .. }) => {
            mount_in_image(rootfs, &terminals("newinstance,ptmxmode=0666,mode=0620"))
        }
        result => result,
    }
}

/// Mounts a file system at its place in the image.
pub fn mount_in_image(rootfs: &Path, file_system: &FileSystem) -> Result<(), RunError> {
    let FileSystem { place, kind, flags, options } = *file_system;
    let path = rootfs.join(place);
    // An image could have a symbolic link there, and mount(2) would follow it out into the machine. So the directory
    // is looked up inside the image (and made where it is missing), kept open, and named by its descriptor.
    let mount_point = Rootfs::open(rootfs)
        .and_then(|inside| inside.make_directories(Path::new(place)))
        .map_err(|errno| RunError::MountPoint { path: path.clone(), errno })?;
    let target = format!("/proc/self/fd/{}", mount_point.as_raw_fd());
    mount(Some(kind), target.as_str(), Some(kind), flags, options).map_err(|errno| RunError::Mount {
        kind,
        path,
        errno,
        why: why_not_mount(kind, errno),
    })
}
