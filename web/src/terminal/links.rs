//! Links in a terminal's output, found in its text or marked by the program (OSC 8). What is written there is a stranger's,
//! so a link opens only where that was meant: by Ctrl or Command and a click, or from where its address is shown whole.

use std::cell::RefCell;

use leptos::prelude::*;
use leptos::task::spawn_local;
use shared::protocol::TerminalId;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::MouseEvent;
use xterm_js_sys::{LinkHandler, Terminal, web_links};

use super::common::{Common, Link};

/// The link handling of one terminal; xterm calls its listeners as long as the terminal lives.
pub struct Links {
    activate: Closure<dyn Fn(MouseEvent, String)>,
    hover: Closure<dyn Fn(MouseEvent, String)>,
    leave: Closure<dyn Fn()>,
    /// Whether addresses in the text have been asked for.
    asked: RefCell<bool>,
}

impl Links {
    /// For one terminal, whose options are to have [`Links::handler`].
    pub fn new(terminal: TerminalId, common: Common) -> Links {
        let show = move |address: String, clicked| {
            if is_web(&address) {
                common.link.set(Some(Link { terminal, address, clicked }));
            }
        };
        let activate = move |event: MouseEvent, address: String| match event.ctrl_key() || event.meta_key() {
            true => open(&address),
            false => show(address, true),
        };
        let leave = move || {
            if common.link.with_untracked(|link| link.as_ref().is_some_and(|link| !link.clicked)) {
                common.link.set(None);
            }
        };
        Links {
            activate: Closure::new(activate),
            hover: Closure::new(move |_, address| show(address, false)),
            leave: Closure::new(leave),
            asked: RefCell::new(false),
        }
    }

    /// What xterm does with the links that programs mark.
    pub fn handler(&self) -> LinkHandler {
        let handler = LinkHandler::empty();
        handler.set_activate(self.activate.as_ref().unchecked_ref());
        handler.set_hover(self.hover.as_ref().unchecked_ref());
        handler.set_leave(self.leave.as_ref().unchecked_ref());
        handler
    }

    /// Finds addresses in the text from now on. Comes over the wire once the terminal has something to show.
    pub fn find(&self, xterm: &Terminal) {
        if self.asked.replace(true) {
            return;
        }
        let addon = web_links(
            self.activate.as_ref().unchecked_ref(),
            self.hover.as_ref().unchecked_ref(),
            self.leave.as_ref().unchecked_ref(),
        );
        let xterm = xterm.clone();
        spawn_local(async move {
            if let Ok(addon) = JsFuture::from(addon).await {
                // Without it, text stays text.
                let _ = xterm.load_addon(&addon);
            }
        });
    }
}

/// Opens an address in a tab of its own, which learns nothing of this one.
fn open(address: &str) {
    if is_web(address) {
        // A browser that does not want to says so itself.
        let _ = window().open_with_url_and_target_and_features(address, "_blank", "noopener,noreferrer");
    }
}

/// Whether an address is of http or https, and no script or file.
fn is_web(address: &str) -> bool {
    let scheme = address.split_once("://").map(|(scheme, _)| scheme);
    scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https"))
}
