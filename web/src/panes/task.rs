//! A task of the lesson: what to bring about, whether the kernel shows it, and advice that fits what it shows instead.
//! Nobody ticks it by hand.

use leptos::prelude::*;
use shared::lesson;

use crate::Page;
use crate::icons::Icon;

/// A task. `first` is the first one of its lesson, which says who ticks it.
#[component]
pub fn Task(page: Page, task: lesson::Task, first: bool) -> impl IntoView {
    let id = StoredValue::new(task.id.clone());
    let state = Memo::new(move |_| page.model.progress.with(|progress| id.with_value(|id| progress.of(id).cloned())));
    let done = move || state.with(|state| state.as_ref().is_some_and(|state| state.done));
    let hints = Memo::new(move |_| state.with(|state| state.as_ref().map(|it| it.hints.clone()).unwrap_or_default()));
    let just_done = move || page.model.just_done.with(|news| id.with_value(|id| news.contains(id)));
    view! {
        <div
            class="task"
            role="group"
            aria-label="Task"
            data-task=task.id
            data-state=move || if done() { "done" } else { "open" }
            data-news=move || just_done().then_some("")
        >
            {Icon::TASK.show()}
            <div class="what">
                <p class="word">"Task · " {move || if done() { "done" } else { "to do" }}</p>
                <div class="text" inner_html=task.html></div>
                {first.then(|| view! { <p class="who">"It ticks itself when the kernel shows it, however you got there."</p> })}
            </div>
            // It is there before there is anything to say, as a live region must be.
            <div class="advice" aria-live="polite">
                {move || hints.get().into_iter().map(hint).collect_view()}
            </div>
        </div>
    }
}

fn hint(html: String) -> impl IntoView {
    view! {
        <div class="piece">
            {Icon::HINT.show()}
            <div>
                <span class="visually-hidden">"Hint: "</span>
                // The server makes this HTML, like that of a step.
                <div inner_html=html></div>
            </div>
        </div>
    }
}
