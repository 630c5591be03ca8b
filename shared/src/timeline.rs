//! Calls as a page keeps them: the newest, in their order, held while somebody reads them. What a row was before and
//! after a call is found here; how it is shown is not.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::mount::{Mount, MountId};
use crate::protocol::ViewId;
use crate::trace::{Call, CallId, CallKind, CallState, MOST_CALLS};

/// The calls of a machine, as far as they are remembered.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    calls: VecDeque<Arc<Call>>,
    /// Calls up to this one are not to be shown.
    cleared: Option<CallId>,
    /// What is shown while newer ones are kept back.
    held: Option<Vec<Arc<Call>>>,
}

impl Timeline {
    /// Takes in calls that are new, or of which something changed. Beyond [`MOST_CALLS`] the oldest are forgotten, but for
    /// those that wait: somebody has to let them go.
    pub fn take(&mut self, calls: Vec<Call>) {
        for call in calls {
            match self.calls.binary_search_by_key(&call.id, |known| known.id) {
                Ok(place) => self.calls[place] = Arc::new(call),
                Err(place) => self.calls.insert(place, Arc::new(call)),
            }
        }
        while self.calls.len() > MOST_CALLS {
            let Some(oldest) = self.calls.iter().position(|call| !waits(call)) else { return };
            self.calls.remove(oldest);
        }
    }

    /// The call of this number.
    pub fn get(&self, id: CallId) -> Option<&Arc<Call>> {
        let place = self.calls.binary_search_by_key(&id, |known| known.id).ok()?;
        self.calls.get(place)
    }

    /// What is to be shown, newest last: the calls of kinds that are wanted, as they are now or as they are held.
    pub fn shown(&self, wanted: impl Fn(CallKind) -> bool) -> Vec<Arc<Call>> {
        match &self.held {
            Some(held) => held.iter().filter(|call| wanted(call.kind)).cloned().collect(),
            None => self.uncleared().filter(|call| wanted(call.kind)).cloned().collect(),
        }
    }

    /// Whether there is anything to be shown, of whatever kind.
    pub fn is_empty(&self) -> bool {
        self.shown(|_| true).is_empty()
    }

    /// From now on the same calls are shown, whatever comes.
    pub fn hold(&mut self) {
        if self.held.is_none() {
            self.held = Some(self.uncleared().cloned().collect());
        }
    }

    /// What came meanwhile is shown again.
    pub fn release(&mut self) {
        self.held = None;
    }

    /// Whether newer calls are kept back.
    pub fn is_held(&self) -> bool {
        self.held.is_some()
    }

    /// How many calls are newer than this one, also those that are forgotten already.
    pub fn newer_than(&self, id: Option<CallId>) -> u64 {
        let newest = self.newest().map_or(0, |newest| newest.0 + 1);
        newest.saturating_sub(id.map_or(0, |id| id.0 + 1))
    }

    /// How many calls are kept back.
    pub fn kept_back(&self) -> u64 {
        match &self.held {
            Some(held) => self.newer_than(held.last().map(|call| call.id).max(self.cleared)),
            None => 0,
        }
    }

    /// The newest call.
    pub fn newest(&self) -> Option<CallId> {
        self.calls.back().map(|call| call.id)
    }

    /// Shows nothing of what there is, but for what waits.
    pub fn clear(&mut self) {
        self.cleared = self.newest();
        if self.held.is_some() {
            self.held = Some(self.uncleared().cloned().collect());
        }
    }

    /// The calls that wait to be made, the one that waits longest first.
    pub fn waiting(&self) -> impl Iterator<Item = &Arc<Call>> {
        self.calls.iter().filter(|call| waits(call))
    }

    /// The calls that there is a warning about.
    pub fn warned(&self) -> impl Iterator<Item = CallId> {
        self.calls.iter().filter(|call| !call.warnings.is_empty()).map(|call| call.id)
    }

    /// The call that was let go last before this one: of the same process, or else of any.
    pub fn before(&self, call: &Call) -> Option<&Arc<Call>> {
        let mut earlier = self.calls.iter().rev().filter(|other| other.id < call.id && !waits(other));
        let own = earlier.clone().find(|other| other.process.pid == call.process.pid);
        own.or_else(|| earlier.next())
    }

    /// The newest call that a line of the taught runtime made.
    pub fn newest_with_line(&self) -> Option<&Arc<Call>> {
        self.calls.iter().rev().find(|call| call.line.is_some())
    }

    /// A row as a call left it: as a later call found it, or else as it is `now`.
    pub fn row_after(&self, call: CallId, view: ViewId, row: MountId, now: Option<&Mount>) -> Option<Mount> {
        let later = self.calls.iter().filter(|other| other.id > call);
        let changes = later.flat_map(|other| other.changes.iter().filter(|change| change.view == view));
        let mut found = changes.flat_map(|change| change.changed.iter().chain(&change.went));
        found.find(|mount| mount.id == row).or(now).cloned()
    }

    fn uncleared(&self) -> impl Iterator<Item = &Arc<Call>> {
        self.calls.iter().filter(|call| Some(call.id) > self.cleared || waits(call))
    }
}

