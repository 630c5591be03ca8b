//! What comes by hand rather than by key: pasted text, the middle button, a finger that rests. One way in for all that is
//! pasted, whichever way it came.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::time::Duration;

use leptos::prelude::*;
use wasm_bindgen::prelude::*;
use web_sys::{AddEventListenerOptions, ClipboardEvent, Event, HtmlElement, MouseEvent, MouseEventInit, TouchEvent};

use super::screen::Screen;

/// A finger that rests for so long selects.
const LONG_PRESS: Duration = Duration::from_millis(450);

/// A finger that has moved by so many CSS pixels scrolls instead.
const SLIP: i32 = 10;

/// How it stands with the middle button.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Middle {
    /// Nothing is to be done for it.
    #[default]
    Done,
    /// It is down, and the browser has not pasted of its own accord.
    Down,
    /// It was the program's, so the browser must not paste either.
    Programs,
}

type Listener = Closure<dyn Fn(Event)>;

/// The listeners of one screen's element.
#[derive(Default)]
pub struct Hand {
    listeners: RefCell<Vec<Listener>>,
    middle: Cell<Middle>,
    /// Where a finger went down, and the number of that touch.
    finger: Cell<Option<(i32, i32)>>,
    touches: Cell<u32>,
    /// The finger selects.
    selecting: Cell<bool>,
}

impl Hand {
    /// Listens in the element that a screen fills.
    pub fn listen(self: &Rc<Hand>, screen: &Rc<Screen>, host: &HtmlElement) {
        let screen = Rc::downgrade(screen);
        let on = |kind: &str, act: fn(&Rc<Hand>, &Rc<Screen>, Event)| {
            let (hand, screen): (Weak<Hand>, _) = (Rc::downgrade(self), screen.clone());
            let listener = Closure::<dyn Fn(Event)>::new(move |event| {
                if let (Some(hand), Some(screen)) = (hand.upgrade(), screen.upgrade()) {
                    act(&hand, &screen, event);
                }
            });
            let options = AddEventListenerOptions::new();
            // Before xterm, and allowed to keep a touch from scrolling.
            options.set_capture(true);
            options.set_passive(false);
            // Fails for no kind of event.
            let _ = host.add_event_listener_with_callback_and_add_event_listener_options(
                kind,
                listener.as_ref().unchecked_ref(),
                &options,
            );
            self.listeners.borrow_mut().push(listener);
        };
        on("paste", |hand, screen, event| hand.paste(screen, &event));
        on("mousedown", |hand, screen, event| hand.press(screen, event.unchecked_ref()));
        on("auxclick", |hand, screen, event| hand.middle_click(screen, event.unchecked_ref()));
        on("touchstart", |hand, screen, event| hand.touch(screen, event.unchecked_ref()));
        on("touchmove", |hand, _, event| hand.drag(event.unchecked_ref()));
        on("touchend", |hand, screen, event| hand.lift(screen, &event));
        on("touchcancel", |hand, screen, event| hand.lift(screen, &event));
        on("contextmenu", |hand, _, event| {
            // A finger that rests is one in some browsers, too. A mouse's is the browser's, with its own copy and paste.
            if hand.finger.get().is_some() {
                event.prevent_default();
                event.stop_propagation();
            }
        });
    }

    fn paste(&self, screen: &Screen, event: &Event) {
        let before = self.middle.replace(Middle::Done);
        let data = event.unchecked_ref::<ClipboardEvent>().clipboard_data();
        if let Some(text) = data.and_then(|data| data.get_data("text/plain").ok()) {
            event.prevent_default();
            event.stop_propagation();
            if before != Middle::Programs {
                screen.paste(&text);
            }
        }
    }

    fn press(&self, screen: &Screen, event: &MouseEvent) {
        self.middle.set(match event.button() {
            1 if screen.has_mouse() && !event.shift_key() => Middle::Programs,
            1 => Middle::Down,
            _ => Middle::Done,
        });
    }

    /// The middle button pastes what was selected last. Where the browser does so by itself (X11, where that may be another
    /// program's), its paste comes before this task is over, and takes the place of ours.
    fn middle_click(self: &Rc<Hand>, screen: &Rc<Screen>, event: &MouseEvent) {
        if event.button() != 1 {
            return;
        }
        let (hand, screen) = (self.clone(), screen.clone());
        let paste = move || {
            if hand.middle.replace(Middle::Done) == Middle::Down {
                screen.paste(&screen.common.primary.get_value());
                screen.focus();
            }
        };
        set_timeout(paste, Duration::ZERO);
    }

    fn touch(self: &Rc<Hand>, screen: &Rc<Screen>, event: &TouchEvent) {
        self.touches.set(self.touches.get() + 1);
        self.finger.set(place(event).filter(|_| event.touches().length() == 1));
        screen.common.touched.set(None);
        let (hand, screen, number) = (self.clone(), screen.clone(), self.touches.get());
        let rest = move || {
            if let Some(at) = hand.finger.get().filter(|_| hand.touches.get() == number) {
                hand.selecting.set(true);
                // As the second click of a mouse, which selects a word.
                screen.point("mousedown", at, 2);
            }
        };
        set_timeout(rest, LONG_PRESS);
    }

    fn drag(&self, event: &TouchEvent) {
        let (Some(from), Some(to)) = (self.finger.get(), place(event)) else { return };
        if self.selecting.get() {
            event.prevent_default();
            event.stop_propagation();
            // xterm listens there for as long as the button is down.
            point(&document(), "mousemove", to, 1);
        } else if (to.0 - from.0).abs().max((to.1 - from.1).abs()) > SLIP {
            self.finger.set(None);
        }
    }

    fn lift(&self, screen: &Screen, event: &Event) {
        let at = self.finger.take();
        if self.selecting.replace(false) {
            // Else a click would follow, and unselect.
            event.prevent_default();
            event.stop_propagation();
            point(&document(), "mouseup", at.unwrap_or_default(), 1);
            screen.common.touched.set(Some(screen.id));
        }
    }
}

/// Where the first finger is.
fn place(event: &TouchEvent) -> Option<(i32, i32)> {
    event.touches().get(0).map(|finger| (finger.client_x(), finger.client_y()))
}

/// Says that the first button of a mouse did this there; `clicks` is how often in a row.
pub fn point(target: &web_sys::EventTarget, kind: &str, (x, y): (i32, i32), clicks: i32) {
    let event = MouseEventInit::new();
    event.set_bubbles(true);
    event.set_cancelable(true);
    event.set_client_x(x);
    event.set_client_y(y);
    event.set_detail(clicks);
    event.set_buttons(1);
    if let Ok(event) = MouseEvent::new_with_mouse_event_init_dict(kind, &event) {
        // Fails only for an event that is under way already.
        let _ = target.dispatch_event(&event);
    }
}
