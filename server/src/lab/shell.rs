//! Which shell a root file system has for the terminals.

use std::path::Path;

use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sys::stat::{Mode, SFlag, fstat};

/// The shells that a terminal may be started with, the most comfortable first.
pub const SHELLS: [&str; 2] = ["/bin/bash", "/bin/sh"];

/// The first of [`SHELLS`] that there is below `root`.
pub fn find(root: &Path) -> Option<&'static str> {
    let directory = open(root, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()).ok()?;
    // `/bin/sh` is a symbolic link in most images: what it leads to lies in there, not on this machine.
    let how = OpenHow::new().flags(OFlag::O_PATH | OFlag::O_CLOEXEC).resolve(ResolveFlag::RESOLVE_IN_ROOT);
    let is_program = |shell: &&str| {
        let status = openat2(&directory, *shell, how).and_then(fstat);
        status.is_ok_and(|status| {
            let (kind, mode) = (SFlag::from_bits_truncate(status.st_mode), Mode::from_bits_truncate(status.st_mode));
            kind & SFlag::S_IFMT == SFlag::S_IFREG && mode.contains(Mode::S_IXUSR)
        })
    };
    SHELLS.into_iter().find(is_program)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_shell_is_a_program_inside_the_root() {
        let root = tempfile::tempdir().expect("a directory");
        fs::create_dir(root.path().join("bin")).expect("made");
        assert_eq!(find(root.path()), None);
        // On this machine there is such a file; in there it leads nowhere.
        symlink("/bin/bash", root.path().join("bin/bash")).expect("linked");
        symlink("/etc/passwd", root.path().join("bin/sh")).expect("linked");
        assert_eq!(find(root.path()), None);
        fs::remove_file(root.path().join("bin/sh")).expect("removed");
        symlink("/../bin/busybox", root.path().join("bin/sh")).expect("linked");
        fs::write(root.path().join("bin/busybox"), "").expect("written");
        fs::set_permissions(root.path().join("bin/busybox"), fs::Permissions::from_mode(0o755)).expect("executable");
        assert_eq!(find(root.path()), Some("/bin/sh"));
    }
}
