//! What a lab knows, and the tasks that keep it true. Sessions read it and pass on what their pages say; terminals, views
//! and PID 1 change it; one counter tells of changes.

use std::cell::{Cell, Ref, RefCell};
use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use nix::unistd::Pid;
use tokio::io::unix::AsyncFd;
use tokio::sync::{Notify, watch};
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use shared::protocol::{MachineId, Offset, Size, Terminal as Described, TerminalId};

use super::channel::{AsyncChannel, Channel};
use super::init::{FromInit, ToInit};
use super::proc::program_of;
use super::session::Page;
use super::terminal::{self, Terminal};
use super::trace::{self, Call};
use super::views::Views;

/// After a look at tables or processes, changes are collected for this long before the next, so that pages follow a
/// storm as fast as a screen can show it.
const PAUSE: Duration = Duration::from_millis(10);
/// And for this many times as long as the look took: the terminals get the greater part of the lab's time.
const PAUSE_TIMES: u32 = 4;
/// How long after an event a second look follows.
const SCAN_AGAIN: Duration = Duration::from_millis(100);
/// The net under the events: a look at all processes without any reason.
const SCAN_EACH: Duration = Duration::from_secs(10);
/// How old a terminal's description may be.
const FRESH: Duration = Duration::from_millis(50);

/// A learner's machine while it runs.
pub struct Lab {
    hostname: String,
    machine: MachineId,
    terminals: Vec<Terminal>,
    /// What pages were last told of each terminal, and when it was found out.
    descriptions: RefCell<HashMap<TerminalId, (Instant, Described)>>,
    views: RefCell<Views>,
    init: AsyncChannel,
    /// The pages that are open, in the order of coming. The last one owns the terminals: they wait for it.
    pages: RefCell<Vec<Rc<Page>>>,
    changes: watch::Sender<u64>,
    scan_due: Notify,
    ended: Cell<bool>,
    page_seen: Cell<Instant>,
}

impl Lab {
    /// Starts all that goes on in a lab by itself, as tasks of the running event loop: it must be one of one thread.
    pub fn start(
        hostname: &str,
        idle: Duration,
        pid: Pid,
        init: Channel,
        notifications: OwnedFd,
    ) -> io::Result<Rc<Lab>> {
        let names = shared::lesson::TERMINALS.iter().zip(0..);
        let lab = Rc::new(Lab {
            hostname: hostname.to_owned(),
            machine: MachineId(format!("{:016x}", getrandom::u64().map_err(io::Error::other)?)),
            terminals: names.map(|(name, id)| Terminal::new(TerminalId(id), name)).collect(),
            descriptions: RefCell::default(),
            views: RefCell::new(Views::new(pid)),
            init: AsyncChannel::new(init)?,
            pages: RefCell::default(),
            changes: watch::channel(0).0,
            scan_due: Notify::new(),
            ended: Cell::new(false),
            page_seen: Cell::new(Instant::now()),
        });
        spawn_local(lab.clone().follow_calls(notifications));
        spawn_local(lab.clone().hear_news());
        spawn_local(lab.clone().scan_when_due());
        spawn_local(lab.clone().hear_init());
        spawn_local(lab.clone().wait_for_pages(idle));
        for terminal in &lab.terminals {
            lab.open_terminal(terminal.id);
        }
        Ok(lab)
    }

    /// The machine's host name.
    pub fn hostname(&self) -> &str {
        &self.hostname
    }

    /// This life of the lab.
    pub(super) fn machine(&self) -> &MachineId {
        &self.machine
    }

    /// All terminals, in the order of their tabs.
    pub(super) fn terminals(&self) -> &[Terminal] {
        &self.terminals
    }

