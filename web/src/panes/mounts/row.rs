//! A row of a card: a mount, or a group of device nodes; and, opened, every field of the mount in words.

use std::collections::HashSet;

use leptos::html::Tr;
use leptos::prelude::*;
use shared::mount::MountId;
use shared::plain::plain;
use shared::protocol::ViewId;
use shared::timeline::Timeline;

use super::Looks;
use super::lines::{Form, Key, Line, Lines};
use crate::icons::Icon;
use crate::model::Pane;
use crate::tables::Mark;
use crate::{Page, panes, words};

/// How high a row is, in pixels (web/style/panes.css).
pub const ROW: f64 = 20.0;

/// The names of the columns.
#[component]
pub fn Head(looks: Looks) -> impl IntoView {
    let last = move || match looks.form.get() {
        Form::Tree => view! { <th scope="col">"Source, options"</th> }.into_any(),
        Form::Table => ["Source", "Options", "Superblock options", "Root", "Device", "Id", "Parent", ""]
            .map(|name| view! { <th scope="col">{name}</th> })
            .into_any(),
    };
    view! {
        <thead>
            <tr>
                <th scope="col">"Mount point"</th>
                <th scope="col">"Type"</th>
                <th scope="col">"Propagation"</th>
                {last}
            </tr>
        </thead>
    }
}

/// A row, for as long as there is one of this key.
#[component]
pub fn Row(
    page: Page,
    looks: Looks,
    view: ViewId,
    lines: Memo<Lines>,
    key: Key,
    unfolded: RwSignal<HashSet<MountId>>,
) -> impl IntoView {
    let line = Memo::new(move |_| lines.with(|lines| lines.lines.get(&key).cloned()));
    match key {
        Key::Row(..) => view! { <MountRow page looks view line/> }.into_any(),
        Key::Nodes(first) => view! { <NodesRow looks line first unfolded/> }.into_any(),
    }
}

#[component]
fn MountRow(page: Page, looks: Looks, view: ViewId, line: Memo<Option<Line>>) -> impl IntoView {
    let of_line =
        move |tell: fn(&Line) -> String| move || line.with(|line| line.as_ref().map(tell).unwrap_or_default());
    let mark = Memo::new(move |_| line.with(|line| line.as_ref().map(|line| line.mark).unwrap_or_default()));
    let is = move |tell: fn(&Line) -> bool| move || line.with(|line| line.as_ref().is_some_and(tell)).then_some("");
    let open = RwSignal::new(false);
    let last = move || match looks.form.get() {
        Form::Tree => {
            let details = of_line(|line| format!("{} {}", plain(&line.mount.source), plain(&line.mount.options)));
            view! {
                <td>
                    <span class="details">
                        <span class="source" title=details>{details}</span>
                        {row_note(page, line)}
                    </span>
                </td>
            }
            .into_any()
        }
        Form::Table => {
            let columns: [fn(&Line) -> String; 7] = [
                |line| plain(&line.mount.source),
                |line| plain(&line.mount.options),
                |line| plain(&line.mount.super_options),
                |line| plain(&line.mount.root),
                |line| line.mount.device.clone(),
                |line| line.mount.id.0.to_string(),
                |line| line.mount.parent.0.to_string(),
            ];
            view! {
                {columns.map(|column| view! { <td title=of_line(column)>{of_line(column)}</td> })}
                <td>{row_note(page, line)}</td>
            }
            .into_any()
        }
    };
    view! {
        <tr
            data-id=of_line(|line| line.mount.id.0.to_string())
            data-mount-point=of_line(|line| line.mount.mount_point.clone())
            data-fs-type=of_line(|line| line.mount.fs_type.clone())
            data-state=move || words::mark_name(mark.get())
            data-only-here=is(|line| line.only_here)
            data-hidden=is(|line| line.hidden.is_some())
            data-carried=is(|line| line.origin.as_ref().is_some_and(|origin| origin.carried_by.is_some()))
        >
            <th scope="row" data-depth=of_line(depth) title=of_line(|line| plain(&line.mount.mount_point))>
                <button tabindex="-1" aria-expanded=move || open.get().to_string()
                    on:click=move |_| open.update(|open| *open = !*open)>
                    <span class="above">{of_line(|line| plain(mount_point(line).0))}</span>
                    {of_line(|line| plain(mount_point(line).1))}
                </button>
            </th>
            <td>{of_line(|line| line.mount.fs_type.clone())}</td>
            <td title=of_line(|line| words::propagation_meaning(&line.mount.propagation).to_owned())>
                {of_line(|line| words::propagation(&line.mount.propagation))}
            </td>
            {last}
        </tr>
        <Show when=move || open.get()><Fields page looks view line/></Show>
    }
}