fn waits(call: &Call) -> bool {
    call.state == CallState::Waiting
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mount::parse_table;
    use crate::protocol::Process;
    use crate::trace::Change;

    fn call(id: u64, pid: u32, state: CallState) -> Call {
        Call {
            id: CallId(id),
            at: id,
            process: Process { pid, program: "sh".into() },
            ordinal: Some(0),
            name: "mount".into(),
            kind: if pid == 9 { CallKind::Program } else { CallKind::Mount },
            arguments: Vec::new(),
            about: String::new(),
            line: None,
            state,
            warnings: Vec::new(),
            changes: Vec::new(),
        }
    }

    fn made(id: u64) -> Call {
        call(id, 1, CallState::Made)
    }

    fn numbers(timeline: &Timeline) -> Vec<u64> {
        timeline.shown(|_| true).iter().map(|call| call.id.0).collect()
    }

    #[test]
    fn calls_stand_in_their_order_and_each_one_once() {
        let mut timeline = Timeline::default();
        timeline.take(vec![made(4), made(2)]);
        timeline.take(vec![made(3), call(2, 1, CallState::Returned { value: 0 })]);
        assert_eq!(numbers(&timeline), [2, 3, 4]);
        let state = timeline.get(CallId(2)).map(|call| call.state.clone());
        assert_eq!(state, Some(CallState::Returned { value: 0 }));
    }

    #[test]
    fn the_oldest_are_forgotten_but_nobody_who_waits() {
        let mut timeline = Timeline::default();
        timeline.take(vec![call(0, 1, CallState::Waiting)]);
        timeline.take((1..=MOST_CALLS as u64 + 10).map(made).collect());
        let shown = numbers(&timeline);
        assert_eq!((shown.len(), shown[0], shown[1]), (MOST_CALLS, 0, 12));
        assert_eq!(timeline.waiting().map(|call| call.id.0).collect::<Vec<_>>(), [0]);
    }

    #[test]
    fn what_is_held_stays_and_what_comes_is_counted() {
        let mut timeline = Timeline::default();
        timeline.take(vec![made(0), made(1)]);
        timeline.hold();
        timeline.take((2..2000).map(made).collect());
        assert_eq!((numbers(&timeline), timeline.kept_back()), (vec![0, 1], 1998));
        timeline.clear();
        assert_eq!((numbers(&timeline), timeline.kept_back()), (vec![], 0));
        timeline.take(vec![made(2000)]);
        assert_eq!((numbers(&timeline), timeline.kept_back()), (vec![], 1));
        timeline.release();
        assert_eq!((numbers(&timeline), timeline.kept_back()), (vec![2000], 0));
    }

    #[test]
    fn what_waits_is_not_cleared_away_and_kinds_are_chosen() {
        let mut timeline = Timeline::default();
        timeline.take(vec![made(0), call(1, 9, CallState::Waiting), made(2)]);
        timeline.clear();
        assert_eq!(numbers(&timeline), [1]);
        timeline.take(vec![made(3)]);
        let mounts = timeline.shown(|kind| kind == CallKind::Mount);
        assert_eq!(mounts.iter().map(|call| call.id.0).collect::<Vec<_>>(), [3]);
    }

    #[test]
    fn the_call_before_is_one_of_the_same_process_if_there_is_one() {
        let mut timeline = Timeline::default();
        timeline.take(vec![call(0, 5, CallState::Made), call(1, 6, CallState::Made), call(2, 7, CallState::Waiting)]);
        let before = |pid| timeline.before(&call(3, pid, CallState::Waiting)).map(|call| call.id.0);
        assert_eq!((before(5), before(8)), (Some(0), Some(1)));
        assert_eq!(timeline.before(&made(0)), None);
    }

    #[test]
    fn a_row_after_a_call_is_what_the_next_call_found() {
        let row = |options: &str| {
            let line = format!("7 1 0:3 / /mnt {options} - tmpfs t rw\n");
            parse_table(line.as_bytes()).remove(0)
        };
        let change = |changed: Vec<Mount>, went: Vec<Mount>| Change {
            view: ViewId(1),
            came: Vec::new(),
            changed,
            went,
            carried_by: None,
            cut: false,
        };
        let mut calls = [made(0), made(1), made(2)];
        calls[0].changes = vec![change(vec![row("rw")], vec![])];
        calls[1].changes = vec![change(vec![row("ro")], vec![])];
        let mut timeline = Timeline::default();
        timeline.take(calls.to_vec());
        let now = row("noexec");
        let after =
            |call, view| timeline.row_after(CallId(call), ViewId(view), MountId(7), Some(&now)).map(|row| row.options);
        assert_eq!(after(0, 1).as_deref(), Some("ro"));
        assert_eq!(after(1, 1).as_deref(), Some("noexec"));
        assert_eq!(after(0, 2).as_deref(), Some("noexec"), "another table's changes do not count");
        calls[2].changes = vec![change(vec![], vec![row("rw,relatime")])];
        timeline.take(calls.to_vec());
        assert_eq!(
            timeline.row_after(CallId(1), ViewId(1), MountId(7), None).map(|row| row.options).as_deref(),
            Some("rw,relatime")
        );
    }
}
