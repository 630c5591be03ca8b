//! Reading mount tables together: the tree that one table spells out, and the rows that are in one table only.

use std::collections::{HashMap, HashSet};

use crate::mount::{Mount, MountId};

/// The rows of a table as a tree: the index of each row with its depth, a parent before its children, siblings in the
/// table's order. Every row comes once, whatever its parent says.
pub fn tree_order(table: &[Mount]) -> Vec<(usize, usize)> {
    let places: HashMap<MountId, usize> = table.iter().enumerate().map(|(place, mount)| (mount.id, place)).collect();
    let mut children: HashMap<usize, Vec<usize>> = HashMap::new();
    let mut tops = Vec::new();
    for (place, mount) in table.iter().enumerate() {
        match places.get(&mount.parent) {
            Some(&parent) if parent != place => children.entry(parent).or_default().push(place),
            _ => tops.push(place),
        }
    }
    let mut order = Vec::with_capacity(table.len());
    let mut placed = vec![false; table.len()];
    // Rows that are each other's ancestors hang below no top; they are taken as tops, last.
    for top in tops.into_iter().chain(0..table.len()) {
        let mut waiting = vec![(top, 0)];
        while let Some((place, depth)) = waiting.pop() {
            if std::mem::replace(&mut placed[place], true) {
                continue;
            }
            order.push((place, depth));
            let below = children.get(&place).into_iter().flatten().rev();
            waiting.extend(below.map(|&child| (child, depth + 1)));
        }
    }
    order
}

/// Per table, the rows that no other table has: the same mount point, type and device. A table that has no row in
/// common with any other (another root directory, say) has none: there, being alone means nothing.
pub fn only_in_one(tables: &[&[Mount]]) -> Vec<HashSet<MountId>> {
    type Key<'a> = (&'a str, &'a str, &'a str);
    fn key(mount: &Mount) -> Key<'_> {
        (&mount.mount_point, &mount.fs_type, &mount.device)
    }
    let mut holders: HashMap<Key<'_>, HashSet<usize>> = HashMap::new();
    for (holder, table) in tables.iter().enumerate() {
        for mount in *table {
            holders.entry(key(mount)).or_default().insert(holder);
        }
    }
    let shared = |mount: &&Mount| holders[&key(mount)].len() > 1;
    tables
        .iter()
        .map(|table| match table.iter().any(|mount| shared(&mount)) {
            true => table.iter().filter(|mount| !shared(mount)).map(|mount| mount.id).collect(),
            false => HashSet::new(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mount::parse_table;

    fn table(rows: &[(u32, u32, &str, &str)]) -> Vec<Mount> {
        let lines =
            rows.iter().map(|(id, parent, point, fs)| format!("{id} {parent} 0:{fs} / {point} rw - {fs} none rw\n"));
        parse_table(lines.collect::<String>().as_bytes())
    }

    #[test]
    fn a_tree_lists_parents_before_their_children() {
        let rows = table(&[(1, 0, "/", "a"), (2, 1, "/proc", "b"), (3, 1, "/dev", "c"), (4, 2, "/proc/x", "d")]);
        assert_eq!(tree_order(&rows), [(0, 0), (1, 1), (3, 2), (2, 1)]);
    }

    #[test]
    fn a_tree_keeps_every_row_of_an_impossible_table() {
        let rows = table(&[(1, 2, "/a", "a"), (2, 1, "/b", "b"), (3, 3, "/c", "c"), (4, 9, "/d", "d")]);
        assert_eq!(tree_order(&rows), [(2, 0), (3, 0), (0, 0), (1, 1)]);
    }

    #[test]
    fn a_row_is_alone_only_where_tables_can_be_compared() {
        let host = table(&[(1, 0, "/", "overlay"), (2, 1, "/proc", "proc")]);
        let unshared = table(&[(11, 0, "/", "overlay"), (12, 11, "/proc", "proc"), (13, 11, "/mnt", "tmpfs")]);
        let other_root = table(&[(21, 0, "/", "ext4")]);
        let alone = only_in_one(&[&host, &unshared, &other_root]);
        assert_eq!(alone, [HashSet::new(), HashSet::from([MountId(13)]), HashSet::new()]);
    }
}
