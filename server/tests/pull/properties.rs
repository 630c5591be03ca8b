//! Unpacking held against a model: random layers, honest and hostile, are applied to a real directory and to a tree in
//! memory that knows nothing of system calls. Both must come to the same, and nothing beside the directory may change.
//! Every run has the same layers; a failure names the seed they were made from.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use tar::EntryType;

use crate::common::bench::Bench;
use crate::common::{Layer, names_in};
use crate::model::{Entry, Kind, Node, Tree};

/// A generator of numbers that is the same everywhere (xorshift64*).
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below the limit.
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn choose<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }
}

/// Few names, so that entries meet each other. Most directories have other names than most files, so that it is not
/// always a file that stands where a directory should be.
const DIRECTORIES: [&str; 3] = ["a", "b", "c"];
const FILES: [&str; 3] = ["x", "y", "z"];

fn path(random: &mut Random, last: &[&str], hostile: bool) -> String {
    let mut path = String::from(random.choose(&["", "", "", "./", "/"]));
    for _ in 0..random.below(3) {
        let names = if random.one_in(40) { &FILES } else { &DIRECTORIES };
        path += if hostile && random.one_in(12) { ".." } else { random.choose(names) };
        path += "/";
    }
    path + random.choose(last)
}

fn entry(random: &mut Random, hostile: bool, files: &mut Vec<String>) -> Entry {
    let directory = |random: &mut Random| {
        let (hostile, names) = (hostile && random.one_in(8), if random.one_in(10) { &FILES } else { &DIRECTORIES });
        path(random, names, hostile)
    };
    let file = |random: &mut Random| {
        let (hostile, names) = (hostile && random.one_in(8), if random.one_in(10) { &DIRECTORIES } else { &FILES });
        path(random, names, hostile)
    };
    let (name, kind) = match random.below(12) {
        0..=2 => (directory(random), Kind::Directory),
        3..=5 => {
            files.push(file(random));
            (files[files.len() - 1].clone(), Kind::File(random.choose(&["", "one", "another"]).into()))
        }
        // The target of a symbolic link is any text.
        6 | 7 => {
            let name = if random.one_in(2) { directory(random) } else { file(random) };
            let up = random.choose(&["", "../", "../../../outside/"]);
            (name, Kind::Symlink(up.to_owned() + &path(random, &DIRECTORIES, true)))
        }
        8 if !files.is_empty() && !random.one_in(10) => {
            (file(random), Kind::HardLink(files[random.below(files.len())].clone()))
        }
        8 => (file(random), Kind::HardLink(file(random))),
        9 => (file(random), Kind::Fifo),
        10 => {
            let name = if random.one_in(2) { directory(random) } else { file(random) };
            let split = name.rfind('/').map_or(0, |slash| slash + 1);
            (format!("{}.wh.{}", &name[..split], &name[split..]), Kind::File(Vec::new()))
        }
        _ => (directory(random) + "/.wh..wh..opq", Kind::File(Vec::new())),
    };
    Entry {
        path: name,
        kind,
        mode: [0o755, 0o644, 0o700, 0o4711, 0o1777, 0o000][random.below(6)],
        owner: (random.below(3) as u32, random.below(3) as u32),
        modified: (1_000_000_000 + random.below(1000) as i64, random.below(1_000_000_000) as i64),
        note: random.one_in(4).then(|| random.choose(&["x", "y"]).to_owned()),
    }
}

fn archive(entries: &[Entry]) -> Layer {
    entries.iter().fold(Layer::new(), |layer, entry| {
        let (kind, target, content) = match &entry.kind {
            Kind::Directory => (EntryType::Directory, "", &b""[..]),
            Kind::File(content) => (EntryType::Regular, "", &content[..]),
            Kind::Symlink(target) => (EntryType::Symlink, target.as_str(), &b""[..]),
            Kind::HardLink(target) => (EntryType::Link, target.as_str(), &b""[..]),
            Kind::Fifo => (EntryType::Fifo, "", &b""[..]),
        };
        let modified = format!("{}.{:09}", entry.modified.0, entry.modified.1);
        let mut records = vec![("mtime", modified.as_bytes())];
        // Only files and directories have attributes of users (xattr(7)).
        if let (Some(note), Kind::File(_) | Kind::Directory) = (&entry.note, &entry.kind) {
            records.push(("SCHILY.xattr.user.note", note.as_bytes()));
        }
        let owner = (u64::from(entry.owner.0), u64::from(entry.owner.1));
        layer.pax(&records).owned_entry(kind, &entry.path, entry.mode, owner, target, content)
    })
}

