//! The lab process's event loop, which no call puts to sleep for long.
//!
//! The learner's programs hold copies of what the lab reads and writes: a terminal's O_NONBLOCK belongs to what all
//! copies share, so it can go at any moment, also between a look at it and the read(2). No call reads a terminal without
//! heeding it (RWF_NOWAIT is EOPNOTSUPP there, as is a second open(2) of a pseudoterminal's master side). And a descriptor
//! that is only closed may sleep as well: SO_LINGER.
//!
//! So each turn of the loop is under an alarm. It is set before the turn begins, and off only while the loop waits for
//! events itself; it rings again and again, so a ring that comes just before the call is not the last. Each of those
//! sleeps can be interrupted, and ends with EINTR: nothing of the learner's stops this thread for longer than `PATIENCE`.
//! What sleeps uninterruptibly for good is for the server to end (`classroom/warden`).

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use tokio::runtime::{Builder, Runtime};

use crate::defence::{Defence, Defences};
use crate::sys::Alarm;

/// How long a turn of the loop may take before its sleeps are interrupted. Longer than any turn of a lab in order on a
/// machine with much else to do, but no harm is done where one is not.
const PATIENCE: Duration = Duration::from_millis(500);
/// How soon after that it is interrupted again.
const AGAIN: Duration = Duration::from_millis(50);

/// An event loop for the calling thread, which must be the one that runs it.
pub fn event_loop(defences: &Defences) -> io::Result<Runtime> {
    let mut builder = Builder::new_current_thread();
    builder.enable_all();
    if defences.stand(Defence::Alarm) {
        let (alarm, off) = (Arc::new(Alarm::of_this_thread()?), Duration::ZERO);
        alarm.set(PATIENCE, AGAIN);
        let parking = alarm.clone();
        builder.on_thread_park(move || parking.set(off, off)).on_thread_unpark(move || alarm.set(PATIENCE, AGAIN));
    }
    builder.build()
}

/// Whether a call with this descriptor may sleep.
pub fn may_sleep(descriptor: impl AsFd) -> bool {
    fcntl(descriptor, FcntlArg::F_GETFL).is_ok_and(|flags| !OFlag::from_bits_retain(flags).contains(OFlag::O_NONBLOCK))
}
