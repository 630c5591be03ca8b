//! The four panes and their arrangement: a grid with movable borders where there is room, tabs where there is not.

mod code;
mod lesson;
mod mounts;
mod splitter;
mod terminals;

use leptos::ev::KeyboardEvent;
use leptos::prelude::*;
use wasm_bindgen::JsCast;
use web_sys::HtmlElement;

use crate::Page;
use crate::model::Pane;
use splitter::{Axis, Splitter};

/// The panes in the order of the keyboard, with the id of each one's element and its name.
const PANES: [(Pane, &str, &str); 4] = [
    (Pane::Lesson, "lesson", "Lesson"),
    (Pane::Code, "code", "Code"),
    (Pane::Terminals, "terminals", "Terminals"),
    (Pane::Mounts, "mounts", "Mounts"),
];

/// All four panes.
#[component]
pub fn Panes(page: Page) -> impl IntoView {
    window_event_listener(leptos::ev::keydown, move |event| leave_pane(page, &event));
    let shown = move || PANES.iter().find(|(pane, ..)| *pane == page.model.pane.get()).map(|(_, id, _)| *id);
    view! {
        <nav class="pane-tabs" aria-label="Panes">
            {PANES.map(|(pane, _, name)| view! {
                <button
                    aria-pressed=move || (page.model.pane.get() == pane).to_string()
                    on:click=move |_| page.model.pane.set(pane)
                >{name}</button>
            })}
        </nav>
        <main class="panes" data-pane=shown>
            <lesson::LessonPane page/>
            <Splitter axis=Axis::Across property="--lesson" label="Width of the lesson" end=false/>
            <code::CodePane page/>
            <Splitter axis=Axis::Down property="--code" label="Height of the code" end=false/>
            <terminals::TerminalsPane page/>
            <Splitter axis=Axis::Down property="--mounts" label="Height of the mount tables" end=true/>
            <mounts::MountsPane page/>
        </main>
    }
}

/// Puts the keyboard into a pane, and the pane in front.
fn enter(page: Page, pane: Pane) {
    page.model.pane.set(pane);
    // After the pane has become visible: what is hidden takes no focus.
    request_animation_frame(move || match (pane, page.model.front.get_untracked()) {
        (Pane::Terminals, Some(front)) => page.screens.focus(front),
        _ => {
            let id = PANES.iter().find(|(other, ..)| *other == pane).map_or("", |(_, id, _)| id);
            if let Some(element) = document().get_element_by_id(id) {
                // An element of the page can take the focus.
                let _ = element.unchecked_into::<HtmlElement>().focus();
            }
        }
    });
}

/// F6 goes to the next pane, Shift-F6 back. In a terminal F6 belongs to the program there; Ctrl-Shift-F6 leaves it.
fn leave_pane(page: Page, event: &KeyboardEvent) {
    if event.key() != "F6" || event.default_prevented() {
        return;
    }
    event.prevent_default();
    let focused = document().active_element();
    let current = focused.and_then(|element| element.closest("section").ok().flatten()).map(|section| section.id());
    let place = PANES.iter().position(|(_, id, _)| current.as_deref() == Some(*id));
    let back = event.shift_key() && !event.ctrl_key();
    let next = match place {
        Some(place) => (place + if back { PANES.len() - 1 } else { 1 }) % PANES.len(),
        None => 0,
    };
    enter(page, PANES[next].0);
}
