//! The question before a machine is thrown away, and the throwing away.

use leptos::html::Dialog;
use leptos::prelude::*;
use shared::protocol::ToLab;
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::RequestInit;

use crate::icons::Icon;
use crate::model::Connection;
use crate::{Page, connection};

/// A button that asks, and the question.
#[component]
pub fn Reset(page: Page) -> impl IntoView {
    let dialog = NodeRef::<Dialog>::new();
    let ask = move |_| {
        if let Some(dialog) = dialog.get() {
            // Fails only where it is open already.
            let _ = dialog.show_modal();
        }
    };
    let close = move || {
        if let Some(dialog) = dialog.get() {
            dialog.close();
        }
    };
    view! {
        <button class="quiet" aria-label="Reset" on:click=ask>{Icon::RESET.show()} <span class="word">"Reset"</span></button>
        <dialog id="reset" node_ref=dialog aria-labelledby="reset-title">
            <h2 id="reset-title">"Start over with a new machine?"</h2>
            <p>"Everything in this one goes: its files, its processes and its mounts. The lesson stays where it is."</p>
            <div class="answers">
                <button autofocus on:click=move |_| close()>"Keep this machine"</button>
                <button class="danger" on:click=move |_| { close(); reset(page) }>"Start over"</button>
            </div>
        </dialog>
    }
}

/// Has the lab remake its machine. Where there is no lab to be asked, the server is.
fn reset(page: Page) {
    match page.model.connection.get_untracked() {
        Connection::Open => page.outbox.send(&ToLab::Reset),
        _ => replace(page),
    }
}

/// Ends the machine and asks for a new one. The socket is left first: its end is no news then.
pub fn replace(page: Page) {
    connection::close(page);
    spawn_local(async move {
        let request = RequestInit::new();
        request.set_method("DELETE");
        // If the server cannot be reached, connecting fails too, and says so.
        let _ = JsFuture::from(window().fetch_with_str_and_init("/api/lab", &request)).await;
        connection::start_over(page);
    });
}
