//! What stands in place of the terminals when there is no machine to be had: why, and what helps. A connection that is
//! merely lost draws no curtain: the screens stay readable, and come back by themselves.

use leptos::prelude::*;

use crate::icons::Icon;
use crate::model::Connection;
use crate::{Page, connection, question, words};

/// What is said of a state, and what its button does.
struct Words {
    icon: Icon,
    title: &'static str,
    advice: &'static str,
    button: &'static str,
    act: fn(Page),
}

fn words_for(connection: Connection) -> Option<Words> {
    match connection {
        Connection::Ended => Some(Words {
            icon: Icon::POWER,
            title: "This machine has ended",
            advice: "What was in it is gone. The lesson is still where you left it.",
            button: "Start a new machine",
            act: connection::start_over,
        }),
        Connection::Full => Some(Words {
            icon: Icon::WAIT,
            title: "The room is full",
            advice: "There is a place again when somebody leaves. The lesson and the code can be read meanwhile.",
            button: "Try again",
            act: connection::start_over,
        }),
        Connection::NoLab => Some(Words {
            icon: Icon::NONE,
            title: "There is no machine",
            advice: "If trying again does not help, ask who runs this server, and show what it says.",
            button: "Try again",
            // It may be there, and not answer: then only its end makes room for another.
            act: question::replace,
        }),
        Connection::Connecting | Connection::Open | Connection::Lost => None,
    }
}

/// The words and the button, where they are needed.
#[component]
pub fn Farewell(page: Page) -> impl IntoView {
    let curtain = move || {
        let state = page.model.connection.get();
        words_for(state).map(|Words { icon, title, advice, button, act }| {
            let reason = move || page.model.reason.get();
            view! {
                <div
                    class="ended"
                    role="alertdialog"
                    aria-labelledby="ended-title"
                    aria-describedby="ended-advice"
                    data-state=words::connection_name(state)
                >
                    <h2 id="ended-title"><span class="badge">{icon.show()}</span>{title}</h2>
                    <p class="reason" hidden=move || reason().is_empty() || reason() == title.to_lowercase()>{reason}</p>
                    <p id="ended-advice">{advice}</p>
                    <button class="primary" on:click=move |_| act(page)>{button}</button>
                </div>
            }
        })
    };
    view! { {curtain} }
}
