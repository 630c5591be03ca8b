//! Terminals: opened inside the sandbox by its PID 1, so that `tty` and `ps` tell the truth there; read and written by
//! the lab process, which keeps each one's last output. The only module that knows pty-process.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;

use nix::errno::Errno;
use nix::unistd::Pid;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;

use shared::protocol::{Offset, Size, TerminalId};

use super::ring::Ring;
use super::shell::{self, SHELLS};
use crate::sys;

/// What every shell of a lab is started with.
const ENVIRONMENT: [(&str, &str); 8] = [
    ("HOME", "/root"),
    ("USER", "root"),
    ("TERM", "xterm-256color"),
    ("LANG", "C.UTF-8"),
    ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
    ("PS1", "\\u@\\h:\\w\\$ "),
    ("NEWROOT_REGISTRY", "http://127.0.0.1:5000"),
    ("NEWROOT_MIRROR", "http://127.0.0.1:5000"),
];

/// A pseudoterminal with a shell could not be opened inside the sandbox.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// No pseudoterminal.
    #[error("cannot open a pseudoterminal in /dev/pts: {0}")]
    Pseudoterminal(pty_process::Error),
    /// No shell.
    #[error("cannot start a shell: {0}")]
    Shell(pty_process::Error),
}

/// PID 1's part: a shell in a session of its own, with the new pseudoterminal as its controlling terminal.
/// Returns the shell's process number and the terminal's master side.
pub fn open_in_sandbox(size: Size) -> Result<(u32, OwnedFd), OpenError> {
    let (master, slave) = pty_process::blocking::open().map_err(OpenError::Pseudoterminal)?;
    master.resize(pty_process::Size::new(size.rows, size.columns)).map_err(OpenError::Pseudoterminal)?;
    // As long as a learner leaves one in its place.
    let path = shell::find(Path::new("/")).unwrap_or(SHELLS[SHELLS.len() - 1]);
    let shell = pty_process::blocking::Command::new(path)
        // A leading dash makes it a login shell, which reads /etc/profile.
        .arg0(path.replace("/bin/", "-"))
        .env_clear()
        .envs(ENVIRONMENT)
        .env("SHELL", path)
        .current_dir("/root")
        .spawn(slave)
        .map_err(OpenError::Shell)?;
    Ok((shell.id(), master.into()))
}

/// A terminal, seen from the lab process.
pub struct Terminal {
    /// Its number.
    pub id: TerminalId,
    /// Its name, by which lessons send commands to it.
    pub name: &'static str,
    /// Its last output.
    pub output: RefCell<Ring>,
    /// Its size, which a new shell gets too.
    pub size: Cell<Size>,
    master: RefCell<Option<Rc<AsyncFd<OwnedFd>>>>,
    input: RefCell<VecDeque<u8>>,
    hung_up: Cell<bool>,
    /// Something was typed, or a new shell came.
    input_changed: Notify,
    /// The page has acknowledged output, or no page is there any more.
    room_changed: Notify,
}

/// Output is gathered into pieces of about this size: one frame each.
pub const PIECE: usize = 16 * 1024;

/// What may wait for a program that does not read its terminal; a larger paste is cut, with an error.
const INPUT_LIMIT: usize = 8 * 1024 * 1024;

impl Terminal {
    /// A terminal without a shell.
    pub fn new(id: TerminalId, name: &'static str) -> Terminal {
        Terminal {
            id,
            name,
            output: RefCell::default(),
            size: Cell::new(Size { columns: 80, rows: 24 }),
            master: RefCell::default(),
            input: RefCell::default(),
            hung_up: Cell::default(),
            input_changed: Notify::new(),
            room_changed: Notify::new(),
        }
    }

