//! Raw bindings to xterm.js 6 (`@xterm/xterm`) and to its addons; nothing that is not theirs.
//!
//! # Why this crate exists
//! The published crate of this name stopped in 2020 at xterm 4.6: it does not compile with today's js-sys, and it
//! cannot write bytes, only strings, which would tear a character that is split between two reads of a
//! pseudoterminal. So this one binds what Newroot uses, by hand, against the typings of the npm packages in
//! `web/package.json`. A binding that nothing uses costs nothing: wasm-bindgen leaves it, and its module, out.
//!
//! The modules are named `./xterm.mjs`, `./addon-fit.mjs` and so on: whoever serves the page puts the packages' own
//! files of these names beside wasm-bindgen's glue, and this crate's `addons.mjs`, which loads the addons that the first
//! prompt does not wait for, and its `bounds.mjs` (`cargo xtask web` does all that).

use js_sys::{Function, Object, Promise, Uint8Array};
use wasm_bindgen::prelude::*;
use web_sys::HtmlElement;

#[wasm_bindgen]
extern "C" {
    /// `ITerminalOptions`. Make one with [`TerminalOptions::empty`]; what is not set keeps xterm's default.
    #[wasm_bindgen(extends = Object)]
    pub type TerminalOptions;

    /// Colours, by the names of `ITheme`.
    #[wasm_bindgen(method, setter)]
    pub fn set_theme(this: &TerminalOptions, theme: &Object);
    /// A CSS font family.
    #[wasm_bindgen(method, setter, js_name = fontFamily)]
    pub fn set_font_family(this: &TerminalOptions, family: &str);
    /// In CSS pixels.
    #[wasm_bindgen(method, getter, js_name = fontSize)]
    pub fn font_size(this: &TerminalOptions) -> f64;
    /// In CSS pixels.
    #[wasm_bindgen(method, setter, js_name = fontSize)]
    pub fn set_font_size(this: &TerminalOptions, pixels: f64);
    /// Between letters, in whole pixels of the device.
    #[wasm_bindgen(method, setter, js_name = letterSpacing)]
    pub fn set_letter_spacing(this: &TerminalOptions, pixels: f64);
    /// As a multiple of the font's own height.
    #[wasm_bindgen(method, setter, js_name = lineHeight)]
    pub fn set_line_height(this: &TerminalOptions, factor: f64);
    /// Lines kept above the screen.
    #[wasm_bindgen(method, setter)]
    pub fn set_scrollback(this: &TerminalOptions, lines: u32);
    /// Colours of the program's are moved until they reach this contrast (WCAG 2, 1 to 21).
    #[wasm_bindgen(method, setter, js_name = minimumContrastRatio)]
    pub fn set_minimum_contrast_ratio(this: &TerminalOptions, ratio: f64);
    /// Whether the cursor blinks.
    #[wasm_bindgen(method, setter, js_name = cursorBlink)]
    pub fn set_cursor_blink(this: &TerminalOptions, blink: bool);
    /// `block`, `underline`, `bar`, `outline` or `none`: the cursor without focus.
    #[wasm_bindgen(method, setter, js_name = cursorInactiveStyle)]
    pub fn set_cursor_inactive_style(this: &TerminalOptions, style: &str);
    /// Whether what xterm calls proposed may be used: [`Terminal::unicode`] is.
    #[wasm_bindgen(method, setter, js_name = allowProposedApi)]
    pub fn set_allow_proposed_api(this: &TerminalOptions, allow: bool);
    /// Whether the lines also stand in the page as text for assistive technology, and new ones are announced.
    #[wasm_bindgen(method, setter, js_name = screenReaderMode)]
    pub fn set_screen_reader_mode(this: &TerminalOptions, on: bool);
    /// `ILinkHandler`, for the links that programs mark by OSC 8.
    #[wasm_bindgen(method, setter, js_name = linkHandler)]
    pub fn set_link_handler(this: &TerminalOptions, handler: &LinkHandler);

    /// What becomes of a link.
    #[wasm_bindgen(extends = Object)]
    pub type LinkHandler;
    /// `listener(event, address, range)`: it was clicked.
    #[wasm_bindgen(method, setter)]
    pub fn set_activate(this: &LinkHandler, listener: &Function);
    /// `listener(event, address, range)`: the pointer is on it.
    #[wasm_bindgen(method, setter)]
    pub fn set_hover(this: &LinkHandler, listener: &Function);
    /// `listener(event, address, range)`: the pointer has left it.
    #[wasm_bindgen(method, setter)]
    pub fn set_leave(this: &LinkHandler, listener: &Function);

    /// `ISearchOptions`.
    #[wasm_bindgen(extends = Object)]
    pub type SearchOptions;
    /// Whether `a` is another letter than `A`.
    #[wasm_bindgen(method, setter, js_name = caseSensitive)]
    pub fn set_case_sensitive(this: &SearchOptions, on: bool);
    /// How matches are marked. Without it they are not counted either.
    #[wasm_bindgen(method, setter)]
    pub fn set_decorations(this: &SearchOptions, decorations: &Decorations);

    /// `ISearchDecorationOptions`; its colours are of the form `#RRGGBB`.
    #[wasm_bindgen(extends = Object)]
    pub type Decorations;
    /// Behind each match.
    #[wasm_bindgen(method, setter, js_name = matchBackground)]
    pub fn set_background(this: &Decorations, colour: &str);
    /// Behind the match of the moment.
    #[wasm_bindgen(method, setter, js_name = activeMatchBackground)]
    pub fn set_active_background(this: &Decorations, colour: &str);
    /// Around the match of the moment.
    #[wasm_bindgen(method, setter, js_name = activeMatchBorder)]
    pub fn set_active_border(this: &Decorations, colour: &str);
    /// In the overview ruler, which must be given though there is none.
    #[wasm_bindgen(method, setter, js_name = matchOverviewRuler)]
    pub fn set_ruler(this: &Decorations, colour: &str);
    /// Likewise.
    #[wasm_bindgen(method, setter, js_name = activeMatchColorOverviewRuler)]
    pub fn set_active_ruler(this: &Decorations, colour: &str);
}

