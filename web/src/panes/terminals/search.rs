//! The search bar over a terminal: what is looked for, and where in how many matches one is.

use leptos::ev::KeyboardEvent;
use leptos::html::Input;
use leptos::prelude::*;
use shared::protocol::TerminalId;

use crate::Page;
use crate::icons::Icon;
use crate::pace::once_shown;
use crate::terminal::{Found, MANY, Query, Way};

/// The search in one terminal, as long as that is the one being searched.
#[component]
pub fn SearchBar(page: Page, id: TerminalId) -> impl IntoView {
    let field = NodeRef::<Input>::new();
    let query = RwSignal::new(Query::default());
    let find = move |way| page.screens.find(id, query.get_untracked(), way);
    Effect::new(move |_| {
        if let Some(field) = field.get() {
            // It is one that can take the focus.
            once_shown(move || _ = field.focus());
        }
    });
    let change = move |text: String| {
        query.update(|query| query.text = text);
        find(Way::Newest);
    };
    let turn_case = move |_| {
        query.update(|query| query.case = !query.case);
        find(Way::Newest);
    };
    let key = move |event: KeyboardEvent| {
        match (event.key().as_str(), event.code().as_str()) {
            ("Enter", _) => find(if event.shift_key() { Way::Down } else { Way::Up }),
            ("Escape", _) => page.screens.end_search(),
            // The browser would search the page, which knows nothing of the lines above.
            (_, "KeyF") if event.ctrl_key() || event.meta_key() => {
                field.get_untracked().iter().for_each(|field| field.select())
            }
            _ => return,
        }
        event.prevent_default();
        event.stop_propagation();
    };
    let found = move || match page.screens.common.found.get() {
        _ if query.with(|query| query.text.is_empty()) => String::new(),
        Found { count: 0, .. } => "not found".to_owned(),
        Found { place: Some(place), count } => format!("{place} of {count}"),
        Found { count, .. } if count >= MANY => format!("over {MANY}"),
        Found { count, .. } => format!("{count} found"),
    };
    view! {
        <div class="search" role="search" aria-label="In this terminal" on:keydown=key>
            <input
                node_ref=field
                aria-label="Search in this terminal"
                placeholder="Search"
                spellcheck="false"
                autocomplete="off"
                on:input:target=move |event| change(event.target().value())
            />
            <span class="found" role="status">{found}</span>
            <button
                class="quiet"
                aria-label="Upper and lower case differ"
                title="Upper and lower case differ"
                aria-pressed=move || query.with(|query| query.case.to_string())
                on:click=turn_case
            >"Aa"</button>
            <button class="quiet" aria-label="Further up" title="Further up (Enter)" on:click=move |_| find(Way::Up)>
                {Icon::UP.show()}
            </button>
            <button class="quiet" aria-label="Back down" title="Back down (Shift-Enter)" on:click=move |_| find(Way::Down)>
                {Icon::DOWN.show()}
            </button>
            <button class="quiet" aria-label="Close the search" title="Close (Esc)" on:click=move |_| page.screens.end_search()>
                {Icon::CLOSE.show()}
            </button>
        </div>
    }
}
