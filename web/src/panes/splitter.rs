//! A border between two panes that pointer and keyboard can move. Where it stands is a custom property of the root
//! element, in percent of the panes' box, and is remembered.

use leptos::ev::{KeyboardEvent, PointerEvent};
use leptos::html::Div;
use leptos::prelude::*;
use wasm_bindgen::JsCast;
use web_sys::HtmlElement;

use crate::storage;

const LEAST: f64 = 12.0;
const MOST: f64 = 60.0;

/// The direction in which a border moves.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Axis {
    /// Left and right.
    Across,
    /// Up and down.
    Down,
}

/// A border. `end`: the pane that it sizes lies after it, not before.
#[component]
pub fn Splitter(axis: Axis, property: &'static str, label: &'static str, end: bool) -> impl IntoView {
    let element = NodeRef::<Div>::new();
    let percent = RwSignal::new(storage::get(&key(property)).and_then(|stored| stored.parse::<f64>().ok()));
    Effect::new(move |_| apply(property, percent.get()));
    let place = move |percentage: f64| {
        let percentage = percentage.clamp(LEAST, MOST);
        percent.set(Some(percentage));
        storage::set(&key(property), Some(&format!("{percentage:.1}")));
    };
    let drag = move |event: PointerEvent| {
        let Some(element) = element.get().filter(|element| element.has_pointer_capture(event.pointer_id())) else {
            return;
        };
        let Some(panes) = element.parent_element() else { return };
        let area = panes.get_bounding_client_rect();
        let from_start = match axis {
            Axis::Across => (f64::from(event.client_x()) - area.left()) / area.width(),
            Axis::Down => (f64::from(event.client_y()) - area.top()) / area.height(),
        };
        place(100.0 * if end { 1.0 - from_start } else { from_start });
    };
    let grab = move |event: PointerEvent| {
        if let Some(element) = element.get() {
            // Fails only for a pointer that has gone meanwhile.
            let _ = element.set_pointer_capture(event.pointer_id());
        }
    };
    let step = move |event: KeyboardEvent| {
        let current = percent.get_untracked().unwrap_or_else(|| default(property));
        let towards_end = match event.key().as_str() {
            "ArrowRight" if axis == Axis::Across => 2.0,
            "ArrowLeft" if axis == Axis::Across => -2.0,
            "ArrowDown" if axis == Axis::Down => 2.0,
            "ArrowUp" if axis == Axis::Down => -2.0,
            _ => return,
        };
        event.prevent_default();
        place(current + if end { -towards_end } else { towards_end });
    };
    let forget = move |_| {
        percent.set(None);
        storage::set(&key(property), None);
    };
    view! {
        <div
            node_ref=element
            class="splitter"
            class:across=axis == Axis::Across
            data-sizes=&property[2..]
            role="separator"
            tabindex="0"
            aria-label=label
            aria-orientation=if axis == Axis::Across { "vertical" } else { "horizontal" }
            aria-valuemin=LEAST.to_string()
            aria-valuemax=MOST.to_string()
            aria-valuenow=move || percent.get().unwrap_or_else(|| default(property)).round().to_string()
            title="Drag, or use the arrow keys; double-click for the usual place"
            on:pointerdown=grab
            on:pointermove=drag
            on:keydown=step
            on:dblclick=forget
        ></div>
    }
}

fn key(property: &str) -> String {
    format!("newroot-split{property}")
}

fn root() -> Option<HtmlElement> {
    document().document_element().map(|root| root.unchecked_into())
}

/// Where the style sheet puts a border.
fn default(property: &str) -> f64 {
    let style = root().and_then(|root| window().get_computed_style(&root).ok().flatten());
    let value = style.and_then(|style| style.get_property_value(property).ok()).unwrap_or_default();
    value.trim().trim_end_matches('%').parse().unwrap_or(33.0)
}

fn apply(property: &str, percent: Option<f64>) {
    if let Some(style) = root().map(|root| root.style()) {
        // A custom property takes any value.
        let _ = match percent {
            Some(percent) => style.set_property(property, &format!("{percent:.1}%")),
            None => style.remove_property(property).map(|_| ()),
        };
    }
}
