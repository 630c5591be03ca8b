//! What a call changed in the mount tables: the difference between a look before it and a look behind it, while its thread
//! stands there. Nothing else may change a table meanwhile, or it would be blamed on the wrong call; so calls that do are
//! let go one by one, within a share of the lab's time. What does not fit into that goes unexplained.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::time::{Duration, Instant};

use shared::mount::{Mount, MountId, PeerGroup};
use shared::protocol::ViewId;
use shared::trace::{Change, MOST_CHANGES};

use crate::lab::views::{Rows, Views};

/// So long may looks take in a row, and then one part in [`SHARE`] of the time.
const BURST: Duration = Duration::from_millis(200);
const SHARE: u32 = 5;
/// Tables with more rows than this, together, are not looked at: a learner's call would wait for that.
const MOST_ROWS: usize = 4096;
/// More bytes of rows are not told of one call.
const MOST_BYTES: usize = 32 << 10;

/// All tables at one time.
pub struct Tables(Vec<Table>);

/// One of them.
struct Table {
    view: ViewId,
    mount_namespace: u64,
    rows: Rows,
}

/// A row that came with a call.
pub struct Came {
    /// Where.
    pub view: ViewId,
    /// The row.
    pub row: Rc<Mount>,
    /// What carried it from another namespace.
    pub carried_by: Option<PeerGroup>,
}

/// The time that looks may take. What one takes too long is owed.
pub struct Budget {
    /// When all looks so far have had their share of the time.
    paid: Instant,
}

impl Default for Budget {
    fn default() -> Budget {
        Budget { paid: Instant::now() }
    }
}

impl Budget {
    /// Whether there is time for a look.
    pub fn allows(&self) -> bool {
        self.allows_at(Instant::now())
    }

    fn allows_at(&self, now: Instant) -> bool {
        self.paid.saturating_duration_since(now) < BURST * SHARE
    }

    fn spend(&mut self, began: Instant, took: Duration) {
        self.paid = self.paid.max(began) + took * SHARE;
    }

    /// Looks at all tables, unless they have too many rows.
    pub fn look(&mut self, views: &mut Views) -> Option<Tables> {
        if views.rows() > MOST_ROWS {
            return None;
        }
        let began = Instant::now();
        let read = views.refresh();
        self.spend(began, began.elapsed());
        read.ok()?;
        let tables = views.list().into_iter().map(|live| Table {
            view: live.view.id,
            mount_namespace: live.view.mount_namespace,
            rows: live.rows.clone(),
        });
        Some(Tables(tables.collect()))
    }
}

impl Tables {
    fn of(&self, view: ViewId) -> Option<&Table> {
        self.0.iter().find(|table| table.view == view)
    }

    /// What is different in `after`, for a call made in the namespace that `before` and `now` are views of: the caller's
    /// before the call and behind it, between which its root may have moved.
    pub fn changes(&self, after: &Tables, before: Option<ViewId>, now: Option<ViewId>) -> (Vec<Change>, Vec<Came>) {
        let caller = now.and_then(|view| after.of(view));
        let (mut changes, mut came) = (Vec::new(), Vec::new());
        let mut room = MOST_BYTES;
        for table in &after.0 {
            let old = match self.of(table.view) {
                Some(old) => old,
                // pivot_root(2) has made another view of the same table.
                None if Some(table.view) == now && before != now => match before.and_then(|view| self.of(view)) {
                    Some(old) if old.mount_namespace == table.mount_namespace => old,
                    _ => continue,
                },
                None => continue,
            };
            if Rc::ptr_eq(&old.rows, &table.rows) {
                continue;
            }
            let (mut change, new) = difference(table.view, &old.rows, &table.rows, &mut room);
            let is_elsewhere = caller.is_some_and(|caller| caller.mount_namespace != table.mount_namespace);
            if is_elsewhere {
                change.carried_by = new
                    .first()
                    .and_then(|row| carrier(row, table))
                    .or_else(|| change.went.first().or(change.changed.first()).and_then(|row| carrier(row, table)));
            }
            came.extend(new.into_iter().map(|row| Came {
                view: table.view,
                carried_by: is_elsewhere.then(|| carrier(&row, table)).flatten(),
                row,
            }));
            if !(change.came.is_empty() && change.changed.is_empty() && change.went.is_empty()) {
                changes.push(change);
            }
        }
        (changes, came)
    }

    /// All rows of a view that was not there before.
    pub fn copies(&self, view: ViewId) -> (Vec<Change>, Vec<Came>) {
        let Some(table) = self.of(view) else { return Default::default() };
        let came: Vec<MountId> = table.rows.iter().map(|row| row.id).take(MOST_CHANGES).collect();
        let cut = came.len() < table.rows.len();
        let change = Change { view, came, changed: Vec::new(), went: Vec::new(), carried_by: None, cut };
        let rows = table.rows.iter().map(|row| Came { view, row: row.clone(), carried_by: None });
        (vec![change], rows.collect())
    }
}

