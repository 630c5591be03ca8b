//! What the terminals look like: colours and letters, as the style sheet has them.

use js_sys::{Object, Reflect};
use leptos::prelude::*;

/// The colours of a terminal, each from the custom property `--terminal-NAME` of the style sheet.
const COLOURS: [&str; 22] = [
    "foreground",
    "background",
    "cursor",
    "cursorAccent",
    "selectionBackground",
    "scrollbarSliderBackground",
    "black",
    "red",
    "green",
    "yellow",
    "blue",
    "magenta",
    "cyan",
    "white",
    "brightBlack",
    "brightRed",
    "brightGreen",
    "brightYellow",
    "brightBlue",
    "brightMagenta",
    "brightCyan",
    "brightWhite",
];

/// The size of the letters where nobody has chosen another, in CSS pixels.
pub fn font_size() -> f64 {
    property("--terminal-size").parse().unwrap_or(13.0)
}

/// The colours, as xterm takes them.
pub fn theme() -> Object {
    let theme = Object::new();
    for name in COLOURS {
        // Setting a property of a plain object cannot fail.
        let _ = Reflect::set(&theme, &name.into(), &property(&format!("--terminal-{name}")).into());
    }
    theme
}

/// The value of a custom property of the style sheet.
pub fn property(name: &str) -> String {
    let style = document().document_element().and_then(|root| window().get_computed_style(&root).ok().flatten());
    let value = style.and_then(|style| style.get_property_value(name).ok()).unwrap_or_default();
    value.trim().to_owned()
}
