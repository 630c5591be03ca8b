//! Live mount tables: one view per pair of mount namespace and root directory among the sandbox's processes. The kernel
//! tells of each change of a table (poll(2) with POLLPRI on mountinfo) and of each process's end (a pidfd).
//!
//! Each mountinfo stands in the event loop by itself, never in an epoll within it: being asked whether there is news
//! already makes it old news, so that the outer epoll would take it from the inner.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::rc::Rc;

use nix::unistd::Pid;
use tokio::io::Interest;
use tokio::sync::Notify;
use tokio::task::{AbortHandle, spawn_local};

use shared::mount::{Mount, parse_table};
use shared::protocol::{Process, View, ViewId};

use crate::sys;

/// What makes two processes see the same table: the namespace, and the root directory below which rows are shown.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    mount_namespace: u64,
    root: (u64, u64),
}

/// A view that at least one process has.
pub struct LiveView {
    /// As pages are told.
    pub view: View,
    /// Its rows now. Replaced, never changed, so that a page's session can keep what it has sent.
    pub rows: Rc<Vec<Mount>>,
    /// mountinfo of one of its processes. The kernel fixes namespace and root at open, so it serves after that process
    /// has gone; and it keeps the namespace alive, so it must go with the view.
    mountinfo: fs::File,
    /// Waits for the kernel's word; ends with the view.
    _watcher: Watcher,
}

/// All views of a sandbox.
#[derive(Default)]
pub struct Views {
    init: Option<Pid>,
    news: Rc<News>,
    views: HashMap<Key, LiveView>,
    /// Each known process with what waits for its end.
    processes: HashMap<Pid, Watcher>,
    ordinals: HashMap<u64, u32>,
    next_view: u32,
}

/// More processes than this are not looked at: a fork bomb must not make the tables slow.
const MOST_PROCESSES: usize = 1024;

/// As long as the kernel's own names may be (TASK_COMM_LEN is 16, with the zero byte).
const LONGEST_NAME: usize = 15;

/// What the kernel has said since somebody last asked.
#[derive(Default)]
pub struct News {
    came: Notify,
    tables: RefCell<BTreeSet<ViewId>>,
    ended: RefCell<BTreeSet<Pid>>,
}

impl News {
    /// Waits until there is some: then call [`Views::take_news`].
    pub async fn came(&self) {
        self.came.notified().await;
    }
}

/// A task that ends when this is dropped.
struct Watcher(AbortHandle);

impl Drop for Watcher {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Views {
    /// Forgets all views of a sandbox that has ended: an open mountinfo would keep its mounts alive. Their numbers are
    /// not used again.
    pub fn clear(&mut self) {
        self.init = None;
        self.views.clear();
        self.processes.clear();
        self.ordinals.clear();
    }

    /// From now on the views are those of the sandbox with this PID 1 (as numbered outside).
    pub fn follow(&mut self, init: Pid) {
        self.init = Some(init);
    }

    /// What tells that a table changed or a process ended.
    pub fn news(&self) -> Rc<News> {
        self.news.clone()
    }

    /// The views, in the order of appearance.
    pub fn list(&self) -> Vec<&LiveView> {
        let mut list: Vec<&LiveView> = self.views.values().collect();
        list.sort_by_key(|live| live.view.id);
        list
    }

    /// The view of a process, as numbered outside.
    pub fn view_of(&self, process: Pid) -> Option<ViewId> {
        let (key, _) = identify(process).ok()?;
        self.views.get(&key).map(|live| live.view.id)
    }

    /// Reads what has changed. True where a process ended, and [`Views::scan`] is due.
    pub fn take_news(&mut self) -> io::Result<bool> {
        let tables = self.news.tables.take();
        let ended = self.news.ended.take();
        self.processes.retain(|pid, _| !ended.contains(pid));
        for live in self.views.values_mut().filter(|live| tables.contains(&live.view.id)) {
            live.read_rows()?;
        }
        Ok(!ended.is_empty())
    }

