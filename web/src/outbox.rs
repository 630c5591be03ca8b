//! The one way from the page to its lab. Who opens and closes the WebSocket is [`crate::connection`]'s business.

use leptos::prelude::*;
use serde::Serialize;
use serde_wasm_bindgen::Serializer;
use shared::protocol::{Frame, FrameKind, Offset, TerminalId, ToLab};
use web_sys::WebSocket;

/// A handle on the socket of the moment. What is sent while there is none is dropped: nobody wants a command typed
/// minutes ago to run when the network is back.
#[derive(Clone, Copy)]
pub struct Outbox(StoredValue<Option<WebSocket>, LocalStorage>);

impl Outbox {
    /// Without a socket.
    pub fn new() -> Outbox {
        Outbox(StoredValue::new_local(None))
    }

    /// From now on, what is sent goes here.
    pub fn attach(self, socket: Option<WebSocket>) {
        self.0.set_value(socket);
    }

    /// Sends a control message.
    pub fn send(self, message: &ToLab) {
        let value = message.serialize(&Serializer::json_compatible());
        let text = value.ok().and_then(|value| js_sys::JSON::stringify(&value).ok());
        if let Some(text) = text.and_then(|text| text.as_string()) {
            self.with_open(|socket| socket.send_with_str(&text).is_ok());
        }
    }

    /// Sends what was typed into a terminal.
    pub fn input(self, terminal: TerminalId, bytes: &[u8]) {
        let frame = Frame { kind: FrameKind::Input, terminal, offset: Offset(0), bytes };
        self.with_open(|socket| socket.send_with_u8_array(&frame.encode()).is_ok());
    }

    fn with_open(self, send: impl FnOnce(&WebSocket) -> bool) {
        self.0.with_value(|socket| {
            if let Some(socket) = socket.as_ref().filter(|socket| socket.ready_state() == WebSocket::OPEN) {
                // A socket that fails here is closing, and its close event tells the learner.
                send(socket);
            }
        });
    }
}
