//! The taught code: the runtime's own file with the lines of the lesson's step brought out.

use leptos::html::Div;
use leptos::prelude::*;
use shared::lesson::{CodeStep, SourceFile};
use wasm_bindgen::JsCast;
use web_sys::HtmlElement;

use crate::Page;
use crate::model::Loaded;

/// The code pane.
#[component]
pub fn CodePane(page: Page) -> impl IntoView {
    // What the learner looks up holds until the lesson goes on.
    let looked_up = RwSignal::new(None::<String>);
    let lesson_step = Memo::new(move |_| page.model.step().and_then(|step| step.code));
    Effect::new(move |_| {
        lesson_step.track();
        looked_up.set(None);
    });
    let shown = Memo::new(move |_| {
        let name = looked_up.get().or_else(|| lesson_step.get());
        page.model.sources.with(|sources| match sources {
            Loaded::Here(files) => find(files, name.as_deref()),
            _ => None,
        })
    });
    let failed = move || page.model.sources.with(|sources| *sources == Loaded::Failed);
    let body = NodeRef::<Div>::new();
    Effect::new(move |_| {
        if shown.with(Option::is_some) {
            // After the lines are on the page.
            request_animation_frame(move || bring_to_top(body));
        }
    });
    view! {
        <section id="code" class="pane code" aria-label="Code" tabindex="-1">
            <header>
                <h2>"Code"</h2>
                <select
                    aria-label="Part of the code"
                    prop:value=move || shown.get().map(|(_, step)| step.name).unwrap_or_default()
                    on:change=move |event| looked_up.set(Some(event_target_value(&event)))
                >
                    {move || page.model.sources.with(|sources| match sources {
                        Loaded::Here(files) => options(files, &shown.get()),
                        _ => Vec::new(),
                    })}
                </select>
                <span class="file">
                    {move || shown.get().map(|(file, _)| format!("server/src/runtime/{}", file.name))}
                </span>
            </header>
            <div class="lines" node_ref=body tabindex="0" role="region" aria-label="Lines of the file">
                {move || shown.get().map(|(file, step)| lines(file, &step))}
                <Show when=failed><p class="notice">"The code could not be loaded."</p></Show>
            </div>
        </section>
    }
}

/// The step of this name with its file; the first of all where none is asked for.
fn find(files: &[SourceFile], name: Option<&str>) -> Option<(SourceFile, CodeStep)> {
    let mut all = files.iter().flat_map(|file| file.steps.iter().map(move |step| (file, step)));
    let (file, step) = match name {
        Some(name) => all.find(|(_, step)| step.name == name)?,
        None => all.next()?,
    };
    Some((file.clone(), step.clone()))
}

fn options(files: &[SourceFile], shown: &Option<(SourceFile, CodeStep)>) -> Vec<impl IntoView + use<>> {
    let chosen = shown.as_ref().map(|(_, step)| step.name.clone());
    files
        .iter()
        .map(|file| {
            let steps = file.steps.iter().map(|step| {
                let selected = chosen.as_ref() == Some(&step.name);
                view! { <option value=step.name.clone() selected=selected>{step.name.replace('-', " ")}</option> }
            });
            view! { <optgroup label=file.name.clone()>{steps.collect_view()}</optgroup> }
        })
        .collect()
}

fn lines(file: SourceFile, step: &CodeStep) -> impl IntoView + use<> {
    let (first, last) = step.lines;
    let line = move |(number, text): (u32, String)| {
        let comment = text.trim_start().starts_with("//");
        view! {
            <div
                class="line"
                class:step=(first..=last).contains(&number)
                class:comment=comment
                data-line=number.to_string()
            >
                {if text.is_empty() { " ".to_owned() } else { text }}
            </div>
        }
    };
    view! { <code class="listing">{file.lines.into_iter().map(line).collect_view()}</code> }
}

/// Scrolls to the step, leaving the line before it in sight.
fn bring_to_top(body: NodeRef<Div>) {
    let Some(body) = body.get_untracked() else { return };
    if let Ok(Some(line)) = body.query_selector(".line.step") {
        let line: HtmlElement = line.unchecked_into();
        body.set_scroll_top(line.offset_top() - body.offset_top() - line.offset_height());
    }
}
