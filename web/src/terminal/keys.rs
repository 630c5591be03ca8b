//! Which keys a terminal does not hand to its program, and what they do instead.

use leptos::prelude::window;
use web_sys::KeyboardEvent;

/// What a key means in a terminal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Meaning {
    /// The program gets it.
    Typed,
    /// What is selected goes to the clipboard.
    Copy,
    /// The search opens.
    Search,
    /// The letters grow by so many pixels, or get their own size again.
    Letters(Option<f64>),
    /// It is the browser's, or another part of the page listens for it.
    Elsewhere,
}

/// Whether this is Apple's keyboard, where Command does what Control does elsewhere, and Control is the program's alone.
pub fn is_apple() -> bool {
    window().navigator().platform().is_ok_and(|platform| platform.starts_with("Mac") || platform.starts_with("iP"))
}

/// What a key means. `full_screen` is whether a program has the whole screen, such as vi or less: it has no lines above
/// to be searched, and Ctrl-F turns its pages.
pub fn meaning(event: &KeyboardEvent, full_screen: bool) -> Meaning {
    let (ctrl, shift, command) = (event.ctrl_key(), event.shift_key(), event.meta_key());
    if event.alt_key() || !(ctrl || shift || command) {
        return Meaning::Typed;
    }
    // Letters by their place, for Shift and other alphabets change what they are called; signs by what they are.
    match (event.code().as_str(), event.key().as_str()) {
        ("KeyC", _) if ctrl && shift => Meaning::Copy,
        ("Insert", _) if ctrl && !shift => Meaning::Copy,
        ("KeyF", _) if command || ctrl && (shift || !full_screen && !is_apple()) => Meaning::Search,
        (_, "+" | "=") if ctrl || command => Meaning::Letters(Some(1.0)),
        (_, "-") if (ctrl || command) && !shift => Meaning::Letters(Some(-1.0)),
        (_, "0") if (ctrl || command) && !shift => Meaning::Letters(None),
        // The browser pastes, and the screen hears of that.
        ("KeyV", _) if ctrl && shift => Meaning::Elsewhere,
        ("Insert", _) if shift => Meaning::Elsewhere,
        // See `panes`.
        ("F6" | "Enter" | "ArrowLeft" | "ArrowRight" | "KeyS", _) if ctrl && shift => Meaning::Elsewhere,
        _ => Meaning::Typed,
    }
}
