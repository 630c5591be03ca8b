//! Where one is in the course, and the way to anywhere else in it: all lessons with their steps, and how much of each is
//! done. Every step can be read at any time; nothing is locked.

use leptos::html::Nav;
use leptos::prelude::*;
use shared::lesson::{Lesson, Step};
use shared::progress::{Count, Place, tasks};
use wasm_bindgen::JsCast;
use web_sys::HtmlElement;

use crate::address::Address;
use crate::icons::Icon;
use crate::model::Loaded;
use crate::{Page, words};

/// The button that says where one is, the list behind it, and the word that something was done.
#[component]
pub fn Menu(page: Page) -> impl IntoView {
    let place =
        Memo::new(move |_| page.model.with_place(|lessons, place| (place.step + 1, lessons[place.lesson].steps.len())));
    let step = move || place.get().map(|(step, all)| format!("Step {step} of {all}"));
    let count = Memo::new(move |_| {
        let lesson = page.model.with_place(|_, place| place.lesson);
        lesson.map(|lesson| page.model.done(lesson, None)).unwrap_or_default()
    });
    view! {
        <button class="quiet place" popovertarget="steps" title="All lessons (m)" hidden=move || place.with(Option::is_none)>
            <span aria-live="polite">{step}</span>
            <Tally count what="of this lesson"/>
            {Icon::DOWN.show()}
        </button>
        <List page/>
        // Each as an element of its own: what is added is spoken, and not what was there before it.
        <div id="news" class="visually-hidden" aria-live="polite">
            <For each=move || news(page) key=|(id, _)| id.clone() children=|(_, words)| view! { <p>{words}</p> }/>
        </div>
    }
}

/// So many tasks of so many; nothing where there are none.
#[component]
fn Tally(count: Memo<Count>, what: &'static str) -> impl IntoView {
    let has_tasks = move || count.get().all > 0;
    view! {
        <Show when=has_tasks>
            <span class="tally" class:complete=move || count.get().is_complete() title=format!("Tasks {what} that are done")>
                {Icon::TASK.show()}
                {move || words::tally(count.get())}
                <span class="visually-hidden">" tasks done"</span>
            </span>
        </Show>
    }
}

/// All lessons, the one that is open unfolded.
#[component]
fn List(page: Page) -> impl IntoView {
    let list = NodeRef::<Nav>::new();
    let current = Memo::new(move |_| page.model.with_place(|_, place| place));
    let lessons = move || {
        page.model.lessons.with(|lessons| match lessons {
            Loaded::Here(lessons) => Some(
                lessons.iter().enumerate().map(|(place, one)| lesson(page, one, place, current, list)).collect_view(),
            ),
            _ => None,
        })
    };
    view! { <nav id="steps" class="steps" popover="auto" aria-label="All lessons" node_ref=list>{lessons}</nav> }
}

fn lesson(
    page: Page,
    lesson: &Lesson,
    place: usize,
    current: Memo<Option<Place>>,
    list: NodeRef<Nav>,
) -> impl IntoView + use<> {
    let hide = move |_| {
        if let Some(list) = list.get_untracked() {
            // Fails only where it is hidden already.
            let _ = list.hide_popover();
        }
    };
    let is_open = move || current.get().is_some_and(|current| current.lesson == place);
    let done = Memo::new(move |_| page.model.done(place, None));
    let link = |(number, step): (usize, &Step)| {
        let here = move || current.get() == Some(Place { lesson: place, step: number });
        let done = Memo::new(move |_| page.model.done(place, Some(number)));
        view! {
            <li>
                <a
                    href=Address::href(&lesson.slug, &step.slug)
                    aria-current=move || here().then_some("step")
                    on:click=hide
                >
                    <span class="title">{step.title.clone()}</span>
                    <Tally count=done what="of this step"/>
                </a>
            </li>
        }
    };
    // Only one lesson is unfolded at a time, where the browser knows that of `name`.
    view! {
        <details name="lessons" prop:open=is_open>
            <summary>
                <span class="number">{words::number(&lesson.slug).to_owned()}</span>
                <span class="title">{lesson.title.clone()}</span>
                <Tally count=done what="of this lesson"/>
            </summary>
            <ol>{lesson.steps.iter().enumerate().map(link).collect_view()}</ol>
        </details>
    }
}

/// What was done just now in the lesson that is open, to be spoken once: the ids of tasks, and the words.
fn news(page: Page) -> Vec<(String, String)> {
    let news = page.model.just_done.get();
    let of_lesson = |lessons: &[Lesson], place: Place| {
        let lesson = &lessons[place.lesson];
        let so_far = words::so_far(page.model.progress.with(|progress| progress.of_lesson(lesson)));
        let all = lesson.steps.iter().flat_map(|step| tasks(&step.blocks));
        let done = all.filter(|task| news.contains(&task.id));
        done.map(|task| (task.id.clone(), format!("Task done: {} {so_far}", words::of_html(&task.html)))).collect()
    };
    untrack(|| page.model.with_place(of_lesson)).unwrap_or_default()
}

/// Opens the list, with the keyboard on the step that is open.
pub fn open() {
    let Some(list) = document().get_element_by_id("steps") else { return };
    // Fails only where it is shown already.
    let _ = list.unchecked_ref::<HtmlElement>().show_popover();
    if let Ok(Some(current)) = list.query_selector("a[aria-current]") {
        // An element of the page can take the focus.
        let _ = current.unchecked_into::<HtmlElement>().focus();
    }
}
