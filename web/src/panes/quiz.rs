//! A quiz of the lesson: a prediction, and then the kernel's own word. A prediction can be changed until the machine has
//! told; from then on it stands, beside what is true.

use std::collections::BTreeSet;

use leptos::prelude::*;
use shared::lesson;
use shared::protocol::ToLab;
use shared::task::{Answer, Grade};

use crate::Page;
use crate::icons::Icon;
use crate::model::Connection;

/// How a quiz stands.
#[derive(Clone, PartialEq)]
enum Stand {
    /// An answer may be chosen.
    Asking,
    /// There is one; the machine cannot tell yet.
    Predicted,
    /// The machine has told that these options are true.
    Told { truth: Vec<u32> },
}

/// A quiz.
#[component]
pub fn Quiz(page: Page, quiz: lesson::Quiz) -> impl IntoView {
    let id = StoredValue::new(quiz.id.clone());
    let grade = Memo::new(move |_| {
        page.model.progress.with(|progress| id.with_value(|id| progress.of(id).and_then(|state| state.grade.clone())))
    });
    let chosen = RwSignal::new(BTreeSet::<u32>::new());
    let changing = RwSignal::new(false);
    // What the lab has counts, whichever page it came from.
    Effect::new(move |_| {
        if let Some(Grade::Predicted { answer } | Grade::Told { answer, .. }) = grade.get() {
            let Answer::Chosen { options } = answer;
            chosen.set(options.into_iter().collect());
            changing.set(false);
        }
    });
    let stand = Memo::new(move |_| match grade.get() {
        Some(Grade::Told { truth, .. }) => Stand::Told { truth },
        Some(Grade::Predicted { .. }) if !changing.get() => Stand::Predicted,
        Some(Grade::Predicted { .. }) | None => Stand::Asking,
    });
    let can_answer = move || page.model.connection.get() == Connection::Open && !chosen.with(BTreeSet::is_empty);
    let act = move |_| match stand.get_untracked() {
        Stand::Asking if untrack(can_answer) => {
            let options = chosen.get_untracked().into_iter().collect();
            page.outbox.send(&ToLab::Answer { quiz: id.get_value(), answer: Answer::Chosen { options } });
            // The same answer once more changes nothing in the lab, which then says nothing.
            changing.set(false);
        }
        Stand::Predicted => changing.set(true),
        Stand::Asking | Stand::Told { .. } => {}
    };
    let is_told = move || matches!(stand.get(), Stand::Told { .. });
    let several = quiz.several;
    let option = |(number, html): (usize, String)| {
        let number = number as u32;
        let choose = move |_| {
            chosen.update(|chosen| {
                if !several {
                    chosen.clear();
                }
                if !several || !chosen.remove(&number) {
                    chosen.insert(number);
                }
            });
        };
        let is_chosen = move || chosen.with(|chosen| chosen.contains(&number));
        let truth = move || match stand.get() {
            Stand::Told { truth } => Some(truth.contains(&number)),
            Stand::Asking | Stand::Predicted => None,
        };
        view! {
            <li data-truth=move || truth().map(|truth| truth.to_string())>
                <label>
                    <input
                        type=if several { "checkbox" } else { "radio" }
                        name=id.get_value()
                        prop:checked=is_chosen
                        disabled=move || stand.get() != Stand::Asking
                        on:change=choose
                    />
                    // The server makes this HTML, like that of a step.
                    <span class="option" inner_html=html></span>
                    <span class="verdict">{move || verdict(truth(), is_chosen() && stand.get() != Stand::Asking)}</span>
                </label>
            </li>
        }
    };
    let title = format!("quiz-{}", quiz.id.replace('/', "-"));
    view! {
        <div class="quiz" role="group" aria-labelledby=title.clone() data-quiz=quiz.id data-state=move || name(&stand.get())>
            <p class="word">{move || word(&stand.get(), several)}</p>
            <div class="text" id=title.clone() inner_html=quiz.html></div>
            <ul>{quiz.options.into_iter().enumerate().map(option).collect_view()}</ul>
            <div class="outcome">
                <button
                    class:primary=move || stand.get() == Stand::Asking && can_answer()
                    aria-disabled=move || (stand.get() == Stand::Asking && !can_answer()).then_some("true")
                    hidden=is_told
                    on:click=act
                >
                    {move || if stand.get() == Stand::Asking { "Predict" } else { "Change it" }}
                </button>
                <p role="status">{move || outcome(&stand.get(), &chosen.get())}</p>
            </div>
        </div>
    }
}

/// The state as the attribute that style sheet and tests read.
fn name(stand: &Stand) -> &'static str {
    match stand {
        Stand::Asking => "asking",
        Stand::Predicted => "predicted",
        Stand::Told { .. } => "told",
    }
}

fn word(stand: &Stand, several: bool) -> &'static str {
    match stand {
        Stand::Asking if several => "Predict · choose all that will be true",
        Stand::Asking => "Predict · choose one",
        Stand::Predicted => "Predicted",
        Stand::Told { .. } => "Predicted, and run",
    }
}

/// What is said of an option, behind it.
fn verdict(truth: Option<bool>, is_answer: bool) -> impl IntoView {
    let answer = is_answer.then_some("your answer");
    let told = truth.map(|truth| match truth {
        true => view! { {Icon::DONE.show()} "true" }.into_any(),
        false => view! { {Icon::CLOSE.show()} "not true" }.into_any(),
    });
    view! { <span class="yours">{answer}</span> <span class="told">{told}</span> }
}

fn outcome(stand: &Stand, chosen: &BTreeSet<u32>) -> &'static str {
    match stand {
        Stand::Asking => "",
        Stand::Predicted => "Now run it: the machine will tell.",
        Stand::Told { truth } if truth.iter().eq(chosen) => "You were right, by the kernel's tables.",
        Stand::Told { .. } => "The kernel's tables say otherwise.",
    }
}
