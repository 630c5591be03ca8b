//! When to look, and when to act. What shows something that may change a thousand times a second follows it, but not
//! faster than the page can show it.

use std::time::Duration;

use leptos::prelude::*;
use leptos::task::{spawn_local, tick};

/// Between two looks, in milliseconds: no screen shows more.
const PAUSE: f64 = 16.0;
/// And this many times as long as the look took: under a storm the page stays usable.
const PAUSE_TIMES: f64 = 4.0;

/// A beat that follows something.
#[derive(Clone, Copy)]
pub struct Pace {
    beat: RwSignal<u32>,
    /// How many milliseconds were spent since the last beat.
    spent: StoredValue<f64>,
}

impl Pace {
    /// Follows what `track` tracks.
    pub fn following(track: impl Fn() + 'static) -> Pace {
        let pace = Pace { beat: RwSignal::new(0), spent: StoredValue::new(0.0) };
        let last = StoredValue::new(f64::NEG_INFINITY);
        let waits = StoredValue::new(false);
        let beat = move || {
            waits.set_value(false);
            pace.spent.set_value(0.0);
            last.set_value(now());
            pace.beat.update(|beat| *beat = beat.wrapping_add(1));
        };
        Effect::new(move |_| {
            track();
            let pause = PAUSE.max(pace.spent.get_value() * PAUSE_TIMES);
            let left = last.get_value() + pause - now();
            if left <= 0.0 {
                beat();
            } else if !waits.get_value() {
                waits.set_value(true);
                set_timeout(beat, Duration::from_millis(left.ceil() as u64));
            }
        });
        pace
    }

    /// Looks again at each beat.
    pub fn track(self) {
        self.beat.track();
    }

    /// Does what a look takes, and counts how long that is.
    pub fn spend<T>(self, look: impl FnOnce() -> T) -> T {
        let began = now();
        let seen = look();
        self.spent.update_value(|spent| *spent += now() - began);
        seen
    }
}

/// Acts once the page is as the signals say that have just been set: what is hidden, or does not stand there yet, takes no
/// focus. Not in the next frame, which comes when the browser has the time: keys that are pressed before it would still
/// go where the keyboard was.
pub fn once_shown(act: impl FnOnce() + 'static) {
    spawn_local(async {
        // Effects are tasks as well, and stand in line before this one goes on.
        tick().await;
        act();
    });
}

fn now() -> f64 {
    window().performance().map_or_else(js_sys::Date::now, |performance| performance.now())
}
