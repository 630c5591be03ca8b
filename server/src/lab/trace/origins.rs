//! Where rows of mount tables come from. An origin outlives its call's place in the list of calls, and goes with its row.

use std::collections::HashMap;
use std::rc::Rc;

use shared::mount::{Mount, MountId};
use shared::protocol::{ToPage, ViewId};
use shared::trace::Origin;

use super::calls::Change;
use crate::lab::views::{LiveView, Rows, Views};

/// More are not kept; rows that come then have none.
const MOST: usize = 4096;
/// As many go into one message.
const MOST_AT_ONCE: usize = 64;

/// The origins of rows that are there.
#[derive(Default)]
pub struct Origins {
    views: HashMap<ViewId, OfView>,
    count: usize,
    last: Change,
}

#[derive(Default)]
struct OfView {
    rows: HashMap<MountId, Known>,
    /// The table for which they were last found to be true.
    seen: Option<Rows>,
}

struct Known {
    /// Kernel numbers are used again; so it is remembered which mount had this one.
    mount: Rc<Mount>,
    origin: Rc<Origin>,
    changed: Change,
}

impl Origins {
    /// A row has come.
    pub fn add(&mut self, view: ViewId, mount: Rc<Mount>, origin: &Rc<Origin>) {
        let rows = &mut self.views.entry(view).or_default().rows;
        let is_new = !rows.contains_key(&mount.id);
        if is_new && self.count >= MOST {
            return;
        }
        self.count += usize::from(is_new);
        let changed = self.last.next();
        rows.insert(mount.id, Known { mount, origin: origin.clone(), changed });
    }

    /// Whether a row's origin is known.
    pub fn has(&self, view: ViewId, row: MountId) -> bool {
        self.views.get(&view).is_some_and(|view| view.rows.contains_key(&row))
    }

    /// Forgets the origins of rows that are no more.
    pub fn keep_only(&mut self, views: &Views) {
        let live: HashMap<ViewId, &LiveView> = views.list().into_iter().map(|live| (live.view.id, live)).collect();
        self.views.retain(|view, known| {
            let Some(live) = live.get(view) else { return false };
            if known.seen.as_ref().is_some_and(|seen| Rc::ptr_eq(seen, &live.rows)) {
                return true;
            }
            let rows: HashMap<MountId, &Rc<Mount>> = live.rows.iter().map(|row| (row.id, row)).collect();
            known.rows.retain(|id, known| rows.get(id).is_some_and(|row| is_same(row, &known.mount)));
            known.seen = Some(live.rows.clone());
            true
        });
        self.count = self.views.values().map(|view| view.rows.len()).sum();
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.views.clear();
        self.count = 0;
    }

    /// Some of the origins that have come since a page was told; it then holds to have been told.
    pub fn since(&self, told: &mut Change) -> Vec<ToPage> {
        let all =
            self.views.iter().flat_map(|(view, known)| known.rows.iter().map(move |(row, known)| (view, row, known)));
        let mut news: Vec<_> = all.filter(|(_, _, known)| known.changed > *told).collect();
        news.sort_by_key(|(_, _, known)| known.changed);
        news.truncate(MOST_AT_ONCE);
        let mut messages: Vec<ToPage> = Vec::new();
        for (&view, &row, known) in news {
            *told = known.changed;
            let pair = (row, Origin::clone(&known.origin));
            match messages.last_mut() {
                Some(ToPage::Origins { view: last, rows }) if *last == view => rows.push(pair),
                _ => messages.push(ToPage::Origins { view, rows: vec![pair] }),
            }
        }
        messages
    }
}

/// Whether two rows of one number are one mount: what a remount, a move or a new propagation type leaves as it was.
fn is_same(one: &Mount, other: &Mount) -> bool {
    (&one.device, &one.root, &one.fs_type) == (&other.device, &other.root, &other.fs_type)
}
