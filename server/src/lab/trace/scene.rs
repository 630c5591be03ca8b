//! What was the case where and when a call was made, to tell why it failed: paths as its process sees them, and its mount
//! table. Everything in there is the learner's, so no lookup leaves the process's root directory or follows a link of /proc.

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sys::stat::Mode;
use shared::mount::{Mount, MountId, parse_table};

use super::caller::Caller;
use super::memory::Text;
use crate::lab::proc;
use crate::sys;

/// As much of a program is read to see what it wants: `#!`, or the headers of ELF.
const BEGINNING: u64 = 64 << 10;
/// More of a mount table is not read.
const TABLE: u64 = 1 << 20;

/// A caller's surroundings.
pub struct Scene {
    root: OwnedFd,
    /// Its working directory, from its root; `None` where that is outside.
    directory: Option<PathBuf>,
    thread: nix::unistd::Pid,
}

/// A file that a path leads to.
pub struct Found {
    /// It, opened for nothing but its place.
    file: OwnedFd,
    /// The mount it lies on, and what it is.
    pub location: sys::Location,
}

impl Scene {
    /// Of a thread that stands still.
    pub fn of(caller: &Caller) -> Option<Scene> {
        let thread = caller.thread;
        let link = format!("/proc/{thread}/root");
        let root = open(link.as_str(), OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()).ok()?;
        Some(Scene { root, directory: directory_of(caller), thread })
    }

    /// A path of the process's as one from its root directory, without `.` and `..`; `None` where it begins outside.
    pub fn absolute(&self, path: &Text) -> Option<PathBuf> {
        let path = PathBuf::from(path.text()?);
        let whole = if path.is_absolute() { path } else { self.directory.as_ref()?.join(path) };
        let mut clean = PathBuf::from("/");
        for component in whole.components() {
            match component {
                Component::Normal(name) => clean.push(name),
                Component::ParentDir => drop(clean.pop()),
                _ => {}
            }
        }
        Some(clean)
    }

    /// The file at a path from the root directory.
    pub fn find(&self, path: &Path) -> nix::Result<Found> {
        let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
        let resolve = ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS;
        let file = openat2(&self.root, path, OpenHow::new().flags(flags).resolve(resolve))?;
        let location = sys::locate(&link_of(&file)).map_err(|_| Errno::ENOENT)?;
        Ok(Found { file, location })
    }

    /// The part of a path that is missing, or no directory: the first of its ancestors that stands in the way.
    pub fn obstacle(&self, path: &Path) -> Option<PathBuf> {
        let mut ancestors: Vec<&Path> = path.ancestors().collect();
        ancestors.reverse();
        ancestors.into_iter().find(|part| self.find(part).is_err()).map(Path::to_owned)
    }

    /// The process's mount table, as the kernel writes it.
    pub fn table(&self) -> String {
        let mut text = Vec::new();
        if let Ok(file) = File::open(format!("/proc/{}/mountinfo", self.thread)) {
            // What could not be read is not told of.
            let _ = file.take(TABLE).read_to_end(&mut text);
        }
        String::from_utf8_lossy(&text).into_owned()
    }

    /// The mounts that lie on a mount.
    pub fn mounted_on(&self, mount: u32) -> Vec<Mount> {
        let table = parse_table(self.table().as_bytes());
        table.into_iter().filter(|row| row.parent == MountId(mount) && row.id != row.parent).collect()
    }
}

impl Found {
    /// Its first bytes, if it is a regular file.
    pub fn beginning(&self) -> Vec<u8> {
        let mut start = Vec::new();
        if self.location.is_file() {
            let opened = File::open(link_of(&self.file));
            // What cannot be read cannot be told, either.
            let _ = opened.and_then(|file| file.take(BEGINNING).read_to_end(&mut start));
        }
        start
    }
}

fn link_of(file: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// The working directory of a process, from its root; `None` where it is not below it.
pub fn directory_of(caller: &Caller) -> Option<PathBuf> {
    let root = proc::root_of(caller.thread).ok()?.path;
    let directory = fs::read_link(format!("/proc/{}/cwd", caller.thread)).ok()?;
    directory.strip_prefix(root).ok().map(|below| Path::new("/").join(below))
}
