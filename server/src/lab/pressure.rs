//! Pressure stall information (psi.rst): for whoever may write to /proc/pressure with CAP_SYS_RESOURCE in *any* user namespace,
//! as a learner's root has it, the kernel starts a thread of real-time priority. So nobody but root may.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::defence::{Defence, Defences};

const DIRECTORY: &str = "/proc/pressure";

/// The permission could not be taken away.
#[derive(Debug, thiserror::Error)]
#[error("cannot make {path} root's alone: {cause}; without that a lab can start threads of the kernel's own")]
pub struct Error {
    path: PathBuf,
    cause: io::Error,
}

/// Takes the permission to write from everybody but root. The files are the machine's own, whichever mount of proc they are
/// reached by, so it holds for all labs, and for all else on the machine until its next start. Watching one's own cgroup's
/// pressure, as systemd's services do, is not touched by it.
pub fn keep_for_root(defences: &Defences) -> Result<(), Error> {
    // A kernel without pressure stall information has no such directory.
    let files = fs::read_dir(DIRECTORY).into_iter().flatten().flatten();
    for path in files.map(|entry| entry.path()).filter(|_| defences.stand(Defence::Pressure)) {
        let close = |path: &PathBuf| {
            let mut permissions = fs::metadata(path)?.permissions();
            if permissions.mode() & 0o022 != 0 {
                permissions.set_mode(permissions.mode() & !0o022);
                fs::set_permissions(path, permissions)?;
            }
            Ok(())
        };
        close(&path).map_err(|cause| Error { path, cause })?;
    }
    Ok(())
}