    /// Gives it the master side of a new pseudoterminal, as the sandbox sent it.
    pub fn connect(&self, master: OwnedFd) -> io::Result<Rc<AsyncFd<OwnedFd>>> {
        nix::fcntl::fcntl(&master, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK))?;
        let Size { columns, rows } = self.size.get();
        sys::set_window_size(&master, columns, rows)?;
        let master = Rc::new(sys::watch(master)?);
        self.hung_up.set(false);
        *self.master.borrow_mut() = Some(master.clone());
        Ok(master)
    }

    /// Its oldest and newest place that can be shown.
    pub fn output_range(&self) -> (Offset, Offset) {
        let output = self.output.borrow();
        (output.start(), output.end())
    }

    /// The shell has exited: what it left in the kernel's buffer is still read, then the terminal ends, even where a
    /// background program holds it open.
    pub fn hang_up(&self) {
        self.hung_up.set(true);
        self.room_changed.notify_one();
    }

    /// Forgets the pseudoterminal, whose shell has exited.
    pub fn disconnect(&self) {
        *self.master.borrow_mut() = None;
        // What the old shell has not read is not meant for a new one; what is typed from now on is.
        self.input.borrow_mut().clear();
    }

    /// Whether a shell is connected.
    pub fn is_running(&self) -> bool {
        self.master.borrow().is_some()
    }

    /// The foreground process group's leader, as numbered outside the sandbox: who gets Ctrl-C.
    pub fn foreground(&self) -> Option<Pid> {
        let master = self.master.borrow().clone()?;
        nix::unistd::tcgetpgrp(master.get_ref()).ok().filter(|pid| pid.as_raw() > 0)
    }

    /// Sets its size. The foreground program gets SIGWINCH.
    pub fn resize(&self, size: Size) {
        self.size.set(size);
        if let Some(master) = self.master.borrow().as_ref() {
            // A terminal that is just closing has no size any more, and needs none.
            let _ = sys::set_window_size(master.get_ref(), size.columns, size.rows);
        }
    }

    /// Types. Whole or not at all: false where the program has left too much unread.
    pub fn write(&self, bytes: &[u8]) -> bool {
        let mut input = self.input.borrow_mut();
        if input.len() + bytes.len() > INPUT_LIMIT {
            return false;
        }
        input.extend(bytes);
        self.input_changed.notify_one();
        true
    }

    /// Says that [`Terminal::pump_output`] may have room again.
    pub fn room_changed(&self) {
        self.room_changed.notify_one();
    }

    /// Moves output into the ring until the terminal ends. Reads only while `has_room` says so: that stops a flooding
    /// program at the kernel's small buffer, so that little is between it and a Ctrl-C.
    pub async fn pump_output(&self, master: &AsyncFd<OwnedFd>, has_room: impl Fn(Offset) -> bool, arrived: impl Fn()) {
        while !self.hung_up.get() {
            if !has_room(self.output.borrow().end()) {
                self.room_changed.notified().await;
                continue;
            }
            let mut ready = tokio::select! {
                ready = master.readable() => match ready {
                    Ok(ready) => ready,
                    Err(_runtime_ends) => return,
                },
                () = self.room_changed.notified() => continue,
            };
            match self.read_piece(master.get_ref(), &arrived) {
                Ok(()) => {}
                Err(Errno::EAGAIN) => ready.clear_ready(),
                // EIO is how the last close of the other side reads.
                Err(_end) => return,
            }
            // A flood keeps the descriptor ready; the other tasks of this thread get their turn.
            tokio::task::yield_now().await;
        }
        while self.read_piece(master.get_ref(), &arrived).is_ok() {}
    }

    /// Reads until a piece is full; errors with EAGAIN when there is no more for now.
    fn read_piece(&self, master: &OwnedFd, arrived: &impl Fn()) -> nix::Result<()> {
        let mut piece = [0; PIECE];
        let mut filled = 0;
        let result = loop {
            match nix::unistd::read(master, &mut piece[filled..]) {
                Ok(0) => break Err(Errno::EIO),
                Ok(count) => filled += count,
                Err(Errno::EINTR) => {}
                Err(error) => break Err(error),
            }
            if filled == PIECE {
                break Ok(());
            }
        };
        if filled > 0 {
            self.output.borrow_mut().push(&piece[..filled]);
            arrived();
        }
        result
    }

    /// Moves what is typed to the terminal until it ends.
    pub async fn pump_input(&self, master: &AsyncFd<OwnedFd>) {
        loop {
            while self.input.borrow().is_empty() {
                self.input_changed.notified().await;
            }
            let Ok(mut ready) = master.writable().await else { return };
            let mut input = self.input.borrow_mut();
            match nix::unistd::write(master.get_ref(), input.as_slices().0) {
                Ok(count) => drop(input.drain(..count)),
                Err(Errno::EAGAIN) => ready.clear_ready(),
                Err(Errno::EINTR) => {}
                Err(_end) => return,
            }
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
