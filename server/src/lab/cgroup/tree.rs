//! Ways through a tree of cgroups, by descriptors and not by paths: a learner may nest them deeper than a path can be
//! long.

use std::ffi::{CStr, CString};
use std::io;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, unlinkat};
use rustix::io::Errno;

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A descriptor of its own for a directory, or for one below it.
pub fn open_at(directory: impl AsFd, name: &CStr) -> io::Result<OwnedFd> {
    Ok(openat(directory, name, DIRECTORY, Mode::empty())?)
}

/// Shows `visit` each cgroup below `top`, parents first, with the names that lead to it, until it breaks. One that goes
/// meanwhile is passed over.
pub fn each_below(
    top: impl AsFd,
    mut visit: impl FnMut(BorrowedFd<'_>, &[CString]) -> ControlFlow<()>,
) -> io::Result<()> {
    let mut current = open_at(top, c".")?;
    let mut names = Vec::new();
    let mut waiting = vec![children(&current)?];
    while let Some(siblings) = waiting.last_mut() {
        let Some(name) = siblings.pop() else {
            waiting.pop();
            if names.pop().is_some() {
                current = open_at(&current, c"..")?;
            }
            continue;
        };
        let Ok(child) = open_at(&current, &name) else { continue };
        names.push(name);
        if visit(child.as_fd(), &names).is_break() {
            return Ok(());
        }
        waiting.push(children(&child).unwrap_or_default());
        current = child;
    }
    Ok(())
}

/// Removes every cgroup below `top`. Errors with EBUSY while a process is in one.
pub fn remove_below(top: impl AsFd) -> io::Result<()> {
    let mut current = open_at(top, c".")?;
    let mut names = Vec::new();
    loop {
        if let Some(name) = children(&current)?.pop() {
            current = open_at(&current, &name)?;
            names.push(name);
            continue;
        }
        let Some(name) = names.pop() else { return Ok(()) };
        current = open_at(&current, c"..")?;
        match unlinkat(&current, &name, AtFlags::REMOVEDIR) {
            // Somebody else cleans up, too.
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn children(directory: &OwnedFd) -> io::Result<Vec<CString>> {
    let mut children = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if entry.file_type() == FileType::Directory && name != c"." && name != c".." {
            children.push(name.to_owned());
        }
    }
    Ok(children)
}
