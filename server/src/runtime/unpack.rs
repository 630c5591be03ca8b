//! Lays a layer of an image over the layers below it: the step that makes a rootfs out of tar archives. The rules are
//! those of the OCI image specification, section "Layer Filesystem Changeset".

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, SFlag, fstatat, makedev, mkdirat, mknodat};
use nix::unistd::{linkat, symlinkat};
use tar::EntryType;

use super::attributes::{set_attributes, set_time};
use super::error::UnpackError;
use super::layer::{Compression, Entry, Limits, for_each_entry};
use super::rootfs::{Rootfs, clear, from_root, remove};

// step: apply-layer
/// Applies a layer to a rootfs that has all layers below it. Returns how many device nodes had to be left out.
pub fn apply_layer(
    rootfs: &Rootfs,
    mut layer: impl Read + Seek,
    compression: Compression,
    limits: &mut Limits,
) -> Result<u64, UnpackError> {
    // A layer cannot remove a file from the layer below, which is an archive of its own. It says `.wh.NAME` instead: a
    // whiteout. That speaks of lower layers only, wherever it stands in the archive; so whiteouts come first, in
    // a reading of their own, before anything of this layer is there to be removed by mistake.
    if !rootfs.is_empty().map_err(UnpackError::OpenRootfs)? {
        for_each_entry(&mut layer, compression, &mut limits.clone(), |entry| white_out(rootfs, &path_of(entry)?))?;
        layer.rewind().map_err(UnpackError::ReadLayer)?;
    }
    let mut directories = Vec::new();
    let mut left_out = 0;
    for_each_entry(&mut layer, compression, limits, |entry| {
        let path = path_of(entry)?;
        match put(rootfs, entry, &path)? {
            Put::Directory => directories.push((path, entry.header().mtime().unwrap_or(0))),
            Put::Other => {}
            Put::LeftOut => left_out += 1,
        }
        Ok(())
    })?;
    // A directory's time changes with every file that comes into it, so theirs can be set only now.
    for (path, time) in directories.iter().rev() {
        let (parent, name) = split(path);
        match rootfs.directory(parent).and_then(|parent| set_time(&parent, name, *time)) {
            // A later entry of the layer has put something else there.
            Ok(()) | Err(Errno::ENOENT | Errno::ENOTDIR) => {}
            Err(errno) => return Err(UnpackError::SetTime { path: path.clone(), errno }),
        }
    }
    Ok(left_out)
}

/// Removes from the lower layers what a whiteout names. `.wh..wh..opq` (opaque) means everything in its directory.
fn white_out(rootfs: &Rootfs, path: &Path) -> Result<(), UnpackError> {
    let Some(name) = path.file_name().and_then(|name| name.as_bytes().strip_prefix(b".wh.")) else { return Ok(()) };
    let directory = match rootfs.directory(split(path).0) {
        Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(()),
        result => result.map_err(|errno| UnpackError::MakeDirectory { path: path.to_owned(), errno })?,
    };
    match name {
        b".wh..opq" => clear(&directory),
        b"" | b"." | b".." => return Err(UnpackError::OutsideRootfs { path: path.to_owned() }),
        name => remove(&directory, OsStr::from_bytes(name)),
    }
    .map_err(|errno| UnpackError::Remove { path: path.to_owned(), errno })
}

/// What has been done with an entry.
enum Put {
    Directory,
    Other,
    LeftOut,
}

/// Makes the file, directory, link or node that the entry describes.
fn put(rootfs: &Rootfs, entry: &mut Entry<'_, '_>, path: &Path) -> Result<Put, UnpackError> {
    let kind = entry.header().entry_type();
    let at = || path.to_owned();
    let is_whiteout = path.file_name().is_some_and(|name| name.as_bytes().starts_with(b".wh."));
    if is_whiteout || kind == EntryType::XGlobalHeader {
        return Ok(Put::Other);
    }
    let (parent, name) = split(path);
    let parent = rootfs.make_directories(parent).map_err(|errno| UnpackError::MakeDirectory { path: at(), errno })?;
    // The upper layer wins, except that a directory over a directory keeps what is in it.
    if kind != EntryType::Directory || !is_directory(&parent, name) {
        remove(&parent, name).map_err(|errno| UnpackError::Remove { path: at(), errno })?;
    }
    // Nobody else may use the file before its owner and mode are set below.
    let private = Mode::S_IRWXU;
    match kind {
        EntryType::Directory => match mkdirat(&parent, name, private) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(UnpackError::MakeDirectory { path: at(), errno }),
        },
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
            // O_EXCL: the file is new, never something that a link of the image leads to.
            let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
            let file = openat(&parent, name, flags, private);
            let mut file = File::from(file.map_err(|errno| UnpackError::CreateFile { path: at(), errno })?);
            io::copy(entry, &mut file).map_err(|source| UnpackError::WriteFile { path: at(), source })?;
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
            return Ok(Put::Other);
        }
        EntryType::Char | EntryType::Block | EntryType::Fifo => {
            match make_node(&parent, name, entry.header()) {
                Ok(()) => {}
                // Root of a user namespace may make no devices: they would be doors to the machine's hardware.
                Err(Errno::EPERM) => return Ok(Put::LeftOut),
                Err(errno) => return Err(UnpackError::MakeNode { path: at(), errno }),
            }
        }
        _ => return Err(UnpackError::UnknownEntry { path: at(), kind: kind.as_byte() }),
    }
    set_attributes(&parent, name, entry.header(), path)?;
    Ok(if kind == EntryType::Directory { Put::Directory } else { Put::Other })
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

fn is_directory(parent: &impl AsFd, name: &OsStr) -> bool {
    fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW)
        .is_ok_and(|status| SFlag::from_bits_truncate(status.st_mode & SFlag::S_IFMT.bits()) == SFlag::S_IFDIR)
}

/// Where an entry belongs, seen from the root of the image.
fn path_of(entry: &Entry<'_, '_>) -> Result<PathBuf, UnpackError> {
    let path = PathBuf::from(OsStr::from_bytes(&entry.path_bytes()));
    from_root(&path).ok_or(UnpackError::OutsideRootfs { path })
}

/// The directory that a path lies in, and its name there. The root directory, which archives call `./`, is `.` in itself.
fn split(path: &Path) -> (&Path, &OsStr) {
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => (parent, name),
        _ => (Path::new(""), OsStr::new(".")),
    }
}
