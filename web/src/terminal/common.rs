//! What all screens of the page share: the way to the lab, the learner's choices of looks, and what the pane shows
//! beside the screens on their behalf.

use std::time::Duration;

use leptos::prelude::*;
use shared::protocol::TerminalId;

use super::looks;
use super::search::Found;
use crate::outbox::Outbox;
use crate::storage;

const SIZE: &str = "newroot-terminal-size";
const READER: &str = "newroot-screen-reader";

/// The sizes that letters may have, in CSS pixels: below, nobody reads them; above, no command fits into a line.
const SIZES: std::ops::RangeInclusive<f64> = 8.0..=32.0;

/// How long a notice is shown.
const NOTICE: Duration = Duration::from_secs(6);

/// A link in a terminal's output that is to be shown whole: its text may say something else than where it leads.
#[derive(Clone, PartialEq)]
pub struct Link {
    /// The terminal it is in.
    pub terminal: TerminalId,
    /// Where it leads, by http or https.
    pub address: String,
    /// Whether it was clicked, and so stays when the pointer leaves it.
    pub clicked: bool,
}

/// What all screens share.
#[derive(Clone, Copy)]
pub struct Common {
    /// Where what is typed goes.
    pub outbox: Outbox,
    /// Whether this page owns the terminals; `None` until the lab has told. A viewer shows them in the owner's size.
    pub owner: RwSignal<Option<bool>>,
    /// The size of the letters, in CSS pixels.
    pub letters: RwSignal<f64>,
    /// Whether the terminals speak to a screen reader.
    pub reader: RwSignal<bool>,
    /// The terminal that is being searched, and what has been found there.
    pub searched: RwSignal<Option<TerminalId>>,
    /// See [`Common::searched`].
    pub found: RwSignal<Found>,
    /// The link under the pointer.
    pub link: RwSignal<Option<Link>>,
    /// The terminal in which text was selected by touch, which has no keys to copy it.
    pub touched: RwSignal<Option<TerminalId>>,
    /// A word to the learner, for a while.
    pub notice: RwSignal<Option<&'static str>>,
    /// What was selected last, in whichever terminal: the middle button pastes it.
    pub primary: StoredValue<String>,
    /// Counts notices.
    notices: StoredValue<u32>,
}

impl Common {
    /// With the choices that this browser remembers.
    pub fn new(outbox: Outbox) -> Common {
        let size = storage::get(SIZE).and_then(|size| size.parse().ok()).filter(|size| SIZES.contains(size));
        Common {
            outbox,
            owner: RwSignal::new(None),
            letters: RwSignal::new(size.unwrap_or_else(looks::font_size)),
            reader: RwSignal::new(storage::get(READER).is_some()),
            searched: RwSignal::new(None),
            found: RwSignal::new(Found::default()),
            link: RwSignal::new(None),
            touched: RwSignal::new(None),
            notice: RwSignal::new(None),
            primary: StoredValue::new(String::new()),
            notices: StoredValue::new(0),
        }
    }

    /// Makes the letters so many pixels larger, or smaller, and remembers it; `None` gives them their own size back.
    pub fn resize_letters(self, by: Option<f64>) {
        let size = match by {
            Some(by) => (self.letters.get_untracked() + by).clamp(*SIZES.start(), *SIZES.end()),
            None => looks::font_size(),
        };
        self.letters.set(size);
        storage::set(SIZE, (size != looks::font_size()).then(|| size.to_string()).as_deref());
    }

    /// Switches the screen reader mode on or off, and remembers it.
    pub fn turn_reader(self) {
        let on = !self.reader.get_untracked();
        self.reader.set(on);
        storage::set(READER, on.then_some("on"));
        self.say(if on { "Screen reader mode is on" } else { "Screen reader mode is off" });
    }

    /// Says something, until something else is said or some seconds have passed.
    pub fn say(self, words: &'static str) {
        let number = self.notices.try_update_value(|number| {
            *number += 1;
            *number
        });
        self.notice.set(Some(words));
        let forget = move || {
            if Some(self.notices.get_value()) == number {
                self.notice.set(None);
            }
        };
        set_timeout(forget, NOTICE);
    }
}
