//! The calls that make containers, seen as they happen: the sandbox's filter sends each to the lab process, which tells of
//! it, may let it wait, and lets the kernel have it as it was made. No call is ever changed, and none is judged here.
//! [`follower`] has the way of a call from the filter to its result; [`ask`], [`memory`], [`words`], [`about`] and [`flags`]
//! what it asks for, [`caller`] who makes it, [`lines`] at which line of our own code, [`calls`] what is remembered
//! and told, [`changes`] what a call changed and [`origins`] where rows come from, [`why`] and
//! [`warnings`] what is to be said of its end, from the [`scene`] it was made in, [`stepping`] what waits.

mod about;
mod ask;
mod caller;
mod calls;
mod changes;
mod flags;
mod follower;
mod lines;
mod memory;
mod origins;
mod scene;
mod stepping;
mod warnings;
mod why;
mod words;

use std::cell::RefCell;
use std::rc::Rc;

use shared::protocol::ToPage;
use shared::trace::{Call, CallId};
use tokio::sync::Notify;

use super::views::Views;
use crate::checks::facts;
use crate::defence::Defences;
use calls::Calls;
pub use calls::Change;
use lines::Lines;
use origins::Origins;
use stepping::{Release, Stepping};

/// What the lab knows of its sandbox's calls.
pub struct Trace {
    views: Rc<RefCell<Views>>,
    calls: RefCell<Calls>,
    origins: RefCell<Origins>,
    lines: RefCell<Lines>,
    stepping: Stepping,
    defences: Defences,
    /// Somebody has let a call go.
    woken: Notify,
}

/// What a call may have changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// What is told of calls.
    Calls,
    /// Rows of mount tables.
    Tables,
    /// Which process has which view.
    Processes,
}

impl Trace {
    /// Nothing has been seen yet.
    pub fn new(views: Rc<RefCell<Views>>, defences: Defences) -> Trace {
        Trace {
            views,
            calls: RefCell::default(),
            origins: RefCell::default(),
            lines: RefCell::default(),
            stepping: Stepping::default(),
            defences,
            woken: Notify::new(),
        }
    }

    /// What a page lacks of the calls; see [`Calls::since`].
    pub fn since(&self, told: &mut Change) -> Vec<Call> {
        self.calls.borrow().since(told)
    }

    /// The newest calls that have ended, as the checks of lessons see them.
    pub fn finished(&self) -> Vec<facts::Call> {
        super::facts::calls(self.calls.borrow().newest_first())
    }

    /// What a page lacks of the origins of rows; see [`Origins::since`].
    pub fn origins_since(&self, told: &mut Change) -> Vec<ToPage> {
        self.origins.borrow().since(told)
    }

    /// Rows may have gone.
    pub fn tables_changed(&self) {
        self.origins.borrow_mut().keep_only(&self.views.borrow());
    }

    /// Whether calls wait before they are made.
    pub fn is_stepping(&self) -> bool {
        self.stepping.is_on()
    }

    /// Whether calls wait from now on. Those that wait go on where they do not.
    pub fn step_through(&self, on: bool) {
        self.stepping.turn(on);
        self.woken.notify_one();
    }

    /// Lets a call that waits be made.
    pub fn next(&self, call: CallId) {
        self.stepping.release(Release::Next(call));
        self.woken.notify_one();
    }

    /// Lets a call that waits be made, and its process and that one's descendants wait no more.
    pub fn run_on(&self, call: CallId) {
        self.stepping.release(Release::RunOn(call));
        self.woken.notify_one();
    }

    /// Forgets the calls of a sandbox that has ended.
    pub fn clear(&self) {
        self.calls.borrow_mut().clear();
        self.origins.borrow_mut().clear();
    }
}
