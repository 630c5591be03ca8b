//! Live mount tables: one view per pair of mount namespace and root directory among the sandbox's processes. The kernel
//! tells of most changes of a table (poll(2) with POLLPRI on mountinfo) and of each process's end (a pidfd); of what it
//! does not tell, the calls that do it tell. A namespace that only an open file or a bind mount keeps is no view: nobody
//! sees its table, and its row (type nsfs) stands in the table where it is mounted.
//!
//! Each mountinfo stands in the event loop by itself, never in an epoll within it: being asked whether there is news
//! already makes it old news, so that the outer epoll would take it from the inner.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Pid;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;
use tokio::task::{JoinHandle, spawn_local};

use shared::mount::{Mount, parse_changed};
use shared::protocol::{View, ViewId};

use super::cgroup::Roots;
use super::proc::{self, Key};
use crate::sys;

/// More views are not kept: each one costs descriptors here and a card on each page.
const MOST_VIEWS: usize = 64;
/// As many processes of a view are named; the others are counted.
const MOST_NAMED: usize = 16;
/// More of a table is not read: some thirty thousand rows, or a few hundred with the longest paths that there can be.
const MOST_TEXT: u64 = 4 << 20;

/// A table's rows. Replaced, never changed, so that a page's session can keep what it has sent.
pub type Rows = Rc<Vec<Rc<Mount>>>;

/// A view that at least one process has.
pub struct LiveView {
    /// As pages are told.
    pub view: View,
    /// Its rows now.
    pub rows: Rows,
    /// What they were read from.
    text: Vec<u8>,
    /// Its processes.
    members: Vec<Pid>,
    /// Absent where no process is known to be there, until one is found or the view goes.
    source: Option<Source>,
}

/// mountinfo of one of a view's processes. The kernel fixes namespace and root at open, so it serves after that process
/// has gone; and it keeps both alive, so that nobody could unmount them.
struct Source {
    file: fs::File,
    /// Waits for the kernel's word, with a duplicate of the file.
    watcher: JoinHandle<()>,
}

/// A known process.
struct Watched {
    pidfd: Rc<AsyncFd<OwnedFd>>,
    watcher: JoinHandle<()>,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.watcher.abort();
    }
}

/// How much there is that the views do not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NotShown {
    /// Views beyond the number that is kept.
    pub views: u32,
    /// Whether there are more processes than are looked at.
    pub processes: bool,
}

/// All views of a sandbox.
#[derive(Default)]
pub struct Views {
    init: Option<Pid>,
    news: Rc<News>,
    views: HashMap<Key, LiveView>,
    processes: BTreeMap<Pid, Watched>,
    /// Mount namespaces in the order of appearance. The kernel uses their numbers again, so there are few.
    ordinals: HashMap<u64, u32>,
    next_view: u32,
    not_shown: NotShown,
    /// What the machine sees as the roots of cgroup hierarchies.
    cgroups: Roots,
    /// Watchers that are to end, and with them the files they hold.
    closing: Vec<JoinHandle<()>>,
}

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

impl LiveView {
    /// Its processes, as numbered outside.
    pub fn members(&self) -> &[Pid] {
        &self.members
    }
}

impl Views {
    /// Forgets all views of a sandbox that has ended, whose numbers are not used again. An open mountinfo would keep its
    /// mounts alive: these tasks end when none is open any more.
    #[must_use]
    pub fn clear(&mut self) -> Vec<JoinHandle<()>> {
        self.init = None;
        self.processes.clear();
        self.ordinals.clear();
        self.not_shown = NotShown::default();
        self.closing.extend(self.views.drain().filter_map(|(_, live)| live.source).map(Source::close));
        std::mem::take(&mut self.closing)
    }

