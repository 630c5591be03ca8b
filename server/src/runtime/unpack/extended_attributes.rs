//! Extended attributes (xattr(7)): names and values that the kernel keeps with a file, such as a program's capabilities.
//! How an archive says them is in `pax`.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use rustix::fs::{XattrFlags, llistxattr, lremovexattr, lsetxattr};

use super::super::error::UnpackError;

/// A name, as `user.comment` or `security.capability`, and its value.
#[derive(Debug, PartialEq, Eq)]
pub struct ExtendedAttribute {
    /// With the namespace, which is the part before the first dot.
    pub name: OsString,
    /// Any bytes.
    pub value: Vec<u8>,
}

/// Gives a new file its extended attributes. Returns how many of them it may not have here.
pub fn set_extended_attributes(
    parent: &OwnedFd,
    name: &OsStr,
    attributes: &[ExtendedAttribute],
    path: &Path,
) -> Result<u64, UnpackError> {
    let file = through_descriptor(parent, name);
    let mut left_out = 0;
    for ExtendedAttribute { name, value } in attributes {
        // The notes of an overlay file system to itself. An image has none of its own; and were its rootfs ever a layer
        // of an overlay, they could lead anywhere.
        if name.as_bytes().starts_with(b"trusted.overlay.") || name.as_bytes().starts_with(b"user.overlay.") {
            left_out += 1;
            continue;
        }
        // The `l` is for links: the attribute is for the link itself, not for what it points to.
        match lsetxattr(&file, name.as_os_str(), value, XattrFlags::empty()) {
            Ok(()) => {}
            // PERM: most of `security.` and all of `trusted.` is for the root of a whole machine, not for that of a user
            // namespace. NOTSUP: this file system has no attributes of the kind.
            Err(rustix::io::Errno::PERM | rustix::io::Errno::NOTSUP) => left_out += 1,
            Err(error) => {
                let (path, attribute) = (path.to_owned(), name.to_string_lossy().into_owned());
                let errno = Errno::from_raw(error.raw_os_error());
                return Err(UnpackError::SetExtendedAttribute { path, attribute, errno });
            }
        }
    }
    Ok(left_out)
}

/// Takes all extended attributes away from what a lower layer has made, as far as they may be taken away here.
pub fn remove_extended_attributes(parent: &OwnedFd, name: &OsStr, path: &Path) -> Result<(), UnpackError> {
    let file = through_descriptor(parent, name);
    // The kernel lists no more than this (XATTR_LIST_MAX).
    let mut list = Vec::with_capacity(1 << 16);
    match llistxattr(&file, rustix::buffer::spare_capacity(&mut list)) {
        Ok(_) => {}
        Err(rustix::io::Errno::NOTSUP) => return Ok(()),
        Err(error) => return Err(not_removed(path, OsStr::new("its attributes"), error)),
    }
    for attribute in list.split(|&byte| byte == 0).filter(|name| !name.is_empty()).map(OsStr::from_bytes) {
        match lremovexattr(&file, attribute) {
            // What may not be set here may not be taken away either; and some, as labels of SELinux, belong to the machine.
            Ok(()) | Err(rustix::io::Errno::PERM | rustix::io::Errno::ACCESS | rustix::io::Errno::NOTSUP) => {}
            Err(error) => return Err(not_removed(path, attribute, error)),
        }
    }
    Ok(())
}

/// The calls take a path, no directory and name like their kin. Through this link the path starts at the directory.
fn through_descriptor(directory: &OwnedFd, name: &OsStr) -> PathBuf {
    Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name)
}

fn not_removed(path: &Path, attribute: &OsStr, error: rustix::io::Errno) -> UnpackError {
    let (path, attribute) = (path.to_owned(), attribute.to_string_lossy().into_owned());
    UnpackError::RemoveExtendedAttribute { path, attribute, errno: Errno::from_raw(error.raw_os_error()) }
}
