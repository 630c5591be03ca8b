//! All of a call: what it is about, its arguments by the manual's names, what it changed, and the code that made it.

use std::sync::Arc;

use leptos::prelude::*;
use shared::plain::plain;
use shared::trace::{Call, Change};

use crate::words::calls as words;
use crate::{Page, panes};

/// What an opened entry shows.
#[component]
pub fn Details(page: Page, call: Memo<Option<Arc<Call>>>) -> impl IntoView {
    view! { <div class="call-details">{move || call.get().map(|call| all(page, &call))}</div> }
}

fn all(page: Page, call: &Arc<Call>) -> impl IntoView + use<> {
    let argument = |argument: &shared::trace::Argument| {
        view! { <div><dt>{argument.name.clone()}</dt><dd><code>{plain(&argument.value)}</code></dd></div> }
    };
    let namespace = match call.ordinal {
        Some(0) => "in the host's mount namespace".to_owned(),
        Some(ordinal) => format!("in mount namespace {ordinal}"),
        None => "in a mount namespace that is not known".to_owned(),
    };
    let changes = {
        let call = call.clone();
        move || call.changes.iter().map(|change| changed(page, &call, change)).collect_view()
    };
    let changed_nothing = call.changes.is_empty().then(|| view! { <p class="nothing">"No mount table changed."</p> });
    view! {
        <div>
            <p class="about">{call.about.clone()}</p>
            <dl>{call.arguments.iter().map(argument).collect_view()}</dl>
        </div>
        <div class="came-of-it">
            {changes}
            {changed_nothing}
            <p class="made">
                {words::who(&call.process)} " " {namespace} ", " {words::time(call.at)} ". The manual: "
                <code>{words::manual(&call.name)}</code>
                {call.line.clone().map(|_| ". The code: ")}
                {panes::code_link(page, call.line.clone())}
            </p>
        </div>
    }
}

/// What it changed in one table.
fn changed(page: Page, call: &Call, change: &Change) -> impl IntoView + use<> {
    let (table, carried, rows) = page
        .model
        .tables
        .with(|tables| page.model.calls.with_untracked(|calls| words::change(tables, calls, call, change)));
    let row = |row: words::ChangedRow| {
        view! {
            <li data-state=row.state>
                <code>{row.mount_point}</code>
                <span class="note">{row.state}</span>
                <span class="text">{row.text}</span>
            </li>
        }
    };
    let carried = (!carried.is_empty()).then(|| view! { <span class="carried">{carried}</span> });
    view! {
        <div class="changes">
            <h3>{table} {carried}</h3>
            <ul>{rows.into_iter().map(row).collect_view()}</ul>
        </div>
    }
}
