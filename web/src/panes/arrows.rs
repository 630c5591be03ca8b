//! The arrow keys in a long list, as in a list box: Tab comes to it once, and the arrows go from entry to entry.

use leptos::ev::KeyboardEvent;
use leptos::prelude::*;
use wasm_bindgen::JsCast;
use web_sys::HtmlElement;

/// Up and down, Home and End go from button to button of those that `selector` finds in the list; one is where its parent
/// has the focus. Enter presses it.
pub fn move_among(selector: &str, event: &KeyboardEvent) {
    let Some(list) = event.current_target().map(|target| target.unchecked_into::<HtmlElement>()) else { return };
    let Ok(buttons) = list.query_selector_all(selector) else { return };
    let focused = document().active_element();
    let is_within = |place: &u32| {
        let entry = buttons.item(*place).and_then(|button| button.parent_element());
        entry.is_some_and(|entry| entry.contains(focused.as_ref().map(AsRef::as_ref)))
    };
    let place = (0..buttons.length()).find(is_within);
    let last = buttons.length().saturating_sub(1);
    let next = match event.key().as_str() {
        "ArrowDown" => place.map_or(0, |place| (place + 1).min(last)),
        "ArrowUp" => place.map_or(last, |place| place.saturating_sub(1)),
        "Home" => 0,
        "End" => last,
        _ => return,
    };
    if let Some(button) = buttons.item(next) {
        event.prevent_default();
        // A button can take the focus.
        let _ = button.unchecked_into::<HtmlElement>().focus();
    }
}
