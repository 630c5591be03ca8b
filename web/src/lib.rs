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
mod limits;
mod menu;
mod model;
mod outbox;
mod pace;
mod panes;
mod question;
mod stale;
mod stepping;
mod storage;
mod tables;
mod terminal;
mod theme;
mod topbar;
mod words;

use leptos::prelude::*;
use shared::protocol::{TerminalId, ToLab};
use wasm_bindgen::prelude::*;

use connection::Link;
use model::{Connection, Model};
use outbox::Outbox;
use pace::once_shown;
use panes::{Choice, Shown};
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
    /// What is shown below the terminals.
    below: RwSignal<Shown>,
    /// A terminal that this page has asked for, and what is to be run in it.
    asked: StoredValue<Option<Option<String>>, LocalStorage>,
}

impl Page {
    /// Opens another terminal, which comes to the front when it is there, and runs a command in it.
    fn open_terminal(self, name: Option<String>, command: Option<String>) {
        // One at a time: a second click is not meant for a second terminal.
        if self.asked.with_value(Option::is_none) && self.model.connection.get_untracked() == Connection::Open {
            self.asked.set_value(Some(command));
            self.outbox.send(&ToLab::Open { name });
        }
    }

    /// A terminal is new: opened by this page, or by another one, which makes it no business of this one's front.
    fn opened(self, id: TerminalId) {
        let Some(command) = self.asked.try_update_value(Option::take).flatten() else { return };
        self.model.bring(id);
        once_shown(move || match command {
            Some(command) => self.screens.run(id, &command),
            None => self.screens.focus(id),
        });
    }
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
        asked: StoredValue::new_local(None),
        code: Choice::new(),
        below: RwSignal::new(Shown::remembered()),
    };
    connection::open(page);
    content::fetch(page.model);
    content::follow(page.model);
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
        <stepping::Stepping page/>
        <panes::Panes page/>
    }
}
