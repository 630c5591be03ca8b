//! Reading mount tables as people do: the tree that one table spells out, the device nodes that belong together, the
//! rows that are in one table only, and two tables side by side.

use std::borrow::Borrow;
use std::collections::{HashMap, HashSet};

use crate::mount::{Mount, MountId};

/// The rows of a table as a tree: the index of each row with its depth, a parent before its children, siblings in the
/// table's order. Every row comes once, whatever its parent says.
pub fn tree_order<M: Borrow<Mount>>(table: &[M]) -> Vec<(usize, usize)> {
    let places: HashMap<MountId, usize> =
        table.iter().enumerate().map(|(place, mount)| (mount.borrow().id, place)).collect();
    let mut children: HashMap<usize, Vec<usize>> = HashMap::new();
    let mut tops = Vec::new();
    for (place, mount) in table.iter().enumerate() {
        match places.get(&mount.borrow().parent) {
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
pub fn only_in_one<M: Borrow<Mount>>(tables: &[&[M]]) -> Vec<HashSet<MountId>> {
    type Key<'a> = (&'a str, &'a str, &'a str);
    fn key(mount: &Mount) -> Key<'_> {
        (&mount.mount_point, &mount.fs_type, &mount.device)
    }
    if tables.len() < 2 {
        return tables.iter().map(|_| HashSet::new()).collect();
    }
    // Per mount the first table that has it, and whether another one has it too.
    let mut holders: HashMap<Key<'_>, (usize, bool)> = HashMap::new();
    for (holder, table) in tables.iter().enumerate() {
        for mount in *table {
            let (first, others) = holders.entry(key(mount.borrow())).or_insert((holder, false));
            *others |= *first != holder;
        }
    }
    let shared = |mount: &Mount| holders[&key(mount)].1;
    let alone = |table: &&[M]| {
        let mounts = || table.iter().map(M::borrow);
        match mounts().any(shared) {
            true => mounts().filter(|mount| !shared(mount)).map(|mount| mount.id).collect(),
            false => HashSet::new(),
        }
    };
    tables.iter().map(alone).collect()
}

/// Fewer device nodes than this are not worth a group.
const FEW: usize = 3;

/// Groups of rows that are a bind mount of one device node each (`/dev/null`), of the same directory and with the same
/// options: indices in the table's order. They are there in each container, and each one says as much as all.
pub fn device_nodes<M: Borrow<Mount>>(table: &[M]) -> Vec<Vec<usize>> {
    let parents: HashSet<MountId> = table.iter().map(|mount| mount.borrow().parent).collect();
    let mut places: HashMap<(MountId, &str, &str), usize> = HashMap::new();
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for (place, mount) in table.iter().map(M::borrow).enumerate() {
        let node = mount.mount_point.rsplit_once('/').filter(|(directory, _)| directory.ends_with("/dev"));
        let is_node = node.is_some_and(|(_, name)| mount.root.strip_prefix('/') == Some(name) && !name.is_empty());
        if is_node && !parents.contains(&mount.id) {
            let key = (mount.parent, mount.device.as_str(), mount.options.as_str());
            let group = *places.entry(key).or_insert(groups.len());
            match groups.get_mut(group) {
                Some(group) => group.push(place),
                None => groups.push(vec![place]),
            }
        }
    }
    groups.retain(|group| group.len() >= FEW);
    groups
}

/// A field of a row in which two mounts can differ though they are the same mount to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// The file system's type.
    Type,
    /// The file system's device.
    Device,
    /// The directory that is mounted.
    Root,
    /// The per-mount options.
    Options,
    /// The propagation.
    Propagation,
    /// The source.
    Source,
    /// The per-superblock options.
    SuperOptions,
}

/// A line of two tables side by side: indices into the left one and the right one, at least one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The row on the left; absent where the mount is on the right only.
    pub left: Option<usize>,
    /// The row on the right.
    pub right: Option<usize>,
    /// Where both are there: in what they differ. Mount ids and parents differ always, and are not looked at.
    pub differs: Vec<Field>,
}

