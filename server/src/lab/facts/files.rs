//! What lies at the paths that lessons ask about, and digests of it, made again only where a file has changed.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::fd::AsFd;

use rustix::fs::{FileType, OFlags, Stat, fstat, readlinkat};
use sha2::{Digest, Sha256};

use super::root::{Root, read};
use crate::checks::facts::{File, MOST_ITEMS, bounded};

/// No digest is made of a larger file.
const LARGEST: u64 = 16 << 20;
/// As many bytes are read at one look; digests of what is left come with the next.
const MOST_BYTES: u64 = 64 << 20;

/// Digests that were made, by path, and of what.
#[derive(Default)]
pub struct Digests(HashMap<String, (Stamp, String)>);

/// What changes when a file's content does: device, inode, size, and when content and attributes changed (seconds and
/// nanoseconds).
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp(u64, u64, i64, (i64, u64), (i64, u64));

impl Stamp {
    fn of(stat: &Stat) -> Stamp {
        let (modified, changed) = ((stat.st_mtime, stat.st_mtime_nsec), (stat.st_ctime, stat.st_ctime_nsec));
        Stamp(stat.st_dev, stat.st_ino, stat.st_size, modified, changed)
    }
}

/// Looks at all paths. What cannot be reached does not exist.
pub fn look(root: Option<&Root>, paths: &[String], digests: &mut Digests) -> BTreeMap<String, File> {
    digests.0.retain(|path, _| paths.contains(path));
    let mut left = MOST_BYTES;
    let mut look_at = |path: &String| -> io::Result<File> {
        let root = root.ok_or(io::ErrorKind::NotFound)?;
        let place = root.open(path, OFlags::PATH)?;
        let stat = fstat(&place)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        let digest = match kind {
            FileType::RegularFile => digest(root, path, digests, &mut left).unwrap_or_default(),
            _ => String::new(),
        };
        Ok(File {
            exists: true,
            kind: name(kind).to_owned(),
            size: stat.st_size,
            mode: i64::from(stat.st_mode & 0o7777),
            digest,
            target: if kind == FileType::Symlink { target(&place) } else { String::new() },
        })
    };
    paths.iter().take(MOST_ITEMS).map(|path| (path.clone(), look_at(path).unwrap_or_default())).collect()
}

fn digest(root: &Root, path: &str, digests: &mut Digests, left: &mut u64) -> io::Result<String> {
    let file = root.open(path, OFlags::RDONLY)?;
    // Of what was opened, not of what lay there before.
    let stat = fstat(&file)?;
    let stamp = Stamp::of(&stat);
    if let Some((_, digest)) = digests.0.get(path).filter(|(known, _)| *known == stamp) {
        return Ok(digest.clone());
    }
    let content = read(file, LARGEST.min(*left))?;
    *left -= content.len() as u64;
    let digest: String = Sha256::digest(&content).iter().map(|byte| format!("{byte:02x}")).collect();
    let digest = format!("sha256:{digest}");
    digests.0.insert(path.to_owned(), (stamp, digest.clone()));
    Ok(digest)
}

fn target(link: impl AsFd) -> String {
    let target = readlinkat(link, "", Vec::new()).unwrap_or_default();
    bounded(target.to_string_lossy().into_owned())
}

fn name(kind: FileType) -> &'static str {
    match kind {
        FileType::RegularFile => "file",
        FileType::Directory => "directory",
        FileType::Symlink => "symlink",
        FileType::Fifo => "fifo",
        FileType::Socket => "socket",
        FileType::CharacterDevice => "character device",
        FileType::BlockDevice => "block device",
        FileType::Unknown => "unknown",
    }
}
