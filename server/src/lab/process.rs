//! The lab process, `newroot lab`: builds its sandbox as root, drops every privilege, then serves its pages on one
//! thread. State lives in [`Lab`]; sessions read it, terminals and views change it, one counter tells of changes.

use std::cell::{Cell, Ref, RefCell};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener as StdUnixListener;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};
use serde::{Deserialize, Serialize};
use tokio::io::unix::AsyncFd;
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::sync::{Notify, watch};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;

use shared::protocol::{Offset, Size, Terminal as Described, TerminalId};

use super::cgroup::Cgroup;
use super::channel::AsyncChannel;
use super::handover::{self, Reply, Request};
use super::init::{FromInit, ToInit};
use super::sandbox::{self, Sandbox, Step, StepError, Zygote};
use super::session::{self, Page};
use super::terminal::{self, Terminal};
use super::uid_range::UidRange;
use super::views::Views;
use super::{privileges, trace};
use crate::{runtime, sys};

/// The line on standard output that says that the lab is ready to be asked.
pub const READY: &str = "ready";

/// After a look at all processes, changes are collected for this long before the next.
const SCAN_PAUSE: Duration = Duration::from_millis(5);
/// How long after an event a second look follows.
const SCAN_AGAIN: Duration = Duration::from_millis(100);
/// The net under the events: a look at all processes without any reason.
const SCAN_EACH: Duration = Duration::from_secs(10);
/// How long pages have to take their leave when the lab ends.
const FAREWELL: Duration = Duration::from_millis(500);

/// What the server tells a lab process, as JSON on its standard input.
#[derive(Debug, Serialize, Deserialize)]
pub struct Config {
    /// The lab's directory, where its socket will be.
    pub directory: PathBuf,
    /// The lab image's root file system.
    pub rootfs: PathBuf,
    /// The machine's host name.
    pub hostname: String,
    /// Bytes that the root may take up.
    pub disk: u64,
    /// The lab ends when no page was there for this long.
    pub idle: Duration,
    /// The cgroup that everything of the learner's is paid from.
    pub cgroup: Cgroup,
}

/// `newroot lab`. Returns when the lab has ended.
pub fn main() -> Result<(), StepError> {
    // Before anything else is opened or started, while this process is as the server made it.
    runtime::default_signals();
    sys::close_all_but(&mut [0, 1, 2]).step("close what the server was started with")?;
    let config: Config = serde_json::from_reader(io::stdin().lock()).step("read the lab's configuration")?;
    let (listener, zygote, sandbox, user) = build(&config)?;
    privileges::drop_all(user)?;

    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().step("start the lab's event loop")?;
    let tasks = LocalSet::new();
    tasks
        .block_on(&runtime, async {
            let lab = Rc::new(Lab::new(&config, sandbox.pid, sandbox.init)?);
            spawn_local(lab.clone().follow_calls(sandbox.notifications));
            spawn_local(lab.clone().hear_news());
            spawn_local(lab.clone().scan_when_due());
            spawn_local(lab.clone().hear_init());
            spawn_local(lab.clone().wait_for_pages(config.idle));
            for terminal in &lab.terminals {
                lab.open_terminal(terminal.id);
            }
            let listener = UnixListener::from_std(listener)?;
            writeln!(io::stdout(), "{READY}")?;
            lab.clone().serve(listener, &sandbox.mirror).await;
            Ok::<(), io::Error>(())
        })
        .step("serve the lab")?;
    // The zygote goes with its channel; PID 1 is killed, for the learner may have taught it not to go.
    drop(zygote);
    let _already_gone = kill(sandbox.pid, Signal::SIGKILL);
    Ok(())
}

fn build(config: &Config) -> Result<(StdUnixListener, Zygote, Sandbox, Uid), StepError> {
    config.cgroup.enter().step("enter the lab's cgroup")?;
    let ids = UidRange::take().step("take a range of user ids")?;
    let listener = StdUnixListener::bind(config.directory.join("socket")).step("listen in the lab's directory")?;
    listener.set_nonblocking(true).step("listen in the lab's directory")?;
    let settings =
        sandbox::Settings { rootfs: config.rootfs.clone(), hostname: config.hostname.clone(), disk: config.disk };
    let zygote = sandbox::prepare(&settings, &ids, &config.directory)?;
    let sandbox = zygote.start().step("start the sandbox")?;
    let user = Uid::from_raw(ids.lab);
    // Held by the zygote from now on, and by this process until both are gone.
    std::mem::forget(ids);
    Ok((listener, zygote, sandbox, user))
}

/// A learner's machine while it runs.
pub struct Lab {
    hostname: String,
    terminals: Vec<Terminal>,
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
    fn new(config: &Config, init: Pid, channel: super::channel::Channel) -> io::Result<Lab> {
        let terminals =
            shared::lesson::TERMINALS.iter().zip(0..).map(|(name, id)| Terminal::new(TerminalId(id), name)).collect();
        Ok(Lab {
            hostname: config.hostname.clone(),
            terminals,
            views: RefCell::new(Views::new(init)),
            init: AsyncChannel::new(channel)?,
            pages: RefCell::default(),
            changes: watch::channel(0).0,
            scan_due: Notify::new(),
            ended: Cell::new(false),
            page_seen: Cell::new(Instant::now()),
        })
    }

