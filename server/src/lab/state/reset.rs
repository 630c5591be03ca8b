//! A reset: the sandbox goes, with every process, mount and file in it, and the zygote makes another. Terminals keep
//! their places, and the lab its process, its pages and its limits.

use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::spawn_local;
use tokio::time::timeout;

use super::super::machine::Machine;
use super::super::sandbox::Overlay;
use super::Lab;

/// How long the kernel may take to end what runs, and to make it anew, on a machine with much else to do.
const PATIENCE: Duration = Duration::from_secs(20);

/// ESC c resets a terminal whole (RIS, ECMA-48): a program that was killed may have left it in any mode, and what it
/// shows is no longer true.
const CLEAR: &[u8] = b"\x1bc[newroot: this machine was reset; everything in it is new]\r\n";

impl Lab {
    /// Remakes the machine. A reset during a reset is that reset.
    pub(in super::super) fn reset(self: &Rc<Self>) {
        self.used();
        if self.overlay == Overlay::Outside {
            // Its files are in an overlay that only the machine's root can empty.
            return self.end("a reset takes a whole new machine on this kernel, which is older than Linux 6.6");
        }
        let Some(machine) = self.machine.take() else { return };
        let lab = self.clone();
        spawn_local(async move {
            match timeout(PATIENCE, lab.remake(machine)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::error!("the machine could not be reset: {error}");
                    lab.end("it could not be reset");
                }
                Err(_elapsed) => {
                    tracing::error!("the machine could not be reset within {PATIENCE:?}");
                    lab.end("it could not be reset in time");
                }
            }
        });
    }

    async fn remake(self: &Rc<Self>, old: Rc<Machine>) -> io::Result<()> {
        old.end().await?;
        // Whatever keeps a mount or a network namespace of the old machine alive goes before there is a new one: its
        // memory is paid from the same cgroup.
        drop(old);
        self.trace.clear();
        let closing = self.views.borrow_mut().clear();
        for task in closing {
            let _ended_or_aborted = task.await;
        }
        self.mirror.send_replace(None);
        // Tasks that were told to end do so at their next turn, and drop what they hold.
        tokio::task::yield_now().await;
        let mut changes = self.changes();
        for terminal in self.terminals() {
            if terminal.is_awaiting() {
                // Of the old machine nothing comes any more.
                terminal.disconnect();
            } else {
                terminal.hang_up(None);
            }
        }
        while self.terminals().iter().any(|terminal| terminal.is_running()) {
            // Each tells when the last of its output is read. The sender is in this very lab.
            let _ = changes.changed().await;
        }
        for terminal in self.terminals() {
            terminal.output.borrow_mut().push(CLEAR);
        }
        self.start_machine().await
    }

    /// The listening socket for the registry mirror; another one after each reset, none in between.
    pub(in super::super) fn mirrors(&self) -> watch::Receiver<Option<Rc<OwnedFd>>> {
        self.mirror.subscribe()
    }

    /// Kills whatever runs, at the end of the lab: the learner may have taught PID 1 not to go by itself.
    pub fn kill_machine(&self) {
        if let Some(machine) = self.machine.take() {
            let _already_gone = machine.kill();
        }
    }
}
