//! What a call changes in the mount tables: the looks before it and behind it, during which other calls that change tables
//! wait; and what is to be said of it.

use std::rc::Rc;
use std::time::Duration;

use shared::mount::PeerGroup;
use shared::trace::{Call, Origin};
use tokio::time::Instant;

use super::Follower;
use super::held::Held;
use crate::lab::trace::News;
use crate::lab::trace::changes::Came;
use crate::lab::trace::warnings::warnings;

/// Calls that change tables wait no longer for one of them to come back: it may wait for a file system.
const LONGEST: Duration = Duration::from_millis(50);

impl<H: Fn(News)> Follower<'_, H> {
    /// Looks at all tables before a call changes them, if there is time for that.
    pub fn look_before(&mut self, held: &mut Held) {
        if !self.budget.allows() {
            return;
        }
        let mut views = self.trace.views.borrow_mut();
        held.view = views.ensure(held.caller.thread, held.caller.process).ok().flatten();
        held.before = self.budget.look(&mut views);
        if held.before.is_some() {
            self.window = Some(Instant::now() + LONGEST);
        }
    }

    /// The call for which others wait is not back in time: it goes unexplained, for others change tables from here on.
    pub fn give_up(&mut self) {
        self.window = None;
        self.held.values_mut().for_each(|held| held.before = None);
    }

    /// Looks at all tables again. What is different is what the call has changed.
    pub fn look_behind(&mut self, held: &mut Held) {
        let mut views = self.trace.views.borrow_mut();
        let (thread, process) = (held.caller.thread, held.caller.process);
        let (changes, came, copied) = if let Some(before) = held.before.take() {
            self.window = None;
            let view = views.ensure(thread, process).ok().flatten();
            let Some(after) = self.budget.look(&mut views) else { return };
            let (changes, came) = before.changes(&after, held.view, view);
            (changes, came, false)
        } else if held.ask.copies_namespace() && self.budget.allows() {
            let Some(thread) = held.caller.in_new_namespace(held.is_clone()) else { return };
            let process = if held.is_clone() { thread } else { process };
            let Some(view) = views.ensure(thread, process).ok().flatten() else { return };
            let Some(after) = self.budget.look(&mut views) else { return };
            let (changes, came) = after.copies(view);
            (changes, came, true)
        } else {
            return;
        };
        drop(views);
        let Some(call) = self.trace.calls.borrow().get(held.call) else { return };
        let mut origins = self.trace.origins.borrow_mut();
        origins.keep_only(&self.trace.views.borrow());
        for Came { view, row, carried_by } in came {
            if !(copied && origins.has(view, row.id)) {
                origins.add(view, row, &Rc::new(origin_of(&call, carried_by, copied)));
            }
        }
        drop(origins);
        self.change(held.call, |call| call.changes = changes);
    }

    /// Tells what is to be known of a call that has succeeded.
    pub fn warn(&self, held: &Held) {
        let changes = self.trace.calls.borrow().get(held.call).map(|call| call.changes.clone()).unwrap_or_default();
        let warnings = warnings(&held.ask, &held.caller, self.init, &changes, &self.trace.views.borrow());
        if !warnings.is_empty() {
            self.change(held.call, |call| call.warnings = warnings);
        }
    }

    /// A call that others wait for is through, and has changed nothing.
    pub fn close_window(&mut self, held: &mut Held) {
        if held.before.take().is_some() {
            self.window = None;
        }
    }
}

fn origin_of(call: &Call, carried_by: Option<PeerGroup>, copied: bool) -> Origin {
    Origin {
        call: call.id,
        at: call.at,
        name: call.name.clone(),
        process: call.process.clone(),
        line: call.line.clone(),
        carried_by,
        copied,
    }
}
