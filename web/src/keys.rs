//! The keys of the page: one list, which is both what they do and what `?` shows. Keys without a modifier belong to the
//! page only while neither a terminal nor a field has the keyboard, and can be turned off.

use leptos::ev::KeyboardEvent;
use leptos::prelude::*;
use wasm_bindgen::JsCast;
use wasm_bindgen::closure::Closure;
use web_sys::{Element, HtmlDialogElement, HtmlElement};

use crate::model::Pane;
use crate::pace::once_shown;
use crate::terminal::is_apple;
use crate::{Page, menu, panes, stepping, storage, theme};

const OFF: &str = "newroot-keys";

/// A key: what `KeyboardEvent.key` calls it, what it does in words, and that.
struct Key {
    key: &'static str,
    words: &'static str,
    act: fn(Page),
}

const KEYS: [Key; 19] = [
    Key { key: "n", words: "next step", act: |page| page.model.turn(1) },
    Key { key: "p", words: "previous step", act: |page| page.model.turn(-1) },
    Key { key: "m", words: "all lessons and their steps", act: |_| menu::open() },
    Key { key: "j", words: "to the next command; Enter runs it", act: |page| to_command(page, 1) },
    Key { key: "k", words: "to the command before", act: |page| to_command(page, -1) },
    Key { key: "1", words: "to the lesson", act: |page| panes::enter(page, Pane::Lesson) },
    Key { key: "2", words: "to the code", act: |page| panes::enter(page, Pane::Code) },
    Key { key: "3", words: "to the terminals", act: |page| panes::enter(page, Pane::Terminals) },
    Key { key: "4", words: "to the mount tables", act: |page| panes::enter(page, Pane::Mounts) },
    Key { key: "5", words: "to the calls", act: |page| panes::enter(page, Pane::Calls) },
    Key { key: "S", words: "step-through: every call waits", act: stepping::toggle },
    Key { key: "N", words: "next: the call that waits is made", act: stepping::next },
    Key { key: "O", words: "run on: its program waits no more", act: stepping::run_on },
    Key { key: "l", words: "the code in another language", act: |page| page.code.turn() },
    Key { key: "w", words: "the whole file, or the step", act: |page| page.code.toggle_whole() },
    Key { key: "f", words: "the code follows newroot, or not", act: |page| page.code.toggle_follow() },
    Key { key: "t", words: "light or dark", act: theme::turn },
    Key { key: "R", words: "reset; asks first", act: |_| open("reset") },
    Key { key: "?", words: "these keys", act: |_| open("keys") },
];

/// Keys that other parts of the page listen for.
const OTHERS: [(&str, &str); 12] = [
    ("F6", "to the next pane; with Shift, to the one before"),
    ("Ctrl-Shift-F6", "out of a terminal, to the next pane"),
    ("F10, F8", "next and run on, also within a terminal, while a call waits"),
    ("Ctrl-Shift-←/→", "to the next terminal, or the one before"),
    ("Ctrl-Shift-Enter", "another terminal"),
    ("F2, Delete", "on a terminal's tab: rename it, close it"),
    (
        "Ctrl-F",
        "search in a terminal; Enter goes further up, Shift-Enter back. Where a program has the whole screen: Ctrl-Shift-F",
    ),
    ("Ctrl-Shift-C/V", "in a terminal: copy, paste; so do Ctrl-Insert and Shift-Insert"),
    ("Ctrl-+/−/0", "in a terminal: letters larger, smaller, in their own size"),
    ("Ctrl-click", "open a link in a terminal"),
    ("Middle button", "paste what was selected last in a terminal"),
    ("Ctrl-Shift-S", "screen reader mode of the terminals"),
];

/// Listens for the keys, as long as the page lives.
pub fn listen(page: Page) {
    listen_for_steps(page);
    window_event_listener(leptos::ev::keydown, move |event| {
        if !is_free(&event) || storage::get(OFF).is_some() {
            return;
        }
        if let Some(key) = KEYS.iter().find(|key| key.key == event.key()) {
            event.prevent_default();
            (key.act)(page);
        }
    });
}

