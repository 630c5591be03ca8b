//! The one way from the page to its lab. Who opens and closes the WebSocket is [`crate::connection`]'s business.

use std::collections::{BTreeMap, VecDeque};

use leptos::prelude::*;
use serde::Serialize;
use serde_wasm_bindgen::Serializer;
use shared::protocol::{Frame, FrameKind, INPUT_WINDOW, INTERRUPTING_KEYS, Offset, TerminalId, ToLab};
use web_sys::WebSocket;

/// What is typed or pasted goes in pieces of at most this size, so that nothing waits for long behind one.
const PIECE: usize = 16 * 1024;

/// A handle on the socket of the moment. What is sent while there is none is dropped: nobody wants a command typed
/// minutes ago to run when the network is back.
#[derive(Clone, Copy)]
pub struct Outbox(StoredValue<Link, LocalStorage>);

#[derive(Default)]
struct Link {
    socket: Option<WebSocket>,
    typed: BTreeMap<TerminalId, Typed>,
}

/// What was typed into a terminal over the socket of the moment.
#[derive(Default)]
struct Typed {
    /// What has not been sent yet: the rest of a large paste.
    waiting: VecDeque<u8>,
    /// How many bytes were sent,
    sent: u64,
    /// and how many of those the terminal has taken.
    taken: u64,
}

impl Outbox {
    /// Without a socket.
    pub fn new() -> Outbox {
        Outbox(StoredValue::new_local(Link::default()))
    }

    /// From now on, what is sent goes here.
    pub fn attach(self, socket: Option<WebSocket>) {
        self.0.set_value(Link { socket, typed: BTreeMap::new() });
    }

    /// Sends a control message.
    pub fn send(self, message: &ToLab) {
        let value = message.serialize(&Serializer::json_compatible());
        let text = value.ok().and_then(|value| js_sys::JSON::stringify(&value).ok());
        if let Some(text) = text.and_then(|text| text.as_string()) {
            self.0.with_value(|link| {
                if let Some(socket) = link.open() {
                    // A socket that fails here is closing, and its close event tells the learner.
                    let _ = socket.send_with_str(&text);
                }
            });
        }
    }

    /// Types into a terminal. A key that interrupts overtakes what is still waiting, which is then not typed at all.
    pub fn input(self, terminal: TerminalId, bytes: &[u8]) {
        self.0.update_value(|link| {
            if link.open().is_none() {
                return;
            }
            let typed = link.typed.entry(terminal).or_default();
            if matches!(bytes, [key] if INTERRUPTING_KEYS.contains(key)) && !typed.waiting.is_empty() {
                typed.waiting.clear();
                link.send_input(terminal, bytes);
            } else {
                typed.waiting.extend(bytes);
                link.send_waiting(terminal);
            }
        });
    }

    /// A terminal has taken so many bytes of what was typed into it: there is room for more.
    pub fn taken(self, terminal: TerminalId, offset: Offset) {
        self.0.update_value(|link| {
            if let Some(typed) = link.typed.get_mut(&terminal) {
                typed.taken = offset.0;
                link.send_waiting(terminal);
            }
        });
    }
}

impl Link {
    fn open(&self) -> Option<&WebSocket> {
        self.socket.as_ref().filter(|socket| socket.ready_state() == WebSocket::OPEN)
    }

    /// Sends as much of what is waiting as the window has room for.
    fn send_waiting(&mut self, terminal: TerminalId) {
        while let Some(typed) = self.typed.get_mut(&terminal) {
            let room = INPUT_WINDOW.saturating_sub(typed.sent.saturating_sub(typed.taken)) as usize;
            let length = typed.waiting.len().min(room).min(PIECE);
            if length == 0 {
                return;
            }
            let piece: Vec<u8> = typed.waiting.drain(..length).collect();
            self.send_input(terminal, &piece);
        }
    }

    fn send_input(&mut self, terminal: TerminalId, bytes: &[u8]) {
        self.typed.entry(terminal).or_default().sent += bytes.len() as u64;
        let frame = Frame { kind: FrameKind::Input, terminal, offset: Offset(0), bytes };
        if let Some(socket) = self.open() {
            // As above.
            let _ = socket.send_with_u8_array(&frame.encode());
        }
    }
}