fn difference(view: ViewId, old: &Rows, new: &Rows, room: &mut usize) -> (Change, Vec<Rc<Mount>>) {
    let before: HashMap<MountId, &Rc<Mount>> = old.iter().map(|row| (row.id, row)).collect();
    let stays: HashSet<MountId> = new.iter().map(|row| row.id).collect();
    let came: Vec<Rc<Mount>> = new.iter().filter(|row| !before.contains_key(&row.id)).cloned().collect();
    let is_other = |row: &Rc<Mount>| before.get(&row.id).copied().filter(|old| **old != *row);
    let changed: Vec<&Rc<Mount>> = new.iter().filter_map(is_other).collect();
    let went: Vec<&Rc<Mount>> = old.iter().filter(|row| !stays.contains(&row.id)).collect();
    let mut cut = came.len() > MOST_CHANGES;
    let mut some = |rows: Vec<&Rc<Mount>>| {
        let count = rows.len();
        let told: Vec<Mount> = rows
            .into_iter()
            .take(MOST_CHANGES)
            .map_while(|row| {
                *room = room.checked_sub(bytes_of(row))?;
                Some(Mount::clone(row))
            })
            .collect();
        cut |= told.len() < count;
        told
    };
    let (changed, went) = (some(changed), some(went));
    let ids = came.iter().map(|row| row.id).take(MOST_CHANGES).collect();
    (Change { view, came: ids, changed, went, carried_by: None, cut }, came)
}

fn bytes_of(row: &Mount) -> usize {
    [&row.root, &row.mount_point, &row.options, &row.source, &row.super_options].iter().map(|text| text.len()).sum()
}

/// The peer group by which a mount event came to a row's place: that of the mount which it lies on.
fn carrier(row: &Mount, table: &Table) -> Option<PeerGroup> {
    let parent = table.rows.iter().find(|parent| parent.id == row.parent)?;
    parent.propagation.master.or(parent.propagation.shared)
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::mount::parse_table;

    fn table(view: u32, mount_namespace: u64, text: &str) -> Table {
        let rows = parse_table(text.as_bytes()).into_iter().map(Rc::new).collect();
        Table { view: ViewId(view), mount_namespace, rows: Rc::new(rows) }
    }

    const ROOT: &str = "1 0 0:1 / / rw shared:7 - tmpfs a rw\n";
    const COPY: &str = "5 0 0:1 / / rw master:7 - tmpfs a rw\n";

    #[test]
    fn what_came_in_another_namespace_was_carried_by_the_peer_group_of_the_mount_below() {
        let before = Tables(vec![table(0, 100, ROOT), table(1, 200, COPY)]);
        let mounted = |root: &str, id: u32, parent: u32| format!("{root}{id} {parent} 0:2 / /mnt rw - tmpfs b rw\n");
        let after = Tables(vec![table(0, 100, &mounted(ROOT, 2, 1)), table(1, 200, &mounted(COPY, 6, 5))]);
        let here = Some(ViewId(0));
        let (changes, came) = before.changes(&after, here, here);
        let told: Vec<_> = changes.iter().map(|change| (change.view.0, change.came[0].0, change.carried_by)).collect();
        assert_eq!(told, [(0, 2, None), (1, 6, Some(PeerGroup(7)))]);
        assert_eq!(came.len(), 2);
        let (changes, came) = after.changes(&before, here, here);
        assert_eq!((changes[0].went.len(), changes[1].went[0].id, came.len()), (1, MountId(6), 0));
        assert!(before.changes(&before, here, here).0.is_empty());
    }

    #[test]
    fn looks_take_their_share_of_the_time_and_one_that_was_too_long_is_paid_back() {
        let mut budget = Budget::default();
        let start = budget.paid;
        let after = |seconds: u64| start + Duration::from_secs(seconds);
        assert!(budget.allows_at(start));
        budget.spend(start, BURST / 2);
        assert!(budget.allows_at(start), "there is a burst of them");
        budget.spend(start, BURST / 2);
        assert!(!budget.allows_at(start) && budget.allows_at(after(1)));
        // Two seconds at once take ten to be paid back.
        budget.spend(after(1), Duration::from_secs(2));
        assert!(!budget.allows_at(after(9)) && budget.allows_at(after(11)));
        // Nobody saves up what was not spent.
        budget.spend(after(100), BURST);
        assert!(!budget.allows_at(after(100)));
    }

    #[test]
    fn a_call_tells_no_more_rows_than_there_is_room_for() {
        let many: String = (2..200).map(|id| format!("{id} 1 0:2 / /{id} rw - tmpfs b rw\n")).collect();
        let (full, empty) = (Tables(vec![table(0, 100, &format!("{ROOT}{many}"))]), Tables(vec![table(0, 100, ROOT)]));
        let (changes, _) = full.changes(&empty, None, None);
        assert!(changes[0].went.len() == MOST_CHANGES && changes[0].cut);
        let (changes, came) = empty.changes(&full, None, None);
        assert!(changes[0].came.len() == MOST_CHANGES && changes[0].cut && came.len() == 198);
    }
}
