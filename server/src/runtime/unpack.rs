//! Lays a layer of an image over the layers below it: the step that makes a rootfs out of tar archives. The rules are
//! those of the OCI image specification, section "Layer Filesystem Changeset". What a single entry becomes is in `put`.

use std::ffi::OsStr;
use std::io::{Read, Seek};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use tar::EntryType;

use super::attributes::set_time;
use super::error::UnpackError;
use super::layer::{Compression, Entry, Limits, for_each_entry};
use super::put::{LeftOut, put};
use super::rootfs::{Rootfs, clear, from_root, remove, split};

// step: apply-layer
/// Applies a layer to a rootfs that has all layers below it. Returns what had to be left out.
pub fn apply_layer(
    rootfs: &Rootfs,
    mut layer: impl Read + Seek,
    compression: Compression,
    limits: &mut Limits,
) -> Result<LeftOut, UnpackError> {
    // A layer cannot remove a file from the layer below, which is an archive of its own. It says `.wh.NAME` instead: a
    // whiteout. That speaks of lower layers only, wherever it stands in the archive; so whiteouts come first, in
    // a reading of their own, before anything of this layer is there to be removed by mistake.
    if !rootfs.is_empty().map_err(UnpackError::OpenRootfs)? {
        for_each_entry(&mut layer, compression, &mut limits.clone(), |entry, _| white_out(rootfs, &path_of(entry)?))?;
        layer.rewind().map_err(UnpackError::ReadLayer)?;
    }
    let mut directories = Vec::new();
    let mut left_out = LeftOut::default();
    for_each_entry(&mut layer, compression, limits, |entry, extended| {
        let path = path_of(entry)?;
        put(rootfs, entry, extended, &path, &mut left_out)?;
        if entry.header().entry_type() == EntryType::Directory {
            directories.push((path, entry.header().mtime().unwrap_or(0)));
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

/// Where an entry belongs, seen from the root of the image.
fn path_of(entry: &Entry<'_, '_>) -> Result<PathBuf, UnpackError> {
    let path = PathBuf::from(OsStr::from_bytes(&entry.path_bytes()));
    from_root(&path).ok_or(UnpackError::OutsideRootfs { path })
}
