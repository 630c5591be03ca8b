//! The mount tables: a card for each view, with what appeared, what went, and what is in one card only.

use std::collections::HashSet;

use leptos::html::{Article, Tr};
use leptos::prelude::*;
use shared::mount::{Mount, MountId};
use shared::protocol::ViewId;
use shared::tables::{only_in_one, tree_order};

use crate::icons::{NamespaceSign, hue};
use crate::tables::{Card, Mark};
use crate::{Page, words};

/// A row as it is shown.
#[derive(Clone, Debug, PartialEq)]
struct Line {
    mount: Mount,
    mark: Mark,
    depth: usize,
    /// How much of the mount point only repeats the parent's, in bytes.
    prefix: usize,
    only_here: bool,
}

/// The mounts pane.
#[component]
pub fn MountsPane(page: Page) -> impl IntoView {
    let ids = Memo::new(move |_| {
        page.model.tables.with(|tables| tables.cards().iter().map(|card| card.view.id).collect::<Vec<_>>())
    });
    let alone = Memo::new(move |_| page.model.tables.with(|tables| alone(tables.cards())));
    view! {
        <section id="mounts" class="pane mounts" aria-label="Mount tables" tabindex="-1">
            <header>
                <h2>"Mounts"</h2>
                <span class="hint">{move || summary(ids.get().len())}</span>
            </header>
            <div class="cards">
                <For each=move || ids.get() key=|id| *id let:id><CardView page id alone/></For>
                <Show when=move || ids.get().is_empty()>
                    <p class="notice">
                        "The mount table of every mount namespace in your machine appears here, "
                        "as the kernel tells it, the moment it changes."
                    </p>
                </Show>
            </div>
        </section>
    }
}

fn summary(views: usize) -> &'static str {
    match views {
        0 => "",
        1 => "one mount namespace so far; a new one gets its own card",
        _ => "one card for each mount namespace and root directory",
    }
}

/// Per view, the mounts that no other card has.
fn alone(cards: &[Card]) -> Vec<(ViewId, HashSet<MountId>)> {
    let there: Vec<&Card> = cards.iter().filter(|card| !card.mark.is_gone()).collect();
    let mounts: Vec<Vec<Mount>> = there.iter().map(|card| card.mounts().cloned().collect()).collect();
    let tables: Vec<&[Mount]> = mounts.iter().map(Vec::as_slice).collect();
    there.iter().map(|card| card.view.id).zip(only_in_one(&tables)).collect()
}

fn lines(card: &Card, alone: &HashSet<MountId>) -> Vec<Line> {
    let mounts: Vec<Mount> = card.rows.iter().map(|row| Mount::clone(&row.mount)).collect();
    let parent = |mount: &Mount| mounts.iter().find(|other| other.id == mount.parent && other.id != mount.id);
    let line = |(place, depth): (usize, usize)| {
        let mount = &mounts[place];
        Line {
            mount: mount.clone(),
            mark: card.rows[place].mark,
            depth,
            prefix: words::prefix(mount, parent(mount)).len(),
            only_here: alone.contains(&mount.id),
        }
    };
    tree_order(&mounts).into_iter().map(line).collect()
}