    /// Looks at all processes again: finds new views, and drops those that no process has any more.
    pub fn scan(&mut self) -> io::Result<()> {
        let mut members: BTreeMap<Pid, (Key, String)> = BTreeMap::new();
        let mut found: HashMap<Key, Vec<Process>> = HashMap::new();
        for pid in self.init.map(process_tree).unwrap_or_default() {
            // One that just ended is no process any more.
            let (Ok((key, root)), Ok(process)) = (identify(pid), describe(pid)) else { continue };
            found.entry(key.clone()).or_default().push(process);
            members.insert(pid, (key, root));
        }
        self.watch_processes(members.keys().copied())?;
        self.views.retain(|key, _| found.contains_key(key));
        for (pid, (key, root)) in members {
            if !self.views.contains_key(&key) {
                match self.open_view(pid, &key, root) {
                    Ok(live) => drop(self.views.insert(key, live)),
                    // Ended in between; its pidfd will ask for another scan.
                    Err(error) if is_gone(&error) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        for (key, live) in &mut self.views {
            live.view.processes = found.remove(key).unwrap_or_default();
        }
        Ok(())
    }

    fn open_view(&mut self, pid: Pid, key: &Key, root: String) -> io::Result<LiveView> {
        let mountinfo = fs::File::open(format!("/proc/{pid}/mountinfo"))?;
        // Between a look at the process and this open it may have moved on; the next event will find it again.
        if identify(pid)?.0 != *key {
            return Err(io::ErrorKind::NotFound.into());
        }
        let next_ordinal = self.ordinals.len() as u32;
        let ordinal = *self.ordinals.entry(key.mount_namespace).or_insert(next_ordinal);
        let id = ViewId(self.next_view);
        self.next_view += 1;
        let view = View { id, mount_namespace: key.mount_namespace, ordinal, root, processes: Vec::new() };
        let watched = sys::watch_priority(mountinfo.try_clone()?.into())?;
        let news = self.news.clone();
        let watcher = spawn_local(async move {
            while let Ok(mut ready) = watched.ready(Interest::PRIORITY).await {
                ready.clear_ready();
                news.tables.borrow_mut().insert(id);
                news.came.notify_one();
            }
        });
        let watcher = Watcher(watcher.abort_handle());
        let mut live = LiveView { view, rows: Rc::default(), mountinfo, _watcher: watcher };
        live.read_rows()?;
        Ok(live)
    }

    fn watch_processes(&mut self, pids: impl Iterator<Item = Pid>) -> io::Result<()> {
        let present: HashSet<Pid> = pids.collect();
        self.processes.retain(|pid, _| present.contains(pid));
        for pid in present {
            if let std::collections::hash_map::Entry::Vacant(place) = self.processes.entry(pid) {
                let pidfd = match sys::pidfd(pid).and_then(sys::watch) {
                    Ok(pidfd) => pidfd,
                    Err(error) if is_gone(&error) => continue,
                    Err(error) => return Err(error),
                };
                let news = self.news.clone();
                let watcher = spawn_local(async move {
                    if pidfd.readable().await.is_ok() {
                        news.ended.borrow_mut().insert(pid);
                        news.came.notify_one();
                    }
                });
                place.insert(Watcher(watcher.abort_handle()));
            }
        }
        Ok(())
    }
}

impl LiveView {
    fn read_rows(&mut self) -> io::Result<()> {
        let mut text = Vec::new();
        self.mountinfo.seek(SeekFrom::Start(0))?;
        self.mountinfo.read_to_end(&mut text)?;
        let rows = parse_table(&text);
        if rows != *self.rows {
            self.rows = Rc::new(rows);
        }
        Ok(())
    }
}

/// PID 1 and all its descendants. Orphans become children of PID 1, so the tree holds every process of the sandbox.
fn process_tree(init: Pid) -> Vec<Pid> {
    let mut tree = vec![init];
    let mut next = 0;
    while next < tree.len() && tree.len() < MOST_PROCESSES {
        let pid = tree[next];
        next += 1;
        // Each thread has the children that it forked.
        let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { continue };
        for thread in threads.flatten() {
            let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            tree.extend(children.split_whitespace().filter_map(|pid| pid.parse().ok()).map(Pid::from_raw));
        }
    }
    tree
}

/// What makes a process's view, and the path of its root directory.
fn identify(pid: Pid) -> io::Result<(Key, String)> {
    let root = format!("/proc/{pid}/root");
    // The inode of the link's target is the namespace's number, as in `mnt:[4026531841]`.
    let mount_namespace = fs::metadata(format!("/proc/{pid}/ns/mnt"))?.ino();
    let directory = fs::metadata(&root)?;
    let path = fs::read_link(&root)?.to_string_lossy().into_owned();
    Ok((Key { mount_namespace, root: (directory.dev(), directory.ino()) }, path))
}

fn describe(pid: Pid) -> io::Result<Process> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    // One number per nested PID namespace, outermost first; the second is the sandbox's.
    let inside = field("NSpid:").and_then(|numbers| numbers.split_whitespace().nth(1)).and_then(|n| n.parse().ok());
    Ok(Process { pid: inside.ok_or(io::ErrorKind::NotFound)?, program: program_of(pid)? })
}

/// The name of the program that a process runs. The process chooses it: it is for people to read, and nothing else.
pub fn program_of(pid: Pid) -> io::Result<String> {
    let name = fs::read_to_string(format!("/proc/{pid}/comm"))?;
    if name.trim_end() != "exe" {
        return Ok(name.trim_end().to_owned());
    }
    // So the kernel calls whatever was started through /proc/self/exe; its first argument says more.
    let arguments = fs::read(format!("/proc/{pid}/cmdline"))?;
    let first = arguments.split(|&byte| byte == 0).next().unwrap_or_default();
    // In the middle of execve(2) there is a name already, and no argument yet; the next look finds it.
    let name = first.rsplit(|&byte| byte == b'/').next().filter(|name| !name.is_empty()).unwrap_or(b"exe");
    Ok(String::from_utf8_lossy(&name[..name.len().min(LONGEST_NAME)]).into_owned())
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ESRCH | libc::ENOENT)) || error.kind() == io::ErrorKind::NotFound
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
    }
}
