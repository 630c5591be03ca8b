//! The terminals: a tab for each, one in front or two side by side, in the colour of the mount namespace they are in.

mod menu;
mod overlay;
mod search;
mod tab;

use leptos::ev::KeyboardEvent;
use leptos::html::Div;
use leptos::prelude::*;
use shared::protocol::{Terminal, TerminalId, ToLab};
use wasm_bindgen::JsCast;
use web_sys::HtmlElement;

use crate::farewell::Farewell;
use crate::icons::{Icon, hue};
use crate::model::Connection;
use crate::pace::once_shown;
use crate::{Page, storage, words};
use menu::Menu;
use overlay::{LinkTarget, Notice, TouchTools};
use search::SearchBar;
use tab::Tab;

const KEY: &str = "newroot-terminals";

/// The terminals pane.
#[component]
pub fn TerminalsPane(page: Page) -> impl IntoView {
    let ids = Memo::new(move |_| page.model.terminals.with(|all| all.iter().map(|one| one.id).collect::<Vec<_>>()));
    let split = RwSignal::new(storage::get(KEY).as_deref() != Some("tabs"));
    let renamed = RwSignal::new(None);
    let arrange = move |_| {
        split.update(|split| *split = !*split);
        storage::set(KEY, (!split.get_untracked()).then_some("tabs"));
    };
    let lost = move || page.model.connection.get() == Connection::Lost;
    let viewer = move || page.model.connection.get() == Connection::Open && page.screens.is_viewer();
    let full = move || ids.with(Vec::len) >= page.model.most_terminals();
    let open = move |_| page.open_terminal(page.model.missing_terminal(), None);
    window_event_listener(leptos::ev::keydown, move |event| follow_keys(page, &event));
    view! {
        <section
            id="terminals"
            class="pane terminals"
            aria-label="Terminals"
            tabindex="-1"
            data-arrangement=move || if split.get() { "split" } else { "tabs" }
            // With two terminals side by side each tab stands above its screen.
            data-paired=move || (split.get() && ids.with(Vec::len) == 2).to_string()
            data-many=move || (ids.with(Vec::len) > 4).to_string()
        >
            <header>
                <div
                    class="tabs"
                    role="tablist"
                    aria-label="Terminals"
                    on:keydown=move |event| turn(page, renamed, &event)
                >
                    <For each=move || ids.get() key=|id| *id let:id><Tab page id renamed/></For>
                </div>
                <span class="aside">
                    <Show when=lost><span class="warning">"What you type is not sent"</span></Show>
                    <Show when=viewer>
                        <span class="viewer" title="It has the size that it has there. Type here to take it over.">
                            "In use on another page"
                        </span>
                    </Show>
                    <span class="leave">"Leave with " <kbd>"Ctrl-Shift-F6"</kbd></span>
                    <button
                        class="quiet square open"
                        aria-label="New terminal"
                        title=move || match full() {
                            true => "There are as many terminals as there may be",
                            false => "New terminal (Ctrl-Shift-Enter)",
                        }
                        aria-disabled=move || full().then_some("true")
                        on:click=open
                    >
                        {Icon::ADD.show()}
                    </button>
                    <button
                        class="quiet square arrange"
                        aria-label="Side by side"
                        title=move || if split.get() { "Show one at a time" } else { "Show side by side" }
                        aria-pressed=move || split.get().to_string()
                        on:click=arrange
                    >
                        {move || if split.get() { Icon::TABS.show() } else { Icon::SPLIT.show() }}
                    </button>
                    <Menu page/>
                </span>
            </header>
            <div class="screens">
                <For each=move || ids.get() key=|id| *id let:id><ScreenPanel page id/></For>
                <Show when=move || ids.with(Vec::is_empty)>
                    <p class="notice">
                        {move || match page.model.connection.get() {
                            Connection::Open => "No terminal is open. The plus sign opens one, and so does a command of the lesson.",
                            _ => "Your machine is starting. Its terminals appear here.",
                        }}
                    </p>
                </Show>
            </div>
            <Notice page/>
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
    let front = move || page.model.front.get() == Some(id);
    let exit = move || words::exit(terminal.with(|terminal| terminal.as_ref().and_then(|terminal| terminal.exit)));
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
            data-front=move || front().to_string()
            data-beside=move || (page.model.beside() == Some(id)).to_string()
            data-hue=move || hue(ordinal.get())
            on:focusin=move |_| page.model.bring(id)
        >
            // A click beside a viewer's small screen is meant for it too.
            <div class="host" node_ref=host on:click=move |_| page.screens.focus(id) data-terminal=move || terminal.get().map(|terminal| terminal.name)></div>
            <Show when=move || page.screens.common.searched.get() == Some(id)><SearchBar page id/></Show>
            <LinkTarget page id/>
            <TouchTools page id/>
            <Show when=stopped>
                <div class="stopped">
                    <span>{exit}</span>
                    <span class="answers">
                        <button on:click=move |_| close(page, id)>"Close" <kbd>"Ctrl-D"</kbd></button>
                        <button class="primary" on:click=restart>"Start a new shell" <kbd>"Enter"</kbd></button>
                    </span>
                </div>
            </Show>
        </div>
    }
}