/// Compares a directory with the model's, and remembers which inode is which node: hard links are one file in both.
fn compare(bench: &Bench, path: &Path, tree: &Tree, number: usize, inodes: &mut HashMap<u64, usize>, whose: &str) {
    let node = &tree.nodes[number];
    let real = bench.path("").join(path);
    let status = fs::symlink_metadata(&real).unwrap();
    let whose = format!("{whose}, {}", path.display());
    assert_eq!(*inodes.entry(status.ino()).or_insert(number), number, "{whose}: which file it is");
    if let Some((mode, owner)) = node.attributes {
        // A symbolic link has no mode of its own.
        let mode = if status.is_symlink() { status.mode() & 0o7777 } else { mode };
        assert_eq!((status.mode() & 0o7777, (status.uid(), status.gid())), (mode, owner), "{whose}: mode and owner");
    }
    if let Some(modified) = node.modified {
        assert_eq!((status.mtime(), status.mtime_nsec()), modified, "{whose}: time");
    }
    match &node.kind {
        Node::Directory(children) => {
            assert!(status.is_dir(), "{whose}: a directory");
            assert_eq!(names_in(&real), Vec::from_iter(children.keys().cloned()), "{whose}: what is in it");
            for (name, &child) in children {
                compare(bench, &path.join(name), tree, child, inodes, &whose);
            }
        }
        Node::File(content) => assert_eq!(&fs::read(&real).unwrap(), content, "{whose}: content"),
        Node::Symlink(target) => assert_eq!(fs::read_link(&real).unwrap(), PathBuf::from(target), "{whose}: target"),
        Node::Fifo => assert!(status.file_type().is_fifo(), "{whose}: a pipe"),
    }
    if matches!(node.kind, Node::Directory(_) | Node::File(_)) {
        let note = bench.attribute(path.to_str().unwrap(), "user.note").ok();
        assert_eq!(note.as_deref(), node.note.as_deref().map(str::as_bytes), "{whose}: attribute");
    }
}

/// Returns how many layers came to the same, and how many were refused by both.
fn check(seeds: std::ops::Range<u64>, hostile: bool) -> (usize, usize) {
    let (mut applied, mut refused) = (0, 0);
    for seed in seeds {
        let mut random = Random::new(seed);
        let bench = Bench::in_memory();
        let mut tree = Tree::new();
        let mut files = Vec::new();
        for layer in 1..=3 {
            let entries: Vec<_> = (0..random.below(10)).map(|_| entry(&mut random, hostile, &mut files)).collect();
            let (expected, result) = (tree.apply(&entries), bench.apply(archive(&entries)));
            bench.assert_outside_is_untouched();
            let whose = format!("seed {seed}, layer {layer}");
            assert_eq!(result.is_ok(), expected.is_ok(), "{whose}: {result:?}, expected {expected:?}: {entries:#?}");
            if expected.is_err() {
                refused += 1;
                break;
            }
            applied += 1;
            compare(&bench, Path::new(""), &tree, Tree::ROOT, &mut HashMap::new(), &whose);
        }
    }
    (applied, refused)
}

#[test]
fn random_layers_become_what_the_model_says() {
    let (applied, refused) = check(0..700, false);
    // A generator that makes nothing but rubbish would test nothing but errors.
    assert!(applied > 1000 && refused > 50, "{applied} applied, {refused} refused");
}

#[test]
fn random_hostile_layers_become_what_the_model_says_or_are_refused() {
    let (applied, refused) = check(10_000..10_700, true);
    assert!(applied > 500 && refused > 200, "{applied} applied, {refused} refused");
}
