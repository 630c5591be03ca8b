//! The lesson: a step's prose and folds, and the way to the other steps.

use leptos::html::Div;
use leptos::prelude::*;
use shared::lesson::{Block, Lesson};

use super::command::Command;
use crate::address::Address;
use crate::icons::Icon;
use crate::model::Loaded;
use crate::{Page, content};

/// The lesson pane.
#[component]
pub fn LessonPane(page: Page) -> impl IntoView {
    let place = Memo::new(move |_| page.model.place());
    let failed = move || page.model.lessons.with(|lessons| *lessons == Loaded::Failed);
    let body = NodeRef::<Div>::new();
    Effect::new(move |_| {
        place.track();
        if let Some(body) = body.get_untracked() {
            body.set_scroll_top(0);
        }
    });
    view! {
        <section id="lesson" class="pane lesson" aria-label="Lesson" tabindex="-1">
            <nav class="progress" aria-label="Steps">
                {move || place.get().map(|(lesson, step)| progress(&lesson, step))}
            </nav>
            <div class="lesson-body" node_ref=body>
                {move || place.get().map(|(lesson, step)| view! {
                    <article class="prose">
                        <p class="kicker">{format!("Step {} of {}", step + 1, lesson.steps.len())}</p>
                        <h2>{lesson.steps.get(step).map(|step| step.title.clone())}</h2>
                        {blocks(page, lesson.steps.get(step).map(|step| step.blocks.clone()).unwrap_or_default())}
                    </article>
                })}
                <Show when=failed>
                    <p class="notice">"The lesson could not be loaded. Your machine and its terminals work without it."</p>
                    <button on:click=move |_| content::fetch(page.model)>"Load it again"</button>
                </Show>
            </div>
            {move || place.get().map(|(lesson, step)| turn(&lesson, step))}
        </section>
    }
}

/// All steps as a row of links.
fn progress(lesson: &Lesson, current: usize) -> impl IntoView + use<> {
    let steps = lesson.steps.iter().enumerate().map(|(place, step)| {
        let number = place + 1;
        view! {
            <li>
                <a
                    href=Address::href(&lesson.slug, &step.slug)
                    aria-current=(place == current).then_some("step")
                    aria-label=format!("Step {number}: {}", step.title)
                    title=format!("{number}. {}", step.title)
                    class:past=place < current
                ></a>
            </li>
        }
    });
    view! { <ol>{steps.collect_view()}</ol> }
}

/// The way to the steps before and after.
fn turn(lesson: &Lesson, current: usize) -> impl IntoView + use<> {
    let link = |place: Option<usize>, class: &'static str, word: &'static str, icon: Icon| {
        let step = lesson.steps.get(place?)?;
        Some(view! {
            <a class=class href=Address::href(&lesson.slug, &step.slug)>
                {icon.show()}
                <span class="way"><span class="word">{word}</span><span class="title">{step.title.clone()}</span></span>
            </a>
        })
    };
    view! {
        <nav class="turn" aria-label="Previous and next step">
            {link(current.checked_sub(1), "previous", "Previous", Icon::PREVIOUS)}
            {link(Some(current + 1), "next", "Next", Icon::NEXT)}
        </nav>
    }
}

fn blocks(page: Page, blocks: Vec<Block>) -> impl IntoView {
    blocks.into_iter().map(|block| one(page, block)).collect_view()
}

fn one(page: Page, block: Block) -> AnyView {
    match block {
        // The server makes this HTML and lets no script, style or raw HTML of an author's through.
        Block::Prose { html } => view! { <div class="text" inner_html=html></div> }.into_any(),
        Block::Command { terminal, text } => view! { <Command page terminal text/> }.into_any(),
        // Issue 7.
        Block::Task { .. } | Block::Quiz { .. } => ().into_any(),
        Block::Fold { title, blocks: folded } => view! {
            <details data-fold=title.to_lowercase()>
                <summary>{Icon::NEXT.show()} <span>{title.clone()}</span></summary>
                <div class="folded">{blocks(page, folded)}</div>
            </details>
        }
        .into_any(),
    }
}
