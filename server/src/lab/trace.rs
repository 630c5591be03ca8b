//! The calls that make containers, seen as they happen: the sandbox's filter sends each to the lab process, which tells of
//! it, may let it wait, and lets the kernel have it as it was made. No call is ever changed, and none is judged here.
//! [`follower`] has the way of a call from the filter to its result; [`ask`], [`memory`], [`words`], [`about`] and [`flags`]
//! what it asks for, [`caller`] who makes it, [`calls`] what is remembered and told, [`stepping`] what waits.

mod about;
mod ask;
mod caller;
mod calls;
mod flags;
mod follower;
mod memory;
mod stepping;
mod words;

use std::cell::RefCell;
use std::rc::Rc;

use shared::trace::{Call, CallId};
use tokio::sync::Notify;

use super::views::Views;
use calls::Calls;
pub use calls::Change;
use stepping::{Release, Stepping};

/// What the lab knows of its sandbox's calls.
pub struct Trace {
    views: Rc<RefCell<Views>>,
    calls: RefCell<Calls>,
    stepping: Stepping,
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
    pub fn new(views: Rc<RefCell<Views>>) -> Trace {
        Trace { views, calls: RefCell::default(), stepping: Stepping::default(), woken: Notify::new() }
    }

    /// What a page lacks of the calls; see [`Calls::since`].
    pub fn since(&self, told: &mut Change) -> Vec<Call> {
        self.calls.borrow().since(told)
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
    }
}
