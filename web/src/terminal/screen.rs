//! One terminal's screen: its xterm, the size it has, the keys it takes, and how far its output has come.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use js_sys::{Object, Uint8Array};
use leptos::prelude::*;
use shared::protocol::{ACKNOWLEDGE_EACH, Offset, Size, Terminal, TerminalId, ToLab};
use wasm_bindgen::prelude::*;
use web_sys::{HtmlElement, KeyboardEvent, ResizeObserver};
use xterm_js_sys::{FitAddon, Terminal as Xterm, TerminalOptions};

use super::looks::{font_size, property, theme};
use crate::outbox::Outbox;
use crate::{clipboard, words};

/// When output pauses for this long, what is parsed is acknowledged though it is little.
const PAUSE: Duration = Duration::from_millis(100);

/// One terminal's xterm, and how far its output has come. Offsets count from the start of the terminal.
pub struct Screen {
    /// Its number.
    pub id: TerminalId,
    xterm: Xterm,
    fit: FitAddon,
    outbox: Outbox,
    owner: RwSignal<Option<bool>>,
    /// Its size on the owner's page, and whether its shell runs.
    size: Cell<Size>,
    running: Cell<bool>,
    /// The element it fills, once there is one.
    host: RefCell<Option<HtmlElement>>,
    /// Whether xterm has been opened in it.
    opened: Cell<bool>,
    /// Whether what is being parsed is old output: programs' questions in it were answered long ago, and xterm's
    /// answers would now be read as typed.
    replaying: Cell<bool>,
    /// After the last byte that came.
    received: Cell<u64>,
    /// After the last byte that xterm has parsed.
    parsed: Cell<u64>,
    /// What the lab knows of that.
    acknowledged: Cell<u64>,
    /// Counts resets: bytes that were written before one are none of the new count's.
    era: Cell<u32>,
    /// xterm and the browser call these as long as the screen lives.
    listeners: RefCell<Vec<Box<dyn std::any::Any>>>,
    observer: RefCell<Option<ResizeObserver>>,
}

impl Screen {
    /// An empty screen; what is typed into it goes to `outbox`.
    pub fn new(terminal: &Terminal, outbox: Outbox, owner: RwSignal<Option<bool>>) -> Rc<Screen> {
        let options = TerminalOptions::empty();
        options.set_theme(&theme());
        options.set_font_family(&property("--mono"));
        options.set_font_size(font_size());
        options.set_line_height(1.2);
        options.set_scrollback(5000);
        options.set_minimum_contrast_ratio(4.5);
        options.set_cursor_inactive_style("outline");
        let (xterm, fit) = (Xterm::new(&options), FitAddon::new());
        xterm.load_fit(&fit);
        let screen = Rc::new(Screen {
            id: terminal.id,
            xterm,
            fit,
            outbox,
            owner,
            size: Cell::new(terminal.size),
            running: Cell::new(terminal.running),
            host: RefCell::new(None),
            opened: Cell::new(false),
            replaying: Cell::new(true),
            received: Cell::new(0),
            parsed: Cell::new(0),
            acknowledged: Cell::new(0),
            era: Cell::new(0),
            listeners: RefCell::new(Vec::new()),
            observer: RefCell::new(None),
        });
        screen.listen();
        screen
    }

    fn listen(self: &Rc<Screen>) {
        let (id, outbox) = (self.id, self.outbox);
        let screen = Rc::downgrade(self);
        let data = Closure::<dyn Fn(String)>::new(move |text: String| {
            // Programs' questions in old output were answered long ago, and those to a viewer its owner answers.
            let keeps_quiet = |screen: &Rc<Screen>| screen.replaying.get() || !screen.is_own();
            let silenced = is_answer(&text) && screen.upgrade().is_some_and(|screen| keeps_quiet(&screen));
            if !silenced && screen.upgrade().is_some_and(|screen| screen.running.get()) {
                outbox.input(id, text.as_bytes());
            }
        });
        let binary = Closure::<dyn Fn(String)>::new(move |text: String| {
            let bytes: Vec<u8> = text.chars().map(|byte| byte as u8).collect();
            outbox.input(id, &bytes);
        });
        let screen = Rc::downgrade(self);
        let resize = Closure::<dyn Fn()>::new(move || {
            if let Some(screen) = screen.upgrade() {
                screen.tell_size();
            }
        });
        let screen = Rc::downgrade(self);
        let key = Closure::<dyn Fn(KeyboardEvent) -> bool>::new(move |event: KeyboardEvent| {
            screen.upgrade().is_none_or(|screen| screen.wants_key(&event))
        });
        self.xterm.on_data(data.as_ref().unchecked_ref());
        self.xterm.on_binary(binary.as_ref().unchecked_ref());
        self.xterm.on_resize(resize.as_ref().unchecked_ref());
        self.xterm.attach_custom_key_event_handler(key.as_ref().unchecked_ref());
        let listeners: [Box<dyn std::any::Any>; 4] =
            [Box::new(data), Box::new(binary), Box::new(resize), Box::new(key)];
        self.listeners.borrow_mut().extend(listeners);
    }

