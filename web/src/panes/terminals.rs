//! The terminals: a tab for each, one in front or two side by side, in the colour of the mount namespace they are in.

use leptos::ev::KeyboardEvent;
use leptos::html::Div;
use leptos::prelude::*;
use shared::protocol::{Terminal, TerminalId, ToLab};
use wasm_bindgen::JsCast;
use web_sys::HtmlElement;

use crate::farewell::Farewell;
use crate::icons::{Icon, NamespaceSign, hue};
use crate::model::Connection;
use crate::{Page, storage};

const KEY: &str = "newroot-terminals";

/// The terminals pane.
#[component]
pub fn TerminalsPane(page: Page) -> impl IntoView {
    let ids = Memo::new(move |_| page.model.terminals.with(|all| all.iter().map(|one| one.id).collect::<Vec<_>>()));
    let split = RwSignal::new(storage::get(KEY).as_deref() != Some("tabs"));
    let arrange = move |_| {
        split.update(|split| *split = !*split);
        storage::set(KEY, (!split.get_untracked()).then_some("tabs"));
    };
    let lost = move || page.model.connection.get() == Connection::Lost;
    view! {
        <section
            id="terminals"
            class="pane terminals"
            aria-label="Terminals"
            tabindex="-1"
            data-arrangement=move || if split.get() { "split" } else { "tabs" }
        >
            <header>
                <div class="tabs" role="tablist" aria-label="Terminals" on:keydown=move |event| turn(page, &event)>
                    <For each=move || ids.get() key=|id| *id let:id><Tab page id/></For>
                </div>
                <span class="aside">
                    <Show when=lost><span class="warning">"What you type is not sent"</span></Show>
                    <span class="leave">"Leave with " <kbd>"Ctrl-Shift-F6"</kbd></span>
                    <button
                        class="quiet square arrange"
                        aria-label="Side by side"
                        title=move || if split.get() { "Show one at a time" } else { "Show side by side" }
                        aria-pressed=move || split.get().to_string()
                        on:click=arrange
                    >
                        {move || if split.get() { Icon::TABS.show() } else { Icon::SPLIT.show() }}
                    </button>
                </span>
            </header>
            <div class="screens">
                <For each=move || ids.get() key=|id| *id let:id><ScreenPanel page id/></For>
                <Show when=move || ids.get().is_empty()>
                    <p class="notice">"Your machine is starting. Its terminals appear here."</p>
                </Show>
            </div>
            <Farewell page/>
        </section>
    }
}

/// A terminal as it stands now.
fn terminal(page: Page, id: TerminalId) -> Memo<Option<Terminal>> {
    Memo::new(move |_| page.model.terminals.with(|all| all.iter().find(|one| one.id == id).cloned()))
}

fn ordinal(page: Page, terminal: Memo<Option<Terminal>>) -> Signal<Option<u32>> {
    Signal::derive(move || page.model.ordinal(terminal.get()?.view))
}

#[component]
fn Tab(page: Page, id: TerminalId) -> impl IntoView {
    let terminal = terminal(page, id);
    let ordinal = ordinal(page, terminal);
    let front = move || page.model.front.get() == Some(id);
    let name = move || terminal.get().map(|terminal| terminal.name);
    let program =
        move || terminal.get().map(|terminal| if terminal.running { terminal.program } else { "ended".to_owned() });
    let description = move || {
        let place = ordinal.get().map(|ordinal| format!(", in mount namespace {ordinal}")).unwrap_or_default();
        Some(program()? + &place)
    };
    view! {
        <button
            id=format!("tab-{}", id.0)
            role="tab"
            aria-label=name
            aria-description=description
            aria-selected=move || front().to_string()
            aria-controls=format!("screen-{}", id.0)
            tabindex=move || if front() { "0" } else { "-1" }
            data-ordinal=move || ordinal.get().map(|ordinal| ordinal.to_string())
            data-hue=move || hue(ordinal.get())
            on:click=move |_| { page.model.front.set(Some(id)); request_animation_frame(move || page.screens.focus(id)) }
        >
            <NamespaceSign ordinal/>
            <span class="name">{name}</span>
            // Shown by the style sheet: it describes the terminal, and is no part of its name.
            <span class="program" data-program=program></span>
        </button>
    }
}

#[component]
fn ScreenPanel(page: Page, id: TerminalId) -> impl IntoView {
    let terminal = terminal(page, id);
    let ordinal = ordinal(page, terminal);
    let host = NodeRef::<Div>::new();
    Effect::new(move |_| {
        if let Some(host) = host.get() {
            page.screens.attach(id, &host);
        }
    });
    let stopped = move || terminal.with(|terminal| terminal.as_ref().is_some_and(|terminal| !terminal.running));
    let restart = move |_| {
        page.outbox.send(&ToLab::Restart { terminal: id });
        page.screens.focus(id);
    };
    view! {
        <div
            id=format!("screen-{}", id.0)
            class="screen"
            role="tabpanel"
            aria-labelledby=format!("tab-{}", id.0)
            data-front=move || (page.model.front.get() == Some(id)).to_string()
            data-hue=move || hue(ordinal.get())
            on:focusin=move |_| page.model.front.set(Some(id))
        >
            <div class="host" node_ref=host data-terminal=move || terminal.get().map(|terminal| terminal.name)></div>
            <Show when=stopped>
                <div class="stopped">
                    <span>"The shell has ended."</span>
                    <button class="primary" on:click=restart>"Start a new shell"</button>
                </div>
            </Show>
        </div>
    }
}

/// Arrow keys go from tab to tab.
fn turn(page: Page, event: &KeyboardEvent) {
    let ids: Vec<TerminalId> = page.model.terminals.with_untracked(|all| all.iter().map(|one| one.id).collect());
    let place = ids.iter().position(|id| Some(*id) == page.model.front.get_untracked()).unwrap_or(0);
    let next = match event.key().as_str() {
        "ArrowRight" => place + 1,
        "ArrowLeft" => place + ids.len().saturating_sub(1),
        _ => return,
    };
    let Some(id) = ids.get(next % ids.len().max(1)).copied() else { return };
    event.prevent_default();
    page.model.front.set(Some(id));
    if let Some(tab) = document().get_element_by_id(&format!("tab-{}", id.0)) {
        // An element of the page can take the focus.
        let _ = tab.unchecked_into::<HtmlElement>().focus();
    }
}
