//! How wide a part of a pane is, in a word, for the style sheet. A container query would say the same, but with some
//! hundred rows in the container Chromium 156 spends 25 ms more on each change of style anywhere in the page.

use leptos::prelude::*;
use leptos::tachys::html::element::ElementType;
use wasm_bindgen::JsCast;
use wasm_bindgen::closure::Closure;
use web_sys::{Element, ResizeObserver};

/// `narrow`, `middle` or `wide`, as the element is now.
pub fn width_of<E>(node: NodeRef<E>) -> RwSignal<&'static str>
where
    E: ElementType + 'static,
    E::Output: JsCast + Clone + Into<Element> + 'static,
{
    let width = RwSignal::new("middle");
    Effect::new(move |_| {
        let Some(element) = node.get() else { return };
        let element: Element = element.into();
        let seen = element.clone();
        let measure = move || {
            let now = match seen.client_width() {
                ..360 => "narrow",
                360..640 => "middle",
                640.. => "wide",
            };
            if width.try_get_untracked().is_some_and(|before| before != now) {
                width.set(now);
            }
        };
        // Before it is drawn: an observer is late by a frame, and what has the wrong width until then jumps.
        measure();
        let resized = Closure::<dyn Fn()>::new(measure);
        let Ok(observer) = ResizeObserver::new(resized.as_ref().unchecked_ref()) else { return };
        observer.observe(&element);
        // The browser calls it as long as it observes.
        let held = StoredValue::new_local((observer, resized));
        on_cleanup(move || {
            held.try_with_value(|(observer, _)| observer.disconnect());
        });
    });
    width
}
