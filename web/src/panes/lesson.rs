//! The lesson: a step's prose, commands, tasks and folds, and the way to the steps before and after, over the ends of
//! lessons. Nothing is locked: that tasks are open only makes the way on look quieter.

use leptos::html::Div;
use leptos::prelude::*;
use shared::lesson::{Block, Lesson};
use shared::progress::{Count, Place, further, tasks};

use super::command::Command;
use super::quiz::Quiz;
use super::task::Task;
use crate::address::Address;
use crate::icons::Icon;
use crate::model::Loaded;
use crate::{Page, content, words};

/// The lesson pane.
#[component]
pub fn LessonPane(page: Page) -> impl IntoView {
    let place = Memo::new(move |_| page.model.place());
    let failed = move || page.model.lessons.with(|lessons| *lessons == Loaded::Failed);
    let body = NodeRef::<Div>::new();
    Effect::new(move |_| {
        page.model.address.track();
        if let Some(body) = body.get_untracked() {
            body.set_scroll_top(0);
        }
    });
    view! {
        <section id="lesson" class="pane lesson" aria-label="Lesson" tabindex="-1">
            <nav class="progress" aria-label="Steps">
                {move || page.model.with_place(|lessons, place| progress(page, &lessons[place.lesson], place))}
            </nav>
            <div class="lesson-body" node_ref=body>
                {move || page.model.fault.get().map(|fault| view! { <p class="fault" role="alert">{fault}</p> })}
                {move || place.get().map(|(lesson, step)| view! {
                    <article class="prose">
                        <p class="kicker">
                            {format!("Step {} of {}", step + 1, lesson.steps.len())}
                            {move || tasks_done(count(page))}
                        </p>
                        <h2>{lesson.steps.get(step).map(|step| step.title.clone())}</h2>
                        {blocks(
                            page,
                            first_task(&lesson).as_deref(),
                            lesson.steps.get(step).map(|step| step.blocks.clone()).unwrap_or_default(),
                        )}
                    </article>
                })}
                <Show when=failed>
                    <p class="notice">"The lesson could not be loaded. Your machine and its terminals work without it."</p>
                    <button on:click=move |_| content::fetch(page.model)>"Load it again"</button>
                </Show>
            </div>
            <Turn page/>
        </section>
    }
}

/// How many tasks of the step are done.
fn count(page: Page) -> Count {
    let place = page.model.with_place(|_, place| place);
    place.map(|Place { lesson, step }| page.model.done(lesson, Some(step))).unwrap_or_default()
}

fn tasks_done(count: Count) -> Option<String> {
    (count.all > 0).then(|| format!(" · {} tasks done", words::tally(count)))
}

/// All steps of the lesson as a row of links, each filled as far as its tasks are done.
fn progress(page: Page, lesson: &Lesson, current: Place) -> impl IntoView + use<> {
    let steps = lesson.steps.iter().enumerate().map(|(place, step)| {
        let label = format!("Step {}: {}", place + 1, step.title);
        let address = Address::href(&lesson.slug, &step.slug);
        let count = Memo::new(move |_| page.model.done(current.lesson, Some(place)));
        let label = move || label.clone() + &tasks_done(count.get()).unwrap_or_default();
        let part = move || match count.get() {
            Count { all: 0, .. } => "0".to_owned(),
            Count { done, all } => format!("{}%", 100 * done / all),
        };
        view! {
            <li>
                <a
                    href=address
                    aria-current=(place == current.step).then_some("step")
                    aria-label=label.clone()
                    title=label
                    class:no-tasks=move || count.get().all == 0
                    style:--done=part
                ></a>
            </li>
        }
    });
    view! { <ol>{steps.collect_view()}</ol> }
}

/// The way to the steps before and after.
#[component]
fn Turn(page: Page) -> impl IntoView {
    let is_open = Memo::new(move |_| count(page).is_open());
    let link = move |by: isize, class: &'static str, icon: Icon| {
        let there = page.model.with_place(|lessons, here| {
            let there = further(lessons, here, by)?;
            let lesson = &lessons[there.lesson];
            let step = lesson.steps.get(there.step)?;
            let (word, title) = match (by > 0, there.lesson == here.lesson) {
                (true, true) => ("Next", step.title.clone()),
                (false, true) => ("Previous", step.title.clone()),
                (true, false) => ("Next lesson", lesson.title.clone()),
                (false, false) => ("Previous lesson", lesson.title.clone()),
            };
            Some((Address::href(&lesson.slug, &step.slug), word, title))
        });
        let (address, word, title) = there.flatten()?;
        Some(view! {
            <a class=class href=address>
                {icon.show()}
                <span class="way"><span class="word">{word}</span><span class="title">{title}</span></span>
            </a>
        })
    };
    view! {
        <nav class="turn" aria-label="Previous and next step" data-tasks=move || if is_open.get() { "open" } else { "done" }>
            {move || link(-1, "previous", Icon::PREVIOUS)}
            {move || link(1, "next", Icon::NEXT)}
        </nav>
    }
}

/// The id of the lesson's first task.
fn first_task(lesson: &Lesson) -> Option<String> {
    lesson.steps.iter().flat_map(|step| tasks(&step.blocks)).next().map(|task| task.id.clone())
}

fn blocks(page: Page, first_task: Option<&str>, blocks: Vec<Block>) -> impl IntoView + use<> {
    blocks.into_iter().map(|block| one(page, first_task, block)).collect_view()
}

fn one(page: Page, first_task: Option<&str>, block: Block) -> AnyView {
    match block {
        // The server makes this HTML and lets no script, style or raw HTML of an author's through.
        Block::Prose { html } => view! { <div class="text" inner_html=html></div> }.into_any(),
        Block::Command { terminal, text } => view! { <Command page terminal text/> }.into_any(),
        Block::Task { task } => {
            let first = first_task == Some(task.id.as_str());
            view! { <Task page task first/> }.into_any()
        }
        Block::Quiz { quiz } => view! { <Quiz page quiz/> }.into_any(),
        Block::Fold { title, blocks: folded } => view! {
            <details data-fold=title.to_lowercase()>
                <summary>{Icon::NEXT.show()} <span>{title.clone()}</span></summary>
                <div class="folded">{blocks(page, first_task, folded)}</div>
            </details>
        }
        .into_any(),
    }
}
