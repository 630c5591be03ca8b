//! Which mounts of a table a path can lead to. A mount can be in the table and yet out of reach, because another one lies
//! on top of it; mountinfo does not say so, but it follows from its mount ids, parents and mount points.

use std::borrow::Borrow;
use std::collections::{HashMap, HashSet};

use crate::mount::{Mount, MountId};
use crate::tables::tree_order;

/// Why no path leads to a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hidden {
    /// This mount lies on its mount point, or on a directory above it.
    Under(MountId),
    /// It lies on the root directory itself. A path begins beneath it: only `/..` leads there, or a new chroot(2).
    OverRoot,
    /// It hangs together with the root directory by no row: a table that the kernel changed while it was read.
    Outside,
}

/// The rows that path lookup from the root directory cannot reach (path_resolution(7)), each with the reason. `root` is
/// the mount that the root directory lies on, which has no row where that is a directory within it.
pub fn hidden<M: Borrow<Mount>>(table: &[M], root: MountId) -> HashMap<MountId, Hidden> {
    let order = tree_order(table);
    let table: Vec<&Mount> = table.iter().map(M::borrow).collect();
    let rows: HashMap<MountId, &Mount> = table.iter().map(|mount| (mount.id, *mount)).collect();
    let covered = covered_by_siblings(&table, root);
    let mut unreached: HashMap<MountId, Hidden> = HashMap::new();
    let mut met = HashSet::new();
    // Parents come before their children, but for rows that are each other's ancestors.
    for (place, _depth) in order {
        let mount = table[place];
        met.insert(mount.id);
        let inherited = match rows.get(&mount.parent) {
            _ if mount.id == root => None,
            Some(parent) if parent.id != mount.id && met.contains(&parent.id) => unreached.get(&parent.id).copied(),
            None if mount.parent == root => None,
            _ => Some(Hidden::Outside),
        };
        if let Some(reason) = inherited.or(covered.get(&mount.id).copied()) {
            unreached.insert(mount.id, reason);
        }
    }
    // A path that arrives at a mount goes on to the one that is stacked on it.
    for mount in table.iter().filter(|mount| mount.id != root) {
        let below = rows.get(&mount.parent).filter(|below| is_stacked(mount, below) && below.id != root);
        if let Some(below) = below {
            unreached.entry(below.id).or_insert(Hidden::Under(mount.id));
        }
    }
    unreached
}

/// Whether a mount lies on the root of the one below it, so that both have the same mount point.
fn is_stacked(mount: &Mount, below: &Mount) -> bool {
    mount.id != below.id && mount.mount_point == below.mount_point
}

/// The rows whose mount point lies below (or is) the mount point of another child of the same parent.
fn covered_by_siblings<'a>(table: &[&'a Mount], root: MountId) -> HashMap<MountId, Hidden> {
    let mut children: HashMap<MountId, Vec<&'a Mount>> = HashMap::new();
    let mut covered = HashMap::new();
    for mount in table.iter().filter(|mount| mount.id != root) {
        // Whoever has this root directory is already inside, and never meets what lies on it.
        if mount.parent == root && mount.mount_point == "/" {
            covered.insert(mount.id, Hidden::OverRoot);
        } else {
            children.entry(mount.parent).or_default().push(mount);
        }
    }
    for siblings in children.values_mut() {
        // By components, so that all that lies below a directory follows it at once.
        siblings.sort_by(|a, b| a.mount_point.split('/').cmp(b.mount_point.split('/')));
        let mut cover = siblings[0];
        for mount in &siblings[1..] {
            if lies_below(&mount.mount_point, &cover.mount_point) {
                covered.insert(mount.id, Hidden::Under(cover.id));
            } else {
                cover = mount;
            }
        }
    }
    covered
}

fn lies_below(path: &str, directory: &str) -> bool {
    let rest = path.strip_prefix(directory.trim_end_matches('/'));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mount::parse_table;

    /// The hidden ones among rows of id, parent and mount point, by id.
    fn hidden_of(root: u32, rows: &[(u32, u32, &str)]) -> Vec<(u32, Hidden)> {
        let lines = rows.iter().map(|(id, parent, point)| format!("{id} {parent} 0:1 / {point} rw - tmpfs t rw\n"));
        let table: Vec<Mount> = parse_table(lines.collect::<String>().as_bytes());
        let mut found: Vec<_> = hidden(&table, MountId(root)).into_iter().map(|(id, why)| (id.0, why)).collect();
        found.sort_by_key(|(id, _)| *id);
        found
    }

    fn under(id: u32) -> Hidden {
        Hidden::Under(MountId(id))
    }

    #[test]
    fn the_lower_one_of_a_stack_is_hidden_with_all_that_is_mounted_in_it() {
        let rows = [(1, 0, "/"), (2, 1, "/mnt"), (3, 2, "/mnt/in"), (4, 2, "/mnt"), (5, 4, "/mnt/in"), (6, 4, "/mnt")];
        assert_eq!(hidden_of(1, &rows), [(2, under(4)), (3, under(4)), (4, under(6)), (5, under(6))]);
    }

    #[test]
    fn a_mount_on_a_directory_above_hides() {
        let rows = [(1, 0, "/"), (2, 1, "/a/b"), (3, 2, "/a/b/c"), (4, 1, "/a"), (5, 1, "/a-b"), (6, 1, "/ab")];
        assert_eq!(hidden_of(1, &rows), [(2, under(4)), (3, under(4))], "names that only begin alike are others");
    }

    #[test]
    fn what_lies_on_the_root_directory_is_never_met_and_hides_nothing() {
        let rows = [(1, 0, "/"), (2, 1, "/proc"), (3, 1, "/"), (4, 3, "/proc")];
        assert_eq!(hidden_of(1, &rows), [(3, Hidden::OverRoot), (4, Hidden::OverRoot)]);
        // A root directory within a mount that has no row itself.
        assert_eq!(hidden_of(9, &[(3, 9, "/"), (4, 9, "/proc")]), [(3, Hidden::OverRoot)]);
        // After chroot(2) onto the upper one, or into a mount whose parent is another.
        assert_eq!(hidden_of(3, &[(3, 1, "/"), (4, 3, "/proc")]), []);
    }

    #[test]
    fn an_impossible_table_is_answered_too() {
        let rows = [(1, 0, "/"), (2, 3, "/a"), (3, 2, "/b"), (4, 4, "/c"), (5, 77, "/d"), (6, 1, "/e"), (7, 1, "/e")];
        let outside = Hidden::Outside;
        assert_eq!(hidden_of(1, &rows), [(2, outside), (3, outside), (4, outside), (5, outside), (7, under(6))]);
        assert_eq!(hidden_of(1, &[]), []);
    }
}