/// Two tables side by side. Rows belong together by mount point, and where one has several, by type and device; the order
/// is the left table's tree, and after it what only the right one has.
pub fn compare<M: Borrow<Mount>>(left: &[M], right: &[M]) -> Vec<Pair> {
    let mut same: HashMap<(&str, &str, &str), Vec<usize>> = HashMap::new();
    let mut same_point: HashMap<&str, Vec<usize>> = HashMap::new();
    for (place, mount) in right.iter().map(M::borrow).enumerate().rev() {
        same.entry((&mount.mount_point, &mount.fs_type, &mount.device)).or_default().push(place);
        same_point.entry(&mount.mount_point).or_default().push(place);
    }
    let mut partner = vec![None; left.len()];
    let mut taken = vec![false; right.len()];
    let mut take = |candidates: Option<&mut Vec<usize>>| {
        let candidates = candidates?;
        let free = std::iter::from_fn(|| candidates.pop()).find(|&place| !taken[place]);
        free.inspect(|&place| taken[place] = true)
    };
    for (place, mount) in left.iter().map(M::borrow).enumerate() {
        partner[place] =
            take(same.get_mut(&(mount.mount_point.as_str(), mount.fs_type.as_str(), mount.device.as_str())));
    }
    for (place, mount) in left.iter().map(M::borrow).enumerate() {
        if partner[place].is_none() {
            partner[place] = take(same_point.get_mut(mount.mount_point.as_str()));
        }
    }
    let both = tree_order(left).into_iter().map(|(place, _)| {
        let differs = partner[place].map_or(Vec::new(), |other| differing(left[place].borrow(), right[other].borrow()));
        Pair { left: Some(place), right: partner[place], differs }
    });
    let only_right = tree_order(right).into_iter().filter(|(place, _)| !taken[*place]);
    both.chain(only_right.map(|(place, _)| Pair { left: None, right: Some(place), differs: Vec::new() })).collect()
}

/// The fields in which two mounts differ.
pub fn differing(left: &Mount, right: &Mount) -> Vec<Field> {
    let fields = [
        (Field::Type, left.fs_type != right.fs_type),
        (Field::Device, left.device != right.device),
        (Field::Root, left.root != right.root),
        (Field::Options, left.options != right.options),
        (Field::Propagation, left.propagation != right.propagation),
        (Field::Source, left.source != right.source),
        (Field::SuperOptions, left.super_options != right.super_options),
    ];
    fields.into_iter().filter(|(_, differs)| *differs).map(|(field, _)| field).collect()
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
    #[test]
    fn device_nodes_of_one_directory_belong_together() {
        let row = |id: u32, root: &str, point: &str| format!("{id} 1 0:5 {root} {point} rw - devtmpfs dev rw\n");
        let names = ["null", "zero", "tty"].into_iter().zip(2..);
        let nodes: String = names.map(|(name, id)| row(id, &format!("/{name}"), &format!("/dev/{name}"))).collect();
        let others = row(7, "/0", "/dev/console") + &row(8, "/etc", "/etc") + &row(9, "/", "/dev/");
        let rows: Vec<Mount> =
            parse_table(("1 0 0:1 / /dev rw - tmpfs t rw\n".to_owned() + &nodes + &others).as_bytes());
        assert_eq!(device_nodes(&rows), [vec![1, 2, 3]]);
        assert_eq!(device_nodes(&rows[..3]), [[0; 0]; 0], "two are no group");
    }

    #[test]
    fn two_tables_side_by_side_say_what_is_on_one_side_only_and_what_differs() {
        let left =
            table(&[(1, 0, "/", "overlay"), (2, 1, "/proc", "proc"), (3, 1, "/mnt", "tmpfs"), (4, 3, "/mnt", "proc")]);
        let mut right =
            table(&[(12, 11, "/proc", "proc"), (11, 0, "/", "overlay"), (13, 11, "/mnt", "proc"), (14, 11, "/x", "b")]);
        right[0].options = "ro".into();
        let pairs = compare(&left, &right);
        let pair = |left, right, differs: &[Field]| Pair { left, right, differs: differs.to_vec() };
        assert_eq!(
            pairs,
            [
                pair(Some(0), Some(1), &[]),
                pair(Some(1), Some(0), &[Field::Options]),
                pair(Some(2), None, &[]),
                pair(Some(3), Some(2), &[]),
                pair(None, Some(3), &[]),
            ]
        );
        let other = table(&[(21, 0, "/", "ext4")]);
        assert_eq!(compare(&left[..1], &other), [pair(Some(0), Some(0), &[Field::Type, Field::Device])]);
    }
}