#[component]
fn CardView(page: Page, id: ViewId, alone: Memo<Vec<(ViewId, HashSet<MountId>)>>) -> impl IntoView {
    let card = Memo::new(move |_| page.model.tables.with(|tables| tables.card(id).cloned()));
    let of_view = move |tell: fn(&Card) -> String| move || card.with(|card| card.as_ref().map(tell));
    let ordinal = Memo::new(move |_| card.with(|card| card.as_ref().map(|card| card.view.ordinal)));
    let mark = Memo::new(move |_| card.with(|card| card.as_ref().map(|card| card.mark).unwrap_or_default()));
    let rows = Memo::new(move |_| {
        let nothing = HashSet::new();
        card.with(|card| {
            let Some(card) = card else { return Vec::new() };
            alone.with(|alone| {
                let alone = alone.iter().find(|(view, _)| *view == id).map_or(&nothing, |(_, mounts)| mounts);
                lines(card, alone)
            })
        })
    });
    let root = Memo::new(move |_| card.with(|card| card.as_ref().map(|card| card.view.root.clone())));
    let moved = move || root.get().filter(|root| root != "/");
    let title = format!("card-{}", id.0);
    let element = NodeRef::<Article>::new();
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
            data-namespace=of_view(|card| card.view.mount_namespace.to_string())
            data-ordinal=of_view(|card| card.view.ordinal.to_string())
            data-root=move || root.get()
            data-state=move || words::mark_name(mark.get())
            data-hue=move || hue(ordinal.get())
        >
            <header>
                <h3 id=title><NamespaceSign ordinal=ordinal/>{of_view(|card| words::view(&card.view))}</h3>
                <span class="inode" title="The mount namespace, as readlink /proc/PID/ns/mnt tells it">
                    {of_view(|card| card.view.mount_namespace.to_string())}
                </span>
                {note(page, mark.into(), false)}
                <span class="processes" title=of_view(|card| words::processes(&card.view))>
                    {of_view(|card| words::processes(&card.view))}
                </span>
                <Show when=move || moved().is_some()>
                    <span class="root">"root directory " <code>{moved}</code></span>
                </Show>
            </header>
            <Show
                when=move || !rows.with(Vec::is_empty)
                fallback=move || view! { <p class="notice">{move || why_empty(moved().is_some())}</p> }
            >
                <div class="table" role="group" tabindex="0" aria-labelledby=table_labelled_by.clone()>
                    <table>
                        <thead>
                            <tr>
                                <th scope="col">"Mount point"</th>
                                <th scope="col">"Type"</th>
                                <th scope="col">"Propagation"</th>
                                <th scope="col">"Source, options"</th>
                            </tr>
                        </thead>
                        <tbody>
                            <For each=move || rows.get() key=|line| format!("{line:?}") let:line>
                                <RowView page line/>
                            </For>
                        </tbody>
                    </table>
                </div>
            </Show>
        </article>
    }
}

fn why_empty(moved: bool) -> &'static str {
    match moved {
        true => "No mount is reachable below this root: chroot moved the root directory, not a mount.",
        false => "No mount is reachable here.",
    }
}

#[component]
fn RowView(page: Page, line: Line) -> impl IntoView {
    let Line { mount, mark, depth, prefix, only_here } = line;
    let row = NodeRef::<Tr>::new();
    Effect::new(move |_| {
        if let (Some(row), Mark::New(_)) = (row.get(), mark) {
            show_row(&row);
        }
    });
    let details = format!("{} {}", mount.source, mount.options);
    let (above, own) = mount.mount_point.split_at(prefix);
    view! {
        <tr
            node_ref=row
            data-mount-point=mount.mount_point.clone()
            data-fs-type=mount.fs_type.clone()
            data-state=words::mark_name(mark)
            data-only-here=only_here.then_some("")
        >
            <th scope="row" data-depth=depth.min(5).to_string() title=mount.mount_point.clone()>
                <span class="above">{above.to_owned()}</span>{own.to_owned()}
            </th>
            <td>{mount.fs_type.clone()}</td>
            <td title=words::propagation_meaning(&mount.propagation)>{words::propagation(&mount.propagation)}</td>
            <td>
                <span class="details">
                    <span class="source" title=details.clone()>{details.clone()}</span>
                    {note(page, Signal::stored(mark), only_here)}
                </span>
            </td>
        </tr>
    }
}

/// What is said of a row or a card besides its content: the mark in a word, and its age where there is room.
fn note(page: Page, mark: Signal<Mark>, only_here: bool) -> impl IntoView {
    let word = move || match mark.get() {
        Mark::None if only_here => "only here",
        mark => words::mark_name(mark),
    };
    let age = move || words::mark_age(mark.get(), page.model.now.get());
    view! { <span class="note">{word}<span class="age">{age}</span></span> }
}

/// Brings a new row into sight within its card, and moves nothing else on the page.
fn show_row(row: &web_sys::HtmlElement) {
    let Ok(Some(table)) = row.closest(".table") else { return };
    let (seen, line) = (table.get_bounding_client_rect(), row.get_bounding_client_rect());
    let below = line.bottom() - seen.bottom();
    if below > 0.0 {
        table.set_scroll_top(table.scroll_top() + below.ceil() as i32);
    }
}

/// Brings a new card into sight where there are more than fit side by side.
fn show_card(card: &web_sys::HtmlElement) {
    let Some(cards) = card.parent_element() else { return };
    let (seen, place) = (cards.get_bounding_client_rect(), card.get_bounding_client_rect());
    let beyond = place.right() - seen.right();
    if beyond > 0.0 {
        cards.set_scroll_left(cards.scroll_left() + beyond.ceil() as i32);
    }
}
