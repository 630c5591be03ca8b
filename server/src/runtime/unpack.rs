//! Lays a layer of an image over the layers below it: the step that makes a rootfs out of tar archives. The rules are
//! those of the OCI image specification, section "Layer Filesystem Changeset". What is known of a layer before is in
//! `survey`; what a single entry becomes is in `put` and `make`, with owners, modes and times from `attributes`. `layer`
//! reads archives as streams (by `zstd` where they are in that format); `pax` and `sparse` know what they say beyond the plain.

mod attributes;
mod extended_attributes;
mod layer;
mod make;
mod pax;
mod put;
mod sparse;
mod survey;
mod zstd;

use std::ffi::OsStr;
use std::io::{Read, Seek};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use tar::EntryType;

use self::attributes::{set_time, time_of};
pub use self::layer::{Compression, Limits};
use self::layer::{decompress, for_each_entry, path_of};
pub use self::put::LeftOut;
use self::put::put;
use self::survey::{NamesKept, whited_out};
pub use self::survey::{Survey, survey};
use super::error::UnpackError;
use super::rootfs::{Rootfs, clear, is_directory, remove, split};

/// Applies a layer to a rootfs that has all layers below it. Returns what had to be left out.
pub fn apply_layer(
    rootfs: &Rootfs,
    mut layer: impl Read + Seek,
    compression: Compression,
    limits: &mut Limits,
) -> Result<LeftOut, UnpackError> {
    let survey = survey(&mut layer, compression, limits.clone())?;
    layer.rewind().map_err(UnpackError::ReadLayer)?;
    lay(rootfs, layer, compression, &survey, limits)
}

// step: apply-layer
/// Lays a layer over those below it, after its survey. Returns what had to be left out.
pub fn lay(
    rootfs: &Rootfs,
    layer: impl Read,
    compression: Compression,
    survey: &Survey,
    limits: &mut Limits,
) -> Result<LeftOut, UnpackError> {
    // A layer cannot remove a file from the layer below, which is an archive of its own. It says `.wh.NAME` instead: a
    // whiteout. That speaks of lower layers only, wherever it stands in the archive; so whiteouts come first, before
    // anything of this layer is there to be removed by mistake.
    survey.whiteouts.iter().try_for_each(|path| white_out(rootfs, path))?;
    let mut directories = Vec::new();
    let mut names = NamesKept::default();
    let mut left_out = LeftOut::default();
    for_each_entry(decompress(layer, compression), limits, |entry, extended| {
        let path = path_of(entry, extended)?;
        put(rootfs, entry, extended, &path, &mut left_out)?;
        if entry.header().entry_type() == EntryType::Directory {
            directories.push((names.keep(path)?, time_of(entry.header(), extended)));
        }
        Ok(())
    })?;
    // A directory's time changes with every file that comes into it, so theirs can be set only now.
    for (path, time) in &directories {
        let (parent, name) = split(path);
        let set = match rootfs.directory(parent) {
            Ok(parent) if is_directory(&parent, name) => set_time(&parent, name, time),
            // A later entry of the layer has put something else there.
            Ok(_) | Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => Ok(()),
            Err(errno) => Err(errno),
        };
        set.map_err(|errno| UnpackError::SetTime { path: path.clone(), errno })?;
    }
    Ok(left_out)
}

/// Removes from the lower layers what a whiteout names. `.wh..wh..opq` (opaque) means everything in its directory.
fn white_out(rootfs: &Rootfs, path: &Path) -> Result<(), UnpackError> {
    let Some(name) = whited_out(path) else { return Ok(()) };
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
