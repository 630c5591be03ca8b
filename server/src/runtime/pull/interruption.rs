//! Ctrl-C and its kin, so that a pull can tidy up before it ends.

use std::io::{self, Read, Seek, SeekFrom};

use nix::sys::signal::Signal;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Tells of the first signal that asks this program to end.
#[derive(Clone)]
pub struct Interruption(watch::Receiver<Option<Signal>>);

impl Interruption {
    /// Begins to watch for signals: from now on none of them ends the program by itself. Call it within a tokio runtime.
    pub fn watch() -> io::Result<Interruption> {
        let (tell, told) = watch::channel(None);
        let ignored = ignored_signals();
        for which in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
            // nohup(1) and shells have their reasons: what was ignored when this program began stays so.
            if ignored & 1 << (which as i32 - 1) != 0 {
                continue;
            }
            let (mut signals, tell) = (signal(SignalKind::from_raw(which as i32))?, tell.clone());
            tokio::spawn(async move {
                signals.recv().await;
                tell.send_replace(Some(which));
            });
        }
        Ok(Interruption(told))
    }

    /// Waits for a signal.
    pub async fn wait(&self) -> Signal {
        let mut told = self.0.clone();
        while told.changed().await.is_ok() {
            if let Some(signal) = *told.borrow() {
                return signal;
            }
        }
        // Nobody listens for signals any more: the runtime is coming to its end.
        std::future::pending().await
    }

    /// The signal that has come, if one has.
    pub fn signal(&self) -> Option<Signal> {
        *self.0.borrow()
    }
}

/// The signals that this process ignores, a bit for each from the lowest on (`SigIgn` in proc_pid_status(5)).
fn ignored_signals() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

/// A file that reads as usual until a signal comes, and from then on not at all.
pub struct Interruptible<F> {
    /// The file.
    pub file: F,
    /// What ends the reading.
    pub interruption: Interruption,
}

impl<F: Read> Read for Interruptible<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // ErrorKind::Interrupted would not do: it means "try again".
        if self.interruption.signal().is_some() {
            return Err(io::Error::other("interrupted"));
        }
        self.file.read(buffer)
    }
}

impl<F: Seek> Seek for Interruptible<F> {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.file.seek(position)
    }
}
