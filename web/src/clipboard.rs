//! Copying text. A classroom's page may come over plain HTTP, where browsers keep the clipboard's interface from
//! pages; there the old way over a selected text field still works.

use leptos::prelude::{document, window};
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{HtmlDocument, HtmlElement, HtmlTextAreaElement};

/// Puts text on the clipboard. Needs a key or a click of the learner's just before.
pub fn copy(text: &str) {
    if window().is_secure_context() {
        let _ = window().navigator().clipboard().write_text(text);
    } else if copy_selected(text).is_err() {
        // The learner sees that nothing was copied when pasting; there is no third way.
    }
}

fn copy_selected(text: &str) -> Result<(), JsValue> {
    let focused = document().active_element().and_then(|element| element.dyn_into::<HtmlElement>().ok());
    let field: HtmlTextAreaElement = document().create_element("textarea")?.unchecked_into();
    field.set_value(text);
    field.set_class_name("visually-hidden");
    let body = document().body().ok_or(JsValue::NULL)?;
    body.append_child(&field)?;
    field.select();
    let copied = document().unchecked_into::<HtmlDocument>().exec_command("copy").map(|_| ());
    field.remove();
    if let Some(focused) = focused {
        focused.focus()?;
    }
    copied
}
