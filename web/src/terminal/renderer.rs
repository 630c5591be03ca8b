//! How a screen is drawn: by WebGL while it is seen, where the browser can; else by xterm's own renderer, in the DOM.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use leptos::task::spawn_local;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::HtmlElement;
use xterm_js_sys::{Terminal, WebglAddon, release_webgl, webgl};

thread_local! {
    /// Whether this browser has refused a context. Then no other screen asks: the answer would be the same.
    static REFUSED: Cell<bool> = const { Cell::new(false) };
}

/// The renderer of one screen.
#[derive(Default)]
pub struct Renderer {
    addon: RefCell<Option<WebglAddon>>,
    /// Whether the screen is seen, which may change while the addon is on its way.
    wanted: Cell<bool>,
    loading: Cell<bool>,
    /// xterm calls it as long as the addon lives.
    lost: RefCell<Option<Closure<dyn Fn()>>>,
}

impl Renderer {
    /// The screen is seen: draws it by WebGL as soon as that has come over the wire. `host` is the screen's element.
    pub fn show(self: &Rc<Renderer>, xterm: &Terminal, host: &HtmlElement) {
        self.wanted.set(true);
        if self.addon.borrow().is_some() || REFUSED.get() || self.loading.replace(true) {
            return;
        }
        let (renderer, xterm, host) = (self.clone(), xterm.clone(), host.clone());
        spawn_local(async move {
            // Where the addon does not come, the next time that the screen is shown asks again.
            let loaded = JsFuture::from(webgl()).await;
            renderer.loading.set(false);
            if let (Ok(addon), true) = (loaded, renderer.wanted.get()) {
                renderer.take(&xterm, addon.unchecked_into(), host);
            }
        });
    }

    /// The screen is not seen any more. A browser has some sixteen contexts for all its pages, and takes the oldest away
    /// when they run out; so what is hidden has none.
    pub fn hide(&self, host: &HtmlElement) {
        self.wanted.set(false);
        if let Some(addon) = self.addon.take() {
            release_webgl(host);
            addon.dispose();
        }
    }

    fn take(self: &Rc<Renderer>, xterm: &Terminal, addon: WebglAddon, host: HtmlElement) {
        if xterm.load_addon(&addon).is_err() {
            // Nothing is lost: xterm goes on in the DOM.
            return REFUSED.set(true);
        }
        let renderer = Rc::downgrade(self);
        let lost = Closure::<dyn Fn()>::new(move || {
            if let Some(renderer) = renderer.upgrade() {
                // Until it is shown the next time.
                renderer.hide(&host);
            }
        });
        addon.on_context_loss(lost.as_ref().unchecked_ref());
        self.lost.replace(Some(lost));
        self.addon.replace(Some(addon));
    }
}
