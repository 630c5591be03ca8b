//! What a single entry of a layer becomes in the rootfs: a file, a directory, a link or a node. In which order, and what
//! becomes of the layers below, is in `unpack`; the longer ways of making something are in `make`.

use std::ffi::OsStr;
use std::ops::AddAssign;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::symlinkat;
use tar::EntryType;

use super::super::error::UnpackError;
use super::super::rootfs::{Rootfs, is_directory, remove, split};
use super::attributes::{set_attributes, set_time, time_of};
use super::extended_attributes::{remove_extended_attributes, set_extended_attributes};
use super::layer::Entry;
use super::make;
use super::pax::Extended;

/// How much of an image could not be made, because only the root of a whole machine may, or because the file system
/// has no such thing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Device nodes.
    pub nodes: u64,
    /// Extended attributes.
    pub attributes: u64,
}

impl AddAssign for LeftOut {
    fn add_assign(&mut self, other: LeftOut) {
        self.nodes += other.nodes;
        self.attributes += other.attributes;
    }
}

// step: put-entry
/// Makes the file, directory, link or node that the entry describes, and counts what may not be made here.
pub fn put(
    rootfs: &Rootfs,
    entry: &mut Entry<'_, '_>,
    extended: &Extended,
    path: &Path,
    left_out: &mut LeftOut,
) -> Result<(), UnpackError> {
    let kind = entry.header().entry_type();
    let at = || path.to_owned();
    let is_whiteout = path.file_name().is_some_and(|name| name.as_bytes().starts_with(b".wh."));
    if is_whiteout || kind == EntryType::XGlobalHeader {
        return Ok(());
    }
    let (parent, name) = split(path);
    let parent = rootfs
        .make_directories_through_links(parent)
        .map_err(|errno| UnpackError::MakeDirectory { path: at(), errno })?;
    // The upper layer wins, except that a directory over a directory keeps what is in it.
    if kind != EntryType::Directory || !is_directory(&parent, name) {
        remove(&parent, name).map_err(|errno| UnpackError::Remove { path: at(), errno })?;
    }
    // Nobody else may use the file before its owner and mode are set below.
    let private = Mode::S_IRWXU;
    match kind {
        EntryType::Directory => match mkdirat(&parent, name, private) {
            Ok(()) => {}
            // All it has is what this layer says: attributes of the lower layer go. (Owner and mode are set in any case.)
            Err(Errno::EEXIST) => remove_extended_attributes(&parent, name, path)?,
            Err(errno) => return Err(UnpackError::MakeDirectory { path: at(), errno }),
        },
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
            make::file(&parent, name, private, entry, extended, path)?;
        }
        EntryType::Symlink => {
            let target = entry.link_name_bytes().unwrap_or_default().into_owned();
            // Wherever it points to: a link is only text, and whoever follows it in the container starts at its root.
            symlinkat(OsStr::from_bytes(&target), &parent, name)
                .map_err(|errno| UnpackError::SymbolicLink { path: at(), errno })?;
        }
        // It shares its owner, mode and time with its first name.
        EntryType::Link => return make::hard_link(rootfs, &parent, name, entry, path),
        EntryType::Char | EntryType::Block | EntryType::Fifo => {
            match make::node(&parent, name, entry.header()) {
                Ok(()) => {}
                // Root of a user namespace may make no devices: they would be doors to the machine's hardware.
                Err(Errno::EPERM) => {
                    left_out.nodes += 1;
                    return Ok(());
                }
                Err(errno) => return Err(UnpackError::MakeNode { path: at(), errno }),
            }
        }
        _ => return Err(UnpackError::UnknownEntry { path: at(), kind: kind.as_byte() }),
    }
    set_attributes(&parent, name, entry.header(), path)?;
    // After chown(2), which takes a program's capabilities away: they are an extended attribute.
    left_out.attributes += set_extended_attributes(&parent, name, &extended.attributes, path)?;
    // Last, for each change above is one of the file's times.
    set_time(&parent, name, &time_of(entry.header(), extended))
        .map_err(|errno| UnpackError::SetTime { path: at(), errno })
}