impl TerminalOptions {
    /// Options with nothing set.
    pub fn empty() -> TerminalOptions {
        Object::new().unchecked_into()
    }
}

impl LinkHandler {
    /// A handler that does nothing.
    pub fn empty() -> LinkHandler {
        Object::new().unchecked_into()
    }
}

impl SearchOptions {
    /// Options with nothing set.
    pub fn empty() -> SearchOptions {
        Object::new().unchecked_into()
    }
}

impl Decorations {
    /// Decorations with nothing set.
    pub fn empty() -> Decorations {
        Object::new().unchecked_into()
    }
}

#[wasm_bindgen(raw_module = "./xterm.mjs")]
extern "C" {
    /// A terminal. It parses from the start, and shows once [`Terminal::open`] gave it an element.
    #[derive(Clone)]
    pub type Terminal;

    /// A terminal of 80 × 24.
    #[wasm_bindgen(constructor)]
    pub fn new(options: &TerminalOptions) -> Terminal;
    /// Renders into `parent`, which must be visible for the font to be measured.
    #[wasm_bindgen(method)]
    pub fn open(this: &Terminal, parent: &HtmlElement);
    /// The options; setting one takes effect at once.
    #[wasm_bindgen(method, getter)]
    pub fn options(this: &Terminal) -> TerminalOptions;
    /// Characters in a line.
    #[wasm_bindgen(method, getter)]
    pub fn cols(this: &Terminal) -> u16;
    /// Lines.
    #[wasm_bindgen(method, getter)]
    pub fn rows(this: &Terminal) -> u16;
    /// Parses bytes later, in order, and then calls `parsed`. The array is kept until then and not copied, which is
    /// why this is no slice: that would be a window into wasm memory, and change meanwhile.
    #[wasm_bindgen(method)]
    pub fn write(this: &Terminal, bytes: &Uint8Array, parsed: &Function);
    /// The same, where more of it follows: nobody is called.
    #[wasm_bindgen(method, js_name = write)]
    pub fn write_part(this: &Terminal, bytes: &Uint8Array);
    /// Forgets screen, scrollback and modes.
    #[wasm_bindgen(method)]
    pub fn reset(this: &Terminal);
    /// Gives it a size of so many characters across and down.
    #[wasm_bindgen(method)]
    pub fn resize(this: &Terminal, columns: u16, rows: u16);
    /// Takes it out of its element, for good.
    #[wasm_bindgen(method)]
    pub fn dispose(this: &Terminal);
    /// Takes the keyboard.
    #[wasm_bindgen(method)]
    pub fn focus(this: &Terminal);
    /// Scrolls to the newest line.
    #[wasm_bindgen(method, js_name = scrollToBottom)]
    pub fn scroll_to_bottom(this: &Terminal);
    /// The selected text, or nothing.
    #[wasm_bindgen(method, js_name = getSelection)]
    pub fn selection(this: &Terminal) -> String;
    /// Selects nothing.
    #[wasm_bindgen(method, js_name = clearSelection)]
    pub fn clear_selection(this: &Terminal);
    /// Types text as if pasted: brackets it where the program asked for that.
    #[wasm_bindgen(method)]
    pub fn paste(this: &Terminal, text: &str);
    /// `listener(text)`: what was typed or pasted, to be sent as UTF-8.
    #[wasm_bindgen(method, js_name = onData)]
    pub fn on_data(this: &Terminal, listener: &Function) -> Object;
    /// `listener(text)`: bytes that are not text (some mouse reports), one in each character.
    #[wasm_bindgen(method, js_name = onBinary)]
    pub fn on_binary(this: &Terminal, listener: &Function) -> Object;
    /// `listener({cols, rows})`: the size changed.
    #[wasm_bindgen(method, js_name = onResize)]
    pub fn on_resize(this: &Terminal, listener: &Function) -> Object;
    /// `handler(event)` sees each key first; where it returns false, xterm leaves the key alone.
    #[wasm_bindgen(method, js_name = attachCustomKeyEventHandler)]
    pub fn attach_custom_key_event_handler(this: &Terminal, handler: &Function);
    /// `listener()`: other text is selected, or none.
    #[wasm_bindgen(method, js_name = onSelectionChange)]
    pub fn on_selection_change(this: &Terminal, listener: &Function) -> Object;
    /// The field that takes the keys, once it is open.
    #[wasm_bindgen(method, getter)]
    pub fn textarea(this: &Terminal) -> Option<HtmlElement>;
    /// What the program has asked for.
    #[wasm_bindgen(method, getter)]
    pub fn modes(this: &Terminal) -> Modes;
    /// The screens of the terminal.
    #[wasm_bindgen(method, getter)]
    pub fn buffer(this: &Terminal) -> Buffers;
    /// How wide characters are.
    #[wasm_bindgen(method, getter)]
    pub fn unicode(this: &Terminal) -> Unicode;
    /// Adds an addon; throws what the addon throws.
    #[wasm_bindgen(method, catch, js_name = loadAddon)]
    pub fn load_addon(this: &Terminal, addon: &JsValue) -> Result<(), JsValue>;

    /// `IModes`.
    pub type Modes;
    /// Which of the mouse's doings the program wants to hear of; `none` where it wants nothing.
    #[wasm_bindgen(method, getter, js_name = mouseTrackingMode)]
    pub fn mouse_tracking(this: &Modes) -> String;

    /// `IBufferNamespace`.
    pub type Buffers;
    /// The one that is seen.
    #[wasm_bindgen(method, getter)]
    pub fn active(this: &Buffers) -> Buffer;
    /// `IBuffer`.
    pub type Buffer;
    /// `normal`, or `alternate` for a full-screen program's, which has nothing above it.
    #[wasm_bindgen(method, getter, js_name = "type")]
    pub fn kind(this: &Buffer) -> String;
    /// The column of the cursor, counted from 0.
    #[wasm_bindgen(method, getter, js_name = cursorX)]
    pub fn cursor_x(this: &Buffer) -> u32;

    /// `IUnicodeHandling`.
    pub type Unicode;
    /// Chooses one of the versions that are known.
    #[wasm_bindgen(method, setter, js_name = activeVersion)]
    pub fn set_active_version(this: &Unicode, version: &str);
}

