//! Copying and pasting text. A classroom's page may come over plain HTTP, where browsers keep the clipboard's interface
//! from pages; there the old way over a selected text field still copies, and only the browser's own keys paste.

use leptos::prelude::{document, window};
use leptos::task::spawn_local;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{HtmlDocument, HtmlElement, HtmlTextAreaElement};

/// Puts text on the clipboard, and tells whether it is there. Needs a key or a click of the learner's just before.
pub fn copy(text: &str, tell: impl FnOnce(bool) + 'static) {
    if !window().is_secure_context() {
        return tell(copy_selected(text).unwrap_or(false));
    }
    let written = window().navigator().clipboard().write_text(text);
    let text = text.to_owned();
    spawn_local(async move {
        let written = JsFuture::from(written).await.is_ok();
        tell(written || copy_selected(&text).unwrap_or(false));
    });
}

/// Takes the text on the clipboard; `None` where the browser or the learner does not let the page have it.
pub fn paste(take: impl FnOnce(Option<String>) + 'static) {
    if !window().is_secure_context() {
        return take(None);
    }
    let read = window().navigator().clipboard().read_text();
    spawn_local(async move { take(JsFuture::from(read).await.ok().and_then(|text| text.as_string())) });
}

/// Text as a terminal takes it from elsewhere: without control characters but Tab and the ends of lines. An Escape in
/// it could end a bracketed paste early, and have a shell execute the rest.
pub fn without_controls(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control() || matches!(letter, '\t' | '\n' | '\r')).collect()
}

fn copy_selected(text: &str) -> Result<bool, JsValue> {
    let focused = document().active_element().and_then(|element| element.dyn_into::<HtmlElement>().ok());
    let field: HtmlTextAreaElement = document().create_element("textarea")?.unchecked_into();
    field.set_value(text);
    field.set_class_name("visually-hidden");
    let body = document().body().ok_or(JsValue::NULL)?;
    body.append_child(&field)?;
    field.select();
    let copied = document().unchecked_into::<HtmlDocument>().exec_command("copy");
    field.remove();
    if let Some(focused) = focused {
        focused.focus()?;
    }
    copied
}
