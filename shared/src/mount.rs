//! One mount as `/proc/PID/mountinfo` tells it (proc_pid_mountinfo(5)), a table of them, and the difference
//! between two tables. Parsing is total: a hostile mount source or path can make a row odd, never lose the table.

use std::borrow::Borrow;
use std::collections::{HashMap, HashSet};

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
    parse_rows(mountinfo)
}

/// As [`parse_table`] reads `after`, but what stands at the beginning and at the end of `before` too is not read again:
/// `table` is what was read from that. One mount more or less in a table of ten thousand so costs one row.
pub fn parse_changed<M: From<Mount> + Clone>(before: &[u8], table: &[M], after: &[u8]) -> Vec<M> {
    let lines = |text: &[u8]| text.iter().filter(|&&byte| byte == b'\n').count();
    if lines(before) != table.len() {
        // Some lines are no rows: which row belongs to which line is not known.
        return parse_rows(after);
    }
    let common = before.iter().zip(after).take_while(|(old, new)| old == new).count();
    // Whole lines only: what comes after the last common line feed is read anew.
    let start = before[..common].iter().rposition(|&byte| byte == b'\n').map_or(0, |place| place + 1);
    let (old, new) = (&before[start..], &after[start..]);
    let common = old.iter().rev().zip(new.iter().rev()).take_while(|(old, new)| old == new).count();
    let tail = &old[old.len() - common..];
    // A line is common only if the line feed before it is: the rest of a line that differs is no line.
    let tail = tail.iter().position(|&byte| byte == b'\n').map_or(&[][..], |place| &tail[place + 1..]);
    let middle = parse_rows(&new[..new.len() - tail.len()]);
    [&table[..lines(&before[..start])], &middle, &table[table.len() - lines(tail)..]].concat()
}

fn parse_rows<M: From<Mount>>(text: &[u8]) -> Vec<M> {
    text.split(|&byte| byte == b'\n').filter_map(parse_line).map(M::from).collect()
}

fn parse_line(line: &[u8]) -> Option<Mount> {
    Mount::parse(&String::from_utf8_lossy(line))
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
    pub fn between<M: Borrow<Mount> + PartialEq>(before: &[M], after: &[M]) -> TableDiff {
        let id = |mount: &M| mount.borrow().id;
        let old: HashMap<MountId, &M> = before.iter().map(|mount| (id(mount), mount)).collect();
        let new: HashSet<MountId> = after.iter().map(id).collect();
        let changed = after.iter().filter(|mount| old.get(&id(mount)) != Some(mount));
        TableDiff {
            removed: before.iter().map(id).filter(|id| !new.contains(id)).collect(),
            set: changed.map(|mount| mount.borrow().clone()).collect(),
        }
    }

    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.removed.is_empty() && self.set.is_empty()
    }

    /// Makes the change. Changed rows keep their place; new ones go to the end, as in the kernel's table.
    pub fn apply<M: Borrow<Mount> + From<Mount>>(&self, table: &mut Vec<M>) {
        let removed: HashSet<MountId> = self.removed.iter().copied().collect();
        table.retain(|mount| !removed.contains(&mount.borrow().id));
        let places: HashMap<MountId, usize> =
            table.iter().enumerate().map(|(place, mount)| (mount.borrow().id, place)).collect();
        for mount in &self.set {
            match places.get(&mount.id) {
                Some(&place) => table[place] = mount.clone().into(),
                None => table.push(mount.clone().into()),
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
        assert_eq!(table[1].device, "0:41");
        assert_eq!((table[1].options.as_str(), table[1].super_options.as_str()), ("rw,relatime", "rw,size=64k"));
        let dominated = Mount::parse("1 0 0:1 / / rw master:3 propagate_from:2 - a b c").expect("a row");
        assert_eq!(dominated.propagation.propagate_from, Some(PeerGroup(2)));
        assert_eq!(table[2].source, "", "an empty source is a source");
    }

    #[test]
    fn a_broken_line_loses_no_other_row() {
        let broken = format!("not a row\n{TABLE}\n1 2 3\n\\\\\n");
        assert_eq!(parse_table(broken.as_bytes()), parse_table(TABLE.as_bytes()));
        assert_eq!(unescape("\\9zz\\04"), "\\9zz\\04", "what is no escape stays as it is");
        // Bytes that are no text, a number that is none, and a carriage return, which the kernel does not escape.
        let odd = b"1 0 0:1 / /\xff rw shared:many - a b c\r\n2 1 0:1 / / rw - a b c\n";
        let table = parse_table(odd);
        assert_eq!((table[0].mount_point.as_str(), table[0].super_options.as_str()), ("/\u{fffd}", "c\r"));
        assert_eq!((table[0].propagation, table.len()), (Propagation::default(), 2));
    }

    #[test]
    fn reading_only_what_changed_gives_what_reading_all_gives() {
        let lines =
            ["1 0 0:1 / / rw - a b c\n", "2 1 0:2 / /x rw - a b c\n", "3 1 0:2 / /xx rw - a b c\n", "odd\n", "\n"];
        let texts: Vec<String> = (0..5 * 5 * 5 * 5)
            .map(|number| [number % 5, number / 5 % 5, number / 25 % 5, number / 125].map(|line| lines[line]).concat())
            .chain(["".into(), "1 0 0:1 / / rw - a b".into(), "1 0 0:1 / / rw - a b c\n2 1".into()])
            .collect();
        for before in &texts {
            let table = parse_table(before.as_bytes());
            for after in texts.iter().step_by(7).chain(texts.last()) {
                let read = parse_changed(before.as_bytes(), &table, after.as_bytes());
                assert_eq!(read, parse_table(after.as_bytes()), "from {before:?} to {after:?}");
            }
        }
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
