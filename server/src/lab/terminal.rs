//! One terminal, seen from the lab process: its name, its size, its last output, what is typed into it, and the
//! pseudoterminal that the sandbox has sent. What happens inside the sandbox is in [`opening`], the moving of bytes in
//! [`pump`]; which terminals there are is in `terminals`.

pub mod opening;
pub mod pump;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{FlushArg, LocalFlags, SpecialCharacterIndices, tcflush, tcgetattr, tcgetsid};
use nix::unistd::{Pid, getsid};
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;

use shared::protocol::{Exit, INTERRUPTING_KEYS, Size, TerminalId};

use super::ring::Ring;
use crate::sys;

/// What may wait for a program that does not read its terminal: the windows of a few pages. Our own page keeps to its
/// window (`INPUT_WINDOW`), so more is an error.
const INPUT_LIMIT: usize = 256 * 1024;

/// A terminal of a lab.
pub struct Terminal {
    /// Its number.
    pub id: TerminalId,
    /// Its name, by which lessons send commands to it.
    pub name: RefCell<String>,
    /// Its last output.
    pub output: RefCell<Ring>,
    size: Cell<Size>,
    shell: RefCell<Shell>,
    exit: Cell<Option<Exit>>,
    input: RefCell<VecDeque<u8>>,
    typed: Cell<u64>,
    hung_up: Cell<bool>,
    /// Something was typed.
    input_changed: Notify,
    /// A page has acknowledged output, or other pages are to be waited for.
    room_changed: Notify,
    /// It is to have another size.
    size_changed: Notify,
    /// It is to be closed.
    closing: Notify,
}

/// The shell in a terminal.
enum Shell {
    /// None: what is typed is meant for nobody.
    Absent,
    /// The sandbox was asked for one: what is typed is meant for it.
    Awaited,
    /// It runs, and this is the master side of its pseudoterminal.
    Connected(Rc<AsyncFd<OwnedFd>>),
}

impl Terminal {
    /// A terminal without a shell.
    pub fn new(id: TerminalId, name: String) -> Terminal {
        Terminal {
            id,
            name: RefCell::new(name),
            output: RefCell::default(),
            size: Cell::new(Size { columns: 80, rows: 24 }),
            shell: RefCell::new(Shell::Absent),
            exit: Cell::default(),
            input: RefCell::default(),
            typed: Cell::default(),
            hung_up: Cell::default(),
            input_changed: Notify::new(),
            room_changed: Notify::new(),
            size_changed: Notify::new(),
            closing: Notify::new(),
        }
    }

    /// Notes that the sandbox was asked for a shell.
    pub fn await_shell(&self) {
        *self.shell.borrow_mut() = Shell::Awaited;
    }

    /// Whether the sandbox was asked for a shell and has not sent it yet.
    pub fn is_awaiting(&self) -> bool {
        matches!(*self.shell.borrow(), Shell::Awaited)
    }