    /// Whether a key is the terminal's; the others are the page's or the browser's.
    fn wants_key(&self, event: &KeyboardEvent) -> bool {
        if !(event.ctrl_key() && event.shift_key()) {
            return self.running.get() || self.answer_offer(event);
        }
        match event.code().as_str() {
            "KeyC" => {
                // Else the browser opens its developer tools.
                event.prevent_default();
                let selection = self.xterm.selection();
                if event.type_() == "keydown" && !selection.is_empty() {
                    clipboard::copy(&selection);
                    self.xterm.focus();
                }
                false
            }
            // The browser pastes, and xterm hears of that. The others are the page's: see `panes`.
            "KeyV" | "F6" | "Enter" | "ArrowLeft" | "ArrowRight" => false,
            _ => true,
        }
    }

    /// The shell has ended: Enter starts a new one, Ctrl-D closes the terminal, and no other key means anything.
    fn answer_offer(&self, event: &KeyboardEvent) -> bool {
        let answer = match event.key().as_str() {
            "Enter" => ToLab::Restart { terminal: self.id },
            "d" if event.ctrl_key() => ToLab::Close { terminal: self.id },
            _ => return false,
        };
        event.prevent_default();
        if event.type_() == "keydown" && !event.repeat() {
            self.outbox.send(&answer);
        }
        false
    }

    /// Whether this page decides about its size.
    fn is_own(&self) -> bool {
        self.owner.get_untracked() != Some(false)
    }

    /// Takes note of the terminal's state.
    pub fn update(&self, terminal: &Terminal) {
        self.running.set(terminal.running);
        if self.size.replace(terminal.size) != terminal.size && !self.is_own() {
            self.fill();
        }
    }

    /// Takes it away: nobody calls its listeners from now on.
    pub fn dispose(&self) {
        if let Some(observer) = self.observer.take() {
            observer.disconnect();
        }
        self.xterm.dispose();
    }

    /// Whether its shell runs.
    pub fn is_running(&self) -> bool {
        self.running.get()
    }

    /// How far its output has come.
    pub fn received(&self) -> Offset {
        Offset(self.received.get())
    }

    /// Takes other colours.
    pub fn recolour(&self, theme: &Object) {
        self.xterm.options().set_theme(theme);
    }

    /// Scrolls to the newest line.
    pub fn scroll_to_bottom(&self) {
        self.xterm.scroll_to_bottom();
    }

    /// Shows it in an element, which it fills from then on.
    pub fn attach(self: &Rc<Screen>, host: &HtmlElement) {
        self.host.replace(Some(host.clone()));
        let screen = Rc::downgrade(self);
        let resized = Closure::<dyn Fn()>::new(move || {
            let screen = screen.clone();
            // In the next frame: filling changes what is being observed.
            request_animation_frame(move || {
                if let Some(screen) = screen.upgrade() {
                    screen.fill();
                }
            });
        });
        if let Ok(observer) = ResizeObserver::new(resized.as_ref().unchecked_ref()) {
            observer.observe(host);
            self.observer.replace(Some(observer));
        }
        self.listeners.borrow_mut().push(Box::new(resized));
    }

    /// Makes the screen as large as its element. xterm measures its font when it is opened, so that has to wait until
    /// the element is seen.
    pub fn fill(&self) {
        let host = self.host.borrow();
        if let Some(host) = host.as_ref().filter(|host| host.client_width() > 0) {
            let new = !self.opened.replace(true);
            if new {
                self.xterm.open(host);
            }
            self.xterm.options().set_font_size(font_size());
            match self.is_own() {
                true => self.fit.fit(),
                false => self.letterbox(),
            }
            if new {
                self.tell_size();
            }
        }
    }

    /// Shows the owner's size, in letters small enough for all of it to be seen.
    fn letterbox(&self) {
        let Size { columns, rows } = self.size.get();
        if let Some(room) = self.fit.propose() {
            let share = (room.cols() / f64::from(columns)).min(room.rows() / f64::from(rows)).min(1.0);
            // In halves of a pixel, and not so small that nothing can be read.
            self.xterm.options().set_font_size((font_size() * share * 2.0).floor().max(8.0) / 2.0);
        }
        self.xterm.resize(columns, rows);
    }

    /// Gives it the keyboard.
    pub fn focus(&self) {
        self.fill();
        self.xterm.focus();
    }

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
        self.xterm.write(&bytes.subarray(known, bytes.length()), parsed.unchecked_ref());
    }

    fn parsed(self: &Rc<Screen>, end: u64, era: u32) {
        if era != self.era.get() {
            return;
        }
        self.parsed.set(end);
        if end == self.received.get() {
            self.replaying.set(false);
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
        self.outbox.send(&ToLab::Acknowledge { terminal: self.id, offset: Offset(offset) });
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

    /// Tells the lab its size: if it is for this page to say, and known, which it is once it has been seen.
    pub fn tell_size(&self) {
        if self.owner.get_untracked() == Some(true) && self.opened.get() {
            let size = Size { columns: self.xterm.cols(), rows: self.xterm.rows() };
            self.outbox.send(&ToLab::Resize { terminal: self.id, size });
        }
    }
}

/// Whether what xterm says is its own answer to a program's question (where the cursor is, what the terminal can do)
/// and not a key: xterm tells both alike.
fn is_answer(text: &str) -> bool {
    let report = |rest: &str| rest.ends_with(['R', 'c', 'n', 'y', 't']) && rest.len() > 1;
    text.strip_prefix("\x1b[").is_some_and(report) || text.starts_with("\x1b]") || text.starts_with("\x1bP")
}