#[wasm_bindgen(raw_module = "./addon-fit.mjs")]
extern "C" {
    /// Sizes a terminal to its element.
    pub type FitAddon;

    /// For one terminal.
    #[wasm_bindgen(constructor)]
    pub fn new() -> FitAddon;
    /// Resizes the terminal to its element, and does nothing while that is hidden.
    #[wasm_bindgen(method)]
    pub fn fit(this: &FitAddon);
    /// The size that [`FitAddon::fit`] would give it; none while it is hidden.
    #[wasm_bindgen(method, js_name = proposeDimensions)]
    pub fn propose(this: &FitAddon) -> Option<Dimensions>;
    /// `ITerminalDimensions`.
    pub type Dimensions;
    /// Characters across.
    #[wasm_bindgen(method, getter)]
    pub fn cols(this: &Dimensions) -> f64;
    /// Characters down.
    #[wasm_bindgen(method, getter)]
    pub fn rows(this: &Dimensions) -> f64;
}

#[wasm_bindgen(raw_module = "./addon-unicode11.mjs")]
extern "C" {
    /// Knows the widths of Unicode 11, as version `11`.
    pub type Unicode11Addon;

    /// For one terminal.
    #[wasm_bindgen(constructor)]
    pub fn new() -> Unicode11Addon;
}

