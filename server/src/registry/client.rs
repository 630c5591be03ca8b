//! For whom the mirror asks its upstreams: each lab is a client of its own, and so is the server. What one client may have
//! under way, and how often it may be wrong, has a bound, so that no lab keeps the others waiting.

mod turns;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::error::StoreError;
pub use turns::{Bounds, Turn, Turns};

/// Somebody who asks the mirror. Clones are the same client.
#[derive(Clone)]
pub struct Client(Arc<Account>);

struct Account {
    number: u64,
    failures: Pace,
    log_lines: Pace,
}

/// Names a client.
pub type Number = u64;

/// How many requests of a client may fail at the upstream in a row, and how soon the next one may. Whoever asks for digests
/// that nobody has would else have the server ask its registry without end, which counts that as the server's.
const FAILURES: (u32, Duration) = (30, Duration::from_secs(1));

/// How many lines a client may cause in the server's log, and how soon the next one.
const LOG_LINES: (u32, Duration) = (20, Duration::from_secs(3));

impl Client {
    /// One that nobody else is.
    #[allow(clippy::new_without_default, reason = "each is another one")]
    pub fn new() -> Client {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Client(Arc::new(Account { number, failures: Pace::of(FAILURES), log_lines: Pace::of(LOG_LINES) }))
    }

    /// Its name.
    pub fn number(&self) -> Number {
        self.0.number
    }

    /// Whether it may ask an upstream at all just now: not if it was wrong too often.
    pub fn may_ask(&self) -> Result<(), StoreError> {
        match self.0.failures.wait() {
            Duration::ZERO => Ok(()),
            wait => Err(StoreError::TooManyFailures { seconds: wait.as_secs() + 1 }),
        }
    }

    /// Notes that the upstream had not what this client has asked for.
    pub fn has_failed(&self) {
        self.0.failures.take();
    }

    /// Whether one more line about it goes to the log, and is then counted.
    pub fn may_log(&self) -> bool {
        self.0.log_lines.wait().is_zero() && {
            self.0.log_lines.take();
            true
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Client({})", self.0.number)
    }
}

/// So many of something at once, and one more each so often.
struct Pace {
    /// How far ahead of the clock `at` may be.
    ahead: Duration,
    every: Duration,
    /// When all that was taken would have been due.
    at: Mutex<Option<Instant>>,
}

impl Pace {
    fn of((at_once, every): (u32, Duration)) -> Pace {
        Pace { ahead: every * at_once.saturating_sub(1), every, at: Mutex::default() }
    }

    /// How long until there is one to take.
    fn wait(&self) -> Duration {
        let at = *self.at.lock().unwrap_or_else(PoisonError::into_inner);
        let ahead = at.map_or(Duration::ZERO, |at| at.saturating_duration_since(Instant::now()));
        ahead.saturating_sub(self.ahead)
    }

    fn take(&self) {
        let mut at = self.at.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        *at = Some(at.map_or(now, |at| at.max(now)) + self.every);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_is_wrong_again_and_again_has_to_wait_and_no_other() {
        let (wrong, other) = (Client::new(), Client::new());
        for _ in 0..FAILURES.0 {
            wrong.may_ask().expect("so many are fine");
            wrong.has_failed();
        }
        // Time goes on meanwhile, so one more may be.
        (0..1000).for_each(|_| wrong.has_failed());
        assert!(matches!(wrong.may_ask(), Err(StoreError::TooManyFailures { seconds: 900.. })));
        other.may_ask().expect("the other has done nothing");
        assert_eq!((0..10_000).filter(|_| wrong.may_log()).count() as u32, LOG_LINES.0);
    }
}