    /// From now on the views are those of the sandbox with this PID 1 (as numbered outside).
    pub fn follow(&mut self, init: Pid) -> io::Result<()> {
        self.cgroups = Roots::of_own_machine()?;
        self.init = Some(init);
        Ok(())
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

    /// How many rows they have together.
    pub fn rows(&self) -> usize {
        self.views.values().map(|live| live.rows.len()).sum()
    }

    /// All processes that are looked at, as numbered outside.
    pub fn processes(&self) -> Vec<Pid> {
        self.processes.keys().copied().collect()
    }

    /// What is not among them for want of room.
    pub fn not_shown(&self) -> NotShown {
        self.not_shown
    }

    /// The view of a process, as numbered outside.
    pub fn view_of(&self, process: Pid) -> Option<ViewId> {
        let key = proc::identify(process).ok()?;
        self.views.get(&key).map(|live| live.view.id)
    }

    /// The place of a mount namespace in the order of appearance.
    pub fn ordinal_of(&mut self, mount_namespace: u64) -> u32 {
        let next = self.ordinals.len() as u32;
        *self.ordinals.entry(mount_namespace).or_insert(next)
    }

    /// Makes sure that there is a view for what this thread sees now, where there is room for one; returns it.
    pub fn ensure(&mut self, thread: Pid, process: Pid) -> io::Result<Option<ViewId>> {
        let key = proc::identify(thread)?;
        let is_new = !self.views.contains_key(&key);
        self.show(thread, key)?;
        if is_new {
            self.watch_processes(&[process])?;
        }
        let live = self.views.get_mut(&key);
        if let Some(live) = live.filter(|live| live.members.is_empty()) {
            live.has_members(&key, vec![process]);
            return Ok(Some(live.view.id));
        }
        Ok(self.views.get(&key).map(|live| live.view.id))
    }

    /// Reads all tables anew.
    pub fn refresh(&mut self) -> io::Result<()> {
        self.views.values_mut().map(|live| live.read_rows(&self.cgroups)).fold(Ok(()), Result::and)
    }

    /// Takes all tables for changed. The kernel tells nobody of a new propagation type, nor the slaves of a peer group
    /// that its last mount is gone.
    pub fn doubt_all(&self) {
        self.news.tables.borrow_mut().extend(self.views.values().map(|live| live.view.id));
        self.news.came.notify_one();
    }

    /// Reads what has changed. True where a process ended, and [`Views::scan`] is due.
    pub fn take_news(&mut self) -> io::Result<bool> {
        let tables = self.news.tables.take();
        let ended = self.news.ended.take();
        self.processes.retain(|pid, _| !ended.contains(pid));
        let changed = self.views.values_mut().filter(|live| tables.contains(&live.view.id));
        // One table that cannot be read keeps no other from being read.
        changed.map(|live| live.read_rows(&self.cgroups)).fold(Ok(()), Result::and)?;
        Ok(!ended.is_empty())
    }

    /// Reads all tables, whether the kernel has told of a change or not; true where one has changed. Where none has, all of
    /// them are as they were at one moment.
    pub fn read_all(&mut self) -> io::Result<bool> {
        let mut changed = false;
        for live in self.views.values_mut() {
            let before = live.rows.clone();
            live.read_rows(&self.cgroups)?;
            changed |= !Rc::ptr_eq(&before, &live.rows);
        }
        Ok(changed)
    }

    /// Looks at all processes again: finds new views, and drops those that no process has any more.
    pub fn scan(&mut self) -> io::Result<()> {
        let (tree, cut) = self.init.map_or_else(Default::default, proc::process_tree);
        let mut trouble = self.watch_processes(&tree);
        let mut found: BTreeMap<Pid, Vec<(Pid, Key)>> = BTreeMap::new();
        for (&pid, watched) in &self.processes {
            let views = proc::views_of(pid);
            // What was read is about this process only if it still is one: its number may belong to another by now.
            if !watched.has_ended() {
                found.insert(pid, views);
            }
        }
        let mut members: HashMap<Key, Vec<Pid>> = HashMap::new();
        for (&pid, views) in &found {
            views.iter().for_each(|(_, key)| members.entry(*key).or_default().push(pid));
        }
        self.drop_all_but(&members);
        self.not_shown = NotShown { views: 0, processes: cut };
        for (thread, key) in found.into_values().flatten() {
            trouble = trouble.and(match self.show(thread, key) {
                // It ended or moved on in between; that is an event, and brings another look.
                Err(error) if is_gone(&error) => Ok(()),
                result => result,
            });
        }
        self.not_shown.views = members.keys().filter(|key| !self.views.contains_key(key)).count() as u32;
        for (key, live) in &mut self.views {
            live.has_members(key, members.remove(key).unwrap_or_default());
        }
        trouble
    }

    /// Lets go of the tables that no living process is known to see: the file that tells of a table also keeps its root
    /// directory's file system busy. To be called before an unmount; the unmount must wait for these tasks to end.
    #[must_use]
    pub fn let_go(&mut self) -> Vec<JoinHandle<()>> {
        let alive = |pid: &Pid| self.processes.get(pid).is_some_and(|watched| !watched.has_ended());
        for live in self.views.values_mut().filter(|live| !live.members.iter().any(alive)) {
            self.closing.extend(live.source.take().map(Source::close));
        }
        std::mem::take(&mut self.closing)
    }

    fn drop_all_but(&mut self, members: &HashMap<Key, Vec<Pid>>) {
        let gone: Vec<LiveView> =
            self.views.extract_if(|key, _| !members.contains_key(key)).map(|(_, live)| live).collect();
        self.closing.retain(|task| !task.is_finished());
        if !gone.is_empty() {
            // With a namespace goes its part in peer groups, which other tables show.
            self.doubt_all();
        }
        self.closing.extend(gone.into_iter().filter_map(|live| live.source).map(Source::close));
    }

    /// Makes sure that there is a view for what this thread sees, with a source; not where there are too many.
    fn show(&mut self, thread: Pid, key: Key) -> io::Result<()> {
        let known = self.views.get(&key).map(|live| (live.view.id, live.source.is_some()));
        if let Some((_, true)) = known {
            return Ok(());
        }
        if known.is_none() && self.views.len() >= MOST_VIEWS {
            return Ok(());
        }
        let id = known.map_or(ViewId(self.next_view), |(id, _)| id);
        let source = self.open(thread, &key, id)?;
        let root = root_of(thread, &key)?;
        let ordinal = self.ordinal_of(key.mount_namespace);
        let live = self.views.entry(key).or_insert_with(|| {
            self.next_view += 1;
            LiveView::new(id, key, ordinal, root)
        });
        live.source = Some(source);
        live.read_rows(&self.cgroups)
    }

    fn open(&self, thread: Pid, key: &Key, id: ViewId) -> io::Result<Source> {
        let file = fs::File::open(format!("/proc/{thread}/mountinfo"))?;
        // Between a look at the thread and this open it may have moved on; the next event will find it again.
        if proc::identify(thread)? != *key {
            return Err(io::ErrorKind::NotFound.into());
        }
        let watched = sys::watch_priority(file.try_clone()?.into())?;
        let news = self.news.clone();
        let watcher = spawn_local(async move {
            while let Ok(mut ready) = watched.ready(Interest::PRIORITY).await {
                ready.clear_ready();
                news.tables.borrow_mut().insert(id);
                news.came.notify_one();
            }
        });
        Ok(Source { file, watcher })
    }

    /// Knows these processes from now on, until they end; not more than can be looked at.
    fn watch_processes(&mut self, pids: &[Pid]) -> io::Result<()> {
        for &pid in pids {
            if self.processes.contains_key(&pid) || self.processes.len() >= proc::MOST_TASKS {
                continue;
            }
            let pidfd = match sys::pidfd(pid).and_then(sys::watch) {
                Ok(pidfd) => Rc::new(pidfd),
                Err(error) if is_gone(&error) => continue,
                Err(error) => return Err(error),
            };
            let (news, ended) = (self.news.clone(), pidfd.clone());
            let watcher = spawn_local(async move {
                if ended.readable().await.is_ok() {
                    news.ended.borrow_mut().insert(pid);
                    news.came.notify_one();
                }
            });
            self.processes.insert(pid, Watched { pidfd, watcher });
        }
        Ok(())
    }
}

impl Watched {
    /// Whether the process has ended, as the kernel knows it now.
    fn has_ended(&self) -> bool {
        let mut polled = [PollFd::new(self.pidfd.get_ref().as_fd(), PollFlags::POLLIN)];
        loop {
            match poll(&mut polled, PollTimeout::ZERO) {
                // SIGCHLD of a traced thread comes at any time; a process must not be taken for ended by it.
                Err(Errno::EINTR) => {}
                result => return result.is_ok_and(|ready| ready > 0),
            }
        }
    }
}

impl Source {
    /// Closes it; the task returned ends when it is closed.
    fn close(self) -> JoinHandle<()> {
        self.watcher.abort();
        self.watcher
    }
}

impl LiveView {
    fn new(id: ViewId, key: Key, ordinal: u32, root: proc::Root) -> LiveView {
        let view = View {
            id,
            mount_namespace: key.mount_namespace,
            ordinal,
            root: root.path,
            processes: Vec::new(),
            more_processes: 0,
            root_deleted: root.deleted,
            root_mount: key.root_mount,
            cut: false,
        };
        LiveView { view, rows: Rc::default(), text: Vec::new(), members: Vec::new(), source: None }
    }

