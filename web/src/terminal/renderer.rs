//! How a screen is drawn: by WebGL while it is seen, where the browser can; else by xterm's own renderer, in the DOM.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use leptos::prelude::window;
use leptos::task::spawn_local;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::HtmlElement;
use xterm_js_sys::{Terminal, WebglAddon, release_webgl, webgl};

thread_local! {
    /// Whether this browser has refused a context, or taken one away. Then no screen asks again.
    static REFUSED: Cell<bool> = const { Cell::new(false) };
}

/// The renderer of one screen.
#[derive(Default)]
pub struct Renderer {
    addon: RefCell<Option<WebglAddon>>,
    /// Whether the screen is seen, which may change while the addon is on its way.
    wanted: Cell<bool>,
    loading: Cell<bool>,
    /// How wide a letter is, as a multiple of its size.
    width: Cell<f64>,
    /// xterm calls it as long as the addon lives.
    lost: RefCell<Option<Closure<dyn Fn()>>>,
}

impl Renderer {
    /// The screen is seen: draws it by WebGL as soon as that has come over the wire. `host` is the screen's element.
    /// `changed` is called whenever letters have become wider or narrower by it.
    pub fn show(self: &Rc<Renderer>, xterm: &Terminal, host: &HtmlElement, changed: impl Fn() + 'static) {
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
                renderer.take(&xterm, addon.unchecked_into(), host, changed);
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

    /// What to put between letters of this size, in pixels of the device. WebGL cuts off what a letter is wide beyond whole
    /// pixels, where the DOM does not: rounded instead, letters hardly move when the renderer changes.
    pub fn spacing(&self, size: f64) -> f64 {
        let width = self.width.get() * size * window().device_pixel_ratio();
        if self.addon.borrow().is_some() { width.round() - width.floor() } else { 0.0 }
    }

    fn take(self: &Rc<Renderer>, xterm: &Terminal, addon: WebglAddon, host: HtmlElement, changed: impl Fn() + 'static) {
        if let Ok(Some(lines)) = host.query_selector(".xterm-screen") {
            let width = lines.get_bounding_client_rect().width() / f64::from(xterm.cols());
            self.width.set(width / xterm.options().font_size());
        }
        if xterm.load_addon(&addon).is_err() {
            // Nothing is lost: xterm goes on in the DOM.
            return REFUSED.set(true);
        }
        let renderer = Rc::downgrade(self);
        let changed = Rc::new(changed);
        let again = changed.clone();
        let lost = Closure::<dyn Fn()>::new(move || {
            if let Some(renderer) = renderer.upgrade() {
                renderer.hide(&host);
                // Nor is another one asked for: whoever took it away may do so again.
                REFUSED.set(true);
                again();
            }
        });
        addon.on_context_loss(lost.as_ref().unchecked_ref());
        self.lost.replace(Some(lost));
        self.addon.replace(Some(addon));
        changed();
    }
}
