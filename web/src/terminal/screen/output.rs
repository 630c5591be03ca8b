//! A screen's output: what of it has come, what xterm has parsed, and what the lab knows of that.

use std::rc::Rc;
use std::time::Duration;

use js_sys::Uint8Array;
use leptos::prelude::set_timeout;
use shared::protocol::{ACKNOWLEDGE_EACH, Offset, ToLab};
use wasm_bindgen::prelude::*;

use super::Screen;
use crate::words;

/// When output pauses for this long, what is parsed is acknowledged though it is little.
const PAUSE: Duration = Duration::from_millis(100);

/// So many bytes xterm parses in one go.
const PART: u32 = 1024;

impl Screen {
    /// Shows output that begins at `offset`.
    pub fn write(self: &Rc<Screen>, offset: u64, bytes: Uint8Array) {
        let received = self.received.get();
        let end = offset + u64::from(bytes.length());
        if end <= received {
            return;
        }
        // After a reconnection some bytes may come a second time.
        let known = u32::try_from(received.saturating_sub(offset)).unwrap_or(u32::MAX);
        self.received.set(end);
        let (screen, era) = (self.clone(), self.era.get());
        let parsed = Closure::once_into_js(move || screen.parsed(end, era));
        // In pieces, because between two of them xterm looks at the clock and lets the browser have its turn; some bytes take
        // a hundred times as long as others.
        let last = bytes.length().saturating_sub(1) / PART * PART;
        for start in (0..last).step_by(PART as usize).filter(|start| start + PART > known) {
            self.xterm.write_part(&bytes.subarray(start.max(known), start + PART));
        }
        self.xterm.write(&bytes.subarray(last.max(known), bytes.length()), parsed.unchecked_ref());
    }

    fn parsed(self: &Rc<Screen>, end: u64, era: u32) {
        if era != self.era.get() {
            return;
        }
        self.parsed.set(end);
        if end == self.received.get() {
            self.replaying.set(false);
            // What a shell says before it asks ends its lines; a prompt leaves the cursor in its own.
            if self.xterm.buffer().active().cursor_x() > 0 && !self.prompted.replace(true) {
                self.host.borrow().iter().for_each(|host| self.embellish(host));
            }
        }
        if end - self.acknowledged.get() >= ACKNOWLEDGE_EACH {
            self.acknowledge();
        } else if end == self.received.get() {
            let screen = self.clone();
            let paused = move || {
                if (era, end) == (screen.era.get(), screen.received.get()) {
                    screen.acknowledge();
                }
            };
            set_timeout(paused, PAUSE);
        }
    }

    fn acknowledge(&self) {
        let offset = self.parsed.get();
        self.acknowledged.set(offset);
        self.common.outbox.send(&ToLab::Acknowledge { terminal: self.id, offset: Offset(offset) });
    }

    /// Output was left out: this page was away for too long, or took it too slowly.
    pub fn skip(&self, offset: u64) {
        let left_out = offset.saturating_sub(self.received.get());
        self.restart(offset);
        if left_out > 0 {
            let note = format!("\x1b[2m… {} of output left out …\x1b[0m\r\n", words::bytes(left_out));
            let shown = Closure::once_into_js(|| ());
            self.xterm.write(&Uint8Array::from(note.as_bytes()), shown.unchecked_ref());
        }
    }

    /// Clears it, for output that goes on from `offset`.
    pub fn restart(&self, offset: u64) {
        self.era.set(self.era.get() + 1);
        self.replaying.set(true);
        self.received.set(offset);
        self.parsed.set(offset);
        self.acknowledged.set(offset);
        self.xterm.reset();
    }
}
