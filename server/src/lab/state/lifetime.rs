//! When a lab ends by itself: nobody has used it for long, or its time is over. Pages are warned before.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use shared::protocol::{EndCause, Limits};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::Lab;

/// How long before the end pages are warned, and once more; less where the whole time is short.
const WARNINGS: [Duration; 2] = [Duration::from_secs(300), Duration::from_secs(60)];

/// What the end of a lab is reckoned from.
pub(super) struct Lifetime {
    born: Instant,
    idle: Duration,
    life: Option<Duration>,
    /// How long it lives that nobody has ever used, and nobody looks at.
    unused: Duration,
    used: Cell<Instant>,
    /// Whether anybody has done anything with it, beyond coming and going.
    was_used: Cell<bool>,
    used_again: Notify,
    ending: RefCell<Option<Ending>>,
}

/// An end that is near enough for pages to be warned of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    at: Instant,
    /// What brings it.
    pub cause: EndCause,
    /// How often a warning of it is due by now.
    warnings: usize,
}

impl Ending {
    /// From now to the end, in seconds.
    pub fn in_seconds(&self) -> u64 {
        self.at.saturating_duration_since(Instant::now()).as_secs_f64().round() as u64
    }
}

impl Lifetime {
    /// Begins now.
    pub fn new(limits: &Limits, unused: Duration) -> Lifetime {
        Lifetime {
            born: Instant::now(),
            idle: Duration::from_secs(limits.idle_seconds),
            life: limits.life_seconds.map(Duration::from_secs),
            unused,
            used: Cell::new(Instant::now()),
            was_used: Cell::default(),
            used_again: Notify::new(),
            ending: RefCell::default(),
        }
    }

    /// Whichever end comes first, and how long before it the warnings are due.
    fn next_end(&self, is_looked_at: bool) -> (Instant, EndCause, [Duration; 2]) {
        let warnings = |whole: Duration| [WARNINGS[0].min(whole / 2), WARNINGS[1].min(whole / 4)];
        let patience = if self.was_used.get() || is_looked_at { self.idle } else { self.idle.min(self.unused) };
        let idle = (self.used.get() + patience, EndCause::Idle, warnings(patience));
        let life = self.life.map(|life| (self.born + life, EndCause::Lifetime, warnings(life)));
        life.into_iter().fold(idle, |first, other| if other.0 < first.0 { other } else { first })
    }
}

impl Lab {
    /// Somebody has typed, or otherwise used the lab.
    pub(in super::super) fn used(&self) {
        self.lifetime.was_used.set(true);
        self.lifetime.used.set(Instant::now());
        if self.lifetime.ending.borrow().is_some() {
            self.lifetime.used_again.notify_one();
        }
    }

    /// Somebody has come or gone. That counts as use, but leaves a lab that nobody has used as worthless as it was.
    pub(in super::super) fn visited(&self) {
        self.lifetime.used.set(Instant::now());
        self.lifetime.used_again.notify_one();
    }

    /// How long the lab has been there, and how long nobody has used it.
    pub(in super::super) fn age_and_idleness(&self) -> (Duration, Duration) {
        (self.lifetime.born.elapsed(), self.lifetime.used.get().elapsed())
    }

    /// The end that pages are warned of, if one is near.
    pub(in super::super) fn ending(&self) -> Option<Ending> {
        *self.lifetime.ending.borrow()
    }

    /// Ends the lab when it is time, and warns of it.
    pub(super) async fn end_in_time(self: Rc<Self>) {
        loop {
            let (at, cause, warnings) = self.lifetime.next_end(self.pages.are_greeted());
            let left = at.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return self.end(match cause {
                    EndCause::Idle => "nobody has used it for a while",
                    EndCause::Lifetime => "its time was over",
                });
            }
            let due = warnings.iter().filter(|before| left <= **before).count();
            let ending = (due > 0).then_some(Ending { at, cause, warnings: due });
            if self.lifetime.ending.replace(ending) != ending {
                self.changed();
            }
            let next = warnings.get(due).map_or(at, |before| at - *before);
            tokio::select! {
                () = sleep_until(next) => {}
                () = self.lifetime.used_again.notified() => {}
            }
        }
    }
}
