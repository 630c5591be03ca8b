//! What lies over a terminal's screen for a while: where a link leads, the buttons that a finger needs, a word.

use leptos::prelude::*;
use shared::plain::plain;
use shared::protocol::TerminalId;

use crate::Page;
use crate::icons::Icon;
use crate::terminal::is_apple;

/// Where the link under the pointer leads. Its text may say anything; this says the truth, and opens it too.
#[component]
pub fn LinkTarget(page: Page, id: TerminalId) -> impl IntoView {
    let link = page.screens.common.link;
    let shown = Memo::new(move |_| link.get().filter(|link| link.terminal == id));
    let how = if is_apple() { "Cmd-click opens " } else { "Ctrl-click opens " };
    move || {
        shown.get().map(|shown| {
            view! {
                <p class="target">
                    {how}
                    <a
                        href=shown.address.clone()
                        target="_blank"
                        rel="noopener noreferrer"
                        on:click=move |_| link.set(None)
                    >{plain(&shown.address)}</a>
                    <Show when=move || shown.clicked>
                        <button class="quiet" aria-label="Leave it" on:click=move |_| link.set(None)>{Icon::CLOSE.show()}</button>
                    </Show>
                </p>
            }
        })
    }
}

/// After a finger has selected text: what keys would do.
#[component]
pub fn TouchTools(page: Page, id: TerminalId) -> impl IntoView {
    let touched = page.screens.common.touched;
    let done = move |act: fn(Page, TerminalId)| {
        touched.set(None);
        act(page, id);
    };
    view! {
        <Show when=move || touched.get() == Some(id)>
            <div class="tools" role="group" aria-label="Selected text">
                <button on:click=move |_| done(|page, id| page.screens.copy(id))>{Icon::COPY.show()} "Copy"</button>
                <button on:click=move |_| done(|page, id| page.screens.paste(id))>"Paste"</button>
            </div>
        </Show>
    }
}

/// A word to the learner, which a screen reader says too.
#[component]
pub fn Notice(page: Page) -> impl IntoView {
    let notice = page.screens.common.notice;
    view! { <p class="said" role="status" data-said=move || notice.get().is_some().to_string()>{notice}</p> }
}
