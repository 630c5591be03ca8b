//! What `/proc` tells of the sandbox's processes: which there are, which view each one has, and what it is called. Every
//! name and path in it is chosen by the learner: bytes for people to read, and nothing else.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::Pid;

use shared::mount::MountId;
use shared::plain::is_odd;
use shared::protocol::Process;

use crate::sys;

/// More processes and threads than this are not looked at: a fork bomb must not make the tables slow, and each process
/// costs a descriptor.
pub const MOST_TASKS: usize = 512;

/// As long as the kernel's own names may be (TASK_COMM_LEN is 16, with the zero byte).
const LONGEST_NAME: usize = 15;

/// What makes two processes see the same table: the namespace, and the root directory below which rows are shown. That
/// is a directory of a mount: the same one, bind mounted elsewhere, has other mounts below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// The inode of the mount namespace.
    pub mount_namespace: u64,
    /// The mount that the root directory lies on.
    pub root_mount: MountId,
    /// Device and inode of the root directory.
    root: (u64, u64),
}

/// The path of a root directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    /// As seen from the mount namespace's own root; where it was, if it has been deleted.
    pub path: String,
    /// Whether it has been deleted.
    pub deleted: bool,
}

/// PID 1 and its descendants, eldest first, and whether there are more than are looked at. Orphans become children of
/// PID 1 (of the nearest PID namespace), so the tree holds every process of the sandbox; but the kernel may leave some
/// out while others end (proc_tid_children(5)).
pub fn process_tree(init: Pid) -> (Vec<Pid>, bool) {
    let mut tree = vec![init];
    let mut next = 0;
    while next < tree.len() && tree.len() < MOST_TASKS {
        // Each thread has the children that it forked.
        for thread in threads(tree[next]) {
            let children = fs::read_to_string(format!("/proc/{thread}/task/{thread}/children")).unwrap_or_default();
            tree.extend(children.split_whitespace().filter_map(|pid| pid.parse().ok()).map(Pid::from_raw));
        }
        next += 1;
    }
    let cut = next < tree.len();
    tree.truncate(MOST_TASKS);
    tree.sort();
    (tree, cut)
}

/// The views of a process, without repetition. Nearly always one; but each thread may have its own (unshare(2)), and may
/// go on when the first one has ended.
pub fn views_of(pid: Pid) -> Vec<(Pid, Key)> {
    let mut views: Vec<(Pid, Key)> = Vec::new();
    for thread in threads(pid) {
        // A zombie, or one that just ended, has no namespace any more.
        if let Ok(key) = identify(thread)
            && !views.iter().any(|(_, known)| *known == key)
        {
            views.push((thread, key));
        }
    }
    views
}

fn threads(pid: Pid) -> impl Iterator<Item = Pid> {
    let entries = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).map(Pid::from_raw).take(MOST_TASKS)
}

/// What makes the view of a process or thread.
pub fn identify(pid: Pid) -> io::Result<Key> {
    // The inode of the link's target is the namespace's number, as in `mnt:[4026531841]`.
    let mount_namespace = fs::metadata(format!("/proc/{pid}/ns/mnt"))?.ino();
    let root = sys::locate(&root_link(pid))?;
    Ok(Key { mount_namespace, root_mount: MountId(root.mount), root: (root.device, root.inode) })
}

/// Where the root directory of a process or thread is.
pub fn root_of(pid: Pid) -> io::Result<Root> {
    const DELETED: &[u8] = b" (deleted)";
    let link = root_link(pid);
    let target = fs::read_link(&link)?;
    // Directories may be called like this: only one that no directory names any more has been deleted.
    let deleted = fs::metadata(&link)?.nlink() == 0;
    let path = target.as_os_str().as_bytes();
    let path = path.strip_suffix(DELETED).filter(|_| deleted).unwrap_or(path);
    Ok(Root { path: String::from_utf8_lossy(path).into_owned(), deleted })
}

fn root_link(pid: Pid) -> PathBuf {
    Path::new("/proc").join(pid.to_string()).join("root")
}

/// A process as pages are told of it.
pub fn describe(pid: Pid) -> io::Result<Process> {
    // Its name in there is escaped by the kernel as far as lines go, but need not be UTF-8.
    let status = fs::read(format!("/proc/{pid}/status"))?;
    let status = String::from_utf8_lossy(&status);
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    // One number per nested PID namespace, outermost first; the second is the sandbox's.
    let inside = field("NSpid:").and_then(|numbers| numbers.split_whitespace().nth(1)).and_then(|n| n.parse().ok());
    Ok(Process { pid: inside.ok_or(io::ErrorKind::NotFound)?, program: program_of(pid)? })
}

/// The name of the program that a process runs.
pub fn program_of(pid: Pid) -> io::Result<String> {
    let name = fs::read(format!("/proc/{pid}/comm"))?;
    let name = name.strip_suffix(b"\n").unwrap_or(&name);
    if name != b"exe" {
        return Ok(readable(name));
    }
    // So the kernel calls whatever was started through /proc/self/exe; its first argument says more.
    let arguments = fs::read(format!("/proc/{pid}/cmdline"))?;
    let first = arguments.split(|&byte| byte == 0).next().unwrap_or_default();
    // In the middle of execve(2) there is a name already, and no argument yet; the next look finds it.
    let name = first.rsplit(|&byte| byte == b'/').next().filter(|name| !name.is_empty()).unwrap_or(b"exe");
    Ok(readable(&name[..name.len().min(LONGEST_NAME)]))
}

/// Bytes that are no text, and characters that are not what they look like, as U+FFFD.
fn readable(name: &[u8]) -> String {
    String::from_utf8_lossy(name).replace(is_odd, "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_program_that_the_kernel_calls_exe_is_named_by_its_first_argument() {
        let directory = tempfile::tempdir().expect("a directory");
        let exe = directory.path().join("exe");
        fs::copy("/bin/cat", &exe).expect("a copy of cat");
        let named = |path: &std::path::Path, first: &str| {
            let mut child = Command::new(path);
            child.arg0(first).stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut child = child.spawn().expect("cat starts");
            // It answers, so it has been executed from beginning to end; then it waits for more.
            child.stdin.as_mut().expect("its input").write_all(b"!").expect("written");
            child.stdout.as_mut().expect("its output").read_exact(&mut [0]).expect("read");
            let name = program_of(Pid::from_raw(child.id() as i32)).expect("it runs");
            drop(child.stdin.take());
            child.wait().expect("it ends");
            name
        };
        assert_eq!(named(&exe, "/bin/newroot"), "newroot");
        assert_eq!(named(&exe, "a-name-that-is-far-too-long"), "a-name-that-is-");
        assert_eq!(named("/bin/cat".as_ref(), "newroot"), "cat");
        assert_eq!(named(&exe, "od\n\x1b\u{202e}"), "od\u{fffd}\u{fffd}\u{fffd}");
    }
}
