//! What a container engine has put in the way of labs, and its removal: parts of /proc and /sys are covered, and the
//! cgroups are read-only. Does nothing on a machine that is no container.

use std::path::PathBuf;

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use shared::mount::{Mount, parse_table};

use super::cgroup::has_option;

/// A container's mounts could not be made fit for labs.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum Error {
    #[error(
        "cannot umount2(2) {path}, which hides a part of /proc or /sys: {errno}; the container needs CAP_SYS_ADMIN and no seccomp filter"
    )]
    Unmount { path: PathBuf, errno: Errno },
    #[error("cannot make {path} writable: {errno}")]
    Remount { path: PathBuf, errno: Errno },
}

/// Takes away what covers parts of /proc and /sys, and makes cgroup hierarchies writable, in the mount
/// namespace of this process, which is the container's.
///
/// The kernel allows a new proc or sysfs in a user namespace only where one can be seen whole (mount_namespaces(7)), so
/// with a part covered no lab could have its own. And each lab gets a cgroup below ours.
pub fn uncover() -> Result<(), Error> {
    let table = parse_table(&std::fs::read("/proc/self/mountinfo").unwrap_or_default());
    // The last mounted lies on top.
    for mount in table.iter().filter(|mount| covers_a_part(mount)).rev() {
        let path = PathBuf::from(&mount.mount_point);
        umount2(&path, MntFlags::MNT_DETACH).map_err(|errno| Error::Unmount { path, errno })?;
    }
    table.iter().filter(|mount| is_locked(mount)).try_for_each(remount_writable)
}

/// Whether an engine has mounted this over a part of /proc or /sys: an empty tmpfs or /dev/null to hide it, or the part
/// itself, read-only. File systems that have their place there, such as binfmt_misc, are none of these.
fn covers_a_part(mount: &Mount) -> bool {
    let below = |parent: &str| mount.mount_point.starts_with(parent);
    let hides = mount.fs_type == "tmpfs" && has_option(&mount.options, "ro") || mount.root == "/null";
    let part = mount.fs_type == "proc" && mount.root != "/";
    (below("/proc/") || below("/sys/") && !below("/sys/fs/")) && (hides || part)
}

fn is_locked(mount: &Mount) -> bool {
    matches!(mount.fs_type.as_str(), "cgroup" | "cgroup2") && has_option(&mount.options, "ro")
}

fn remount_writable(hierarchy: &Mount) -> Result<(), Error> {
    // A remount sets all flags of the mount anew (mount(2), MS_REMOUNT | MS_BIND), so those it has are named again.
    let kept = [("nosuid", MsFlags::MS_NOSUID), ("nodev", MsFlags::MS_NODEV), ("noexec", MsFlags::MS_NOEXEC)];
    let kept: MsFlags =
        kept.iter().filter(|(option, _)| has_option(&hierarchy.options, option)).map(|(_, flag)| *flag).collect();
    let path = PathBuf::from(&hierarchy.mount_point);
    mount(None::<&str>, &path, None::<&str>, MsFlags::MS_REMOUNT | MsFlags::MS_BIND | kept, None::<&str>)
        .map_err(|errno| Error::Remount { path, errno })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines of mountinfo as Docker 20.10 makes them in a container, and as a machine with systemd has them.
    const TABLE: &[u8] = b"\
        1 0 0:50 / /proc rw,nosuid,nodev,noexec - proc proc rw\n\
        2 1 0:50 /bus /proc/bus ro,nosuid,nodev,noexec - proc proc rw\n\
        3 1 0:51 / /proc/acpi ro - tmpfs tmpfs ro\n\
        4 1 0:52 /null /proc/kcore rw,nosuid - tmpfs tmpfs rw\n\
        5 1 0:53 / /sys/firmware ro - tmpfs tmpfs ro\n\
        6 1 0:54 / /sys/fs/cgroup ro - tmpfs tmpfs ro\n\
        7 6 0:55 /docker/1 /sys/fs/cgroup/memory ro,nosuid - cgroup cgroup rw,memory\n\
        8 1 0:56 / /proc/sys/fs/binfmt_misc rw - autofs systemd-1 rw\n\
        9 1 0:57 / /sys/kernel/tracing rw - tracefs tracefs rw\n\
        10 1 0:58 / /run ro - tmpfs tmpfs ro\n\
        11 1 0:59 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";

    #[test]
    fn what_an_engine_covers_is_told_from_what_belongs_there() {
        let table = parse_table(TABLE);
        let points = |wanted: fn(&Mount) -> bool| -> Vec<&str> {
            table.iter().filter(|mount| wanted(mount)).map(|mount| mount.mount_point.as_str()).collect()
        };
        assert_eq!(points(covers_a_part), ["/proc/bus", "/proc/acpi", "/proc/kcore", "/sys/firmware"]);
        assert_eq!(points(is_locked), ["/sys/fs/cgroup/memory"]);
    }
}
