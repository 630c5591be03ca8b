//! One mount as `/proc/PID/mountinfo` tells it (proc_pid_mountinfo(5)), a table of them, and the difference
//! between two tables. Parsing is total: a hostile mount source or path can make a row odd, never lose the table.

use serde::{Deserialize, Serialize};

/// The kernel's number of a mount; the kernel may use it again after an unmount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MountId(pub u32);

/// The number of a peer group: mounts that propagate mount events to each other (mount_namespaces(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PeerGroup(pub u32);

/// How mount events travel to and from a mount: the optional fields of mountinfo. All empty means private.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Propagation {
    /// `shared:N`: the mount sends events to and receives them from peer group N.
    pub shared: Option<PeerGroup>,
    /// `master:N`: the mount is a slave; it receives events from peer group N and sends none back.
    pub master: Option<PeerGroup>,
    /// `propagate_from:N`: the nearest dominant peer group under this process's root, where it is not the master.
    pub propagate_from: Option<PeerGroup>,
    /// `unbindable`: private, and cannot be bind mounted.
    pub unbindable: bool,
}

/// A row of mountinfo. Paths and names are unescaped; bytes that are not UTF-8 appear as U+FFFD.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// This mount.
    pub id: MountId,
    /// The mount it is mounted on (itself, or an unlisted one, for the topmost row).
    pub parent: MountId,
    /// `major:minor` of the file system's device, as st_dev of its files.
    pub device: String,
    /// The directory of the file system that forms the root of this mount.
    pub root: String,
    /// Where it is mounted, seen from the process's root directory.
    pub mount_point: String,
    /// Per-mount options, comma-separated: `rw,nosuid`.
    pub options: String,
    /// The optional fields.
    pub propagation: Propagation,
    /// The file system's type: `tmpfs`, `overlay`.
    pub fs_type: String,
    /// What was given as the source; any text for file systems without a device.
    pub source: String,
    /// Per-superblock options, comma-separated.
    pub super_options: String,
}

impl Mount {
    /// Reads one line of mountinfo; `None` where it has not the ten fields of proc_pid_mountinfo(5).
    pub fn parse(line: &str) -> Option<Mount> {
        let mut fields = line.split(' ');
        let id = MountId(fields.next()?.parse().ok()?);
        let parent = MountId(fields.next()?.parse().ok()?);
        let device = fields.next()?.to_owned();
        let root = unescape(fields.next()?);
        let mount_point = unescape(fields.next()?);
        let options = fields.next()?.to_owned();
        let mut propagation = Propagation::default();
        loop {
            // Zero or more `tag[:value]` fields, ended by a hyphen; the manual says to ignore unknown ones.
            let field = fields.next()?;
            if field == "-" {
                break;
            }
            let (tag, value) = field.split_once(':').unwrap_or((field, ""));
            let group = value.parse().ok().map(PeerGroup);
            match tag {
                "shared" => propagation.shared = group,
                "master" => propagation.master = group,
                "propagate_from" => propagation.propagate_from = group,
                "unbindable" => propagation.unbindable = true,
                _ => {}
            }
        }
        let fs_type = unescape(fields.next()?);
        let source = unescape(fields.next()?);
        let super_options = unescape(fields.next()?);
        Some(Mount { id, parent, device, root, mount_point, options, propagation, fs_type, source, super_options })
    }
}

/// Reads a whole mountinfo file, in the kernel's order. Lines that are no rows are left out.
pub fn parse_table(mountinfo: &[u8]) -> Vec<Mount> {
    String::from_utf8_lossy(mountinfo).lines().filter_map(Mount::parse).collect()
}

