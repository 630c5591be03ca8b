//! The bar on top: where one is in the lesson, how the page stands with its machine, and what concerns the whole page.

use leptos::ev::MouseEvent;
use leptos::html::Nav;
use leptos::prelude::*;

use crate::address::Address;
use crate::icons::Icon;
use crate::limits::Limits;
use crate::model::Pane;
use crate::question::Reset;
use crate::stepping::Switch;
use crate::{Page, keys, panes, theme, words};

/// The bar on top.
#[component]
pub fn TopBar(page: Page) -> impl IntoView {
    let place = Memo::new(move |_| page.model.place());
    let title = move || place.get().map_or_else(|| "A lesson".to_owned(), |(lesson, _)| lesson.title);
    let step = move || place.get().map(|(lesson, step)| format!("Step {} of {}", step + 1, lesson.steps.len()));
    Effect::new(move |_| {
        if let Some((lesson, step)) = place.get() {
            let step = lesson.steps.get(step).map(|step| format!("{} · ", step.title)).unwrap_or_default();
            document().set_title(&format!("{step}{} · newroot", lesson.title));
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
            <button class="quiet place" popovertarget="steps" title="All steps" hidden=move || place.with(Option::is_none)>
                <span aria-live="polite">{step}</span>
                {Icon::DOWN.show()}
            </button>
            <Steps page/>
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

/// All steps by their titles, shown when asked for.
#[component]
fn Steps(page: Page) -> impl IntoView {
    let list = NodeRef::<Nav>::new();
    let hide = move |_| {
        if let Some(list) = list.get() {
            // Fails only where it is hidden already.
            let _ = list.hide_popover();
        }
    };
    let links = move || {
        let (lesson, current) = page.model.place()?;
        let link = |(place, step): (usize, &shared::lesson::Step)| {
            view! {
                <li>
                    <a
                        href=Address::href(&lesson.slug, &step.slug)
                        aria-current=(place == current).then_some("step")
                        on:click=hide
                    >{step.title.clone()}</a>
                </li>
            }
        };
        Some(lesson.steps.iter().enumerate().map(link).collect_view())
    };
    view! { <nav id="steps" class="steps" popover="auto" aria-label="All steps" node_ref=list><ol>{links}</ol></nav> }
}

/// The address names a step, so a link within the page must not change it.
fn skip(page: Page, pane: Pane, event: &MouseEvent) {
    event.prevent_default();
    panes::enter(page, pane);
}
