//! A command of the lesson: it runs in the terminal that it names, with one click. Where something runs there already,
//! typing would go to that; so the learner is asked, and can have it interrupted first.

use std::time::Duration;

use leptos::prelude::*;
use shared::plain::plain;
use shared::protocol::Terminal;

use crate::icons::{Icon, NamespaceSign};
use crate::model::{Connection, Pane};
use crate::pace::once_shown;
use crate::{Page, clipboard};

/// What waits at a prompt. A terminal in whose foreground one of these is takes a command.
const SHELLS: [&str; 7] = ["sh", "ash", "bash", "busybox", "dash", "fish", "zsh"];

/// How long a program that is just ending, or has just been interrupted, is waited for.
const PATIENCE: Duration = Duration::from_millis(700);

/// How a command stands with its terminal.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing is asked for.
    Idle,
    /// It is to run as soon as the terminal is free, which may be in a moment.
    Waiting,
    /// Something runs there: what now?
    Asking,
    /// What runs there has been interrupted, and goes on nevertheless.
    Stubborn,
}

/// A command that runs in the terminal it names, and can be copied.
#[component]
pub fn Command(page: Page, terminal: String, text: String) -> impl IntoView {
    let name = StoredValue::new(terminal.clone());
    let command = StoredValue::new(text.clone());
    let target = Memo::new(move |_| name.with_value(|name| page.model.terminal_named(name)));
    let busy = Memo::new(move |_| target.with(|target| target.as_ref().and_then(program_in_the_way)));
    let open = move || page.model.connection.get() == Connection::Open;
    let state = RwSignal::new(State::Idle);
    let ran = RwSignal::new(false);
    let go = move || {
        state.set(State::Idle);
        ran.set(true);
        run(page, target.get_untracked(), &name.get_value(), &command.get_value());
    };
    // Runs once the way is free, or says after a while that it is not.
    let wait = move |otherwise: State| {
        state.set(State::Waiting);
        set_timeout(
            move || {
                if state.try_get_untracked() == Some(State::Waiting) {
                    state.set(otherwise);
                }
            },
            PATIENCE,
        );
    };
    Effect::new(move |_| match (state.get(), busy.with(Option::is_none)) {
        (State::Waiting, true) => go(),
        (State::Asking | State::Stubborn, true) => state.set(State::Idle),
        _ => {}
    });
    let click = move |_| {
        if open() {
            wait(State::Asking);
        }
    };
    let interrupt = move |_| {
        if let Some(target) = target.get_untracked() {
            page.outbox.input(target.id, b"\x03");
            wait(State::Stubborn);
        }
    };
    let asked = move || matches!(state.get(), State::Asking | State::Stubborn);
    let ordinal = Signal::derive(move || page.model.ordinal(target.get()?.view));
    view! {
        <div class="command" data-asked=move || asked().then_some("")>
            <button
                class="run"
                aria-label=format!("Run in {terminal}: {text}")
                aria-disabled=move || (!open()).then_some("true")
                data-ran=move || ran.get().then_some("")
                on:click=click
            >
                <span class="play">{move || if ran.get() { Icon::DONE.show() } else { Icon::RUN.show() }}</span>
                <code>{text.clone()}</code>
            </button>
            <span class="where" aria-hidden="true"><NamespaceSign ordinal/>{terminal.clone()}</span>
            <Copy text/>
            <Show when=asked>
                <div class="question" role="group" aria-label="Something runs there already">
                    <p role="status">
                        <code>{move || busy.get()}</code>
                        {move || match state.get() {
                            State::Stubborn => " goes on nevertheless. End it in the terminal ",
                            _ => " is running in the terminal ",
                        }}
                        <b>{terminal.clone()}</b>
                    </p>
                    <button class="small primary" on:click=interrupt>{Icon::STOP.show()} "Interrupt first"</button>
                    <button class="small" on:click=move |_| go()>"Type it anyway"</button>
                    <button class="small quiet" on:click=move |_| state.set(State::Idle)>"Leave it"</button>
                </div>
            </Show>
        </div>
    }
}

#[component]
fn Copy(text: String) -> impl IntoView {
    let copied = RwSignal::new(false);
    let label = format!("Copy: {text}");
    let copy = move |_| {
        clipboard::copy(&text, move |done| _ = copied.try_set(done));
        set_timeout(move || _ = copied.try_set(false), Duration::from_millis(1500));
    };
    view! {
        <button
            class="copy"
            aria-label=label
            title=move || if copied.get() { "Copied" } else { "Copy" }
            on:click=copy
        >
            {move || if copied.get() { Icon::DONE.show() } else { Icon::COPY.show() }}
        </button>
    }
}

/// The program that would read what is typed into a terminal, if that is not a shell.
fn program_in_the_way(terminal: &Terminal) -> Option<String> {
    let free = !terminal.running || terminal.program.is_empty() || SHELLS.contains(&terminal.program.as_str());
    (!free).then(|| plain(&terminal.program))
}

/// Types a command into a terminal and brings that to the front. One that was closed is opened again for it.
fn run(page: Page, terminal: Option<Terminal>, name: &str, command: &str) {
    page.model.pane.set(Pane::Terminals);
    let Some(Terminal { id, .. }) = terminal else {
        return page.open_terminal(Some(name.to_owned()), Some(command.to_owned()));
    };
    page.model.bring(id);
    let command = command.to_owned();
    once_shown(move || page.screens.run(id, &command));
}
