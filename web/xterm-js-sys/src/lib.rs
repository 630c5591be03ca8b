//! Raw bindings to xterm.js 6 (`@xterm/xterm`) and to its fit and WebGL addons; nothing that is not theirs.
//!
//! # Why this crate exists
//! The published crate of this name stopped in 2020 at xterm 4.6: it does not compile with today's js-sys, and it
//! cannot write bytes, only strings, which would tear a character that is split between two reads of a
//! pseudoterminal. So this one binds what Newroot uses, by hand, against the typings of the npm packages in
//! `web/package.json`. A binding that nothing uses costs nothing: wasm-bindgen leaves it, and its module, out.
//!
//! The modules are named `./xterm.mjs`, `./addon-fit.mjs` and `./addon-webgl.mjs`: whoever serves the page puts
//! the packages' own files of these names beside wasm-bindgen's glue (`cargo xtask web` does).

use js_sys::{Function, Object, Uint8Array};
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
    #[wasm_bindgen(method, setter, js_name = fontSize)]
    pub fn set_font_size(this: &TerminalOptions, pixels: f64);
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
}

impl TerminalOptions {
    /// Options with nothing set.
    pub fn empty() -> TerminalOptions {
        Object::new().unchecked_into()
    }
}

#[wasm_bindgen(raw_module = "./xterm.mjs")]
extern "C" {
    /// A terminal. It parses from the start, and shows once [`Terminal::open`] gave it an element.
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
    /// Adds [`FitAddon`].
    #[wasm_bindgen(method, js_name = loadAddon)]
    pub fn load_fit(this: &Terminal, addon: &FitAddon);
    /// Adds [`WebglAddon`]; throws where the browser has no WebGL 2 context to give. Call after [`Terminal::open`].
    #[wasm_bindgen(method, catch, js_name = loadAddon)]
    pub fn load_webgl(this: &Terminal, addon: &WebglAddon) -> Result<(), JsValue>;
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

#[wasm_bindgen(raw_module = "./addon-webgl.mjs")]
extern "C" {
    /// Renders through WebGL 2.
    pub type WebglAddon;

    /// For one terminal.
    #[wasm_bindgen(constructor)]
    pub fn new() -> WebglAddon;
    /// `listener()`: the browser took the context away; dispose, and xterm renders to the DOM again.
    #[wasm_bindgen(method, js_name = onContextLoss)]
    pub fn on_context_loss(this: &WebglAddon, listener: &Function) -> Object;
    /// Gives the context back.
    #[wasm_bindgen(method)]
    pub fn dispose(this: &WebglAddon);
}
