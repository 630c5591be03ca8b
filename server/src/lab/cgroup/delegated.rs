//! The part of a lab's cgroup that is the learner's own, by descriptors: the lab process and the zygote hold them, who
//! see no cgroup hierarchy any more. What the learner makes there is watched, and removed at a reset.

use std::io::{self, Read, Write};
use std::ops::ControlFlow;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use std::fs::File;

use rustix::fs::{Access, AtFlags, Mode, OFlags, accessat, openat};

use super::tree;

/// A learner may make as many cgroups as this, at most: each costs the kernel memory that no limit counts, and there can
/// be 65535 with a memory limit on the whole machine.
pub const MOST: usize = 64;
/// And as many that were removed may live on, some ten KiB each: with version 1 no more is known of them than what their memory
/// is, which is charged to the lab.
pub const MOST_DYING: usize = 1024;
/// And nest them as deep as this, where the kernel counts.
pub const DEEPEST: usize = 8;

/// Where PID 1 and the shells are, in the delegated cgroup: with version 2, one that hands controllers on holds no
/// process itself.
pub const LEAF: &str = "init";

/// How long the last of a killed machine's processes may take to leave its cgroup.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(1);

/// The directories of a delegated cgroup: one with version 2, one per controller with version 1, and there one of a version
/// 2 without controllers, too.
#[derive(Debug)]
pub struct Delegated {
    pub(super) directories: Vec<OwnedFd>,
}

impl Delegated {
    /// Moves the calling process in, and only where it may by itself.
    pub fn enter(&self) -> io::Result<()> {
        self.directories.iter().try_for_each(|directory| write(directory, "cgroup.procs", "0"))
    }

    /// Whether one of them is of version 2.
    pub fn has_version_2(&self) -> bool {
        self.directories.iter().any(is_version_2)
    }

    /// Their descriptors, for a process that closes all others.
    pub fn descriptors(&self) -> impl Iterator<Item = RawFd> {
        self.directories.iter().map(AsRawFd::as_raw_fd)
    }

    /// Removes what the learner of a former machine has made; all its processes have been killed.
    pub fn empty(&self) -> io::Result<()> {
        self.directories.iter().try_for_each(|directory| {
            let since = Instant::now();
            // A process that is being ended may still be in its cgroup for a moment; nothing tells of that on version 1.
            while let Err(error) = tree::remove_below(directory) {
                if error.raw_os_error() != Some(nix::libc::EBUSY) || since.elapsed() > PATIENCE {
                    return Err(error);
                }
                std::thread::sleep(PAUSE);
            }
            // A cgroup that hands controllers on would take no process, and the next PID 1 begins here.
            let handed_on = read(directory, "cgroup.subtree_control").unwrap_or_default();
            let withdrawn: String = handed_on.split_whitespace().map(|controller| format!("-{controller} ")).collect();
            if withdrawn.is_empty() { Ok(()) } else { write(directory, "cgroup.subtree_control", &withdrawn) }
        })
    }

    /// Whether there are more cgroups than a learner may make. With version 2 the kernel refuses them, but counts none that was
    /// removed and lives on for a page that was charged to it.
    pub fn has_too_many(&self) -> bool {
        self.directories.iter().any(|directory| {
            if is_version_2(directory) {
                return dying(directory) > MOST_DYING;
            }
            let mut count = 0;
            let _gone_meanwhile = tree::each_below(directory, |_, _| {
                count += 1;
                if count > MOST { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            count > MOST
        })
    }
}

/// Cgroups below this one that were removed, and that something keeps (cgroup-v2.rst, "cgroup.stat").
fn dying(directory: &OwnedFd) -> usize {
    let stat = read(directory, "cgroup.stat").unwrap_or_default();
    let line = stat.lines().find_map(|line| line.strip_prefix("nr_dying_descendants "));
    line.and_then(|count| count.parse().ok()).unwrap_or_default()
}

fn is_version_2(directory: &OwnedFd) -> bool {
    accessat(directory, "cgroup.controllers", Access::EXISTS, AtFlags::empty()).is_ok()
}

/// What a file of a cgroup says, up to some thousand lines.
pub(super) fn read(directory: impl AsFd, name: &str) -> io::Result<String> {
    let file = openat(directory, name, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty())?;
    let mut text = String::new();
    File::from(file).take(16 << 10).read_to_string(&mut text)?;
    Ok(text)
}

fn write(directory: &OwnedFd, name: &str, value: &str) -> io::Result<()> {
    let file = openat(directory, name, OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty())?;
    File::from(file).write_all(value.as_bytes())
}
