//! The mount tables: a card for each view, or two cards compared. What a card shows is made in [`lines`]; here is the
//! frame around it, and how often it is made anew.

mod compare;
mod lines;
mod row;

use std::collections::HashSet;

use leptos::ev::KeyboardEvent;
use leptos::html::Article;
use leptos::prelude::*;
use shared::mount::{Mount, MountId};
use shared::plain::plain;
use shared::protocol::ViewId;
use shared::tables::only_in_one;
use wasm_bindgen::JsCast;
use web_sys::HtmlElement;

use super::arrows::move_among;
use super::below::Below;
use super::width::width_of;
use crate::icons::{NamespaceSign, hue};
use crate::model::Pane;
use crate::pace::Pace;
use crate::tables::{Card, Mark, Tables};
use crate::{Page, storage, words};
use lines::{Form, Lines, Look, MOST_SHOWN};

/// Under this key the browser remembers the form.
const FORM: &str = "newroot-mounts";

/// What the learner chose to see, and when to look: for all cards.
#[derive(Clone, Copy)]
struct Looks {
    form: RwSignal<Form>,
    filter: RwSignal<String>,
    comparing: RwSignal<bool>,
    /// Beats when the tables have changed and may be shown again.
    pace: Pace,
}

/// The mounts pane.
#[component]
pub fn MountsPane(page: Page) -> impl IntoView {
    let form = if storage::get(FORM).as_deref() == Some("table") { Form::Table } else { Form::Tree };
    let looks = Looks {
        form: RwSignal::new(form),
        filter: RwSignal::new(String::new()),
        comparing: RwSignal::new(false),
        pace: Pace::following(move || page.model.tables.track()),
    };
    let ids = Memo::new(move |_| {
        looks.pace.track();
        page.model.tables.with_untracked(|tables| tables.cards().iter().map(|card| card.view.id).collect::<Vec<_>>())
    });
    let alone = Memo::new(move |_| {
        looks.pace.track();
        page.model.tables.with_untracked(|tables| alone(tables.cards()))
    });
    let hint = move || {
        looks.pace.track();
        page.model.tables.with_untracked(summary)
    };
    let latest = move || {
        looks.pace.track();
        page.model.tables.with_untracked(words::mounts::latest)
    };
    let compares = Memo::new(move |_| looks.comparing.get() && ids.with(|ids| ids.len() > 1));
    view! {
        <section id="mounts" class="pane mounts" aria-label="Mount tables" tabindex="-1">
            <header>
                <Below page pane=Pane::Mounts/>
                <span class="hint">{hint}</span>
                <Controls looks ids/>
            </header>
            <p class="visually-hidden" role="status">{latest}</p>
            <Show when=move || compares.get()><compare::Compare page looks ids/></Show>
            <div class="cards" hidden=move || compares.get()>
                <For each=move || ids.get() key=|id| *id let:id><CardView page looks id alone/></For>
                <Show when=move || ids.with(Vec::is_empty)>
                    <p class="notice">
                        "The mount table of every mount namespace in your machine appears here, "
                        "as the kernel tells it, the moment it changes."
                    </p>
                </Show>
            </div>
        </section>
    }
}

#[component]
fn Controls(looks: Looks, ids: Memo<Vec<ViewId>>) -> impl IntoView {
    let is_table = move || looks.form.get() == Form::Table;
    let switch = move |_| {
        let form = if looks.form.get_untracked() == Form::Table { Form::Tree } else { Form::Table };
        looks.form.set(form);
        storage::set(FORM, (form == Form::Table).then_some("table"));
    };
    let clear = move |event: KeyboardEvent| {
        if event.key() == "Escape" && !looks.filter.with_untracked(String::is_empty) {
            event.prevent_default();
            looks.filter.set(String::new());
        }
    };
    let alone = move || ids.with(|ids| ids.len() < 2);
    view! {
        <div class="looks" role="group" aria-label="How mounts are shown">
            <input
                type="search"
                placeholder="Filter"
                aria-label="Filter mounts by any text in a row"
                prop:value=looks.filter
                on:input=move |event| looks.filter.set(event_target_value(&event))
                on:keydown=clear
            />
            <button class="quiet" aria-pressed=move || is_table().to_string() on:click=switch
                title="All columns of mountinfo, in the kernel's order, instead of the tree">"Table"</button>
            <button class="quiet" aria-pressed=move || (looks.comparing.get() && !alone()).to_string() disabled=alone
                title="Two mount tables side by side: what is in one only, and what differs"
                on:click=move |_| looks.comparing.update(|comparing| *comparing = !*comparing)>"Compare"</button>
        </div>
    }
}