#[wasm_bindgen(raw_module = "./bounds.mjs")]
extern "C" {
    /// Bounds what a few bytes may have a terminal do. Before it is written to.
    #[wasm_bindgen(js_namespace = bounds, js_name = keep)]
    pub fn keep_bounds(terminal: &Terminal);
}

#[wasm_bindgen(raw_module = "./addons.mjs")]
extern "C" {
    /// Loads a [`WebglAddon`].
    #[wasm_bindgen(js_namespace = addons)]
    pub fn webgl() -> Promise;
    /// Gives the contexts of the terminals within an element back, after which they show nothing: dispose at once.
    #[wasm_bindgen(js_namespace = addons, js_name = releaseWebgl)]
    pub fn release_webgl(element: &HtmlElement);
    /// Loads a [`SearchAddon`].
    #[wasm_bindgen(js_namespace = addons)]
    pub fn search() -> Promise;
    /// Loads the addon that finds addresses of http and https; its listeners are those of [`LinkHandler`].
    #[wasm_bindgen(js_namespace = addons, js_name = webLinks)]
    pub fn web_links(activate: &Function, hover: &Function, leave: &Function) -> Promise;

    /// Renders through WebGL 2. Adding it throws where the browser has no context to give; do so after
    /// [`Terminal::open`].
    pub type WebglAddon;
    /// `listener()`: the browser took the context away; dispose, and xterm renders to the DOM again.
    #[wasm_bindgen(method, js_name = onContextLoss)]
    pub fn on_context_loss(this: &WebglAddon, listener: &Function) -> Object;
    /// Has xterm render to the DOM again.
    #[wasm_bindgen(method)]
    pub fn dispose(this: &WebglAddon);

    /// Searches the lines of one terminal.
    pub type SearchAddon;
    /// Selects the next match; whether there is one.
    #[wasm_bindgen(method, js_name = findNext)]
    pub fn find_next(this: &SearchAddon, text: &str, options: &SearchOptions) -> bool;
    /// Selects the match before; whether there is one.
    #[wasm_bindgen(method, js_name = findPrevious)]
    pub fn find_previous(this: &SearchAddon, text: &str, options: &SearchOptions) -> bool;
    /// Takes the marks of all matches away.
    #[wasm_bindgen(method, js_name = clearDecorations)]
    pub fn clear_decorations(this: &SearchAddon);
    /// `listener(SearchResults)`: what is found, or its place, has changed.
    #[wasm_bindgen(method, js_name = onDidChangeResults)]
    pub fn on_did_change_results(this: &SearchAddon, listener: &Function) -> Object;

    /// `ISearchResultChangeEvent`.
    pub type SearchResults;
    /// The place of the match of the moment, from 0 and from the top; -1 where there are too many to say.
    #[wasm_bindgen(method, getter, js_name = resultIndex)]
    pub fn index(this: &SearchResults) -> i32;
    /// How many there are, up to a thousand.
    #[wasm_bindgen(method, getter, js_name = resultCount)]
    pub fn count(this: &SearchResults) -> u32;
}
