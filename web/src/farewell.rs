//! What stands in place of the terminals when there is no machine to be had: why, and what helps.

use leptos::prelude::*;

use crate::model::Connection;
use crate::{Page, connection, question};

/// The words and the button, where they are needed.
#[component]
pub fn Farewell(page: Page) -> impl IntoView {
    let words = move || match page.model.connection.get() {
        Connection::Ended => Some((
            "This machine has ended",
            "What was in it is gone. The lesson is still where you left it.",
            "Start a new machine",
        )),
        Connection::Full => Some(("The room is full", "There is a place again when somebody leaves.", "Try again")),
        Connection::NoLab => {
            Some(("There is no machine", "If trying again does not help, ask who runs this server.", "Try again"))
        }
        _ => None,
    };
    let title = move || words().map(|(title, ..)| title);
    let advice = move || words().map(|(_, advice, _)| advice);
    let button = move || words().map(|(.., button)| button);
    let go_on = move |_| match page.model.connection.get_untracked() {
        // It may be there, and not answer: then only its end makes room for another.
        Connection::NoLab => question::replace(page),
        _ => connection::start_over(page),
    };
    view! {
        <Show when=move || words().is_some()>
            <div class="ended" role="alertdialog" aria-labelledby="ended-title">
                <h2 id="ended-title">{title}</h2>
                <p class="reason">{move || page.model.reason.get()}</p>
                <p>{advice}</p>
                <button class="primary" on:click=go_on>{button}</button>
            </div>
        </Show>
    }
}
