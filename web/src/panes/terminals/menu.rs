//! The menu of the terminals: what else has keys alone, for those who have none or do not know them.

use leptos::html::{Button, Div};
use leptos::prelude::*;

use crate::Page;
use crate::icons::Icon;
use crate::terminal::is_apple;

/// The button that opens the menu, and the menu. What it does is done to the terminal in front.
#[component]
pub fn Menu(page: Page) -> impl IntoView {
    let common = page.screens.common;
    let button = NodeRef::<Button>::new();
    let menu = NodeRef::<Div>::new();
    let (top, right) = (RwSignal::new(String::new()), RwSignal::new(String::new()));
    // The menu lies over everything, so that a low pane does not cut it off; so where it stands is told by the button.
    let place = move |_| {
        if let Some(button) = button.get_untracked() {
            let (bounds, root) = (button.get_bounding_client_rect(), document().document_element());
            top.set(format!("{}px", bounds.bottom() + 4.0));
            right.set(format!("{}px", root.map_or(0.0, |root| f64::from(root.client_width())) - bounds.right()));
        }
    };
    let close = move || {
        // Fails only where it is closed already.
        menu.get_untracked().into_iter().for_each(|menu| _ = menu.hide_popover());
    };
    let front = move || page.model.front.get_untracked();
    let search = move |_| {
        close();
        common.searched.set(front());
    };
    let copy = move |_| {
        close();
        front().into_iter().for_each(|id| page.screens.copy(id));
    };
    let paste = move |_| {
        close();
        front().into_iter().for_each(|id| page.screens.paste(id));
    };
    let size = move || format!("{} px", common.letters.get());
    let apple = is_apple();
    let of_terminal = |key: &str| format!("{}{key}", if apple { "Cmd-" } else { "Ctrl-" });
    let of_clipboard = |key: &str| format!("{}{key}", if apple { "Cmd-" } else { "Ctrl-Shift-" });
    view! {
        <button
            node_ref=button
            class="quiet square more"
            popovertarget="terminals-menu"
            aria-label="Search, copy, paste, size of letters"
            title="Search, copy, paste, size of letters"
            on:click=place
        >
            {Icon::MORE.show()}
        </button>
        <div
            node_ref=menu
            id="terminals-menu"
            class="menu"
            popover="auto"
            role="group"
            aria-label="The terminal in front"
            style:top=top
            style:right=right
        >
            <button class="quiet" on:click=search>"Search" <kbd>{of_terminal("F")}</kbd></button>
            <button class="quiet" on:click=copy>"Copy" <kbd>{of_clipboard("C")}</kbd></button>
            <button class="quiet" on:click=paste>"Paste" <kbd>{of_clipboard("V")}</kbd></button>
            <div class="letters" role="group" aria-label="Size of letters">
                <span>"Letters"</span>
                <button
                    class="quiet"
                    aria-label="Smaller letters"
                    title=of_terminal("−")
                    on:click=move |_| common.resize_letters(Some(-1.0))
                >"−"</button>
                <button
                    class="quiet size"
                    aria-label=move || format!("{}; back to their own size", size())
                    title=of_terminal("0")
                    on:click=move |_| common.resize_letters(None)
                >{size}</button>
                <button
                    class="quiet"
                    aria-label="Larger letters"
                    title=of_terminal("+")
                    on:click=move |_| common.resize_letters(Some(1.0))
                >"+"</button>
            </div>
            <label>
                <input type="checkbox" prop:checked=common.reader on:change=move |_| common.turn_reader()/>
                "Screen reader mode"
                <kbd>"Ctrl-Shift-S"</kbd>
            </label>
        </div>
    }
}
