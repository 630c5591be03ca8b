//! Two ways to give the child another root directory: chroot(2), the simple one, and pivot_root(2), the thorough one.

use std::path::Path;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::{chdir, chroot};

use super::error::RunError;
use super::mount_table::why_not_pivot;

// step: change-root
/// Makes a directory the place where this process's paths start.
pub fn change_root(rootfs: &Path) -> Result<(), RunError> {
    // Only this process and its children look paths up from there. The machine's own root stays mounted around
    // it, and a process with CAP_SYS_CHROOT can find its way back: this is a view, not a wall.
    chroot(rootfs).map_err(|errno| RunError::Chroot { rootfs: rootfs.to_owned(), errno })?;
    // chroot(2) does not change the working directory, which is still outside: `..` would lead on out there.
    chdir("/").map_err(|errno| RunError::ChangeDirectory { path: "/".into(), errno })
}

// step: pivot-root
/// Makes a directory the root of the whole mount namespace, and unmounts the old root.
pub fn pivot_root(rootfs: &Path) -> Result<(), RunError> {
    let at = || rootfs.to_owned();
    // The new root must be a mount of its own. A bind mount of the directory on itself makes it one; MS_REC takes
    // along what is mounted in it already.
    let bind = MsFlags::MS_BIND | MsFlags::MS_REC;
    mount(Some(rootfs), rootfs, None::<&str>, bind, None::<&str>)
        .map_err(|errno| RunError::BindRoot { rootfs: at(), errno })?;
    // The working directory alone still leads to both roots in what follows, whatever `/` is by then.
    chdir(rootfs).map_err(|errno| RunError::ChangeDirectory { path: at(), errno })?;
    // The old root is put where the new one is, on top of it (pivot_root(2), "pivot_root(".", ".")"): so the image needs
    // no directory to keep it in.
    nix::unistd::pivot_root(".", ".").map_err(|errno| RunError::PivotRoot {
        rootfs: at(),
        errno,
        why: why_not_pivot(rootfs, errno),
    })?;
    // `.` is now the old root. MNT_DETACH, because it is in use: by its own mounts, below it.
    umount2(".", MntFlags::MNT_DETACH).map_err(|errno| RunError::UnmountOldRoot { errno })?;
    // And from a directory that is no longer mounted to one that is.
    chdir("/").map_err(|errno| RunError::ChangeDirectory { path: "/".into(), errno })
}