/// A call that waits is let go by the keys of the browsers' own debuggers. They come before a terminal's keys, whose
/// program may be the one that waits; while none waits they are the terminal's.
fn listen_for_steps(page: Page) {
    let listener = Closure::<dyn Fn(KeyboardEvent)>::new(move |event: KeyboardEvent| {
        let act = match event.key().as_str() {
            "F10" => stepping::next,
            "F8" => stepping::run_on,
            _ => return,
        };
        let modified = event.ctrl_key() || event.alt_key() || event.meta_key() || event.shift_key();
        if !modified && untrack(|| page.model.front()).is_some() {
            event.prevent_default();
            event.stop_propagation();
            act(page);
        }
    });
    let function = listener.as_ref().unchecked_ref();
    // A window takes any listener.
    let _ = window().add_event_listener_with_callback_and_bool("keydown", function, true);
    listener.forget();
}

/// Opens the dialog of this id.
pub fn open(id: &str) {
    if let Some(dialog) =
        document().get_element_by_id(id).and_then(|element| element.dyn_into::<HtmlDialogElement>().ok())
    {
        // Fails only where it is open already.
        let _ = dialog.show_modal();
    }
}

/// The list of keys.
#[component]
pub fn Keys() -> impl IntoView {
    let on = RwSignal::new(storage::get(OFF).is_none());
    let switch = move |_| {
        on.update(|on| *on = !*on);
        storage::set(OFF, (!on.get_untracked()).then_some("off"));
    };
    let row = |key: &str, words: &str| view! { <dt><kbd>{key.to_owned()}</kbd></dt><dd>{words.to_owned()}</dd> };
    view! {
        <dialog id="keys" class="keys" aria-labelledby="keys-title">
            <h2 id="keys-title">"Keys"</h2>
            <p>"The keys of one letter work wherever nothing is being typed: not in a terminal, whose keys are all its own."</p>
            <dl>
                {KEYS.iter().map(|key| row(key.key, key.words)).collect_view()}
                {OTHERS.iter().map(|(key, words)| row(key, words)).collect_view()}
            </dl>
            {is_apple().then(|| view! { <p>"On this keyboard it is Cmd for C, V, F, +, −, 0 and a click on a link, without Shift."</p> })}
            <label><input type="checkbox" prop:checked=on on:change=switch/> "Keys of one letter"</label>
            <form method="dialog" class="answers"><button class="primary" autofocus>"Close"</button></form>
        </dialog>
    }
}

/// Whether a key is nobody else's.
fn is_free(event: &KeyboardEvent) -> bool {
    let modified = event.ctrl_key() || event.alt_key() || event.meta_key();
    let taken = |selector| document().query_selector(selector).is_ok_and(|found| found.is_some());
    let typing = || {
        let target = event.target().and_then(|target| target.dyn_into::<Element>().ok());
        // What is ticked or chosen takes no letters.
        let fields = "input:not([type=checkbox], [type=radio]), select, textarea, .screen";
        target.is_some_and(|target| target.closest(fields).is_ok_and(|found| found.is_some()))
    };
    !(modified || event.default_prevented() || taken("dialog[open]") || typing())
}

/// Puts the keyboard on the command after or before the one it was on last.
fn to_command(page: Page, by: i32) {
    page.model.pane.set(Pane::Lesson);
    once_shown(move || focus_command(by));
}

fn focus_command(by: i32) {
    let Ok(found) = document().query_selector_all("#lesson .run") else { return };
    let all = (0..found.length()).filter_map(|place| found.get(place)?.dyn_into::<HtmlElement>().ok());
    // What is folded away has no size.
    let all: Vec<HtmlElement> = all.filter(|command| command.client_width() > 0).collect();
    let focused = document().active_element();
    let on_it = |command: &HtmlElement| focused.as_ref() == Some(command.unchecked_ref::<Element>());
    let last = all.iter().position(on_it).or_else(|| all.iter().rposition(|command| command.has_attribute("data-ran")));
    let next = match last {
        Some(last) => (last as i32 + by).clamp(0, all.len() as i32 - 1),
        None => 0,
    };
    if let Some(command) = all.get(next as usize) {
        // An element of the page can take the focus.
        let _ = command.focus();
    }
}
