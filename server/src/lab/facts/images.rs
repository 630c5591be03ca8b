//! The images that are unpacked in a machine's `/fs`, by what `newroot pull` has left there. A learner may have left the
//! same by other means, which is as good.

use std::os::fd::OwnedFd;

use rustix::fs::{Dir, OFlags};
use serde::Deserialize;

use super::TooMuch;
use super::root::{Root, open_in, read};
use crate::checks::facts::{Image, MOST_ITEMS, bounded};

/// As many entries of `/fs`, and of directories in it, are looked at.
const MOST_ENTRIES: usize = 1024;
/// The parts that a name may have: `registry.example/team/app`.
const DEEPEST: usize = 6;
/// The longest `.config.json` that is read.
const LONGEST_CONFIG: u64 = 1 << 20;

/// What of an image's configuration tells its layers (OCI image specification, config.md).
#[derive(Deserialize)]
struct Config {
    rootfs: Rootfs,
}

#[derive(Deserialize)]
struct Rootfs {
    diff_ids: Vec<String>,
}

/// All images, sorted by name.
pub fn look(root: Option<&Root>) -> Result<Vec<Image>, TooMuch> {
    let mut images = Vec::new();
    let mut left = MOST_ENTRIES;
    if let Some(fs) = root.and_then(|root| root.open("/fs", OFlags::RDONLY | OFlags::DIRECTORY).ok()) {
        look_below(&fs, "", 0, &mut left, &mut images)?;
    }
    images.sort_by(|one: &Image, other| one.name.cmp(&other.name));
    if images.len() > MOST_ITEMS { Err(TooMuch) } else { Ok(images) }
}

fn look_below(
    directory: &OwnedFd,
    name: &str,
    depth: usize,
    left: &mut usize,
    images: &mut Vec<Image>,
) -> Result<(), TooMuch> {
    for entry in Dir::read_from(directory).into_iter().flatten().flatten() {
        *left = left.checked_sub(1).ok_or(TooMuch)?;
        let Ok(part) = entry.file_name().to_str() else { continue };
        if part == "rootfs" && !name.is_empty() {
            images.push(describe(directory, name));
        } else if !part.starts_with('.')
            && depth < DEEPEST
            && let Ok(below) = open_in(directory, part, OFlags::RDONLY | OFlags::DIRECTORY)
        {
            let name = if name.is_empty() { part.to_owned() } else { format!("{name}/{part}") };
            look_below(&below, &name, depth + 1, left, images)?;
        }
    }
    Ok(())
}

fn describe(directory: &OwnedFd, name: &str) -> Image {
    let file = |name, most| open_in(directory, name, OFlags::RDONLY).and_then(|file| read(file, most));
    let digest = file(".manifest-digest", 256).unwrap_or_default();
    let config = file(".config.json", LONGEST_CONFIG).unwrap_or_default();
    let layers = serde_json::from_slice(&config).map_or(0, |config: Config| config.rootfs.diff_ids.len());
    Image {
        name: bounded(name.to_owned()),
        digest: String::from_utf8_lossy(&digest).trim().to_owned(),
        layers: layers as i64,
    }
}
