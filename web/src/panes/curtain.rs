//! What stands over the terminals while there is no machine to show: why, and what helps. A connection that is merely
//! lost draws no curtain: the screens stay readable under it, and come back by themselves.

use leptos::prelude::*;

use crate::icons::Icon;
use crate::model::Connection;
use crate::{Page, connection, words};

/// What a curtain says.
struct Words {
    icon: Icon,
    title: &'static str,
    text: &'static str,
    button: &'static str,
    act: fn(Page),
}

fn words_for(connection: Connection) -> Option<Words> {
    match connection {
        Connection::Ended => Some(Words {
            icon: Icon::POWER,
            title: "This machine has ended",
            text: "What was in it is gone. The lesson is still where you left it.",
            button: "Start a new machine",
            act: connection::start_over,
        }),
        Connection::Full => Some(Words {
            icon: Icon::WAIT,
            title: "Every machine is taken",
            text: "The first one that becomes free is yours: this page asks again every few seconds. \
                   The lesson and the code can be read meanwhile.",
            button: "Ask now",
            act: connection::hasten,
        }),
        Connection::Refused => Some(Words {
            icon: Icon::NONE,
            title: "Your machine could not be started",
            text: "The server says why. Show it to whoever runs the server; this page keeps trying.",
            button: "Try now",
            act: connection::hasten,
        }),
        Connection::Connecting | Connection::Open | Connection::Lost => None,
    }
}

/// The curtain, where the connection's state asks for one.
#[component]
pub fn Curtain(page: Page) -> impl IntoView {
    let curtain = move || {
        let state = page.model.connection.get();
        words_for(state).map(|Words { icon, title, text, button, act }| {
            let reason = move || Some(page.model.reason.get()).filter(|reason| !reason.is_empty());
            view! {
                <div
                    class="curtain"
                    role="alertdialog"
                    aria-labelledby="curtain-title"
                    aria-describedby="curtain-text"
                    data-state=words::connection_name(state)
                >
                    <h2 id="curtain-title"><span class="badge">{icon.show()}</span>{title}</h2>
                    <p id="curtain-text">{text}</p>
                    {move || reason().filter(|_| state == Connection::Refused).map(|reason| view! { <p class="reason">{reason}</p> })}
                    <button class="primary" on:click=move |_| act(page)>{button}</button>
                </div>
            }
        })
    };
    view! { {curtain} }
}