/// What of the mount point only repeats the parent's, and what is its own.
fn mount_point(line: &Line) -> (&str, &str) {
    line.mount.mount_point.split_at(line.prefix)
}

fn depth(line: &Line) -> String {
    line.depth.min(5).to_string()
}

/// Where the mount comes from: the call that made it, with the line of the runtime and what there is to know of it.
#[component]
fn MadeBy(page: Page, looks: Looks, view: ViewId, line: Memo<Option<Line>>) -> impl IntoView {
    let origin = Memo::new(move |_| {
        looks.pace.track();
        let id = line.with(|line| line.as_ref().map(|line| line.mount.id))?;
        page.model.tables.with_untracked(|tables| tables.card(view)?.origin(id).cloned())
    });
    let told = move || match origin.get() {
        None => view! { <dd>"It was there before Newroot looked."</dd> }.into_any(),
        Some(origin) => {
            let (made, meaning) = words::calls::origin(&origin);
            let id = origin.call;
            let warnings = move || {
                let warnings = |calls: &Timeline| calls.get(id).map(|call| call.warnings.clone()).unwrap_or_default();
                page.model
                    .calls
                    .with(warnings)
                    .into_iter()
                    .map(|warning| {
                        view! { <span class="warning">{Icon::WARNING.show()} <span>{plain(&warning)}</span></span> }
                    })
                    .collect_view()
            };
            let known = page.model.calls.with_untracked(|calls| calls.get(id).is_some());
            let show = move |_| {
                page.model.opened.set(Some(id));
                panes::enter(page, Pane::Calls);
            };
            view! {
                <dd>
                    <code>{made}</code> " " <span>{meaning}</span> " "
                    {panes::code_link(page, origin.line.clone())} " "
                    {known.then(|| view! { <button class="code-link" on:click=show>"Show the call"</button> })}
                    {(!origin.copied).then_some(warnings)}
                </dd>
            }
            .into_any()
        }
    };
    view! { <div class="made-by"><dt>"Made by"</dt>{told}</div> }
}

/// Every field of the mount in words.
#[component]
fn Fields(page: Page, looks: Looks, view: ViewId, line: Memo<Option<Line>>) -> impl IntoView {
    let fields = move || {
        looks.pace.track();
        let line = line.get()?;
        page.model.tables.with_untracked(|tables| {
            let card = tables.card(view)?;
            Some(words::mounts::fields(tables, card, &line.mount, line.hidden))
        })
    };
    let fields = move || {
        let rows = fields().unwrap_or_default().into_iter();
        rows.map(|told| {
            view! {
                <div>
                    <dt>{told.name}</dt>
                    <dd><code>{told.value}</code>" "<span>{told.meaning}</span></dd>
                </div>
            }
        })
        .collect_view()
    };
    let row = NodeRef::<Tr>::new();
    Effect::new(move |_| {
        if let Some(row) = row.get() {
            show_row(&row, 2.0 * ROW);
        }
    });
    view! { <tr node_ref=row class="fields"><td colspan="11"><dl><MadeBy page looks view line/>{fields}</dl></td></tr> }
}

