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

use super::error::UnpackError;

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

/// Sets both times of a file, in seconds since 1970.
pub fn set_time(parent: &OwnedFd, name: &OsStr, seconds: u64) -> nix::Result<()> {
    let time = TimeSpec::new(i64::try_from(seconds).unwrap_or(0), 0);
    utimensat(parent, name, &time, &time, UtimensatFlags::NoFollowSymlink)
}
