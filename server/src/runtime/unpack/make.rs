//! Makes files, hard links and nodes: what takes more than one call. When which of them is made is in `put`.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, SFlag, makedev, mknodat};
use nix::unistd::linkat;
use tar::EntryType;

use super::super::error::UnpackError;
use super::super::rootfs::{Rootfs, from_root, split};
use super::layer::Entry;
use super::pax::Extended;
use super::sparse;

/// Makes a file with the content of the entry.
pub fn file(
    parent: &impl AsFd,
    name: &OsStr,
    mode: Mode,
    entry: &mut Entry<'_, '_>,
    extended: &Extended,
    path: &Path,
) -> Result<(), UnpackError> {
    // O_EXCL: the file is new, never something that a link of the image leads to.
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
    let file = openat(parent, name, flags, mode);
    let mut file = File::from(file.map_err(|errno| UnpackError::CreateFile { path: path.to_owned(), errno })?);
    match (&extended.sparse, entry.header().entry_type()) {
        (Some(map), _) => map.write(entry, &mut file),
        (None, EntryType::GNUSparse) => sparse::write_without_zeros(entry, &mut file),
        (None, _) => io::copy(entry, &mut file).map(drop),
    }
    .map_err(|source| UnpackError::WriteFile { path: path.to_owned(), source })
}

/// Makes a second name for a file of this layer or a lower one.
pub fn hard_link(
    rootfs: &Rootfs,
    parent: &impl AsFd,
    name: &OsStr,
    entry: &Entry<'_, '_>,
    path: &Path,
) -> Result<(), UnpackError> {
    let target = PathBuf::from(OsStr::from_bytes(&entry.link_name_bytes().unwrap_or_default()));
    let target = from_root(&target).ok_or(UnpackError::OutsideRootfs { path: target })?;
    let (target_parent, target_name) = split(&target);
    // Without AT_SYMLINK_FOLLOW: a second name for a symbolic link, not for what it points to.
    rootfs
        .directory(target_parent)
        .and_then(|directory| linkat(&directory, target_name, parent, name, AtFlags::empty()))
        .map_err(|errno| UnpackError::HardLink { path: path.to_owned(), target: target.clone(), errno })
}

/// Makes a device node or a named pipe, which are names for something that is no file.
pub fn node(parent: &impl AsFd, name: &OsStr, header: &tar::Header) -> nix::Result<()> {
    let kind = match header.entry_type() {
        EntryType::Char => SFlag::S_IFCHR,
        EntryType::Block => SFlag::S_IFBLK,
        _ => SFlag::S_IFIFO,
    };
    let number = |part: io::Result<Option<u32>>| part.ok().flatten().unwrap_or(0).into();
    let device = makedev(number(header.device_major()), number(header.device_minor()));
    mknodat(parent, name, kind, Mode::S_IRUSR, device)
}