    /// The machine's host name.
    pub fn hostname(&self) -> &str {
        &self.hostname
    }

    /// All terminals, in the order of their tabs.
    pub(super) fn terminals(&self) -> &[Terminal] {
        &self.terminals
    }

    /// All views.
    pub(super) fn views(&self) -> Ref<'_, Views> {
        self.views.borrow()
    }

    /// A terminal as pages are told of it.
    pub(super) fn describe(&self, terminal: &Terminal) -> Described {
        let foreground = terminal.foreground();
        let comm = foreground.and_then(|pid| std::fs::read_to_string(format!("/proc/{pid}/comm")).ok());
        Described {
            id: terminal.id,
            name: terminal.name.into(),
            running: terminal.is_running(),
            program: comm.unwrap_or_default().trim_end().to_owned(),
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

    fn end(&self) {
        self.ended.set(true);
        self.changed();
    }

    /// A page has come; it owns the terminals now. Returns what tells of changes.
    pub(super) fn attach(&self, page: Rc<Page>) -> watch::Receiver<u64> {
        self.pages.borrow_mut().push(page);
        self.page_seen.set(Instant::now());
        self.changes.subscribe()
    }

    /// A page has gone; the one before it owns the terminals again.
    pub(super) fn detach(&self, page: &Rc<Page>) {
        self.pages.borrow_mut().retain(|other| !Rc::ptr_eq(other, page));
        self.page_seen.set(Instant::now());
        self.terminals.iter().for_each(Terminal::room_changed);
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
            let refused = format!("\r\n[newroot: {} bytes not typed: the program does not read]\r\n", bytes.len());
            terminal.output.borrow_mut().push(refused.as_bytes());
            self.changed();
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

    /// Answers the server until the lab ends, then gives pages a moment to close.
    async fn serve(self: Rc<Self>, listener: UnixListener, mirror: &OwnedFd) {
        let mut changes = self.changes.subscribe();
        let mut asked_to_end = Vec::new();
        while !self.has_ended() {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => match self.answer(&stream, mirror).await {
                        Ok(Request::End) => asked_to_end.push(stream),
                        Ok(_) => {}
                        Err(error) => tracing::warn!("a request of the server failed: {error}"),
                    },
                    Err(error) => {
                        tracing::warn!("cannot accept: {error}");
                        sleep(SCAN_PAUSE).await;
                    }
                },
                _ = changes.changed() => {}
            }
        }
        let all_gone = async {
            while !self.pages.borrow().is_empty() {
                let _ = changes.changed().await;
                tokio::task::yield_now().await;
            }
        };
        let _ = timeout(FAREWELL, all_gone).await;
    }

    async fn answer(self: &Rc<Self>, stream: &UnixStream, mirror: &OwnedFd) -> io::Result<Request> {
        let received = timeout(Duration::from_secs(5), handover::receive(stream)).await;
        let (request, descriptor) = received.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        match &request {
            Request::Page { ahead } => {
                let socket = descriptor.ok_or(io::ErrorKind::InvalidData)?;
                self.clone().open_page(socket, ahead.clone()).await?;
            }
            Request::Mirror => handover::send(stream, &Reply::Mirror, Some(mirror.as_fd())).await?,
            Request::End => self.end(),
        }
        Ok(request)
    }

    async fn open_page(self: Rc<Self>, socket: OwnedFd, ahead: Vec<u8>) -> io::Result<()> {
        let socket = std::net::TcpStream::from(socket);
        socket.set_nonblocking(true)?;
        let socket = TcpStream::from_std(socket)?;
        socket.set_nodelay(true)?;
        let config = Some(session::websocket_config());
        let websocket = WebSocketStream::from_partially_read(socket, ahead, Role::Server, config).await;
        spawn_local(session::serve(websocket, self));
        Ok(())
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
            Ok(master) => drop(spawn_local(self.clone().pump(id, master))),
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
        self.changed();
    }

    /// Learns of every call that may have made a new view.
    async fn follow_calls(self: Rc<Self>, notifications: OwnedFd) {
        if let Err(error) = trace::follow(notifications, |_call| self.scan_due.notify_one()).await {
            // Programs would wait for an answer for ever.
            tracing::error!("system calls can no longer be answered: {error}");
            self.end();
        }
    }

    /// Keeps the rows of the views true.
    async fn hear_news(self: Rc<Self>) {
        let news = self.views.borrow().news();
        loop {
            news.came().await;
            if let Err(error) = self.take_news() {
                tracing::warn!("the mount tables may be out of date: {error}");
            }
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
            if let Err(error) = self.views.borrow_mut().scan() {
                tracing::warn!("the mount tables may be out of date: {error}");
            }
            self.changed();
            // A program may still rename itself (busybox's applets do) after the call that brought us here.
            patience = if due { SCAN_AGAIN } else { SCAN_EACH };
            sleep(SCAN_PAUSE).await;
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
