//! What stands below the terminals: the mount tables, the calls, or both side by side where there is room.

use leptos::prelude::*;

use crate::model::Pane;
use crate::{Page, panes, storage};

const KEY: &str = "newroot-below";

/// What there is to choose from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// One of the two panes: the one that was in front last.
    One,
    /// Both.
    Both,
}

impl Shown {
    /// As this browser remembers it.
    pub fn remembered() -> Shown {
        if storage::get(KEY).is_some() { Shown::Both } else { Shown::One }
    }

    /// As the attribute that style sheet and tests read.
    pub fn name(self) -> &'static str {
        match self {
            Shown::One => "one",
            Shown::Both => "both",
        }
    }

    fn choose(self, page: Page) {
        page.below.set(self);
        storage::set(KEY, (self == Shown::Both).then_some(self.name()));
    }
}

/// The switch at the head of either pane, which also is its name.
#[component]
pub fn Below(page: Page, pane: Pane) -> impl IntoView {
    let both = move || page.below.get() == Shown::Both;
    // So many calls have come since they were last in sight.
    let seen = RwSignal::new(None);
    Effect::new(move |_| {
        page.model.calls.track();
        if both() || page.model.lowest.get() == Pane::Calls {
            seen.set(page.model.calls.with(|calls| calls.newest()));
        }
    });
    let news =
        Memo::new(move |_| page.model.calls.with(|calls| calls.newer_than(page.model.past.get().max(seen.get()))));
    let count = move || match news.get() {
        0 => String::new(),
        count @ 1..100 => count.to_string(),
        _ => "99+".to_owned(),
    };
    let one = move |chosen: Pane| {
        Shown::One.choose(page);
        panes::enter(page, chosen);
    };
    let pressed = move |is: Pane| (is == pane && !both()).to_string();
    view! {
        <h2 class="visually-hidden">{if pane == Pane::Calls { "Calls" } else { "Mounts" }}</h2>
        <div class="switch below-switch" role="group" aria-label="Below the terminals">
            <button aria-pressed=move || pressed(Pane::Mounts) on:click=move |_| one(Pane::Mounts)>"Mounts"</button>
            <button aria-pressed=move || pressed(Pane::Calls) on:click=move |_| one(Pane::Calls)>
                "Calls "
                <span class="count" hidden=move || news.get() == 0>{count}<span class="visually-hidden">" new"</span></span>
            </button>
            <button class="both" aria-pressed=move || both().to_string() on:click=move |_| Shown::Both.choose(page)>"Both"</button>
        </div>
    }
}