/// Closes a terminal; the keyboard goes to the next one in front.
fn close(page: Page, id: TerminalId) {
    page.outbox.send(&ToLab::Close { terminal: id });
    if page.model.front.get_untracked() == Some(id)
        && let Some(beside) = untrack(|| page.model.beside())
    {
        bring(page, beside);
    }
}

/// Brings a terminal to the front, with the keyboard.
fn bring(page: Page, id: TerminalId) {
    page.model.bring(id);
    once_shown(move || page.screens.focus(id));
}

/// The terminal so many places from the one in front, around the end.
fn neighbour(page: Page, places: isize) -> Option<TerminalId> {
    let front = page.model.front.get_untracked();
    page.model.terminals.with_untracked(|all| {
        let place = all.iter().position(|one| Some(one.id) == front)? as isize;
        all.get((place + places).rem_euclid(all.len() as isize) as usize).map(|one| one.id)
    })
}

/// On the tabs: arrow keys go from one to the next, F2 renames, Delete closes.
fn turn(page: Page, renamed: RwSignal<Option<TerminalId>>, event: &KeyboardEvent) {
    let Some(front) = page.model.front.get_untracked().filter(|_| renamed.get_untracked().is_none()) else { return };
    let id = match event.key().as_str() {
        "ArrowRight" => neighbour(page, 1),
        "ArrowLeft" => neighbour(page, -1),
        "F2" if tab::has_own_name(page, front) => {
            renamed.set(Some(front));
            None
        }
        "Delete" => {
            close(page, front);
            None
        }
        _ => return,
    };
    event.prevent_default();
    let Some(id) = id else { return };
    page.model.bring(id);
    if let Some(tab) = document().get_element_by_id(&format!("tab-{}", id.0)) {
        // An element of the page can take the focus.
        let _ = tab.unchecked_into::<HtmlElement>().focus();
    }
}

/// Within a terminal too, where plain keys are the program's: Ctrl-Shift and an arrow go to the next terminal,
/// Ctrl-Shift-Enter opens another. Whoever needs a screen reader may need it anywhere: Ctrl-Shift-S.
fn follow_keys(page: Page, event: &KeyboardEvent) {
    if event.ctrl_key() && event.shift_key() && event.code() == "KeyS" {
        event.prevent_default();
        return page.screens.common.turn_reader();
    }
    let within = document().active_element().and_then(|element| element.closest("#terminals").ok().flatten()).is_some();
    if !(within && event.ctrl_key() && event.shift_key()) {
        return;
    }
    match event.code().as_str() {
        "Enter" => page.open_terminal(page.model.missing_terminal(), None),
        "ArrowRight" => neighbour(page, 1).into_iter().for_each(|id| bring(page, id)),
        "ArrowLeft" => neighbour(page, -1).into_iter().for_each(|id| bring(page, id)),
        _ => return,
    }
    event.prevent_default();
}
