//! The life of the page's WebSocket: opens it, hands on what it brings, and opens it again when it breaks.

use std::time::Duration;

use js_sys::{ArrayBuffer, JSON};
use leptos::prelude::*;
use shared::protocol::{CLOSE_LAB_ENDED, CLOSE_NO_LAB, CLOSE_ROOM_FULL, MachineId, ToLab, ToPage};
use wasm_bindgen::prelude::*;
use web_sys::{BinaryType, CloseEvent, MessageEvent, WebSocket};

use crate::Page;
use crate::model::Connection;
use crate::stale::{self, Build};

/// The first wait before trying again, doubled each time up to [`LONGEST_WAIT`], in milliseconds.
const FIRST_WAIT: f64 = 250.0;
const LONGEST_WAIT: f64 = 5_000.0;

/// How long the server may take to answer, in which a whole room may ask it for machines. The browser's own limit,
/// where a network swallows what is sent, is minutes.
const PATIENCE: Duration = Duration::from_secs(30);

/// The socket of the moment and its listeners.
#[derive(Default)]
pub struct Link {
    socket: Option<WebSocket>,
    listeners: Vec<Closure<dyn FnMut(JsValue)>>,
    /// Counts sockets, so that a word from an earlier one is known as such.
    number: u32,
    /// How often in a row opening has failed.
    failures: i32,
    /// The machine whose output the screens show.
    machine: Option<MachineId>,
}

/// Opens the socket; anything an earlier one still says is ignored.
pub fn open(page: Page) {
    close(page);
    let origin = window().location().origin().unwrap_or_default();
    // Whoever has a machine wants that one, or the news that it is no more.
    let resume = if page.link.with_value(|link| link.machine.is_some()) { "?resume" } else { "" };
    let address = format!("{}/api/lab{resume}", origin.replacen("http", "ws", 1));
    let Ok(socket) = WebSocket::new(&address) else { return };
    socket.set_binary_type(BinaryType::Arraybuffer);
    let number = page.link.with_value(|link| link.number);
    let current = move || page.link.with_value(|link| link.number == number);

    let greet = listener(move |_| {
        if current() {
            let machine = page.link.with_value(|link| link.machine.clone());
            page.outbox.send(&ToLab::Hello { machine, terminals: page.screens.offsets() });
        }
    });
    let hear = listener(move |event| {
        if current() {
            let data = event.unchecked_into::<MessageEvent>().data();
            match data.dyn_into::<ArrayBuffer>() {
                Ok(frame) => page.screens.show(&frame),
                Err(text) => receive(page, &text),
            }
        }
    });
    let lose = listener(move |event| {
        if current() {
            let event = event.unchecked_into::<CloseEvent>();
            closed(page, event.code(), event.reason());
        }
    });
    socket.set_onopen(Some(greet.as_ref().unchecked_ref()));
    socket.set_onmessage(Some(hear.as_ref().unchecked_ref()));
    socket.set_onclose(Some(lose.as_ref().unchecked_ref()));
    page.outbox.attach(Some(socket.clone()));
    let unanswered = socket.clone();
    let give_up = move || {
        if current() && unanswered.ready_state() == WebSocket::CONNECTING {
            // Fails only where it is closed already. It is told as any lost connection is.
            let _ = unanswered.close();
        }
    };
    set_timeout(give_up, PATIENCE);
    page.link.update_value(|link| {
        link.socket = Some(socket);
        link.listeners = vec![greet, hear, lose];
    });
}

/// Leaves the socket of the moment, if there is one.
pub fn close(page: Page) {
    page.outbox.attach(None);
    page.asked.set_value(None);
    page.link.update_value(|link| {
        link.number += 1;
        if let Some(socket) = link.socket.take() {
            socket.set_onopen(None);
            socket.set_onmessage(None);
            socket.set_onclose(None);
            // Fails only where it is closed already.
            let _ = socket.close();
        }
        link.listeners.clear();
    });
}

/// Tries again at once if the connection is lost: the network came back, or the learner did.
pub fn hasten(page: Page) {
    if page.model.connection.get_untracked() == Connection::Lost {
        page.link.update_value(|link| link.failures = 0);
        open(page);
    }
}

/// Leaves the machine behind for a new one.
pub fn start_over(page: Page) {
    page.link.update_value(|link| link.machine = None);
    page.screens.clear();
    page.model.forget_machine();
    open(page);
}

fn listener(listener: impl FnMut(JsValue) + 'static) -> Closure<dyn FnMut(JsValue)> {
    Closure::new(listener)
}

fn receive(page: Page, text: &JsValue) {
    let parsed = text.as_string().and_then(|text| JSON::parse(&text).ok());
    let Some(message) = parsed.and_then(|value| serde_wasm_bindgen::from_value::<ToPage>(value).ok()) else {
        // A newer lab may say what this page does not know; the build in its greeting has the page reload.
        return;
    };
    match &message {
        ToPage::Hello { build, machine, terminals, .. } => {
            page.link.update_value(|link| link.failures = 0);
            let build = stale::compare(build);
            if build == Build::Reloading {
                return;
            }
            build.words().into_iter().for_each(|words| page.screens.common.say(words));
            let before = page.link.try_update_value(|link| link.machine.replace(machine.clone())).flatten();
            if before.is_some_and(|before| before != *machine) {
                // The old machine ended while the page was away.
                page.screens.clear();
                page.model.forget_machine();
            }
            page.screens.keep(terminals);
        }
        ToPage::Terminal { terminal } => {
            let new = page.model.terminals.with_untracked(|all| all.iter().all(|known| known.id != terminal.id));
            page.screens.update(terminal);
            page.model.receive(message.clone());
            if new {
                page.opened(terminal.id);
            }
            return;
        }
        ToPage::TerminalGone { terminal } => page.screens.close(*terminal),
        ToPage::Taken { terminal, offset } => page.outbox.taken(*terminal, *offset),
        ToPage::Ownership { owner } => page.screens.own(*owner),
        ToPage::Skip { terminal, offset } => page.screens.skip(*terminal, *offset),
        _ => {}
    }
    page.model.receive(message);
}

fn closed(page: Page, code: u16, reason: String) {
    page.outbox.attach(None);
    page.model.end.set(None);
    let refused = match code {
        CLOSE_LAB_ENDED => Some(Connection::Ended),
        CLOSE_ROOM_FULL => Some(Connection::Full),
        CLOSE_NO_LAB => Some(Connection::NoLab),
        _ => None,
    };
    if let Some(refused) = refused {
        page.model.reason.set(reason);
        page.model.connection.set(refused);
        return;
    }
    page.model.connection.set(Connection::Lost);
    let (number, failures) = page
        .link
        .try_update_value(|link| {
            link.failures += 1;
            (link.number, link.failures)
        })
        .unwrap_or_default();
    // Spread out, so that a room of sixty does not come back in the same instant.
    let wait = (FIRST_WAIT * f64::from(failures - 1).exp2()).min(LONGEST_WAIT) * (0.5 + js_sys::Math::random());
    let retry = move || {
        if page.link.with_value(|link| link.number == number) {
            open(page);
        }
    };
    set_timeout(retry, Duration::from_millis(wait as u64));
}
