//! The bar on top: where one is in the lesson, how the page stands with its machine, and what concerns the whole page.

use leptos::prelude::*;

use crate::icons::Icon;
use crate::limits::Limits;
use crate::question::Reset;
use crate::{Page, theme, words};

/// The bar on top.
#[component]
pub fn TopBar(page: Page) -> impl IntoView {
    let place = Memo::new(move |_| page.model.place());
    let title = move || place.get().map(|(lesson, _)| lesson.title);
    let step = move || place.get().map(|(lesson, step)| format!("step {} of {}", step + 1, lesson.steps.len()));
    Effect::new(move |_| {
        if let Some((lesson, step)) = place.get() {
            let step = lesson.steps.get(step).map(|step| format!("{} · ", step.title)).unwrap_or_default();
            document().set_title(&format!("{step}{} · newroot", lesson.title));
        }
    });
    view! {
        <header class="topbar">
            <span class="mark"><span class="slash" aria-hidden="true">"/"</span>"newroot"</span>
            <h1>{title}</h1>
            <span class="place" aria-live="polite">{step}</span>
            <Limits page/>
            <span class="connection" role="status">{move || words::connection(page.model.connection.get())}</span>
            <Reset page/>
            <button
                class="quiet square"
                aria-label=move || format!("Switch to the {} theme", page.theme.get().other().name())
                title=move || format!("Switch to the {} theme", page.theme.get().other().name())
                on:click=move |_| theme::choose(page.theme, page.theme.get_untracked().other())
            >
                {Icon::THEME.show()}
            </button>
        </header>
    }
}
