//! The calls that were seen, newest last. What is said of one is made in [`entry`]; here is the list: which calls it has,
//! when it holds still, and that it follows the newest.

mod details;
mod entry;

use std::sync::Arc;

use leptos::html::Ol;
use leptos::prelude::*;
use shared::trace::{Call, CallId, CallKind};
use wasm_bindgen::JsCast;
use web_sys::HtmlElement;

use super::arrows::move_among;
use super::below::Below;
use super::width::width_of;
use crate::Page;
use crate::icons::Icon;
use crate::model::Pane;
use crate::pace::Pace;
use crate::words::calls as words;

/// More calls than this are not in the document: each costs the browser time with every change. The list is held while
/// somebody reads further up, so nobody misses the others by scrolling.
const MOST_SHOWN: usize = 250;
/// As near to the end as this, in pixels, the list goes on to follow the newest call.
const NEAR_END: i32 = 24;

/// How the list stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hold {
    /// It follows the newest call.
    No,
    /// Somebody has scrolled up.
    Scrolled,
    /// Somebody has asked for it.
    Paused,
}

/// What the learner chose to see.
#[derive(Clone, Copy)]
struct List {
    pace: Pace,
    /// The kinds that are left out.
    without: RwSignal<Vec<CallKind>>,
    hold: RwSignal<Hold>,
    shown: Memo<Vec<Arc<Call>>>,
    element: NodeRef<Ol>,
    /// How far it was scrolled when the browser last told.
    top: StoredValue<i32>,
}

/// The calls pane.
#[component]
pub fn CallsPane(page: Page) -> impl IntoView {
    let pace = Pace::following(move || page.model.calls.track());
    // Steps are for the code pane, which follows them; here they would only push the others away.
    let without = RwSignal::new(vec![CallKind::Step]);
    let shown = Memo::new(move |_| {
        pace.track();
        let wanted = |kind| without.with(|without: &Vec<CallKind>| !without.contains(&kind));
        let mut shown = pace.spend(|| page.model.calls.with_untracked(|calls| calls.shown(wanted)));
        shown.drain(..shown.len().saturating_sub(MOST_SHOWN));
        shown
    });
    let (hold, top) = (RwSignal::new(Hold::No), StoredValue::new(0));
    let list = List { pace, without, hold, shown, element: NodeRef::new(), top };
    let width = width_of(list.element);
    follow_newest(list);
    show_opened(page, list);
    let ids = Memo::new(move |_| shown.with(|shown| shown.iter().map(|call| call.id).collect::<Vec<_>>()));
    // Not faster than anybody listens: the clock beats once a second.
    let latest = Memo::new(move |_| {
        page.model.now.track();
        shown.with_untracked(|shown| words::latest(shown))
    });
    let nothing_yet = move || {
        pace.track();
        page.model.calls.with_untracked(|calls| calls.newest().is_none())
    };
    view! {
        <section id="calls" class="pane calls" aria-label="Calls" tabindex="-1">
            <header>
                <Below page pane=Pane::Calls/>
                <Controls page list/>
            </header>
            <p class="visually-hidden" role="status">{latest}</p>
            <ol
                node_ref=list.element
                class="calls-list"
                tabindex="0"
                aria-label="Calls, newest last"
                data-width=width
                hidden=move || ids.with(Vec::is_empty)
                on:scroll=move |_| scrolled(page, list)
                on:keydown=|event| move_among("button.summary", &event)
            >
                <For each=move || ids.get() key=|id| *id let:id><entry::Entry page id shown/></For>
            </ol>
            <Show when=move || ids.with(Vec::is_empty)>
                <p class="notice">
                    {move || match nothing_yet() {
                        true => "No call yet. Every program you run shows here what it asks of the kernel: \
                            which namespaces it wants, what it mounts, where its root is, and what it becomes.",
                        false => "No call since then, of the kinds that are shown.",
                    }}
                </p>
            </Show>
            <KeptBack page list/>
        </section>
    }
}

