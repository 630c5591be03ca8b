//! The taught code: the part that belongs to the lesson's step, with the line that it is about brought out; in Rust as
//! it runs here, or in the lesson's twins of it. While the runtime runs, the pane follows it from call to call. The
//! server has cut and coloured the code.

mod choice;
mod part;

use std::sync::Arc;
use std::time::Duration;

use leptos::html::Div;
use leptos::prelude::*;
use shared::lesson::{Language, SourceFile};
use shared::trace::Call;

use crate::icons::Icon;
use crate::model::Loaded;
use crate::{Page, clipboard, words};
pub use choice::Choice;
use choice::{LANGUAGES, LookedUp};
use part::{Part, bring_into_sight};

/// The code pane.
#[component]
pub fn CodePane(page: Page) -> impl IntoView {
    let Choice { language, whole, follow, looked_up, .. } = page.code;
    let lesson_step = Memo::new(move |_| page.model.step().and_then(|step| Some((step.code?, step.line))));
    Effect::new(move |before: Option<()>| {
        lesson_step.track();
        whole.set(false);
        // Whoever goes on in the lesson has seen enough of the runtime, until it makes its next call.
        if before.is_some() {
            leave(page);
        }
    });
    let files = Memo::new(move |_| files(page, language.get()));
    let runtime = runtime(page);
    let waiting = Memo::new(move |_| {
        let lessons = page.model.lessons.with(|lessons| *lessons == Loaded::Waiting);
        lessons || page.model.sources.with(|sources| *sources == Loaded::Waiting)
    });
    let shown = Memo::new(move |_| {
        // The lesson says which part it is about; another one in its place would jump when it comes.
        if waiting.get() {
            return None;
        }
        files.with(|files| match (looked_up.get(), runtime.get()) {
            (Some(LookedUp::Step(name)), _) => Part::of_step(files, Some(&name), &[]),
            (Some(LookedUp::Line(line)), _) => Part::of_line(files, &line),
            (None, Some(call)) if follow.get() => Part::of_call(files, &call),
            _ => {
                let (name, texts) = lesson_step.get().unzip();
                Part::of_step(files, name.as_deref(), &texts.unwrap_or_default())
            }
        })
    });
    let failed = move || page.model.sources.with(|sources| *sources == Loaded::Failed);
    let body = NodeRef::<Div>::new();
    Effect::new(move |_| {
        whole.track();
        if shown.with(Option::is_some) {
            // After the lines are on the page.
            request_animation_frame(move || bring_into_sight(body));
        }
    });
    let copied = RwSignal::new(false);
    let copy = move |_| {
        if let Some(shown) = shown.get_untracked() {
            clipboard::copy(&shown.text(whole.get_untracked()), move |done| copied.set(done));
            set_timeout(move || copied.set(false), Duration::from_millis(1500));
        }
    };
    let step_name = move || shown.with(|shown| shown.as_ref().map(Part::step_name).unwrap_or_default());
    view! {
        <section id="code" class="pane code" aria-label="Code" tabindex="-1">
            <header>
                <h2>"Code"</h2>
                <div class="switch languages" role="group" aria-label="Language">
                    {LANGUAGES.map(|(one, name)| view! {
                        <button
                            aria-pressed=move || (language.get() == one).to_string()
                            on:click=move |_| page.code.choose(one)
                        >{name}</button>
                    })}
                </div>
                <select
                    aria-label="Part of the code"
                    prop:value=step_name
                    on:change=move |event| looked_up.set(Some(LookedUp::Step(event_target_value(&event))))
                >
                    {move || files.with(|files| options(files, &step_name()))}
                </select>
                <span class="file">
                    <span class="folder">{move || shown.get().map(|shown| shown.file.folder + "/")}</span>
                    {move || shown.get().map(|shown| shown.file.name)}
                </span>
                <button
                    class="quiet small"
                    aria-pressed=move || follow.get().to_string()
                    title="While newroot runs, show the line that makes each call (F)"
                    on:click=move |_| page.code.toggle_follow()
                >
                    {Icon::FOLLOW.show()} <span class="word">"Follow"</span>
                </button>
                <button
                    class="quiet small"
                    aria-pressed=move || whole.get().to_string()
                    on:click=move |_| page.code.toggle_whole()
                >
                    {Icon::WHOLE.show()} <span class="word">"Whole file"</span>
                </button>
                <button
                    class="quiet square small"
                    aria-label="Copy the code"
                    title=move || if copied.get() { "Copied" } else { "Copy" }
                    on:click=copy
                >
                    {move || if copied.get() { Icon::DONE.show() } else { Icon::COPY.show() }}
                </button>
            </header>
            <div class="lines" node_ref=body tabindex="0" role="region" aria-label="Lines of the code">
                {move || shown.get().map(|shown| shown.show(whole.get()))}
                <Show when=move || !waiting.get() && !failed() && shown.with(Option::is_none)>
                    <p class="notice">"Nothing of this language belongs to this step."</p>
                </Show>
                <Show when=failed>
                    <p class="notice">"The code could not be loaded."</p>
                </Show>
            </div>
            <Whereabouts page runtime/>
        </section>
    }
}

