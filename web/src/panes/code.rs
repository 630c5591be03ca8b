//! The taught code: the part that belongs to the lesson's step, with the line that it is about brought out; in Rust as
//! it runs here, or in the lesson's twins of it. The server has cut and coloured it.

use std::time::Duration;

use leptos::html::Div;
use leptos::prelude::*;
use shared::lesson::{CodeStep, Kind, Language, SourceFile, Token};
use wasm_bindgen::JsCast;
use web_sys::HtmlElement;

use crate::icons::Icon;
use crate::model::Loaded;
use crate::{Page, clipboard, storage};

const KEY: &str = "newroot-language";

/// The languages in the order of their buttons.
const LANGUAGES: [(Language, &str); 3] = [(Language::Rust, "Rust"), (Language::Go, "Go"), (Language::Shell, "Shell")];

/// What the learner has chosen to see of the code.
#[derive(Clone, Copy)]
pub struct Choice {
    language: RwSignal<Language>,
    /// The whole file, not only the step.
    whole: RwSignal<bool>,
}

impl Choice {
    /// As this browser remembers it.
    pub fn new() -> Choice {
        let name = storage::get(KEY);
        let language = LANGUAGES.iter().find(|(_, other)| Some(*other) == name.as_deref());
        Choice {
            language: RwSignal::new(language.map_or(Language::Rust, |(language, _)| *language)),
            whole: RwSignal::new(false),
        }
    }

    /// The next language.
    pub fn turn(self) {
        let place = LANGUAGES.iter().position(|(language, _)| *language == self.language.get_untracked()).unwrap_or(0);
        self.choose(LANGUAGES[(place + 1) % LANGUAGES.len()].0);
    }

    /// The whole file, or the step again.
    pub fn toggle_whole(self) {
        self.whole.update(|whole| *whole = !*whole);
    }

    fn choose(self, language: Language) {
        self.language.set(language);
        let name = LANGUAGES.iter().find(|(other, _)| *other == language).map(|(_, name)| *name);
        storage::set(KEY, name.filter(|_| language != Language::Rust));
    }
}

/// What there is to show.
#[derive(Clone, PartialEq)]
struct Shown {
    file: SourceFile,
    step: CodeStep,
    /// The number of the line that the lesson's step is about.
    line: Option<u32>,
}

/// The code pane.
#[component]
pub fn CodePane(page: Page) -> impl IntoView {
    let Choice { language, whole } = page.code;
    // What the learner looks up holds until the lesson goes on.
    let looked_up = RwSignal::new(None::<String>);
    let lesson_step = Memo::new(move |_| page.model.step().and_then(|step| Some((step.code?, step.line))));
    Effect::new(move |_| {
        lesson_step.track();
        looked_up.set(None);
        whole.set(false);
    });
    let files = Memo::new(move |_| files(page, language.get()));
    let shown = Memo::new(move |_| {
        let (name, texts) = lesson_step.get().unzip();
        files.with(|files| find(files, looked_up.get().or(name).as_deref(), &texts.unwrap_or_default()))
    });
    let waiting = move || page.model.sources.with(|sources| *sources == Loaded::Waiting);
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
            clipboard::copy(&text(&shown, whole.get_untracked()), move |done| copied.set(done));
            set_timeout(move || copied.set(false), Duration::from_millis(1500));
        }
    };
    view! {
        <section id="code" class="pane code" aria-label="Code" tabindex="-1">
            <header>
                <h2>"Code"</h2>
                <div class="languages" role="group" aria-label="Language">
                    {LANGUAGES.map(|(one, name)| view! {
                        <button
                            aria-pressed=move || (language.get() == one).to_string()
                            on:click=move |_| page.code.choose(one)
                        >{name}</button>
                    })}
                </div>
                <select
                    aria-label="Part of the code"
                    prop:value=move || shown.get().map(|shown| shown.step.name).unwrap_or_default()
                    on:change=move |event| looked_up.set(Some(event_target_value(&event)))
                >
                    {move || files.with(|files| options(files, &shown.get()))}
                </select>
                <span class="file">
                    <span class="folder">{move || shown.get().map(|shown| shown.file.folder + "/")}</span>
                    {move || shown.get().map(|shown| shown.file.name)}
                </span>
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
                {move || shown.get().map(|shown| lines(&shown, whole.get()))}
                <Show when=move || !waiting() && !failed() && shown.with(Option::is_none)>
                    <p class="notice">"Nothing of this language belongs to this step."</p>
                </Show>
                <Show when=failed>
                    <p class="notice">"The code could not be loaded."</p>
                </Show>
            </div>
        </section>
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

/// The step of this name with its file, and its first line with one of the texts; the first of all steps where none is
/// asked for.
fn find(files: &[SourceFile], name: Option<&str>, texts: &[String]) -> Option<Shown> {
    let mut all = files.iter().flat_map(|file| file.steps.iter().map(move |step| (file, step)));
    let (file, step) = match name {
        Some(name) => all.find(|(_, step)| step.name == name)?,
        None => all.next()?,
    };
    let (first, last) = step.lines;
    let is_it = |tokens: &[Token]| {
        let code: String =
            tokens.iter().filter(|token| token.0 != Kind::Comment).map(|token| token.1.as_str()).collect();
        texts.iter().any(|text| code.contains(text))
    };
    let line = file.lines.iter().find(|(number, tokens)| (first..=last).contains(number) && is_it(tokens));
    Some(Shown { file: file.clone(), step: step.clone(), line: line.map(|(number, _)| *number) })
}

fn options(files: &[SourceFile], shown: &Option<Shown>) -> Vec<impl IntoView + use<>> {
    let chosen = shown.as_ref().map(|shown| shown.step.name.clone());
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

/// The lines to show: those of the step, or all.
fn chosen(shown: &Shown, whole: bool) -> impl Iterator<Item = &(u32, Vec<Token>)> {
    let (first, last) = shown.step.lines;
    shown.file.lines.iter().filter(move |(number, _)| whole || (first..=last).contains(number))
}

fn text(shown: &Shown, whole: bool) -> String {
    let lines = chosen(shown, whole);
    lines.flat_map(|(_, tokens)| tokens.iter().map(|token| token.1.as_str()).chain(["\n"])).collect()
}

fn lines(shown: &Shown, whole: bool) -> impl IntoView + use<> {
    let (first, last) = shown.step.lines;
    let line = |(number, tokens): &(u32, Vec<Token>)| {
        let pieces = tokens.iter().map(|Token(kind, text)| view! { <span class=kind.name()>{text.clone()}</span> });
        view! {
            <div
                class="line"
                class:step=whole && (first..=last).contains(number)
                class:now=shown.line == Some(*number)
                aria-current=(shown.line == Some(*number)).then_some("true")
                data-line=number.to_string()
            >
                {pieces.collect_view()}
                {tokens.is_empty().then_some(" ")}
            </div>
        }
    };
    view! { <code class="listing" data-whole=whole.to_string()>{chosen(shown, whole).map(line).collect_view()}</code> }
}

/// Scrolls to the beginning of the step, or as far as it takes to have the step's line in the upper half.
fn bring_into_sight(body: NodeRef<Div>) {
    let Some(body) = body.get_untracked() else { return };
    let top = |selector| {
        let line: HtmlElement = body.query_selector(selector).ok()??.unchecked_into();
        Some(line.offset_top() - body.offset_top())
    };
    let start = top(".line.step").unwrap_or(0);
    let now = top(".line.now").unwrap_or(start);
    body.scroll_to_with_x_and_y(0.0, start.max(now - body.client_height() / 2).into());
}
