//! What a lab knows, and the tasks that keep it true. Sessions read it and pass on what their pages say; terminals, views
//! and PID 1 change it; one counter tells of changes.

use std::cell::{Ref, RefCell};
use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::unix::AsyncFd;
use tokio::sync::{Mutex, Notify, watch};
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep, timeout};

use shared::protocol::{Exit, MachineId, Offset, Size, Terminal as Described, TerminalId};

use super::cgroup::{Delegated, Meter};
use super::init::{FromInit, ToInit};
use super::judge::Judge;
use super::machine::Machine;
use super::pages::{self, Pages};
use super::proc::program_of;
use super::process::Config;
use super::sandbox::{Overlay, Prepared, Sandbox, Zygote};
use super::session::Page;
use super::tasks::Tasks;
use super::terminal::{self, Terminal};
use super::terminals::Terminals;
use super::trace::Trace;
use super::views::Views;
use crate::defence::Defences;

mod calls;
mod course;
mod lifetime;
mod reset;
mod usage;

pub(super) use lifetime::Ending;
use lifetime::Lifetime;
use usage::Usage;

/// After a look at tables or processes, changes are collected for this long before the next, so that pages follow a
/// storm as fast as a screen can show it.
const PAUSE: Duration = Duration::from_millis(10);
/// And for this many times as long as the look took: the terminals get the greater part of the lab's time.
const PAUSE_TIMES: u32 = 4;
/// As many messages of PID 1 are heard before a [`PAUSE`]: a few for each terminal that a lab may have.
const MESSAGES: u64 = 16;
/// How long after an event a second look follows.
const SCAN_AGAIN: Duration = Duration::from_millis(100);
/// The net under the events: a look at all processes without any reason.
const SCAN_EACH: Duration = Duration::from_secs(10);
/// How old a terminal's description may be.
const FRESH: Duration = Duration::from_millis(50);

/// A learner's machine while it runs.
pub struct Lab {
    hostname: String,
    machine_id: MachineId,
    terminals: Terminals,
    /// What pages were last told of each terminal, and when it was found out.
    descriptions: RefCell<HashMap<TerminalId, (Instant, Described)>>,
    views: Rc<RefCell<Views>>,
    trace: Trace,
    zygote: Zygote,
    overlay: Overlay,
    /// The sandbox of the moment; none while it is being remade.
    machine: RefCell<Option<Rc<Machine>>>,
    /// Its registry mirror's listening socket, for the server.
    mirror: watch::Sender<Option<Rc<OwnedFd>>>,
    pages: Pages,
    changes: watch::Sender<u64>,
    scan_due: Notify,
    tasks: Tasks,
    judge: Judge,
    /// Something has happened that a task may ask about.
    facts_due: Notify,
    /// Held while the judge looks: files that it has open are in the way of an unmount.
    looking: Arc<Mutex<()>>,
    /// Why the lab has ended, if it has.
    ended: RefCell<Option<String>>,
    lifetime: Lifetime,
    usage: Usage,
    defences: Defences,
}

impl Lab {
    /// Starts the sandbox and all that goes on in a lab by itself, as tasks of the running event loop: it must be one of
    /// one thread.
    pub async fn start(config: &Config, meter: Meter, cgroup: Delegated, prepared: Prepared) -> io::Result<Rc<Lab>> {
        let views = Rc::<RefCell<Views>>::default();
        let lab = Rc::new(Lab {
            hostname: config.hostname.clone(),
            machine_id: MachineId(format!("{:016x}", getrandom::u64().map_err(io::Error::other)?)),
            terminals: Terminals::new(config.limits.terminals as usize),
            descriptions: RefCell::default(),
            trace: Trace::new(views.clone(), config.defences.clone()),
            views,
            zygote: Zygote::new(prepared.zygote)?,
            overlay: prepared.overlay,
            machine: RefCell::default(),
            mirror: watch::Sender::default(),
            pages: Pages::default(),
            changes: watch::channel(0).0,
            scan_due: Notify::new(),
            tasks: Tasks::default(),
            judge: Judge::start()?,
            facts_due: Notify::new(),
            looking: Arc::default(),
            ended: RefCell::default(),
            lifetime: Lifetime::new(&config.limits, config.unused),
            usage: Usage::new(config.limits.clone(), meter, cgroup),
            defences: config.defences.clone(),
        });
        lab.start_machine().await?;
        spawn_local(lab.clone().hear_news());
        spawn_local(lab.clone().scan_when_due());
        spawn_local(lab.clone().judge_when_due());
        spawn_local(lab.clone().end_in_time());
        spawn_local(lab.clone().watch_use());
        spawn_local(lab.clone().watch_cgroups());
        Ok(lab)
    }

    /// Which defences stand.
    pub fn defences(&self) -> &Defences {
        &self.defences
    }