    /// Gives it the master side of a new pseudoterminal, as the sandbox sent it.
    pub fn connect(&self, master: OwnedFd) -> io::Result<Rc<AsyncFd<OwnedFd>>> {
        nix::fcntl::fcntl(&master, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK))?;
        let Size { columns, rows } = self.size.get();
        sys::set_window_size(&master, columns, rows)?;
        let master = Rc::new(sys::watch(master)?);
        self.hung_up.set(false);
        self.exit.set(None);
        *self.shell.borrow_mut() = Shell::Connected(master.clone());
        Ok(master)
    }

    /// The shell has exited, or went with its machine: what it left in the kernel's buffer is still read, then the terminal ends, even where a
    /// background program holds it open.
    pub fn hang_up(&self, exit: Option<Exit>) {
        self.exit.set(exit);
        self.hung_up.set(true);
        self.room_changed.notify_one();
    }

    /// Forgets the pseudoterminal, or the hope for one. What was not read is not meant for a new shell.
    pub fn disconnect(&self) {
        *self.shell.borrow_mut() = Shell::Absent;
        self.input.borrow_mut().clear();
    }

    /// Hangs up on the whole session, and ends the pumping and with it the pseudoterminal.
    pub fn close(&self) {
        if let Some(session) = self.session() {
            hang_up_session(session);
        }
        self.closing.notify_one();
    }

    /// Whether a shell is connected.
    pub fn is_running(&self) -> bool {
        self.master().is_some()
    }

    /// How its last shell ended, where none runs.
    pub fn exit(&self) -> Option<Exit> {
        self.exit.get().filter(|_| !self.is_running())
    }

    /// The foreground process group's leader, as numbered outside the sandbox: who gets Ctrl-C.
    pub fn foreground(&self) -> Option<Pid> {
        nix::unistd::tcgetpgrp(self.master()?.get_ref()).ok().filter(|pid| pid.as_raw() > 0)
    }

    /// Its size, which a new shell gets too.
    pub fn size(&self) -> Size {
        self.size.get()
    }

    /// Sets its size, soon. The foreground program gets SIGWINCH.
    pub fn resize(&self, size: Size) {
        if self.size.replace(size) != size {
            self.size_changed.notify_one();
        }
    }

    /// Types. Whole or not at all: false where the program has left too much unread. Where there is no shell and none
    /// is on its way, nobody is meant, and nothing is kept for a later one to execute by surprise.
    pub fn write(&self, bytes: &[u8]) -> bool {
        let mut input = self.input.borrow_mut();
        if matches!(*self.shell.borrow(), Shell::Absent) {
            return true;
        }
        if let ([key], Some(master)) = (bytes, self.master())
            && interrupts(master.get_ref(), *key)
        {
            input.clear();
            flush(master.get_ref());
        }
        if input.len() + bytes.len() > INPUT_LIMIT {
            return false;
        }
        input.extend(bytes);
        self.typed.set(self.typed.get() + bytes.len() as u64);
        self.input_changed.notify_one();
        true
    }

    /// How many bytes have ever been typed into it.
    pub fn typed(&self) -> u64 {
        self.typed.get()
    }

    /// How many of those it has taken, or discarded.
    pub fn taken(&self) -> u64 {
        self.typed.get() - self.input.borrow().len() as u64
    }

    /// Says that there may be room for output again.
    pub fn room_changed(&self) {
        self.room_changed.notify_one();
    }

    /// The session of its shell, as numbered outside the sandbox.
    pub fn session(&self) -> Option<Pid> {
        tcgetsid(self.master()?.get_ref()).ok().filter(|pid| pid.as_raw() > 0)
    }

    fn master(&self) -> Option<Rc<AsyncFd<OwnedFd>>> {
        match &*self.shell.borrow() {
            Shell::Connected(master) => Some(master.clone()),
            Shell::Absent | Shell::Awaited => None,
        }
    }
}

/// Whether the kernel makes a signal of this key, and discards what the program has not read (termios(3)). Asked of
/// the master side, the settings are those of the other side.
fn interrupts(master: &OwnedFd, key: u8) -> bool {
    use SpecialCharacterIndices::{VINTR, VQUIT, VSUSP};
    let Ok(settings) = tcgetattr(master) else { return false };
    INTERRUPTING_KEYS.contains(&key)
        && settings.local_flags.contains(LocalFlags::ISIG)
        && !settings.local_flags.contains(LocalFlags::NOFLSH)
        && [VINTR, VQUIT, VSUSP].iter().any(|&index| settings.control_chars[index as usize] == key)
}

/// Discards what was typed and not read. The kernel does so itself when it comes to the interrupting key, but it may
/// never come to it: behind 4095 bytes of whole lines that nobody reads, it takes no more from the master.
fn flush(master: &OwnedFd) {
    // What is on its way to the line discipline; then what that keeps for the program. A terminal that is just
    // closing has neither.
    let _ = tcflush(master, FlushArg::TCOFLUSH);
    if let Ok(slave) = sys::pseudoterminal_peer(master) {
        let _ = tcflush(slave, FlushArg::TCIFLUSH);
    }
}

/// SIGHUP to every process of a session, and SIGCONT, so that stopped ones hear of it too. The kernel's own, when the
/// master side is closed, goes to the shell and to the foreground program only.
fn hang_up_session(session: Pid) {
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()).map(Pid::from_raw) else {
            continue;
        };
        if getsid(Some(pid)) == Ok(session) {
            // A process that has just ended, or become somebody else's, needs none.
            let _ = kill(pid, Signal::SIGHUP).and_then(|()| kill(pid, Signal::SIGCONT));
        }
    }
}

impl std::fmt::Debug for Terminal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Terminal").field("id", &self.id).field("running", &self.is_running()).finish_non_exhaustive()
    }
}

/// Whether a descriptor that the sandbox sent is a terminal at all.
pub fn is_terminal(fd: impl AsFd) -> bool {
    nix::unistd::isatty(fd).unwrap_or(false)
}