#[component]
fn Controls(page: Page, list: List) -> impl IntoView {
    let List { without, hold, .. } = list;
    let kind = move |(kind, name, meaning): (CallKind, &'static str, &'static str)| {
        let turn = move |_| {
            without.update(|without| match without.iter().position(|other| *other == kind) {
                Some(place) => _ = without.remove(place),
                None => without.push(kind),
            });
        };
        let pressed = move || without.with(|without| !without.contains(&kind)).to_string();
        view! { <button class="quiet" title=meaning aria-pressed=pressed on:click=turn>{name}</button> }
    };
    let paused = move || hold.get() == Hold::Paused;
    let pause = move |_| match hold.get_untracked() {
        Hold::Paused => release(page, list),
        _ => keep(page, list, Hold::Paused),
    };
    let clear = move |_| {
        page.model.opened.set(None);
        page.model.calls.update(|calls| calls.clear());
    };
    view! {
        <div class="kinds" role="group" aria-label="Kinds of calls that are shown">{words::KINDS.map(kind)}</div>
        <div class="looks">
            <button class="quiet" aria-pressed=move || paused().to_string() on:click=pause
                title="Keeps what is shown, and counts what comes">{Icon::PAUSE.show()} "Pause"</button>
            <button class="quiet" on:click=clear title="Forgets the calls that are shown">"Clear"</button>
        </div>
    }
}

/// What came while the list is held, as the button that shows it.
#[component]
fn KeptBack(page: Page, list: List) -> impl IntoView {
    let count = Memo::new(move |_| {
        list.pace.track();
        page.model.calls.with_untracked(|calls| calls.kept_back())
    });
    let say = move || match (list.hold.get(), count.get()) {
        (Hold::Paused, 0) => "Paused. Go on".to_owned(),
        (Hold::Paused, 1) => "Paused; 1 more call came. Go on".to_owned(),
        (Hold::Paused, count) => format!("Paused; {count} more calls came. Go on"),
        (_, 1) => "1 new call".to_owned(),
        (_, count) => format!("{count} new calls"),
    };
    let shown = move || list.hold.get() == Hold::Paused || (list.hold.get() == Hold::Scrolled && count.get() > 0);
    view! {
        <Show when=shown>
            <button class="kept-back" on:click=move |_| release(page, list)>{Icon::DOWN.show()} {say}</button>
        </Show>
    }
}

fn keep(page: Page, list: List, hold: Hold) {
    list.hold.set(hold);
    page.model.calls.update(|calls| calls.hold());
}

fn release(page: Page, list: List) {
    list.hold.set(Hold::No);
    page.model.calls.update(|calls| calls.release());
    to_end(list);
}

/// Whoever scrolls up reads, and is not disturbed; whoever comes back to the end follows again.
fn scrolled(page: Page, list: List) {
    let Some(element) = list.element.get_untracked() else { return };
    let at_end = element.scroll_top() + element.client_height() >= element.scroll_height() - NEAR_END;
    let before = list.top.get_value();
    list.top.set_value(element.scroll_top());
    match list.hold.get_untracked() {
        // Only upwards: the browser tells of a scroll to the end when the list may already have grown again.
        Hold::No if !at_end && element.scroll_top() < before => keep(page, list, Hold::Scrolled),
        Hold::Scrolled if at_end => release(page, list),
        _ => {}
    }
}

fn follow_newest(list: List) {
    Effect::new(move |_| {
        list.shown.track();
        if list.hold.get_untracked() == Hold::No {
            to_end(list);
        }
    });
}

/// After the entries are in the document.
fn to_end(list: List) {
    request_animation_frame(move || {
        if let Some(element) = list.element.get_untracked() {
            element.set_scroll_top(element.scroll_height());
        }
    });
}

/// A call that is opened from elsewhere is brought into sight.
fn show_opened(page: Page, list: List) {
    Effect::new(move |_| {
        let Some(CallId(id)) = page.model.opened.get() else { return };
        let of_id = |shown: &Vec<Arc<Call>>| shown.iter().any(|call| call.id.0 == id);
        if !list.shown.with_untracked(of_id) {
            list.without.set(Vec::new());
        }
        request_animation_frame(move || {
            let Some(element) = list.element.get_untracked() else { return };
            if let Ok(Some(entry)) = element.query_selector(&format!("[data-call='{id}']")) {
                let entry: HtmlElement = entry.unchecked_into();
                let top = entry.offset_top() - element.offset_top();
                let (seen, below) = (element.scroll_top(), top + entry.offset_height() - element.client_height());
                element.set_scroll_top(seen.max(below).min(top));
            }
        });
    });
}
