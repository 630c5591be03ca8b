//! The five panes and their arrangement: a grid with movable borders where there is room, tabs where there is not.

mod arrows;
mod below;
mod calls;
mod code;
mod command;
mod lesson;
mod mounts;
mod quiz;
mod splitter;
mod task;
mod terminals;
mod width;

use leptos::ev::KeyboardEvent;
use leptos::prelude::*;
use shared::trace::CodeLine;
use wasm_bindgen::JsCast;
use web_sys::HtmlElement;

use crate::model::Pane;
use crate::pace::once_shown;
use crate::{Page, words};
pub use below::Shown;
pub use code::Choice;
use splitter::{Axis, Splitter};

/// The panes in the order of the keyboard, with the id of each one's element and its name.
const PANES: [(Pane, &str, &str); 5] = [
    (Pane::Lesson, "lesson", "Lesson"),
    (Pane::Code, "code", "Code"),
    (Pane::Terminals, "terminals", "Terminals"),
    (Pane::Mounts, "mounts", "Mounts"),
    (Pane::Calls, "calls", "Calls"),
];

/// All panes.
#[component]
pub fn Panes(page: Page) -> impl IntoView {
    window_event_listener(leptos::ev::keydown, move |event| leave_pane(page, &event));
    let shown = move || id(page.model.pane.get());
    // Where there is room for two, what was in front last stays beside what is in front now.
    let upper = last_of(page, [Pane::Lesson, Pane::Code]);
    let lower = last_of(page, [Pane::Terminals, Pane::Mounts, Pane::Calls]);
    let two = upright();
    let is_shown = move |pane| match two.get() {
        true => [upper.get(), lower.get()].contains(&pane),
        false => page.model.pane.get() == pane,
    };
    view! {
        <nav class="pane-tabs" aria-label="Panes">
            {PANES.map(|(pane, _, name)| view! {
                <button
                    aria-pressed=move || is_shown(pane).to_string()
                    on:click=move |_| page.model.pane.set(pane)
                >{name}</button>
            })}
        </nav>
        <main class="panes" data-pane=shown data-upper=move || id(upper.get()) data-lower=move || id(lower.get())>
            <lesson::LessonPane page/>
            <Splitter axis=Axis::Across property="--lesson" label="Width of the lesson" end=false/>
            <code::CodePane page/>
            <Splitter axis=Axis::Down property="--code" label="Height of the code" end=false/>
            <terminals::TerminalsPane page/>
            <Splitter axis=Axis::Down property="--mounts" label="Height of the mount tables" end=true/>
            <div class="below" data-shown=move || page.below.get().name() data-front=move || id(page.model.lowest.get())>
                <mounts::MountsPane page/>
                <calls::CallsPane page/>
            </div>
        </main>
    }
}

/// The id of a pane's element.
fn id(pane: Pane) -> &'static str {
    PANES.iter().find(|(other, ..)| *other == pane).map_or("", |(_, id, _)| id)
}

/// The one of some panes that was in front last.
fn last_of<const COUNT: usize>(page: Page, panes: [Pane; COUNT]) -> Memo<Pane> {
    Memo::new(move |last: Option<&Pane>| {
        let pane = page.model.pane.get();
        if panes.contains(&pane) { pane } else { last.copied().unwrap_or(panes[0]) }
    })
}

/// A line of the runtime as a link that shows it in the code pane; nothing where there is none.
pub fn code_link(page: Page, line: Option<CodeLine>) -> Option<impl IntoView + use<>> {
    let line = line?;
    let name = words::calls::line(&line);
    let show = move |_| {
        page.code.look_up(&line);
        page.model.pane.set(Pane::Code);
    };
    Some(view! {
        <button class="code-link" aria-label=format!("Show {name} in the code") on:click=show>{name.clone()}</button>
    })
}

/// Whether the window is narrow but tall, in the words of the style sheet.
fn upright() -> RwSignal<bool> {
    let query = || {
        let query = window().match_media("(max-width: 900px) and (min-height: 900px)").ok().flatten();
        query.is_some_and(|query| query.matches())
    };
    let upright = RwSignal::new(query());
    window_event_listener(leptos::ev::resize, move |_| upright.set(query()));
    upright
}

/// Puts the keyboard into a pane, and the pane in front.
pub fn enter(page: Page, pane: Pane) {
    page.model.pane.set(pane);
    once_shown(move || match (pane, page.model.front.get_untracked()) {
        (Pane::Terminals, Some(front)) => page.screens.focus(front),
        _ => {
            if let Some(element) = document().get_element_by_id(id(pane)) {
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