    /// All views.
    pub(super) fn views(&self) -> Ref<'_, Views> {
        self.views.borrow()
    }

    /// A terminal as pages are told of it. Asked for with every piece of output, so it may be a little old.
    pub(super) fn describe(&self, terminal: &Terminal) -> Described {
        let mut descriptions = self.descriptions.borrow_mut();
        match descriptions.get(&terminal.id) {
            Some((when, described)) if when.elapsed() < FRESH => described.clone(),
            _ => {
                let described = self.look_at(terminal);
                descriptions.insert(terminal.id, (Instant::now(), described.clone()));
                described
            }
        }
    }

    fn look_at(&self, terminal: &Terminal) -> Described {
        let foreground = terminal.foreground();
        Described {
            id: terminal.id,
            name: terminal.name.into(),
            running: terminal.is_running(),
            program: foreground.and_then(|pid| program_of(pid).ok()).unwrap_or_default(),
            view: foreground.and_then(|pid| self.views.borrow().view_of(pid)),
        }
    }

    /// Tells every session to look for what its page lacks.
    pub(super) fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    /// Whether the lab is ending: sessions say good-bye.
    pub fn has_ended(&self) -> bool {
        self.ended.get()
    }

    /// Ends the lab: everybody notices.
    pub(super) fn end(&self) {
        self.ended.set(true);
        self.changed();
    }

    /// A page has come; it owns the terminals now. Returns what tells of changes.
    pub(super) fn attach(&self, page: Rc<Page>) -> watch::Receiver<u64> {
        self.pages.borrow_mut().push(page);
        self.page_seen.set(Instant::now());
        self.changes()
    }

    /// A page has gone; the one before it owns the terminals again.
    pub(super) fn detach(&self, page: &Rc<Page>) {
        self.pages.borrow_mut().retain(|other| !Rc::ptr_eq(other, page));
        self.page_seen.set(Instant::now());
        self.terminals.iter().for_each(Terminal::room_changed);
        self.changed();
    }

    /// Tells of changes; the present state counts as known.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Whether any page is open.
    pub(super) fn has_pages(&self) -> bool {
        !self.pages.borrow().is_empty()
    }

    fn terminal(&self, id: TerminalId) -> Option<&Terminal> {
        self.terminals.iter().find(|terminal| terminal.id == id)
    }

    /// A page has taken output of a terminal.
    pub(super) fn room_changed(&self, id: TerminalId) {
        if let Some(terminal) = self.terminal(id) {
            terminal.room_changed();
        }
    }

    /// Output goes on while the owner is less than a window behind, and freely while nobody looks.
    fn has_room(&self, id: TerminalId, end: Offset) -> bool {
        self.pages.borrow().last().is_none_or(|owner| owner.has_room(id, end))
    }

    /// A page's keys.
    pub(super) fn type_into(&self, id: TerminalId, bytes: &[u8]) {
        if let Some(terminal) = self.terminal(id).filter(|terminal| !terminal.write(bytes)) {
            self.say(terminal, &format!("{} bytes not typed: the program does not read", bytes.len()));
        }
    }

    /// A page's terminal has a new size.
    pub(super) fn resize(&self, id: TerminalId, size: Size) {
        if let Some(terminal) = self.terminal(id) {
            // A pseudoterminal of no size makes programs divide by zero.
            terminal.resize(Size { columns: size.columns.max(2), rows: size.rows.max(1) });
        }
    }

    /// Starts a shell in a terminal that has none.
    pub(super) fn open_terminal(&self, id: TerminalId) {
        let Some(terminal) = self.terminal(id).filter(|terminal| !terminal.is_running()) else { return };
        let request = ToInit::Open { terminal: id, size: terminal.size.get() };
        if let Err(error) = self.init.send(&request) {
            self.say(terminal, &format!("no shell can be started: {error}; reset the machine"));
        }
    }

    fn say(&self, terminal: &Terminal, sentence: &str) {
        terminal.output.borrow_mut().push(format!("\r\n[newroot: {sentence}]\r\n").as_bytes());
        self.changed();
    }

    /// Hears what PID 1 says until the sandbox ends, which ends the lab.
    async fn hear_init(self: Rc<Self>) {
        loop {
            match self.init.receive().await {
                Ok((FromInit::Opened { terminal }, descriptors)) => self.connect(terminal, descriptors),
                Ok((FromInit::NotOpened { terminal, message }, _)) => {
                    if let Some(terminal) = self.terminal(terminal) {
                        self.say(terminal, &message.replace(|c: char| c.is_control(), " "));
                    }
                }
                Ok((FromInit::Exited { terminal }, _)) => {
                    if let Some(terminal) = self.terminal(terminal) {
                        terminal.hang_up();
                    }
                }
                Ok((FromInit::Mirror | FromInit::Filter | FromInit::Failed { .. }, _)) => {}
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {}
                Err(_sandbox_has_ended) => return self.end(),
            }
        }
    }

    fn connect(self: &Rc<Self>, id: TerminalId, mut descriptors: Vec<OwnedFd>) {
        let (Some(terminal), Some(master)) = (self.terminal(id), descriptors.pop()) else { return };
        // PID 1 may be the learner's puppet: only what was asked for, and only a terminal.
        if terminal.is_running() || !terminal::is_terminal(&master) {
            return;
        }
        match terminal.connect(master) {
            Ok(master) => {
                spawn_local(self.clone().pump(id, master));
                self.descriptions.borrow_mut().clear();
                self.changed();
            }
            Err(error) => self.say(terminal, &format!("the terminal could not be opened: {error}")),
        }
        self.scan_due.notify_one();
    }

    async fn pump(self: Rc<Self>, id: TerminalId, master: Rc<AsyncFd<OwnedFd>>) {
        let Some(terminal) = self.terminal(id) else { return };
        tokio::select! {
            () = terminal.pump_output(&master, |end| self.has_room(id, end), || self.changed()) => {}
            () = terminal.pump_input(&master) => {}
        }
        terminal.disconnect();
        self.descriptions.borrow_mut().clear();
        self.changed();
    }

    /// Learns of every call that may have made a new view.
    async fn follow_calls(self: Rc<Self>, notifications: OwnedFd) {
        let before_unmount = async || {
            let closing = self.views.borrow_mut().let_go();
            for task in closing {
                let _ended_or_aborted = task.await;
            }
        };
        if let Err(error) = trace::follow(notifications, before_unmount, |call| self.has_happened(call)).await {
            // Programs would wait for an answer for ever.
            tracing::error!("system calls can no longer be answered: {error}");
            self.end();
        }
    }

    fn has_happened(&self, call: Call) {
        if call.is_about_mounts() {
            self.views.borrow().doubt_all();
        } else {
            self.scan_due.notify_one();
        }
    }

    /// Keeps the rows of the views true.
    async fn hear_news(self: Rc<Self>) {
        let news = self.views.borrow().news();
        loop {
            news.came().await;
            let began = Instant::now();
            if let Err(error) = self.take_news() {
                tracing::warn!("the mount tables may be out of date: {error}");
            }
            rest_since(began).await;
        }
    }

    fn take_news(&self) -> io::Result<()> {
        if self.views.borrow_mut().take_news()? {
            self.scan_due.notify_one();
        }
        self.changed();
        Ok(())
    }

    /// Keeps the list of views true: looks at all processes when a call or an exit may have changed it.
    async fn scan_when_due(self: Rc<Self>) {
        let mut patience = SCAN_EACH;
        loop {
            let due = timeout(patience, self.scan_due.notified()).await.is_ok();
            let began = Instant::now();
            if let Err(error) = self.views.borrow_mut().scan() {
                tracing::warn!("the mount tables may be out of date: {error}");
            }
            self.descriptions.borrow_mut().clear();
            self.changed();
            // A program may still rename itself (busybox's applets do) after the call that brought us here.
            patience = if due { SCAN_AGAIN } else { SCAN_EACH };
            rest_since(began).await;
        }
    }

    /// Ends the lab when no page was there for long.
    async fn wait_for_pages(self: Rc<Self>, idle: Duration) {
        loop {
            sleep_until(self.page_seen.get() + idle).await;
            if !self.pages.borrow().is_empty() {
                self.page_seen.set(Instant::now());
            } else if self.page_seen.get().elapsed() >= idle {
                return self.end();
            }
        }
    }
}

/// Waits so long that what began then takes no more than its share of the lab's time.
async fn rest_since(began: Instant) {
    sleep(PAUSE.max(began.elapsed() * PAUSE_TIMES)).await;
}