    fn has_members(&mut self, key: &Key, members: Vec<Pid>) {
        self.view.processes = members.iter().take(MOST_NAMED).filter_map(|&pid| proc::describe(pid).ok()).collect();
        self.view.more_processes = (members.len() - members.len().min(MOST_NAMED)) as u32;
        // A root directory can be renamed or deleted, of which nothing tells.
        if let Some(root) = members.iter().find_map(|&pid| root_of(pid, key).ok()) {
            (self.view.root, self.view.root_deleted) = (root.path, root.deleted);
        }
        self.members = members;
    }

    fn read_rows(&mut self, cgroups: &Roots) -> io::Result<()> {
        let Some(source) = &mut self.source else { return Ok(()) };
        let mut text = Vec::with_capacity(self.text.len() + 1024);
        source.file.seek(SeekFrom::Start(0))?;
        Read::by_ref(&mut source.file).take(MOST_TEXT).read_to_end(&mut text)?;
        self.view.cut = text.len() as u64 == MOST_TEXT;
        if self.view.cut {
            let whole = text.iter().rposition(|&byte| byte == b'\n').map_or(0, |place| place + 1);
            text.truncate(whole);
        }
        if text != self.text {
            let mut rows = parse_changed(&self.text, &self.rows, &text);
            rows.iter_mut().for_each(|row| cgroups.seen_inside(row));
            self.rows = Rc::new(rows);
            self.text = text;
        }
        Ok(())
    }
}

/// The root directory of a thread that has this view. Errors with NotFound where it has moved on meanwhile: then the root
/// that was read would be that of another view.
fn root_of(thread: Pid, key: &Key) -> io::Result<proc::Root> {
    let root = proc::root_of(thread)?;
    if proc::identify(thread)? == *key { Ok(root) } else { Err(io::ErrorKind::NotFound.into()) }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ESRCH | libc::ENOENT)) || error.kind() == io::ErrorKind::NotFound
}
