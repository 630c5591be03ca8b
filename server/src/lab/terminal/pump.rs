//! Moves a terminal's bytes and sizes between the lab process and the kernel's pseudoterminal. Read and written here
//! and not by pty-process, which takes a descriptor that was sent to us by an unsafe function only.

use std::future::pending;
use std::os::fd::OwnedFd;
use std::time::Duration;

use nix::errno::Errno;
use tokio::io::unix::AsyncFd;
use tokio::time::sleep;

use shared::protocol::{Offset, Size};

use super::Terminal;
use crate::lab::alarm::may_sleep;
use crate::sys;

/// Output is gathered into pieces of about this size: one frame each.
pub const PIECE: usize = 16 * 1024;

/// How many pieces are still read when the shell has exited: more than the kernel holds of a pseudoterminal's output
/// (64 KiB), and few enough that a background program which goes on writing keeps nobody waiting.
const LAST_PIECES: usize = 5;

/// What is said of a terminal that made the lab wait.
const BLOCKED: &[u8] = b"\r\n[newroot: this terminal was closed: a program has made its master side block]\r\n";

/// Sizes that come faster than this are passed over: while a border is dragged, programs would draw for each.
const RESIZE_PAUSE: Duration = Duration::from_millis(30);

impl Terminal {
    /// Serves the pseudoterminal until it ends or the terminal is closed. Reads output only while `has_room` says so:
    /// that stops a flooding program at the kernel's small buffer, so that little is between it and a Ctrl-C.
    /// `changed` is called when something is new to be shown.
    pub async fn pump(&self, master: &AsyncFd<OwnedFd>, has_room: impl Fn(Offset) -> bool, changed: impl Fn()) {
        tokio::select! {
            () = self.pump_output(master, has_room, &changed) => {}
            () = self.pump_input(master, &changed) => {}
            () = self.pump_sizes(master, &changed) => {}
            () = self.closing.notified() => {}
        }
    }

    async fn pump_output(&self, master: &AsyncFd<OwnedFd>, has_room: impl Fn(Offset) -> bool, changed: &impl Fn()) {
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
            match self.read_piece(master.get_ref(), changed) {
                Ok(()) => {}
                Err(Errno::EAGAIN) => ready.clear_ready(),
                Err(Errno::EINTR) if !may_sleep(master.get_ref()) => {}
                Err(Errno::EINTR) => return self.give_up(changed),
                // EIO is how the last close of the other side reads.
                Err(_end) => return,
            }
            // A flood keeps the descriptor ready; the other tasks of this thread get their turn.
            tokio::task::yield_now().await;
        }
        let _ = (0..LAST_PIECES).try_for_each(|_| self.read_piece(master.get_ref(), changed));
    }

    /// Reads until a piece is full; errors with EAGAIN when there is no more for now, and with EINTR when the
    /// alarm has rung.
    fn read_piece(&self, master: &OwnedFd, changed: &impl Fn()) -> nix::Result<()> {
        let mut piece = [0; PIECE];
        let mut filled = 0;
        let result = loop {
            match nix::unistd::read(master, &mut piece[filled..]) {
                Ok(0) => break Err(Errno::EIO),
                Ok(count) => filled += count,
                Err(error) => break Err(error),
            }
            if filled == PIECE {
                break Ok(());
            }
        };
        if filled > 0 {
            self.output.borrow_mut().push(&piece[..filled]);
            changed();
        }
        result
    }

    async fn pump_input(&self, master: &AsyncFd<OwnedFd>, changed: &impl Fn()) {
        loop {
            while self.input.borrow().is_empty() {
                self.input_changed.notified().await;
            }
            let Ok(mut ready) = master.writable().await else { return };
            let written = nix::unistd::write(master.get_ref(), self.input.borrow().as_slices().0);
            match written {
                Ok(count) => {
                    self.input.borrow_mut().drain(..count);
                    changed();
                }
                Err(Errno::EAGAIN) => ready.clear_ready(),
                Err(Errno::EINTR) if !may_sleep(master.get_ref()) => {}
                Err(Errno::EINTR) => return self.give_up(changed),
                // The other side is closed. What it has written is still to be read, so this is not yet the end.
                Err(_end) => return pending().await,
            }
        }
    }

    /// Says why this terminal ends: the lab's alarm had to wake it from a call. Whoever holds a copy of the master side has
    /// taken O_NONBLOCK away, which no program does that means well.
    fn give_up(&self, changed: &impl Fn()) {
        self.output.borrow_mut().push(BLOCKED);
        changed();
    }

    async fn pump_sizes(&self, master: &AsyncFd<OwnedFd>, changed: &impl Fn()) {
        loop {
            self.size_changed.notified().await;
            let Size { columns, rows } = self.size.get();
            // A terminal that is just closing has no size any more, and needs none.
            let _ = sys::set_window_size(master.get_ref(), columns, rows);
            changed();
            sleep(RESIZE_PAUSE).await;
        }
    }
}
