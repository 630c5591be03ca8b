//! Step-through: the call that waits, in a bar over the panes, what the one before it came to, and the buttons that let
//! it go. Whether calls wait is the lab's to say.

use std::sync::Arc;

use leptos::prelude::*;
use shared::protocol::ToLab;
use shared::trace::Call;

use crate::Page;
use crate::icons::{Icon, NamespaceSign, hue};
use crate::model::{Connection, Pane};
use crate::panes;
use crate::words::calls as words;

/// Turns it on, or off, which lets everything go that waits.
pub fn toggle(page: Page) {
    page.outbox.send(&ToLab::StepThrough { on: !page.model.step_through.get_untracked() });
}

/// Lets the call go that waits in front.
pub fn next(page: Page) {
    let_go(page, |call| ToLab::Next { call });
}

/// Lets it go, and all further calls of its program.
pub fn run_on(page: Page) {
    let_go(page, |call| ToLab::RunOn { call });
}

fn let_go(page: Page, message: fn(shared::trace::CallId) -> ToLab) {
    if page.model.connection.get_untracked() != Connection::Open {
        return;
    }
    let Some(front) = untrack(|| page.model.front()) else { return };
    page.model.stepped.set(Some(front.process.pid));
    page.model.tables.update(|tables| tables.unmark());
    page.outbox.send(&message(front.id));
}

/// The switch in the bar on top.
#[component]
pub fn Switch(page: Page) -> impl IntoView {
    let open = move || page.model.connection.get() == Connection::Open;
    view! {
        <button
            class="quiet step-through"
            role="switch"
            aria-checked=move || page.model.step_through.get().to_string()
            aria-disabled=move || (!open()).then_some("true")
            title="Every call waits until you let it go (S)"
            on:click=move |_| toggle(page)
        >
            <span class="track" aria-hidden="true"></span>
            <span class="word">"Step-through"</span>
        </button>
    }
}

/// The bar, for as long as step-through is on.
#[component]
pub fn Stepping(page: Page) -> impl IntoView {
    view! { <Show when=move || page.model.step_through.get()><Bar page/></Show> }
}

#[component]
fn Bar(page: Page) -> impl IntoView {
    let open = move || page.model.connection.get() == Connection::Open;
    let front = Memo::new(move |_| page.model.front());
    let waits = move || front.with(Option::is_some);
    let before = Memo::new(move |_| {
        let front = front.get();
        page.model.calls.with(|calls| match &front {
            Some(front) => calls.before(front).cloned(),
            None => calls.newest().and_then(|newest| calls.get(newest)).cloned(),
        })
    });
    let others = Memo::new(move |_| page.model.calls.with(|calls| calls.waiting().cloned().collect::<Vec<_>>()));
    let ordinal = Signal::derive(move || front.with(|front| front.as_ref().and_then(|front| front.ordinal)));
    let unable = move || (!waits() || !open()).then_some("true");
    let said = move || match front.get() {
        _ if !open() => LOST.to_owned(),
        Some(front) => format!("{} waits: {}", words::who(&front.process), front.about),
        None => String::new(),
    };
    view! {
        <section
            id="stepping"
            class="stepping"
            aria-label="Step-through"
            data-state=move || if waits() { "waiting" } else { "idle" }
            data-hue=move || hue(ordinal.get())
        >
            <p class="visually-hidden" role="status">{said}</p>
            <div class="before">{move || before.get().map(|call| last(page, &call))}</div>
            <div class="front">
                {move || match front.get() {
                    _ if !open() => view! { <p class="about">{LOST}</p> }.into_any(),
                    Some(call) => waiting(page, &call).into_any(),
                    None => view! {
                        <p class="about">"The next call of any program waits here."</p>
                        <p class="hint">"Run a command: from the lesson, or typed into a terminal, which just waits with it."</p>
                    }
                    .into_any(),
                }}
            </div>
            <div class="let-go">
                <button class="primary" aria-disabled=unable on:click=move |_| next(page)>
                    "Next call" <kbd class="free">"N"</kbd><kbd class="typing">"F10"</kbd>
                </button>
                <button aria-disabled=unable on:click=move |_| run_on(page)
                    title="This call and all further ones of its program are made without waiting">
                    "Run on" <kbd class="free">"O"</kbd><kbd class="typing">"F8"</kbd>
                </button>
            </div>
            <Show when=move || others.with(|others| others.len() > 1)>
                <div class="others" role="group" aria-label="Calls that wait">
                    <span>{move || format!("{} wait:", others.with(Vec::len))}</span>
                    <For each=move || others.get() key=|call| call.id let:call>
                        <Other page call front/>
                    </For>
                </div>
            </Show>
        </section>
    }
}

const LOST: &str = "No connection. What waits goes on by itself once no page has been here for a minute.";

/// The call that waits.
fn waiting(page: Page, call: &Arc<Call>) -> impl IntoView + use<> {
    let ordinal = call.ordinal;
    let whole = words::call(call);
    view! {
        <p class="about">{call.about.clone()}</p>
        <p class="what">
            <NamespaceSign ordinal=Signal::derive(move || ordinal)/>
            <span class="who">{words::who(&call.process)}</span>
            <code title=whole.clone()>{whole.clone()}</code>
            {panes::code_link(page, call.line.clone())}
        </p>
    }
}

/// The call before it: what came of it, and what that did.
fn last(page: Page, call: &Arc<Call>) -> impl IntoView + use<> {
    let did = {
        let call = call.clone();
        move || page.model.tables.with(|tables| words::changes(tables, &call))
    };
    let state = words::state_name(&call.state);
    let reason = words::reason(&call.state);
    let warning = call.warnings.first().cloned();
    let id = call.id;
    let show = move |_| {
        page.model.opened.set(Some(id));
        panes::enter(page, Pane::Calls);
    };
    let more = match (reason.is_empty(), warning) {
        (false, _) => view! { <span class="reason" title=reason.clone()>{reason.clone()}</span> }.into_any(),
        (true, Some(warning)) => {
            view! { <span class="warning" title=warning.clone()>{Icon::WARNING.show()} {warning.clone()}</span> }
                .into_any()
        }
        (true, None) => view! { <span>{did}</span> }.into_any(),
    };
    view! {
        <button class="quiet" data-state=state title="Show it among the calls" on:click=show>
            <span class="done"><span class="word">"Before: "</span><code>{call.name.clone()}</code> <b>{words::result(&call.state)}</b></span>
            {more}
        </button>
    }
}

/// One of several that wait.
#[component]
fn Other(page: Page, call: Arc<Call>, front: Memo<Option<Arc<Call>>>) -> impl IntoView {
    let (id, pid, ordinal) = (call.id, call.process.pid, call.ordinal);
    let pressed = move || front.with(|front| front.as_ref().is_some_and(|front| front.id == id)).to_string();
    view! {
        <button class="small" aria-pressed=pressed on:click=move |_| page.model.stepped.set(Some(pid))>
            <NamespaceSign ordinal=Signal::derive(move || ordinal)/>
            {call.name.clone()} " " {words::who(&call.process)}
        </button>
    }
}