#[component]
fn NodesRow(
    looks: Looks,
    line: Memo<Option<Line>>,
    first: MountId,
    unfolded: RwSignal<HashSet<MountId>>,
) -> impl IntoView {
    let of_line =
        move |tell: fn(&Line) -> String| move || line.with(|line| line.as_ref().map(tell).unwrap_or_default());
    let names = |line: &Line| line.nodes.as_ref().map(|(names, _)| names.join(" ")).unwrap_or_default();
    let is_open =
        move || line.with(|line| line.as_ref().and_then(|line| line.nodes.as_ref()).is_some_and(|nodes| nodes.1));
    let toggle = move |_| {
        unfolded.update(|unfolded| {
            if !unfolded.remove(&first) {
                unfolded.insert(first);
            }
        });
    };
    view! {
        <tr class="nodes">
            <th scope="row" data-depth=of_line(depth)>
                <button tabindex="-1" aria-expanded=move || is_open().to_string() on:click=toggle>
                    {of_line(|line| format!("{} device nodes", line.nodes.as_ref().map_or(0, |(names, _)| names.len())))}
                </button>
            </th>
            <td>{of_line(|line| line.mount.fs_type.clone())}</td>
            <td>{of_line(|line| words::propagation(&line.mount.propagation))}</td>
            <td colspan=move || if looks.form.get() == Form::Table { "8" } else { "1" }>
                <span class="details"><span class="source" title=of_line(names)>{of_line(names)}</span></span>
            </td>
        </tr>
    }
}

/// What is said of a card besides its content: the mark in a word, and its age where there is room.
pub fn note(page: Page, mark: Signal<Mark>) -> impl IntoView {
    let word = move || words::mark_name(mark.get());
    // Only what is marked lately asks for the time, each second.
    let age = move || match mark.get() {
        Mark::New(_) | Mark::Changed(_) => words::mark_age(mark.get(), page.model.now.get()),
        Mark::None | Mark::Gone(_) => String::new(),
    };
    view! { <span class="note">{word}<span class="age">{age}</span></span> }
}

/// What is said of a row besides its content: all that holds, in words.
fn row_note(page: Page, line: Memo<Option<Line>>) -> impl IntoView {
    let mark = Signal::derive(move || line.with(|line| line.as_ref().map(|line| line.mark).unwrap_or_default()));
    let is = move |tell: fn(&Line) -> bool| Memo::new(move |_| line.with(|line| line.as_ref().is_some_and(tell)));
    let (is_hidden, is_alone) = (is(|line| line.hidden.is_some()), is(|line| line.only_here));
    let leaked = Memo::new(move |_| {
        line.with(|line| line.as_ref().and_then(|line| line.origin.clone())).and_then(|origin| origin.carried_by)
    });
    let warned = Memo::new(move |_| {
        let origin = line.with(|line| line.as_ref().and_then(|line| line.origin.clone()));
        origin.is_some_and(|origin| page.model.warned.with(|warned| warned.contains(&origin.call)))
    });
    let marked =
        move || if mark.get() == Mark::None { String::new() } else { format!(", {}", words::mark_name(mark.get())) };
    move || match (leaked.get(), warned.get()) {
        _ if is_hidden.get() => view! { <span class="note">"hidden"{marked}</span> }.into_any(),
        (Some(group), _) => {
            view! { <span class="note warning">{format!("by peer group {}", group.0)}{marked}</span> }.into_any()
        }
        (None, true) => view! { <span class="note warning">"see warning"{marked}</span> }.into_any(),
        _ if is_alone.get() && mark.get() == Mark::None => view! { <span class="note">"only here"</span> }.into_any(),
        _ => note(page, mark).into_any(),
    }
}

/// Brings a row into sight within its card, and moves nothing else on the page. As many pixels above it stay in sight.
pub fn show_row(row: &web_sys::HtmlElement, above: f64) {
    let Ok(Some(table)) = row.closest(".table") else { return };
    let (seen, line) = (table.get_bounding_client_rect(), row.get_bounding_client_rect());
    let room = line.top() - seen.top() - above;
    let below = (line.bottom() - seen.bottom()).min(room);
    if below > 0.0 {
        table.set_scroll_top(table.scroll_top() + below.ceil() as i32);
    }
}
