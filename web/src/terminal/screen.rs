//! One terminal's screen: its xterm, the size it has, and what is typed into it.

mod output;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use js_sys::Object;
use leptos::prelude::*;
use shared::protocol::{Offset, Size, Terminal, TerminalId, ToLab};
use wasm_bindgen::prelude::*;
use web_sys::{HtmlElement, KeyboardEvent, ResizeObserver};
use xterm_js_sys::{FitAddon, Terminal as Xterm, TerminalOptions, Unicode11Addon};

use super::common::Common;
use super::hand::{self, Hand};
use super::keys::{Meaning, meaning};
use super::links::Links;
use super::looks::{property, theme};
use super::renderer::Renderer;
use super::search::{Query, Search, Way};
use crate::clipboard;

/// One terminal's xterm, and how far its output has come. Offsets count from the start of the terminal.
pub struct Screen {
    /// Its number.
    pub id: TerminalId,
    /// What it shares with the others.
    pub common: Common,
    xterm: Xterm,
    fit: FitAddon,
    renderer: Rc<Renderer>,
    search: Rc<Search>,
    links: Links,
    hand: Rc<Hand>,
    /// Its name, for those who hear where they are.
    name: RefCell<String>,
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
    /// Whether there has been a prompt.
    prompted: Cell<bool>,
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
    /// An empty screen.
    pub fn new(terminal: &Terminal, common: Common) -> Rc<Screen> {
        let options = TerminalOptions::empty();
        let links = Links::new(terminal.id, common);
        options.set_theme(&theme());
        options.set_font_family(&property("--mono"));
        options.set_font_size(common.letters.get_untracked());
        options.set_screen_reader_mode(common.reader.get_untracked());
        options.set_link_handler(&links.handler());
        options.set_allow_proposed_api(true);
        options.set_line_height(1.2);
        options.set_scrollback(5000);
        options.set_minimum_contrast_ratio(4.5);
        options.set_cursor_inactive_style("outline");
        let (xterm, fit) = (Xterm::new(&options), FitAddon::new());
        xterm_js_sys::keep_bounds(&xterm);
        // Neither throws: they only take note of the terminal.
        let _ = xterm.load_addon(&fit);
        let _ = xterm.load_addon(&Unicode11Addon::new());
        // Programs take their idea of widths from their C library, one character at a time. Of 84947 characters Unicode 11
        // has another width than musl's wcwidth(3) for 72 and than glibc's for 891; Unicode 6, xterm's own, for ten
        // thousand, each emoji among them; and so has the addon that takes characters together into one.
        xterm.unicode().set_active_version("11");
        let screen = Rc::new(Screen {
            id: terminal.id,
            common,
            xterm,
            fit,
            renderer: Rc::default(),
            search: Rc::default(),
            links,
            hand: Rc::default(),
            name: RefCell::new(terminal.name.clone()),
            size: Cell::new(terminal.size),
            running: Cell::new(terminal.running),
            host: RefCell::new(None),
            opened: Cell::new(false),
            replaying: Cell::new(true),
            prompted: Cell::new(false),
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
        let (id, outbox) = (self.id, self.common.outbox);
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
        let screen = Rc::downgrade(self);
        let select = Closure::<dyn Fn()>::new(move || {
            let selected = screen.upgrade().map(|screen| screen.xterm.selection()).unwrap_or_default();
            if !selected.is_empty() {
                screen.upgrade().into_iter().for_each(|screen| screen.common.primary.set_value(selected.clone()));
            }
        });
        self.xterm.on_data(data.as_ref().unchecked_ref());
        self.xterm.on_binary(binary.as_ref().unchecked_ref());
        self.xterm.on_resize(resize.as_ref().unchecked_ref());
        self.xterm.on_selection_change(select.as_ref().unchecked_ref());
        self.xterm.attach_custom_key_event_handler(key.as_ref().unchecked_ref());
        let listeners: [Box<dyn std::any::Any>; 5] =
            [Box::new(data), Box::new(binary), Box::new(resize), Box::new(select), Box::new(key)];
        self.listeners.borrow_mut().extend(listeners);
    }

    /// Whether a key is the program's; the others are the page's or the browser's.
    fn wants_key(&self, event: &KeyboardEvent) -> bool {
        let meaning = meaning(event, self.xterm.buffer().active().kind() == "alternate");
        match meaning {
            Meaning::Typed => return self.running.get() || self.answer_offer(event),
            Meaning::Elsewhere => return false,
            // Else the browser opens its developer tools, searches the page, or makes all of it larger.
            _ => event.prevent_default(),
        }
        if event.type_() == "keydown" {
            match meaning {
                Meaning::Copy => self.copy(),
                Meaning::Search => self.common.searched.set(Some(self.id)),
                Meaning::Letters(by) => self.common.resize_letters(by),
                Meaning::Typed | Meaning::Elsewhere => {}
            }
        }
        false
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
            self.common.outbox.send(&answer);
        }
        false
    }

    /// Whether this page decides about its size.
    fn is_own(&self) -> bool {
        self.common.owner.get_untracked() != Some(false)
    }

    /// Takes note of the terminal's state.
    pub fn update(self: &Rc<Screen>, terminal: &Terminal) {
        self.running.set(terminal.running);
        self.name.replace(terminal.name.clone());
        self.label();
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

    /// Copies what is selected, and says where that is refused.
    pub fn copy(&self) {
        let (selection, common) = (self.xterm.selection(), self.common);
        if selection.is_empty() {
            return common.say("Nothing is selected in this terminal.");
        }
        clipboard::copy(&selection, move |copied| {
            if !copied {
                common.say("The browser did not take it: copy with the menu of the right mouse button.");
            }
        });
        self.xterm.focus();
    }

    /// Types text as pasted.
    pub fn paste(&self, text: &str) {
        if self.running.get() {
            self.xterm.paste(&clipboard::without_controls(text));
        }
    }

    /// Pastes what is on the clipboard, and says where that is refused.
    pub fn paste_clipboard(self: &Rc<Screen>) {
        let screen = self.clone();
        clipboard::paste(move |text| match text {
            Some(text) => screen.paste(&text),
            None => screen.common.say("The browser lets no page read the clipboard here: paste with its own keys."),
        });
        self.focus();
    }

    /// Whether the program listens to the mouse.
    pub fn has_mouse(&self) -> bool {
        self.xterm.modes().mouse_tracking() != "none"
    }

    /// Says to xterm that the mouse did this there.
    pub fn point(&self, kind: &str, at: (i32, i32), clicks: i32) {
        let host = self.host.borrow();
        let lines = host.as_ref().and_then(|host| host.query_selector(".xterm-screen").ok().flatten());
        if let Some(lines) = lines {
            hand::point(&lines, kind, at, clicks);
        }
    }

    /// Goes to a match in its lines.
    pub fn find(&self, query: Query, way: Way) {
        self.search.find(&self.xterm, query, way, self.common.found);
    }

    /// Ends the search, and takes the keyboard back.
    pub fn end_search(self: &Rc<Screen>) {
        self.search.end();
        self.focus();
    }

    /// Whether it speaks to a screen reader.
    pub fn speak(&self, on: bool) {
        self.xterm.options().set_screen_reader_mode(on);
    }

    /// Gives the field that takes the keys the terminal's name.
    fn label(&self) {
        if let Some(field) = self.xterm.textarea() {
            // Setting an attribute of a valid name cannot fail.
            let _ = field.set_attribute("aria-label", &format!("Terminal {}", self.name.borrow()));
        }
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
        self.hand.listen(self, host);
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
    pub fn fill(self: &Rc<Screen>) {
        let host = self.host.borrow();
        let Some(host) = host.as_ref() else { return };
        if host.client_width() == 0 {
            return self.renderer.hide(host);
        }
        let new = !self.opened.replace(true);
        if new {
            self.xterm.open(host);
            self.label();
        }
        self.set_letters(self.common.letters.get_untracked());
        match self.is_own() {
            true => self.fit.fit(),
            false => self.letterbox(),
        }
        if new {
            self.tell_size();
        }
        self.embellish(host);
    }

    /// Fetches what the first prompt does not wait for, once that is there.
    fn embellish(self: &Rc<Screen>, host: &HtmlElement) {
        if self.prompted.get() && host.client_width() > 0 {
            let screen = Rc::downgrade(self);
            let fill = move || screen.upgrade().into_iter().for_each(|screen| screen.fill());
            self.renderer.show(&self.xterm, host, fill);
            self.links.find(&self.xterm);
        }
    }

    fn set_letters(&self, size: f64) {
        self.xterm.options().set_font_size(size);
        self.xterm.options().set_letter_spacing(self.renderer.spacing(size));
    }

    /// Shows the owner's size, in letters small enough for all of it to be seen.
    fn letterbox(&self) {
        let Size { columns, rows } = self.size.get();
        if let Some(room) = self.fit.propose() {
            let share = (room.cols() / f64::from(columns)).min(room.rows() / f64::from(rows)).min(1.0);
            // In halves of a pixel, and not so small that nothing can be read.
            self.set_letters((self.common.letters.get_untracked() * share * 2.0).floor().max(8.0) / 2.0);
        }
        self.xterm.resize(columns, rows);
    }

    /// Gives it the keyboard.
    pub fn focus(self: &Rc<Screen>) {
        self.fill();
        self.xterm.focus();
    }

    /// Tells the lab its size: if it is for this page to say, and known, which it is once it has been seen.
    pub fn tell_size(&self) {
        if self.common.owner.get_untracked() == Some(true) && self.opened.get() {
            let size = Size { columns: self.xterm.cols(), rows: self.xterm.rows() };
            self.common.outbox.send(&ToLab::Resize { terminal: self.id, size });
        }
    }
}

/// Whether what xterm says is its own answer to a program's question (where the cursor is, what the terminal can do)
/// and not a key: xterm tells both alike.
fn is_answer(text: &str) -> bool {
    let report = |rest: &str| rest.ends_with(['R', 'c', 'n', 'y', 't']) && rest.len() > 1;
    text.strip_prefix("\x1b[").is_some_and(report) || text.starts_with("\x1b]") || text.starts_with("\x1bP")
}
