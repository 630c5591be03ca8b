//! A line in the log that anybody from outside can cause, once a minute at most.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// When it was last said.
pub struct Seldom(Mutex<Option<Instant>>);

impl Seldom {
    /// Not yet.
    pub const fn new() -> Seldom {
        Seldom(Mutex::new(None))
    }

    /// Says it, if that is not long enough ago.
    pub fn say(&self, say: impl FnOnce()) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|last| last.elapsed() >= Duration::from_secs(60)) {
            *last = Some(Instant::now());
            say();
        }
    }
}
