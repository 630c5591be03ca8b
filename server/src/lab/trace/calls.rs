//! The calls that the lab remembers, and what each page lacks of them. Nothing is queued for a page: it knows up to which
//! change it was told.

use std::collections::VecDeque;
use std::rc::Rc;

use shared::trace::{Call, CallId, MOST_CALLS};

/// As many calls go into one message, so that the terminals' bytes find their way between.
const MOST_AT_ONCE: usize = 32;

/// The newest calls.
#[derive(Default)]
pub struct Calls {
    /// In their order, each with the number of its last change.
    list: VecDeque<(Change, Rc<Call>)>,
    next: u64,
    last: Change,
}

/// Changes are counted: a page that was told of one was told of all before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change(u64);

impl Change {
    /// The next one.
    pub fn next(&mut self) -> Change {
        self.0 += 1;
        *self
    }
}

impl Calls {
    /// A new call, which gets its number.
    pub fn begin(&mut self, call: impl FnOnce(CallId) -> Call) -> CallId {
        let id = CallId(self.next);
        self.next += 1;
        if self.list.len() == MOST_CALLS {
            self.list.pop_front();
        }
        self.list.push_back((self.last.next(), Rc::new(call(id))));
        id
    }

    /// Changes a call, if it is remembered still.
    pub fn change(&mut self, id: CallId, change: impl FnOnce(&mut Call)) {
        if let Some((changed, call)) = self.list.iter_mut().rfind(|(_, call)| call.id == id) {
            *changed = self.last.next();
            change(Rc::make_mut(call));
        }
    }

    /// A call, if it is remembered still.
    pub fn get(&self, id: CallId) -> Option<Rc<Call>> {
        self.list.iter().rfind(|(_, call)| call.id == id).map(|(_, call)| call.clone())
    }

    /// Forgets all, as they are of a machine that is no more. Numbers go on.
    pub fn clear(&mut self) {
        self.list.clear();
    }

    /// Some of the calls that have changed since a page was told, in their order; it then holds to have been told. Empty
    /// where it lacks nothing.
    pub fn since(&self, told: &mut Change) -> Vec<Call> {
        let mut news: Vec<_> = self.list.iter().filter(|(changed, _)| changed > told).collect();
        news.sort_by_key(|(changed, _)| *changed);
        news.truncate(MOST_AT_ONCE);
        if let Some((changed, _)) = news.last() {
            *told = *changed;
        }
        news.sort_by_key(|(_, call)| call.id);
        news.into_iter().map(|(_, call)| Call::clone(call)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::protocol::Process;
    use shared::trace::{CallKind, CallState};

    fn call(id: CallId) -> Call {
        Call {
            id,
            at: 0,
            process: Process { pid: 1, program: "sh".into() },
            ordinal: None,
            name: "mount".into(),
            kind: CallKind::Mount,
            arguments: Vec::new(),
            about: String::new(),
            line: None,
            state: CallState::Made,
            warnings: Vec::new(),
            changes: Vec::new(),
        }
    }

    #[test]
    fn a_page_is_told_each_change_once_and_old_calls_are_forgotten() {
        let mut calls = Calls::default();
        let mut told = Change::default();
        assert!(calls.since(&mut told).is_empty());
        for _ in 0..MOST_CALLS + 7 {
            calls.begin(call);
        }
        let mut seen = Vec::new();
        loop {
            let news = calls.since(&mut told);
            if news.is_empty() {
                break;
            }
            assert!(news.len() <= MOST_AT_ONCE);
            seen.extend(news.into_iter().map(|call| call.id.0));
        }
        assert_eq!(seen, (7..MOST_CALLS as u64 + 7).collect::<Vec<_>>());
        calls.change(CallId(300), |call| call.state = CallState::Ended);
        calls.change(CallId(20), |call| call.state = CallState::Ended);
        calls.change(CallId(3), |_| panic!("it is forgotten"));
        let ids: Vec<_> = calls.since(&mut told).iter().map(|call| call.id.0).collect();
        assert_eq!(ids, [20, 300]);
        assert!(calls.since(&mut told).is_empty());
    }
}
