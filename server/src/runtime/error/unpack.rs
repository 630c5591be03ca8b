//! What can fail while a layer is unpacked.

use std::io;
use std::path::PathBuf;

use nix::errno::Errno;

use super::super::printable::printable;

/// Why a layer was not unpacked. Paths are those in the image.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum UnpackError {
    #[error("cannot open(2) the directory to unpack into: {0}")]
    OpenRootfs(Errno),
    #[error("cannot read the archive")]
    ReadLayer(#[source] io::Error),
    #[error("the image has too many files")]
    TooManyEntries,
    #[error("the image is too big once unpacked")]
    TooManyBytes,
    #[error(
        "{path} would lie outside the image; that is an attack or a broken image",
        path = printable(.path.display())
    )]
    OutsideRootfs { path: PathBuf },
    #[error("{path} has a header without owner or mode", path = printable(.path.display()))]
    BadHeader { path: PathBuf },
    #[error("{path} is of the unknown type {kind:#x}", path = printable(.path.display()))]
    UnknownEntry { path: PathBuf, kind: u8 },
    #[error("cannot mkdir(2) for {path}: {errno}", path = printable(.path.display()))]
    MakeDirectory { path: PathBuf, errno: Errno },
    #[error("cannot unlink(2) what was at {path}: {errno}", path = printable(.path.display()))]
    Remove { path: PathBuf, errno: Errno },
    #[error("cannot open(2) the new file {path}: {errno}", path = printable(.path.display()))]
    CreateFile { path: PathBuf, errno: Errno },
    #[error("cannot write {path}", path = printable(.path.display()))]
    WriteFile { path: PathBuf, source: io::Error },
    #[error("cannot symlink(2) {path}: {errno}", path = printable(.path.display()))]
    SymbolicLink { path: PathBuf, errno: Errno },
    #[error(
        "cannot link(2) {path} to {target}: {errno}",
        path = printable(.path.display()), target = printable(.target.display())
    )]
    HardLink { path: PathBuf, target: PathBuf, errno: Errno },
    #[error("cannot mknod(2) {path}: {errno}", path = printable(.path.display()))]
    MakeNode { path: PathBuf, errno: Errno },
    #[error(
        "cannot chown(2) {path} to {uid}:{gid}: {errno}; giving files away takes root, with that id in its user namespace",
        path = printable(.path.display())
    )]
    SetOwner { path: PathBuf, uid: u32, gid: u32, errno: Errno },
    #[error("cannot chmod(2) {path}: {errno}", path = printable(.path.display()))]
    SetMode { path: PathBuf, errno: Errno },
    #[error(
        "cannot lsetxattr(2) {attribute} of {path}: {errno}",
        attribute = printable(.attribute), path = printable(.path.display())
    )]
    SetExtendedAttribute { path: PathBuf, attribute: String, errno: Errno },
    #[error(
        "cannot lremovexattr(2) {attribute} of {path}, which a lower layer has set: {errno}",
        attribute = printable(.attribute), path = printable(.path.display())
    )]
    RemoveExtendedAttribute { path: PathBuf, attribute: String, errno: Errno },
    #[error("cannot set the time of {path} (utimensat(2)): {errno}", path = printable(.path.display()))]
    SetTime { path: PathBuf, errno: Errno },
}

impl UnpackError {
    /// Whether it failed for want of space on the disk, or of what the user may have of it.
    pub fn is_disk_full(&self) -> bool {
        use UnpackError::*;
        match self {
            WriteFile { source, .. } => is_disk_full(source),
            MakeDirectory { errno, .. }
            | CreateFile { errno, .. }
            | SymbolicLink { errno, .. }
            | HardLink { errno, .. }
            | MakeNode { errno, .. }
            | SetExtendedAttribute { errno, .. } => matches!(errno, Errno::ENOSPC | Errno::EDQUOT),
            _ => false,
        }
    }
}

/// The same of an error of the standard library.
pub fn is_disk_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