    /// Has the zygote make a sandbox, and a shell in each terminal.
    async fn start_machine(self: &Rc<Self>) -> io::Result<()> {
        let Sandbox { init, pid, mirror, notifications } = self.zygote.start().await?;
        let machine = Rc::new(Machine::new(pid, init)?);
        self.views.borrow_mut().follow(pid)?;
        self.mirror.send_replace(Some(Rc::new(mirror)));
        self.machine.replace(Some(machine.clone()));
        spawn_local(self.clone().follow_calls(notifications, pid));
        spawn_local(self.clone().hear_init(machine));
        self.scan_due.notify_one();
        for terminal in self.terminals() {
            self.open_terminal(terminal.id);
        }
        Ok(())
    }

    /// The machine's host name.
    pub fn hostname(&self) -> &str {
        &self.hostname
    }

    /// This life of the lab.
    pub(super) fn machine(&self) -> &MachineId {
        &self.machine_id
    }

    /// All terminals, in the order of their tabs.
    pub(super) fn terminals(&self) -> Vec<Rc<Terminal>> {
        self.terminals.all()
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
            name: terminal.name.borrow().clone(),
            size: terminal.size(),
            running: terminal.is_running(),
            exit: terminal.exit(),
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
        self.ended.borrow().is_some()
    }

    /// What pages are told at the end.
    pub(super) fn last_words(&self) -> String {
        self.ended.borrow().clone().unwrap_or_default()
    }

    /// Ends the lab: everybody notices. The first reason is the one that counts.
    pub(super) fn end(&self, why: &str) {
        self.ended.borrow_mut().get_or_insert_with(|| why.to_owned());
        self.changed();
    }

    /// A page has come. Returns what tells of changes.
    pub(super) fn attach(&self, page: Rc<Page>) -> watch::Receiver<u64> {
        self.pages.come(page);
        self.visited();
        self.changes()
    }

    /// A page has greeted, or was typed in: it owns the terminals now.
    pub(super) fn take_over(&self, page: &Page) {
        self.pages.take_over(page);
        self.look_for_room();
    }

    /// Whether a page owns the terminals.
    pub(super) fn is_owner(&self, page: &Page) -> bool {
        self.pages.is_owner(page)
    }

    /// A page has gone.
    pub(super) fn detach(self: &Rc<Self>, page: &Page) {
        self.pages.leave(page, Instant::now().into_std());
        self.visited();
        self.look_for_room();
        // If it was the last one, and does not come back, programs that wait for it go on.
        let lab = Rc::downgrade(self);
        spawn_local(async move {
            sleep(pages::AWAY).await;
            if let Some(lab) = lab.upgrade() {
                lab.look_for_room();
                lab.stop_waiting_for_nobody();
            }
        });
    }

    fn look_for_room(&self) {
        self.terminals().iter().for_each(|terminal| terminal.room_changed());
        self.changed();
    }

    /// Tells of changes; the present state counts as known.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// How many pages are open.
    pub(super) fn pages(&self) -> usize {
        self.pages.count()
    }

    fn terminal(&self, id: TerminalId) -> Option<Rc<Terminal>> {
        self.terminals.get(id)
    }

    /// A page has taken output of a terminal.
    pub(super) fn room_changed(&self, id: TerminalId) {
        if let Some(terminal) = self.terminal(id) {
            terminal.room_changed();
        }
        self.changed();
    }

    /// A page's keys.
    pub(super) fn type_into(&self, page: &Page, id: TerminalId, bytes: &[u8]) {
        self.used();
        let Some(terminal) = self.terminal(id) else { return };
        if !self.is_owner(page) {
            self.take_over(page);
        }
        if !terminal.write(bytes) {
            self.say(&terminal, &format!("{} bytes not typed: the program does not read", bytes.len()));
        }
        page.typed(id, bytes.len(), terminal.typed());
    }

    /// A page's terminal has a new size.
    pub(super) fn resize(&self, page: &Page, id: TerminalId, size: Size) {
        if let Some(terminal) = self.terminal(id).filter(|_| self.is_owner(page)) {
            // A pseudoterminal of no size makes programs divide by zero.
            terminal.resize(Size { columns: size.columns.max(2), rows: size.rows.max(1) });
        }
    }

    /// Adds a terminal with a shell, where there is room for one.
    pub(super) fn add_terminal(&self, name: Option<&str>) {
        if let Some(terminal) = self.terminals.add(name) {
            self.open_terminal(terminal.id);
            self.changed();
        }
    }

    /// Gives a terminal another name.
    pub(super) fn rename_terminal(&self, id: TerminalId, name: &str) {
        self.terminals.rename(id, name);
        self.news_of(id);
    }

    /// Closes a terminal as its window would be closed: the kernel sends SIGHUP to the shell and to the foreground
    /// program, we to the rest of the session, as shells do for their jobs. What ignores that runs on, without a
    /// terminal; that is what nohup(1) is for.
    pub(super) fn close_terminal(&self, id: TerminalId) {
        let Some(terminal) = self.terminals.remove(id) else { return };
        terminal.close();
        self.news_of(id);
    }

