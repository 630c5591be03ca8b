//! The page, compiled to wasm. Data flows one way: [`connection`] hears the lab, [`model`] and [`terminal`] keep what
//! it says, [`panes`] show that; what the learner does leaves through [`outbox`].

#![forbid(unsafe_code)]

mod address;
mod clipboard;
mod connection;
mod content;
mod farewell;
mod icons;
mod keys;
mod model;
mod outbox;
mod panes;
mod question;
mod stale;
mod storage;
mod tables;
mod terminal;
mod theme;
mod topbar;
mod words;

use leptos::prelude::*;
use wasm_bindgen::prelude::*;

use connection::Link;
use model::Model;
use outbox::Outbox;
use panes::Choice;
use terminal::Screens;
use theme::Theme;

/// Everything a part of the page may need: handles, all of them cheap to copy.
#[derive(Clone, Copy)]
struct Page {
    model: Model,
    screens: Screens,
    outbox: Outbox,
    link: StoredValue<Link, LocalStorage>,
    theme: RwSignal<Theme>,
    code: Choice,
}

/// Starts the page. The loader calls it once the wasm is there.
#[wasm_bindgen(start)]
pub fn start() {
    let Some(place) = document().get_element_by_id("page") else { return };
    let place: web_sys::HtmlElement = place.unchecked_into();
    // What index.html shows until now has the same shape, so nothing jumps.
    place.set_inner_html("");
    leptos::mount::mount_to(place, App).forget();
}

#[component]
fn App() -> impl IntoView {
    let outbox = Outbox::new();
    let page = Page {
        model: Model::new(),
        screens: Screens::new(outbox),
        outbox,
        link: StoredValue::new_local(Link::default()),
        theme: theme::signal(),
        code: Choice::new(),
    };
    connection::open(page);
    content::fetch(page.model);
    keys::listen(page);
    window_event_listener(leptos::ev::online, move |_| connection::hasten(page));
    window_event_listener(leptos::ev::focus, move |_| connection::hasten(page));
    Effect::new(move |_| {
        page.theme.track();
        page.screens.recolour();
    });
    Effect::new(move |_| {
        if let Some(root) = document().document_element() {
            // Setting an attribute of a valid name cannot fail.
            let _ = root.set_attribute("data-connection", words::connection_name(page.model.connection.get()));
        }
    });
    view! {
        <topbar::TopBar page/>
        <panes::Panes page/>
    }
}