/// Undoes the kernel's escapes: `\ooo`, three octal digits for space, tab, newline, backslash and `#`.
fn unescape(field: &str) -> String {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let octal = (first == b'\\').then(|| tail.get(..3)).flatten().and_then(|digits| {
            let digits = std::str::from_utf8(digits).ok()?;
            u8::from_str_radix(digits, 8).ok()
        });
        match octal {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[3..];
            }
            None => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What changed between two tables of one view: apply it to the first and it becomes the second, up to the order of rows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableDiff {
    /// Rows that went.
    pub removed: Vec<MountId>,
    /// Rows that came, or whose fields changed (a remount, a new propagation type).
    pub set: Vec<Mount>,
}

impl TableDiff {
    /// The difference that leads from `before` to `after`.
    pub fn between(before: &[Mount], after: &[Mount]) -> TableDiff {
        use std::collections::HashMap;
        let old: HashMap<MountId, &Mount> = before.iter().map(|mount| (mount.id, mount)).collect();
        let new: HashMap<MountId, &Mount> = after.iter().map(|mount| (mount.id, mount)).collect();
        TableDiff {
            removed: before.iter().map(|mount| mount.id).filter(|id| !new.contains_key(id)).collect(),
            set: after.iter().filter(|mount| old.get(&mount.id) != Some(mount)).cloned().collect(),
        }
    }

    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.removed.is_empty() && self.set.is_empty()
    }

    /// Makes the change. Changed rows keep their place; new ones go to the end, as in the kernel's table.
    pub fn apply(&self, table: &mut Vec<Mount>) {
        use std::collections::{HashMap, HashSet};
        let removed: HashSet<MountId> = self.removed.iter().copied().collect();
        table.retain(|mount| !removed.contains(&mount.id));
        let places: HashMap<MountId, usize> =
            table.iter().enumerate().map(|(place, mount)| (mount.id, place)).collect();
        for mount in &self.set {
            match places.get(&mount.id) {
                Some(&place) => table[place] = mount.clone(),
                None => table.push(mount.clone()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
36 35 98:0 /mnt1 /mnt2 rw,noatime shared:1 master:2 future:9 - ext3 /dev/root rw,errors=continue
57 36 0:41 / /a\\040b\\134c rw,relatime - tmpfs we\\043ird\\012source rw,size=64k
58 36 0:42 / /proc rw unbindable - proc  rw
";

    #[test]
    fn reads_every_field_of_mountinfo() {
        let table = parse_table(TABLE.as_bytes());
        assert_eq!(table.len(), 3);
        let first = &table[0];
        assert_eq!((first.id, first.parent), (MountId(36), MountId(35)));
        assert_eq!(
            (first.device.as_str(), first.root.as_str(), first.mount_point.as_str()),
            ("98:0", "/mnt1", "/mnt2")
        );
        assert_eq!(first.propagation.shared, Some(PeerGroup(1)));
        assert_eq!(first.propagation.master, Some(PeerGroup(2)));
        assert_eq!((first.fs_type.as_str(), first.source.as_str()), ("ext3", "/dev/root"));
        assert_eq!(first.super_options, "rw,errors=continue");
        assert_eq!(table[1].mount_point, "/a b\\c");
        assert_eq!(table[1].source, "we#ird\nsource");
        assert!(table[2].propagation.unbindable);
        assert_eq!(table[2].source, "", "an empty source is a source");
    }

    #[test]
    fn a_broken_line_loses_no_other_row() {
        let broken = format!("not a row\n{TABLE}\n1 2 3\n\\\\\n");
        assert_eq!(parse_table(broken.as_bytes()), parse_table(TABLE.as_bytes()));
        assert_eq!(unescape("\\9zz\\04"), "\\9zz\\04", "what is no escape stays as it is");
    }

    #[test]
    fn the_difference_leads_from_one_table_to_the_other() {
        let before = parse_table(TABLE.as_bytes());
        let mut after = before.clone();
        after.remove(0);
        after[0].propagation.shared = Some(PeerGroup(7));
        after.push(Mount { id: MountId(99), mount_point: "/mnt".into(), ..before[1].clone() });
        let diff = TableDiff::between(&before, &after);
        assert_eq!(diff.removed, [MountId(36)]);
        assert_eq!(diff.set.len(), 2);
        let mut table = before.clone();
        diff.apply(&mut table);
        assert_eq!(table, after);
        assert!(TableDiff::between(&after, &after).is_empty());
    }
}
