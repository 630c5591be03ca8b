//! The bar on top: where one is in the lesson, how the page stands with its machine, and what concerns the whole page.

use leptos::ev::MouseEvent;
use leptos::prelude::*;

use crate::address::Address;
use crate::icons::Icon;
use crate::limits::Limits;
use crate::menu::Menu;
use crate::model::Pane;
use crate::question::Reset;
use crate::stepping::Switch;
use crate::{Page, keys, panes, theme, words};

/// The bar on top.
#[component]
pub fn TopBar(page: Page) -> impl IntoView {
    let place = Memo::new(move |_| page.model.place());
    let title = move || place.get().map_or_else(|| "A lesson".to_owned(), |(lesson, _)| lesson.title);
    Effect::new(move |_| {
        if let Some((lesson, step)) = place.get() {
            let Some(step) = lesson.steps.get(step) else { return };
            document().set_title(&format!("{} · {} · newroot", step.title, lesson.title));
            Address::remember(&lesson.slug, &step.slug);
        }
    });
    view! {
        <header class="topbar">
            <a class="skip" href="#lesson" on:click=move |event| skip(page, Pane::Lesson, &event)>"Skip to the lesson"</a>
            <a class="skip" href="#terminals" on:click=move |event| skip(page, Pane::Terminals, &event)>
                "Skip to the terminals"
            </a>
            <span class="mark"><span class="slash" aria-hidden="true">"/"</span>"newroot"</span>
            <h1>{title}</h1>
            <Menu page/>
            <Limits page/>
            <span class="connection" role="status">{move || words::connection(page.model.connection.get())}</span>
            <Switch page/>
            <button class="quiet square" aria-label="Keys" title="Keys (?)" on:click=|_| keys::open("keys")>{Icon::KEYS.show()}</button>
            <Reset page/>
            <button
                class="quiet square"
                aria-label=move || format!("Switch to the {} theme", page.theme.get().other().name())
                title=move || format!("Switch to the {} theme", page.theme.get().other().name())
                on:click=move |_| theme::turn(page)
            >
                {Icon::THEME.show()}
            </button>
            <keys::Keys/>
        </header>
    }
}

/// The address names a step, so a link within the page must not change it.
fn skip(page: Page, pane: Pane, event: &MouseEvent) {
    event.prevent_default();
    panes::enter(page, pane);
}
