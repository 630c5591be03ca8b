//! What a file has besides its content: owner, mode and time, from the header of its entry. Extended attributes, which
//! stand elsewhere in the archive, are in `extended_attributes`.

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use nix::fcntl::AtFlags;
use nix::sys::stat::{FchmodatFlags, Mode, UtimensatFlags, fchmodat, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchownat};
use tar::EntryType;

use super::super::error::UnpackError;
use super::pax::Extended;

/// Gives a new file its owner and its mode.
pub fn set_attributes(parent: &OwnedFd, name: &OsStr, header: &tar::Header, path: &Path) -> Result<(), UnpackError> {
    let at = || path.to_owned();
    let number = |field: io::Result<u64>| field.ok().and_then(|id| u32::try_from(id).ok());
    let (Some(uid), Some(gid), Ok(mode)) = (number(header.uid()), number(header.gid()), header.mode()) else {
        return Err(UnpackError::BadHeader { path: at() });
    };
    // The owner first, because chown(2) takes the set-user-ID and set-group-ID bits away.
    fchownat(parent, name, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)), AtFlags::AT_SYMLINK_NOFOLLOW)
        .map_err(|errno| UnpackError::SetOwner { path: at(), uid, gid, errno })?;
    // Symbolic links have no mode.
    if header.entry_type() != EntryType::Symlink {
        fchmodat(parent, name, Mode::from_bits_truncate(mode & 0o7777), FchmodatFlags::FollowSymlink)
            .map_err(|errno| UnpackError::SetMode { path: at(), errno })?;
    }
    Ok(())
}

/// When an entry's file was last changed: by the PAX header, or else by its own, which knows whole seconds only.
pub fn time_of(header: &tar::Header, extended: &Extended) -> TimeSpec {
    let seconds = header.mtime().ok().and_then(|seconds| i64::try_from(seconds).ok());
    extended.modified.unwrap_or(TimeSpec::new(seconds.unwrap_or(0), 0))
}

/// Sets both times of a file, or of a symbolic link itself.
pub fn set_time(parent: &OwnedFd, name: &OsStr, time: &TimeSpec) -> nix::Result<()> {
    utimensat(parent, name, time, time, UtimensatFlags::NoFollowSymlink)
}