    /// Something about a terminal is to be told now, however fresh its description.
    fn news_of(&self, id: TerminalId) {
        self.descriptions.borrow_mut().remove(&id);
        self.changed();
    }

    /// Starts a shell in a terminal that has none.
    pub(super) fn open_terminal(&self, id: TerminalId) {
        let Some(terminal) = self.terminal(id).filter(|terminal| !terminal.is_running() && !terminal.is_awaiting())
        else {
            return;
        };
        // While the machine is being remade there is none; the new one gets a shell in each terminal by itself.
        let Some(machine) = self.machine.borrow().clone() else { return };
        terminal.await_shell();
        let request = ToInit::Open { terminal: id, size: terminal.size() };
        if let Err(error) = machine.init.send(&request) {
            terminal.disconnect();
            self.say(&terminal, &format!("no shell can be started: {error}; reset the machine"));
        }
    }

    fn say(&self, terminal: &Terminal, sentence: &str) {
        terminal.output.borrow_mut().push(format!("\r\n[newroot: {sentence}]\r\n").as_bytes());
        self.changed();
    }

    /// Hears what PID 1 says until the sandbox ends, which ends the lab unless a reset has asked for it.
    async fn hear_init(self: Rc<Self>, machine: Rc<Machine>) {
        for messages in 1_u64.. {
            let heard = machine.init.receive().await;
            // The last words of a machine that is being remade are about terminals that are not its own any more.
            if !self.machine.borrow().as_ref().is_some_and(|current| Rc::ptr_eq(current, &machine)) {
                return;
            }
            match heard {
                Ok((FromInit::Opened { terminal }, descriptors)) => self.connect(terminal, descriptors),
                Ok((FromInit::NotOpened { terminal, message }, _)) => {
                    if let Some(terminal) = self.terminal(terminal).filter(|terminal| terminal.is_awaiting()) {
                        terminal.disconnect();
                        self.say(&terminal, &message.replace(|c: char| c.is_control(), " "));
                    }
                }
                Ok((FromInit::Exited { terminal, exit }, _)) => self.hang_up(terminal, exit),
                Ok((FromInit::Mirror | FromInit::Filter | FromInit::Failed { .. }, _)) => {}
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {}
                Err(_sandbox_has_ended) => {
                    return self.end("PID 1 has ended, and with it every process of this machine");
                }
            }
            // A puppet may say more than anybody can hear. It has to wait then, and not this thread's other tasks.
            if messages.is_multiple_of(MESSAGES) {
                sleep(PAUSE).await;
            } else {
                tokio::task::yield_now().await;
            }
        }
    }

    fn hang_up(&self, id: TerminalId, exit: Exit) {
        if let Some(terminal) = self.terminal(id) {
            terminal.hang_up(Some(exit));
        }
    }

    /// Takes a pseudoterminal that PID 1 has opened. One whose terminal was closed meanwhile is dropped, which hangs
    /// it up.
    fn connect(self: &Rc<Self>, id: TerminalId, mut descriptors: Vec<OwnedFd>) {
        let (Some(terminal), Some(master)) = (self.terminal(id), descriptors.pop()) else { return };
        // PID 1 may be the learner's puppet: only what was asked for, and only a terminal.
        if !terminal.is_awaiting() || !terminal::is_terminal(&master) {
            return;
        }
        match terminal.connect(master) {
            Ok(master) => drop(spawn_local(self.clone().pump(terminal, master))),
            Err(error) => self.say(&terminal, &format!("the terminal could not be opened: {error}")),
        }
        self.news_of(id);
        self.scan_due.notify_one();
    }

    async fn pump(self: Rc<Self>, terminal: Rc<Terminal>, master: Rc<AsyncFd<OwnedFd>>) {
        let has_room = |end: Offset| self.pages.has_room(terminal.id, end, Instant::now().into_std());
        let changed = || {
            // Nothing tells of a chdir(2), or of a file that was written; but a shell shows its prompt after it.
            self.facts_due.notify_one();
            self.changed();
        };
        terminal.pump(&master, has_room, changed).await;
        terminal.disconnect();
        self.news_of(terminal.id);
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
        self.facts_due.notify_one();
        self.trace.tables_changed();
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
            self.trace.tables_changed();
            self.descriptions.borrow_mut().clear();
            if due || patience == SCAN_AGAIN {
                self.facts_due.notify_one();
            }
            self.changed();
            // A program may still rename itself (busybox's applets do) after the call that brought us here.
            patience = if due { SCAN_AGAIN } else { SCAN_EACH };
            rest_since(began).await;
        }
    }
}

/// Waits so long that what began then takes no more than its share of the lab's time.
async fn rest_since(began: Instant) {
    sleep(PAUSE.max(began.elapsed() * PAUSE_TIMES)).await;
}
