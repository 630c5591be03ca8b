//! The tab of a terminal: its name, the program in front, the sign of its mount namespace; and how it gets another name.

use leptos::ev::KeyboardEvent;
use leptos::html::Input;
use leptos::prelude::*;
use shared::lesson::TERMINALS;
use shared::plain::plain;
use shared::protocol::{LONGEST_NAME, TerminalId, ToLab};

use super::{bring, close, ordinal, terminal};
use crate::Page;
use crate::icons::{Icon, NamespaceSign, hue};
use crate::pace::once_shown;

/// The tab of one terminal. `renamed` is the one whose name is being changed.
#[component]
pub fn Tab(page: Page, id: TerminalId, renamed: RwSignal<Option<TerminalId>>) -> impl IntoView {
    let terminal = terminal(page, id);
    let ordinal = ordinal(page, terminal);
    let front = move || page.model.front.get() == Some(id);
    let name = move || terminal.get().map(|terminal| plain(&terminal.name)).unwrap_or_default();
    let program = move || {
        terminal.get().map(|terminal| if terminal.running { plain(&terminal.program) } else { "ended".to_owned() })
    };
    let description = move || {
        let place = ordinal.get().map(|ordinal| format!(", in mount namespace {ordinal}")).unwrap_or_default();
        Some(program()? + &place)
    };
    let rename = move |_| {
        if has_own_name(page, id) {
            renamed.set(Some(id));
        }
    };
    view! {
        <span class="tab" role="presentation" data-front=move || front().to_string() data-beside=move || (page.model.beside() == Some(id)).to_string() data-hue=move || hue(ordinal.get())>
            <Show when=move || renamed.get() != Some(id) fallback=move || view! { <Rename page id renamed/> }>
                <button
                    id=format!("tab-{}", id.0)
                    role="tab"
                    aria-label=name
                    aria-description=description
                    aria-selected=move || front().to_string()
                    aria-controls=format!("screen-{}", id.0)
                    aria-keyshortcuts="Delete"
                    tabindex=move || if front() { "0" } else { "-1" }
                    title=move || has_own_name(page, id).then_some("Double-click or F2 to rename")
                    data-ordinal=move || ordinal.get().map(|ordinal| ordinal.to_string())
                    on:click=move |_| bring(page, id)
                    on:dblclick=rename
                >
                    <NamespaceSign ordinal/>
                    <span class="name">{name}</span>
                    // Shown by the style sheet: it describes the terminal, and is no part of its name.
                    <span class="program" data-program=program></span>
                </button>
            </Show>
            <button
                class="quiet close"
                // For the mouse alone, since a list of tabs has nothing but tabs: Delete on the tab does the same.
                tabindex="-1"
                aria-hidden="true"
                title=move || format!("Close {}", name())
                // The keyboard stays where it is: if it left a screen, the tabs would move under the mouse.
                on:mousedown=|event| event.prevent_default()
                on:click=move |_| close(page, id)
            >
                {Icon::CLOSE.show()}
            </button>
        </span>
    }
}

/// Whether a terminal's name is the learner's to choose: those of the lesson's terminals are not.
pub fn has_own_name(page: Page, id: TerminalId) -> bool {
    page.model.terminals.with(|all| all.iter().any(|one| one.id == id && !TERMINALS.contains(&one.name.as_str())))
}

/// A field for the new name: Enter takes it, Escape leaves it.
#[component]
fn Rename(page: Page, id: TerminalId, renamed: RwSignal<Option<TerminalId>>) -> impl IntoView {
    let field = NodeRef::<Input>::new();
    let name = untrack(|| terminal(page, id).get()).map(|terminal| terminal.name).unwrap_or_default();
    let old = name.clone();
    Effect::new(move |_| {
        if let Some(field) = field.get() {
            once_shown(move || {
                let _ = field.focus();
                field.select();
            });
        }
    });
    let take = move || {
        // Taking the field away makes it lose the focus, when it is no longer there to be asked.
        let Some(field) = field.try_get_untracked().flatten().filter(|_| renamed.get_untracked() == Some(id)) else {
            return;
        };
        renamed.set(None);
        let name = field.value();
        if !name.trim().is_empty() && name != old {
            page.outbox.send(&ToLab::Rename { terminal: id, name });
        }
    };
    let leave = take.clone();
    let key = move |event: KeyboardEvent| {
        match event.key().as_str() {
            "Enter" => take(),
            "Escape" => renamed.set(None),
            // Arrows and Delete are the field's here, not the tabs'.
            _ => return event.stop_propagation(),
        }
        event.prevent_default();
        event.stop_propagation();
        bring(page, id);
    };
    view! {
        <input
            node_ref=field
            class="rename"
            aria-label="New name"
            maxlength=LONGEST_NAME.to_string()
            value=name
            spellcheck="false"
            autocomplete="off"
            on:keydown=key
            on:blur=move |_| leave()
        />
    }
}
