//! What a single entry of a layer becomes in the rootfs: a file, a directory, a link or a node. In which order, and what
//! becomes of the layers below, is in `unpack`.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::ops::AddAssign;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, SFlag, makedev, mkdirat, mknodat};
use nix::unistd::{linkat, symlinkat};
use tar::EntryType;

use super::attributes::{set_attributes, set_time, time_of};
use super::error::UnpackError;
use super::extended_attributes::{remove_extended_attributes, set_extended_attributes};
use super::layer::Entry;
use super::pax::Extended;
use super::rootfs::{Rootfs, from_root, is_directory, remove, split};
use super::sparse;

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
            // O_EXCL: the file is new, never something that a link of the image leads to.
            let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
            let file = openat(&parent, name, flags, private);
            let mut file = File::from(file.map_err(|errno| UnpackError::CreateFile { path: at(), errno })?);
            match (&extended.sparse, kind) {
                (Some(map), _) => map.write(entry, &mut file),
                (None, EntryType::GNUSparse) => sparse::write_without_zeros(entry, &mut file),
                (None, _) => io::copy(entry, &mut file).map(drop),
            }
            .map_err(|source| UnpackError::WriteFile { path: at(), source })?;
        }
        EntryType::Symlink => {
            let target = entry.link_name_bytes().unwrap_or_default().into_owned();
            // Wherever it points to: a link is only text, and whoever follows it in the container starts at its root.
            symlinkat(OsStr::from_bytes(&target), &parent, name)
                .map_err(|errno| UnpackError::SymbolicLink { path: at(), errno })?;
        }
        EntryType::Link => {
            let target = PathBuf::from(OsStr::from_bytes(&entry.link_name_bytes().unwrap_or_default()));
            let target = from_root(&target).ok_or(UnpackError::OutsideRootfs { path: target })?;
            let (target_parent, target_name) = split(&target);
            // Without AT_SYMLINK_FOLLOW: a second name for a symbolic link, not for what it points to.
            rootfs
                .directory(target_parent)
                .and_then(|directory| linkat(&directory, target_name, &parent, name, AtFlags::empty()))
                .map_err(|errno| UnpackError::HardLink { path: at(), target: target.clone(), errno })?;
            // It shares its owner, mode and time with its first name.
            return Ok(());
        }
        EntryType::Char | EntryType::Block | EntryType::Fifo => {
            match make_node(&parent, name, entry.header()) {
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

/// Makes a device node or a named pipe, which are names for something that is no file.
fn make_node(parent: &impl AsFd, name: &OsStr, header: &tar::Header) -> nix::Result<()> {
    let kind = match header.entry_type() {
        EntryType::Char => SFlag::S_IFCHR,
        EntryType::Block => SFlag::S_IFBLK,
        _ => SFlag::S_IFIFO,
    };
    let number = |part: io::Result<Option<u32>>| part.ok().flatten().unwrap_or(0).into();
    let device = makedev(number(header.device_major()), number(header.device_minor()));
    mknodat(parent, name, kind, Mode::S_IRUSR, device)
}
