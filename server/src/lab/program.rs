//! This very program as a mount for a sandbox: a file that tells its reader nothing of where it lies on the machine. A
//! bind mount's row in mountinfo has the path within its file system; that of a file in an overlay has no more than a name.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::sandbox::{Step, StepError};
use crate::sys;

const OURSELVES: &str = "/proc/self/exe";

/// Taken from a mount namespace, to be mounted in another.
pub struct Program {
    /// The program's own file: what serves where the directory does not.
    file: OwnedFd,
    /// Its directory, and its name there. `None` where another program has that name by now: the machine is just being
    /// upgraded.
    place: Option<(OwnedFd, OsString)>,
}

impl Program {
    /// A copy can only be made in the mount namespace that this program was started in.
    pub fn take() -> Result<Program, StepError> {
        let file = sys::clone_mount(Path::new(OURSELVES)).step("take a copy of the newroot binary's mount")?;
        Ok(Program { file, place: place().step("take a copy of the mount that the newroot binary is in")? })
    }

    /// A mount of the program that has not been attached anywhere. Needs the directories `program`, `programs` and
    /// `empty` in the current one, and leaves them as they were.
    pub fn mount(self) -> Result<OwnedFd, StepError> {
        let Some((directory, name)) = self.place else { return Ok(self.file) };
        sys::attach_mount(&directory, Path::new("program")).step("attach the newroot binary's directory")?;
        // Without an upper layer an overlay wants two lower ones.
        let layers = Some("lowerdir=program:empty");
        let mounted = mount(Some("newroot"), "programs", Some("overlay"), MsFlags::MS_RDONLY, layers);
        let program = match mounted {
            Ok(()) => {
                sys::clone_mount(&Path::new("programs").join(name)).step("take a copy of the binary in the overlay")
            }
            // Overlays neither lie on every file system nor on more than two of their own kind.
            Err(_not_here) => Ok(self.file),
        };
        if mounted.is_ok() {
            umount2("programs", MntFlags::MNT_DETACH).step("detach the overlay")?;
        }
        umount2("program", MntFlags::MNT_DETACH).step("detach the binary's directory")?;
        program
    }
}

fn place() -> io::Result<Option<(OwnedFd, OsString)>> {
    let path: PathBuf = fs::read_link(OURSELVES)?;
    let identity = |path: &Path| fs::metadata(path).map(|status| (status.dev(), status.ino()));
    if !identity(&path).is_ok_and(|found| identity(Path::new(OURSELVES)).is_ok_and(|ours| ours == found)) {
        return Ok(None);
    }
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else { return Ok(None) };
    Ok(Some((sys::clone_mount(directory)?, name.to_owned())))
}
