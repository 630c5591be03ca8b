//! A second opinion on pulled images: the rootfs that `newroot pull` makes is the one that umoci makes of the same image,
//! path by path. The images are busybox and a real Debian, from the mirror that this machine's apt uses.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use newroot::registry::Digest;
use tar::EntryType;

use crate::common;
use crate::common::{Layer, Registry, busybox, debian, make_image, names_in, pull, text_of};

/// All that can be seen of a file from outside.
#[derive(Debug, PartialEq)]
struct Seen {
    kind: &'static str,
    mode: u32,
    owner: (u32, u32),
    size: u64,
    modified: (i64, i64),
    device: u64,
    digest: Option<Digest>,
    target: Option<PathBuf>,
    capability: Option<Vec<u8>>,
    /// The first path that leads to the same file.
    same_as: PathBuf,
}

/// Looks at everything in a directory, in the order of the paths.
fn look(root: &Path) -> BTreeMap<PathBuf, Seen> {
    let mut first_names = HashMap::new();
    let mut seen = BTreeMap::new();
    let mut paths = vec![PathBuf::new()];
    while let Some(path) = paths.pop() {
        let real = root.join(&path);
        let status = fs::symlink_metadata(&real).unwrap();
        let kind = status.file_type();
        if kind.is_dir() {
            paths.extend(names_in(&real).iter().rev().map(|name| path.join(name)));
        }
        let kind = match kind {
            kind if kind.is_dir() => "directory",
            kind if kind.is_file() => "file",
            kind if kind.is_symlink() => "symbolic link",
            kind if kind.is_char_device() || kind.is_block_device() => "device",
            _ => "other",
        };
        let mut capability = Vec::with_capacity(64);
        let has_one =
            rustix::fs::lgetxattr(&real, "security.capability", rustix::buffer::spare_capacity(&mut capability));
        let inode = Seen {
            kind,
            mode: status.mode(),
            owner: (status.uid(), status.gid()),
            // How big a directory is says what was ever in it.
            size: if kind == "directory" { 0 } else { status.size() },
            modified: (status.mtime(), status.mtime_nsec()),
            device: status.rdev(),
            digest: (kind == "file").then(|| Digest::of(&fs::read(&real).unwrap())),
            target: fs::read_link(&real).ok(),
            capability: has_one.is_ok().then_some(capability),
            same_as: first_names.entry(status.ino()).or_insert(path.clone()).clone(),
        };
        seen.insert(path, inode);
    }
    seen
}

/// Pushes an image, pulls it, unpacks it with umoci too, and compares. Returns what both have made of it.
fn compare_with_umoci(layers: &[Vec<u8>]) -> BTreeMap<PathBuf, Seen> {
    let registry = Registry::start();
    let (layout, fs_directory, bundle) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    make_image(layout.path(), layers);
    registry.copy(layout.path(), "library/image:reference", &[]);
    let output = pull(&registry.url(), fs_directory.path(), "image:reference");
    assert!(output.status.success(), "{}", text_of(&output));
    common::tag_layout(layout.path(), "reference");
    let output = Command::new("umoci")
        .args(["unpack", "--image"])
        .arg(format!("{}:reference", layout.path().display()))
        .arg(bundle.path().join("bundle"))
        .output()
        .expect("umoci is installed");
    assert!(output.status.success(), "{}", text_of(&output));
    let ours = look(&fs_directory.path().join("image:reference/rootfs"));
    let theirs = look(&bundle.path().join("bundle/rootfs"));
    assert_eq!(Vec::from_iter(ours.keys()), Vec::from_iter(theirs.keys()));
    let differences: Vec<_> = ours.iter().zip(theirs.values()).filter(|((_, ours), theirs)| ours != theirs).collect();
    assert!(differences.is_empty(), "{} differences, the first: {:#?}", differences.len(), differences[0]);
    ours
}

#[test]
fn busybox_is_what_umoci_makes_of_it() {
    // With an entry for the root directory, which has no other time to compare.
    let seen = compare_with_umoci(&[busybox().directory("./").gzip()]);
    assert_eq!(seen[Path::new("bin/sh")].target.as_deref(), Some(Path::new("busybox")));
}

#[test]
fn a_debian_in_three_layers_is_what_umoci_makes_of_it() {
    let second = Layer::new()
        .directory("etc")
        .file("etc/.wh.hostname", "")
        .file("etc/issue", "another one\n")
        // A directory goes, a file takes the place of one, and one the place of a file.
        .directory("usr/share")
        .file("usr/share/.wh.doc", "")
        .file("usr/share/info", "a file now\n")
        .file("etc/.wh.debian_version", "")
        .entry(EntryType::Directory, "etc/debian_version", 0o750, "", b"")
        .file("etc/debian_version/inside", "")
        // Of this one only what the layer itself has remains.
        .directory("usr/share/locale")
        .file("usr/share/locale/.wh..wh..opq", "")
        .file("usr/share/locale/new", "")
        .pax(&[("mtime", b"1234567890.123456789"), ("SCHILY.xattr.security.capability", CAPABILITY)])
        .owned_entry(EntryType::Regular, "usr/bin/able", 0o755, (1, 2), "", b"#!/bin/sh\n");
    let third = Layer::new()
        .directory("usr/share")
        .directory("usr/share/doc")
        .file("usr/share/doc/README", "back again\n")
        .directory("usr/bin")
        .hard_link("usr/bin/second-name", "usr/bin/able")
        .owned_entry(EntryType::Regular, "usr/bin/su-able", 0o6755, (0, 8), "", b"#!/bin/sh\n")
        .symlink("usr/bin/link", "/usr/bin/able")
        .directory("etc")
        .file("etc/.wh.debian_version", "");
    let seen = compare_with_umoci(&[debian(), second.gzip(), third.gzip()]);
    let at = |path: &str| seen.get(Path::new(path));
    assert!(seen.len() > 1000, "{} paths are no Debian", seen.len());
    assert!(at("etc/hostname").is_none() && at("etc/debian_version").is_none());
    assert_eq!(seen.keys().filter(|path| path.starts_with("usr/share/doc")).count(), 2);
    assert_eq!(seen.keys().filter(|path| path.starts_with("usr/share/locale")).count(), 2);
    assert_eq!(at("usr/bin/able").unwrap().capability.as_deref(), Some(CAPABILITY));
    assert_eq!(at("usr/bin/second-name").unwrap().same_as, Path::new("usr/bin/able"));
    assert_eq!(at("usr/bin/su-able").unwrap().mode & 0o7777, 0o6755);
}

/// What setcap(8) writes for CAP_NET_RAW.
const CAPABILITY: &[u8] = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