/// The call of the runtime that the code goes along with: the one that waits in front, or else the newest; none that
/// the learner has left behind, or that is older than this page.
fn runtime(page: Page) -> Memo<Option<Arc<Call>>> {
    Memo::new(move |_| {
        let left = page.code.left.get();
        let seen = left.max(page.model.past.get());
        let front = page.model.front().filter(|front| front.line.is_some());
        let newest = || page.model.calls.with(|calls| calls.newest_with_line().cloned());
        front.filter(|call| Some(call.id) > left).or_else(|| newest().filter(|call| Some(call.id) > seen))
    })
}

/// The runtime's calls so far are followed no more.
fn leave(page: Page) {
    page.code.looked_up.set(None);
    page.code.left.set(page.model.calls.with_untracked(|calls| calls.newest_with_line().map(|call| call.id)));
}

/// Says that the code shows something else than the lesson's step, and leads back.
#[component]
fn Whereabouts(page: Page, runtime: Memo<Option<Arc<Call>>>) -> impl IntoView {
    let Choice { follow, looked_up, .. } = page.code;
    let away = Memo::new(move |_| looked_up.with(Option::is_some));
    let who = move || runtime.with(|call| call.as_ref().map(|call| words::calls::who(&call.process)));
    let follows = Memo::new(move |_| follow.get() && runtime.with(Option::is_some));
    let said = move || match (away.get(), who()) {
        (true, Some(who)) if follows.get() => format!("not following {who}"),
        (true, _) => "looked up".to_owned(),
        (false, who) => format!("following {}", who.unwrap_or_default()),
    };
    view! {
        <Show when=move || away.get() || follows.get()>
            <p class="whereabouts">
                <span>{said}</span>
                <Show when=move || away.get() && follows.get()>
                    <button class="quiet" on:click=move |_| looked_up.set(None)>"Follow"</button>
                </Show>
                <button class="quiet" on:click=move |_| leave(page)>"Back to the lesson"</button>
            </p>
        </Show>
    }
}

/// The files of a language: the runtime's, or the twins of the lesson.
fn files(page: Page, language: Language) -> Vec<SourceFile> {
    if language == Language::Rust {
        return page.model.sources.with(|sources| match sources {
            Loaded::Here(files) => files.clone(),
            _ => Vec::new(),
        });
    }
    let twins = page.model.place().map(|(lesson, _)| lesson.twins).unwrap_or_default();
    twins.into_iter().filter(|twin| twin.language == language).collect()
}

fn options(files: &[SourceFile], chosen: &str) -> Vec<impl IntoView + use<>> {
    files
        .iter()
        .map(|file| {
            let steps = file.steps.iter().map(|step| {
                let selected = chosen == step.name;
                view! { <option value=step.name.clone() selected=selected>{step.name.replace('-', " ")}</option> }
            });
            view! { <optgroup label=file.name.clone()>{steps.collect_view()}</optgroup> }
        })
        .collect()
}
