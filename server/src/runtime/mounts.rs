//! What the child does to the mounts of its namespace, before its root changes.

use std::os::fd::AsRawFd;
use std::path::Path;

use nix::mount::{MsFlags, mount};

use super::error::RunError;
use super::options::Propagation;
use super::rootfs::Rootfs;

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
const NONE: Option<&str> = None;

// step: mount-proc
/// Mounts a proc file system on the image's /proc. It shows the processes of the PID namespace it is mounted in: the
/// container's. `ps` reads nothing else.
pub fn mount_proc(rootfs: &Path) -> Result<(), RunError> {
    let path = rootfs.join("proc");
    // An image could have a symbolic link there, and mount(2) would follow it out into the machine. So the directory
    // is looked up inside the image, kept open, and named by its descriptor.
    let mount_point = Rootfs::open(rootfs)
        .and_then(|inside| inside.directory(Path::new("proc")))
        .map_err(|errno| RunError::MountPoint { path: path.clone(), errno })?;
    let target = format!("/proc/self/fd/{}", mount_point.as_raw_fd());
    // There are neither programs nor devices in a proc file system; so none shall be found there.
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), target.as_str(), Some("proc"), flags, NONE).map_err(|errno| RunError::MountProc { path, errno })
}