fn summary(tables: &Tables) -> String {
    let mut said = match tables.cards().len() {
        0 => String::new(),
        1 => "one mount namespace so far; a new one gets its own card".to_owned(),
        _ => "a card for each mount namespace and root directory".to_owned(),
    };
    let (views, processes) = tables.not_shown;
    if views > 0 {
        said = format!("{views} more are not shown: these are as many as fit");
    }
    if processes {
        said += "; more processes run than are looked at";
    }
    said
}

/// Per view, the mounts that no other card has.
fn alone(cards: &[Card]) -> Vec<(ViewId, HashSet<MountId>)> {
    let there: Vec<&Card> = cards.iter().filter(|card| !card.mark.is_gone() && !card.is_arriving()).collect();
    let mounts: Vec<Vec<&Mount>> = there.iter().map(|card| card.mounts().collect()).collect();
    let tables: Vec<&[&Mount]> = mounts.iter().map(Vec::as_slice).collect();
    there.iter().map(|card| card.view.id).zip(only_in_one(&tables)).collect()
}

#[component]
fn CardView(page: Page, looks: Looks, id: ViewId, alone: Memo<Vec<(ViewId, HashSet<MountId>)>>) -> impl IntoView {
    let card = move |tell: fn(&Card) -> String| {
        Memo::new(move |_| {
            looks.pace.track();
            page.model.tables.with_untracked(|tables| tables.card(id).map(tell).unwrap_or_default())
        })
    };
    let of_card = move |read: fn(&Card) -> Option<u64>| {
        Memo::new(move |_| {
            looks.pace.track();
            page.model.tables.with_untracked(|tables| tables.card(id).and_then(read))
        })
    };
    let mark = Memo::new(move |_| {
        looks.pace.track();
        page.model.tables.with_untracked(|tables| tables.card(id).map(|card| card.mark).unwrap_or_default())
    });
    let ordinal = of_card(|card| Some(card.view.ordinal.into()));
    let ordinal = Signal::derive(move || ordinal.get().map(|ordinal| ordinal as u32));
    let processes = card(|card| words::processes(&card.view));
    let namespace = card(|card| card.view.mount_namespace.to_string());
    let root = card(|card| card.view.root.clone());
    let root_words = card(|card| match (card.view.root.as_str(), card.view.root_deleted) {
        ("/", false) => String::new(),
        (root, false) => plain(root),
        (root, true) => format!("{} (deleted)", plain(root)),
    });
    let why_empty = card(words::mounts::why_empty);
    let cut =
        card(|card| if card.view.cut { "The table goes on; no more of it is told.".to_owned() } else { String::new() });

    let element = NodeRef::<Article>::new();
    let width = width_of(element);
    let alone = Memo::new(move |_| {
        let of_card = |alone: &Vec<(ViewId, HashSet<MountId>)>| alone.iter().find(|(view, _)| *view == id).cloned();
        alone.with(of_card).map(|(_, mounts)| mounts).unwrap_or_default()
    });
    let unfolded = RwSignal::new(HashSet::new());
    let most = RwSignal::new(MOST_SHOWN);
    let revision = of_card(|card| Some(card.revision()));
    let lines = Memo::new(move |_| {
        revision.track();
        let filter = looks.filter.with(|filter| filter.trim().to_lowercase());
        let look = |unfolded: &HashSet<MountId>| {
            let look = Look { form: looks.form.get(), filter: &filter, unfolded, most: most.get() };
            let of_card = |card: &Card| alone.with(|alone| lines::lines(card, alone, &look));
            page.model.tables.with_untracked(|tables| tables.card(id).map(of_card).unwrap_or_default())
        };
        looks.pace.spend(|| unfolded.with(look))
    });
    let newest = Memo::new(move |_| lines.with(Lines::newest));
    Effect::new(move |_| {
        let (Some(card), Some(id)) = (element.get(), newest.get()) else { return };
        // Once for all rows of this change, when they are in the document.
        request_animation_frame(move || {
            if let Ok(Some(row)) = card.query_selector(&format!("tr[data-id='{}']", id.0)) {
                row::show_row(&row.unchecked_into(), row::ROW);
            }
        });
    });
    let left_out = Memo::new(move |_| lines.with(|lines| lines.left_out));
    let empty = Memo::new(move |_| lines.with(|lines| lines.order.is_empty()));
    let why_empty = move || match looks.filter.with(|filter| filter.trim().is_empty()) {
        true => why_empty.get(),
        false => looks.filter.with(|filter| format!("No row has “{}” in it.", filter.trim())),
    };

    let title = format!("card-{}", id.0);
    Effect::new(move |_| {
        if let (Some(card), Mark::New(_)) = (element.get(), mark.get_untracked()) {
            show_card(&card);
        }
    });
    let (labelled_by, table_labelled_by) = (title.clone(), title.clone());
    view! {
        <article
            node_ref=element
            aria-labelledby=labelled_by
            data-view=id.0.to_string()
            data-namespace=namespace
            data-ordinal=move || ordinal.get().map(|ordinal| ordinal.to_string())
            data-root=root
            data-state=move || words::mark_name(mark.get())
            data-hue=move || hue(ordinal.get())
            data-width=width
        >
            <header>
                <h3 id=title><NamespaceSign ordinal=ordinal/>{card(|card| words::view(&card.view))}</h3>
                <span class="inode" title="The mount namespace, as readlink /proc/PID/ns/mnt tells it">{namespace}</span>
                {row::note(page, mark.into())}
                <span class="processes" title=processes>{processes}</span>
                <Show when=move || !root_words.with(String::is_empty)>
                    <span class="root">"root directory " <code title=root_words>{root_words}</code></span>
                </Show>
            </header>
            <Show when=move || !empty.get() fallback=move || view! { <p class="notice">{why_empty}</p> }>
                <div
                    class="table"
                    role="group"
                    tabindex="0"
                    aria-labelledby=table_labelled_by.clone()
                    on:keydown=|event| move_among("th > button", &event)
                >
                    <table data-form=move || if looks.form.get() == Form::Table { "table" } else { "tree" }>
                        <row::Head looks/>
                        <tbody>
                            <For each=move || lines.with(|lines| lines.order.clone()) key=|key| *key let:key>
                                <row::Row page looks view=id lines key unfolded/>
                            </For>
                        </tbody>
                    </table>
                    <Show when=move || left_out.get() != 0>
                        <p class="notice">
                            {move || format!("… and {} more rows: filter, or ", left_out.get())}
                            <button class="quiet" on:click=move |_| most.update(|most| *most *= 4)>"show more"</button>
                        </p>
                    </Show>
                    <Show when=move || !cut.with(String::is_empty)><p class="notice">{cut}</p></Show>
                </div>
            </Show>
        </article>
    }
}

/// Brings a new card into sight where there are more than fit side by side.
fn show_card(card: &HtmlElement) {
    let Some(cards) = card.parent_element() else { return };
    let (seen, place) = (cards.get_bounding_client_rect(), card.get_bounding_client_rect());
    let beyond = place.right() - seen.right();
    if beyond > 0.0 {
        cards.set_scroll_left(cards.scroll_left() + beyond.ceil() as i32);
    }
}
