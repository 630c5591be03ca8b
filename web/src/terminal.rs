//! The terminals' screens. The only module that knows xterm: the rest of the page says what to show, type or focus.

mod common;
mod hand;
mod keys;
mod links;
mod looks;
mod renderer;
mod screen;
mod search;

use std::collections::BTreeMap;
use std::rc::Rc;

use js_sys::{ArrayBuffer, Uint8Array};
use leptos::prelude::*;
use shared::protocol::{Frame, FrameKind, Offset, Terminal, TerminalId, ToLab};
use web_sys::HtmlElement;

use crate::outbox::Outbox;
pub use common::Common;
pub use keys::is_apple;
use screen::Screen;
pub use search::{Found, MANY, Query, Way};

/// The length of a frame's head: what comes after it is the terminal's.
const HEAD: u32 = 13;

/// All screens of the page. They are made once and kept alive, shown or not.
#[derive(Clone, Copy)]
pub struct Screens {
    screens: StoredValue<BTreeMap<TerminalId, Rc<Screen>>, LocalStorage>,
    /// What they share, and show elsewhere.
    pub common: Common,
}

impl Screens {
    /// No screens yet; what is typed into them will go to `outbox`.
    pub fn new(outbox: Outbox) -> Screens {
        let screens = Screens { screens: StoredValue::new_local(BTreeMap::new()), common: Common::new(outbox) };
        let Common { letters, reader, .. } = screens.common;
        Effect::new(move |_| {
            letters.track();
            screens.each(|screen| screen.fill());
        });
        Effect::new(move |_| {
            let on = reader.get();
            screens.each(|screen| screen.speak(on));
        });
        screens
    }

    /// Whether another page owns the terminals.
    pub fn is_viewer(self) -> bool {
        self.common.owner.get() == Some(false)
    }

    /// Keeps the screens of these terminals, and makes those that are missing.
    pub fn keep(self, terminals: &[Terminal]) {
        let known: Vec<_> = self.screens.with_value(|screens| screens.keys().copied().collect());
        for id in known.into_iter().filter(|id| terminals.iter().all(|terminal| terminal.id != *id)) {
            self.close(id);
        }
        terminals.iter().for_each(|terminal| self.update(terminal));
    }

    /// Takes note of a terminal's state, and makes its screen where it has none.
    pub fn update(self, terminal: &Terminal) {
        self.screens.update_value(|screens| {
            screens.entry(terminal.id).or_insert_with(|| Screen::new(terminal, self.common));
        });
        self.with(terminal.id, |screen| screen.update(terminal));
    }

    /// Takes away the screen of a terminal that was closed.
    pub fn close(self, id: TerminalId) {
        if self.common.searched.get_untracked() == Some(id) {
            self.common.searched.set(None);
        }
        if let Some(screen) = self.screens.try_update_value(|screens| screens.remove(&id)).flatten() {
            screen.dispose();
        }
    }

    /// The lab has told whether this page owns the terminals.
    pub fn own(self, owner: bool) {
        self.common.owner.set(Some(owner));
        self.each(|screen| {
            screen.fill();
            screen.tell_size();
        });
    }

    /// Shows a screen in an element, which it fills from then on.
    pub fn attach(self, id: TerminalId, host: &HtmlElement) {
        self.with(id, |screen| screen.attach(host));
    }

    /// Shows what a binary frame brings.
    pub fn show(self, wire: &ArrayBuffer) {
        let head = Uint8Array::new_with_byte_offset_and_length(wire, 0, wire.byte_length().min(HEAD)).to_vec();
        if let Some(Frame { kind: FrameKind::Output, terminal, offset, .. }) = Frame::decode(&head) {
            let bytes = Uint8Array::new_with_byte_offset(wire, HEAD);
            self.with(terminal, |screen| screen.write(offset.0, bytes));
        }
    }

    /// Clears a screen whose output goes on from `offset`.
    pub fn skip(self, id: TerminalId, offset: Offset) {
        self.with(id, |screen| screen.skip(offset.0));
    }

    /// Clears all screens, for a new machine.
    pub fn clear(self) {
        self.each(|screen| screen.restart(0));
    }

    /// How far each terminal's output has come, for the greeting.
    pub fn offsets(self) -> Vec<(TerminalId, Offset)> {
        let offset = |screen: &Rc<Screen>| (screen.id, screen.received());
        self.screens.with_value(|screens| screens.values().map(offset).collect())
    }

    /// Gives a terminal the keyboard.
    pub fn focus(self, id: TerminalId) {
        self.with(id, |screen| screen.focus());
    }

    /// Types a command and Enter, as if by hand, and gives the terminal the keyboard. Where the shell has ended, the
    /// command starts a new one.
    pub fn run(self, id: TerminalId, command: &str) {
        let keys = format!("{}\r", command.replace('\n', "\r"));
        self.with(id, |screen| {
            if !screen.is_running() {
                self.common.outbox.send(&ToLab::Restart { terminal: id });
            }
            self.common.outbox.input(id, keys.as_bytes());
            screen.focus();
            screen.scroll_to_bottom();
        });
    }

    /// Goes to a match in a terminal's lines; [`Common::found`] says what there is.
    pub fn find(self, id: TerminalId, query: Query, way: Way) {
        self.with(id, |screen| screen.find(query, way));
    }

    /// Ends the search, and gives the terminal the keyboard back.
    pub fn end_search(self) {
        if let Some(id) = self.common.searched.get_untracked() {
            self.common.searched.set(None);
            self.common.found.set(Found::default());
            self.with(id, |screen| screen.end_search());
        }
    }

    /// Copies what is selected in a terminal.
    pub fn copy(self, id: TerminalId) {
        self.with(id, |screen| screen.copy());
    }

    /// Pastes what is on the clipboard into a terminal.
    pub fn paste(self, id: TerminalId) {
        self.with(id, |screen| screen.paste_clipboard());
    }

    /// Takes the colours of the style sheet again, after a change of theme.
    pub fn recolour(self) {
        let theme = looks::theme();
        self.each(|screen| screen.recolour(&theme));
    }

    fn with(self, id: TerminalId, act: impl FnOnce(&Rc<Screen>)) {
        // Out of the store first: acting may come back to it.
        if let Some(screen) = self.screens.with_value(|screens| screens.get(&id).cloned()) {
            act(&screen);
        }
    }

    fn each(self, act: impl Fn(&Rc<Screen>)) {
        let screens: Vec<_> = self.screens.with_value(|screens| screens.values().cloned().collect());
        screens.iter().for_each(act);
    }
}
