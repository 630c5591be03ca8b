//! The part of the code that is shown: the lines of a step, or of a whole file, one of them brought out.

use leptos::html::Div;
use leptos::prelude::*;
use shared::lesson::{CodeStep, Kind, Language, SourceFile, Token};
use shared::trace::{Call, CodeLine};
use wasm_bindgen::JsCast;
use web_sys::HtmlElement;

use crate::words::calls as words;

/// What there is to show.
#[derive(Clone, PartialEq)]
pub struct Part {
    /// The file.
    pub file: SourceFile,
    /// The step; `None` where a line between the steps is shown.
    pub step: Option<CodeStep>,
    /// The number of the line that is brought out.
    line: Option<u32>,
    /// How the call stands that this line makes: its state, and that in words.
    call: Option<(&'static str, String)>,
}

impl Part {
    /// The step of this name with its file, and its first line with one of the texts; the first of all steps where none
    /// is asked for.
    pub fn of_step(files: &[SourceFile], name: Option<&str>, texts: &[String]) -> Option<Part> {
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
        let line = line.map(|(number, _)| *number);
        Some(Part { file: file.clone(), step: Some(step.clone()), line, call: None })
    }

    /// A line of the runtime with the step around it; in the twins, which have other lines, the step of that name.
    pub fn of_line(files: &[SourceFile], line: &CodeLine) -> Option<Part> {
        let runtime = |file: &&SourceFile| file.language == Language::Rust && file.name == line.file;
        let Some(file) = files.iter().find(runtime) else {
            return Part::of_step(files, Some(line.step.as_deref()?), &[]);
        };
        let around = |step: &&CodeStep| (step.lines.0..=step.lines.1).contains(&line.line);
        let step = file.steps.iter().find(around).cloned();
        Some(Part { file: file.clone(), step, line: Some(line.line), call: None })
    }

    /// The line that a call comes from, with what becomes of that call.
    pub fn of_call(files: &[SourceFile], call: &Call) -> Option<Part> {
        let part = Part::of_line(files, call.line.as_ref()?)?;
        let reason = words::reason(&call.state);
        let said = match reason.as_str() {
            "" => format!("{} {}", call.name, words::result(&call.state)),
            _ => format!("{}: {reason}", words::result(&call.state)),
        };
        Some(Part { call: Some((words::state_name(&call.state), said)), ..part })
    }

    /// The name of the step; empty between steps.
    pub fn step_name(&self) -> String {
        self.step.as_ref().map(|step| step.name.clone()).unwrap_or_default()
    }

    /// All that is shown, as text.
    pub fn text(&self, whole: bool) -> String {
        let lines = self.chosen(whole);
        lines.flat_map(|(_, tokens)| tokens.iter().map(|token| token.1.as_str()).chain(["\n"])).collect()
    }

    /// The lines to show: those of the step, or all.
    fn chosen(&self, whole: bool) -> impl Iterator<Item = &(u32, Vec<Token>)> {
        self.file.lines.iter().filter(move |(number, _)| whole || self.step.is_none() || self.is_in_step(*number))
    }

    fn is_in_step(&self, number: u32) -> bool {
        self.step.as_ref().is_some_and(|step| (step.lines.0..=step.lines.1).contains(&number))
    }

    /// The lines as the page has them.
    pub fn show(&self, whole: bool) -> impl IntoView + use<> {
        let line = |(number, tokens): &(u32, Vec<Token>)| {
            let pieces = tokens.iter().map(|Token(kind, text)| view! { <span class=kind.name()>{text.clone()}</span> });
            let is_it = self.line == Some(*number);
            let call = self.call.clone().filter(|_| is_it);
            let state = call.as_ref().map(|(state, _)| *state);
            view! {
                <div
                    class="line"
                    class:step=whole && self.is_in_step(*number)
                    class:now=is_it
                    aria-current=is_it.then_some("true")
                    data-line=number.to_string()
                    data-call=state
                >
                    {pieces.collect_view()}
                    {tokens.is_empty().then_some(" ")}
                    {call.map(|(_, said)| view! { <span class="outcome">{said}</span> })}
                </div>
            }
        };
        let lines = self.chosen(whole).map(line).collect_view();
        view! { <code class="listing" data-whole=whole.to_string()>{lines}</code> }
    }
}

/// Scrolls to the beginning of the step, or as far as it takes to have the line in the upper half.
pub fn bring_into_sight(body: NodeRef<Div>) {
    let Some(body) = body.get_untracked() else { return };
    let top = |selector| {
        let line: HtmlElement = body.query_selector(selector).ok()??.unchecked_into();
        Some(line.offset_top() - body.offset_top())
    };
    let start = top(".line.step").unwrap_or(0);
    let now = top(".line.now").unwrap_or(start);
    body.scroll_to_with_x_and_y(0.0, start.max(now - body.client_height() / 2).into());
}
