//! What a card shows of its table: which rows, in which order, and what is said of each. Knows no element of the page.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use shared::mount::{Mount, MountId};
use shared::reach::{Hidden, hidden};
use shared::tables::{device_nodes, tree_order};
use shared::trace::Origin;

use crate::tables::{Card, Mark};
use crate::words;

/// More rows than this are not in the document until asked for: each costs the browser time with every change.
pub const MOST_SHOWN: usize = 200;
/// As many rows beyond those are shown all the same, because something happened to them.
const MOST_NEWS: usize = 50;

/// How a table is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Parents before their children, indented.
    Tree,
    /// The kernel's order, with all columns.
    Table,
}

/// What the learner wants to see of a table.
pub struct Look<'a> {
    /// The form.
    pub form: Form,
    /// Text that a row must have in it, in lower case; empty for all rows.
    pub filter: &'a str,
    /// The groups of device nodes that are shown row by row.
    pub unfolded: &'a HashSet<MountId>,
    /// How many rows at most.
    pub most: usize,
}

/// What names a line from one change to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// A row; true for one that has gone.
    Row(MountId, bool),
    /// A group of device nodes, by its first.
    Nodes(MountId),
}

/// A row as it is shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// The mount; of a group of device nodes, the first one's.
    pub mount: Arc<Mount>,
    /// What happened to it lately.
    pub mark: Mark,
    /// How far it is indented.
    pub depth: usize,
    /// How much of the mount point only repeats the parent's, in bytes.
    pub prefix: usize,
    /// Whether no other card has it.
    pub only_here: bool,
    /// Why no path leads to it.
    pub hidden: Option<Hidden>,
    /// The call that made it, where it was made and not copied.
    pub origin: Option<Arc<Origin>>,
    /// The names of the device nodes that it stands for, and whether they are shown too.
    pub nodes: Option<(Vec<String>, bool)>,
}

/// What a card shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lines {
    /// The lines by their keys.
    pub lines: HashMap<Key, Line>,
    /// Their order.
    pub order: Vec<Key>,
    /// How many rows are left out because they are so many.
    pub left_out: usize,
}

/// What to show of a card. `alone` are the mounts that no other card has.
pub fn lines(card: &Card, alone: &HashSet<MountId>, look: &Look<'_>) -> Lines {
    let mounts: Vec<&Mount> = card.rows.iter().map(|row| row.mount.as_ref()).collect();
    let there: Vec<&Mount> = card.mounts().collect();
    let hidden = hidden(&there, card.view.root_mount);
    let mut order = match look.form {
        Form::Tree => tree_order(&mounts),
        Form::Table => (0..mounts.len()).map(|place| (place, 0)).collect(),
    };
    if !look.filter.is_empty() {
        order.retain(|(place, _)| words::mounts::matches(mounts[*place], look.filter));
        order.iter_mut().for_each(|(_, depth)| *depth = 0);
    }
    let is_plain = |place: usize| {
        let id = mounts[place].id;
        card.rows[place].mark == Mark::None && !alone.contains(&id) && !hidden.contains_key(&id)
    };
    let groups = if look.filter.is_empty() { groups(&mounts, is_plain) } else { HashMap::new() };

    let mut lines = Lines::default();
    let mut news = 0;
    let places: HashMap<MountId, usize> = mounts.iter().enumerate().map(|(place, mount)| (mount.id, place)).collect();
    for (place, depth) in order {
        let row = &card.rows[place];
        if lines.order.len() >= look.most {
            if row.mark == Mark::None || news == MOST_NEWS {
                lines.left_out += 1;
                continue;
            }
            news += 1;
        }
        let parent = places.get(&row.mount.parent).filter(|parent| **parent != place).map(|parent| mounts[*parent]);
        let mut line = Line {
            mount: row.mount.clone(),
            mark: row.mark,
            depth,
            prefix: if look.filter.is_empty() { words::prefix(&row.mount, parent).len() } else { 0 },
            only_here: alone.contains(&row.mount.id) && !row.mark.is_gone(),
            hidden: hidden.get(&row.mount.id).copied().filter(|_| !row.mark.is_gone()),
            origin: card.origin(row.mount.id).filter(|origin| !origin.copied && !row.mark.is_gone()).cloned(),
            nodes: None,
        };
        let key = Key::Row(row.mount.id, row.mark.is_gone());
        if let Some((first, names)) = groups.get(&place) {
            let unfolded = look.unfolded.contains(first);
            if *first == row.mount.id {
                let group = Line { nodes: Some((names.clone(), unfolded)), ..line.clone() };
                lines.add(Key::Nodes(*first), group);
            }
            if !unfolded {
                continue;
            }
            line.depth += 1;
        }
        lines.add(key, line);
    }
    lines
}

impl Lines {
    /// The row that appeared last.
    pub fn newest(&self) -> Option<MountId> {
        let appeared = |key: &Key| match self.lines.get(key)?.mark {
            Mark::New(at) => Some((at, self.lines.get(key)?.mount.id)),
            _ => None,
        };
        let newest = self.order.iter().filter_map(appeared).max_by(|a, b| a.0.total_cmp(&b.0));
        newest.map(|(_, id)| id)
    }

    fn add(&mut self, key: Key, line: Line) {
        self.order.push(key);
        self.lines.insert(key, line);
    }
}

/// By the place of each device node that belongs to a group: the group's first mount, and the names of all.
fn groups(mounts: &[&Mount], is_plain: impl Fn(usize) -> bool) -> HashMap<usize, (MountId, Vec<String>)> {
    let mut found = HashMap::new();
    for mut group in device_nodes(mounts) {
        group.retain(|place| is_plain(*place));
        let name = |place: &usize| mounts[*place].mount_point.rsplit('/').next().unwrap_or_default().to_owned();
        let names: Vec<String> = group.iter().map(name).collect();
        if let (Some(first), true) = (group.first(), group.len() > 1) {
            let first = mounts[*first].id;
            found.extend(group.iter().map(|place| (*place, (first, names.clone()))));
        }
    }
    found
}
