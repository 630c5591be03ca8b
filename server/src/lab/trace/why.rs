//! Why a call failed, as far as the state of that moment tells. The kernel has one errno for many reasons; where none of
//! them can be seen to hold, nothing is said.

use std::path::Path;

use nix::errno::Errno;

use super::ask::Ask;
use super::caller::{Caller, Capability};
use super::flags::PROPAGATION;
use super::memory::Text;
use super::scene::Scene;
use super::words::without_magic;
use crate::runtime;

/// Where programs are, for whoever asks for one in the wrong directory.
const PROGRAMS: [&str; 6] = ["/bin", "/usr/bin", "/sbin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin"];
/// Shells, for whoever asks for one that there is not.
const SHELLS: [&str; 5] = ["/bin/bash", "/bin/sh", "/usr/bin/sh", "/bin/ash", "/busybox/sh"];

/// Why this errno, while the caller stands behind its call.
pub fn why(ask: &Ask, errno: Errno, caller: &Caller) -> Option<String> {
    match (errno, ask) {
        (Errno::EFAULT, _) => return Some("an argument points to memory that the program does not have".into()),
        (Errno::ENAMETOOLONG, _) => return Some("a path or name is longer than the kernel takes".into()),
        (Errno::EPERM, _) => return no_permission(ask, caller),
        (Errno::EBADF, Ask::Setns { fd, .. }) => return Some(format!("descriptor {fd} is not open")),
        (Errno::EINVAL, Ask::Setns { fd, .. }) => {
            return Some(format!(
                "descriptor {fd} is no namespace of that kind, or one that this process is in already"
            ));
        }
        (Errno::EINVAL, Ask::SetHostname { length: 65.., .. }) => return Some("a name has at most 64 bytes".into()),
        (Errno::ENOSPC, Ask::Clone { .. } | Ask::Unshare { .. }) => {
            return Some("there are as many namespaces as the limits in /proc/sys/user/ allow".into());
        }
        _ => {}
    }
    let scene = Scene::of(caller)?;
    match (errno, ask) {
        (_, Ask::Execute { at: None, path, .. }) => no_program(&scene, path, errno),
        (Errno::ENODEV, Ask::Mount { kind, .. }) => Some(format!("this kernel has no file system called {kind}")),
        (Errno::ENODEV, Ask::OpenFileSystem { name, .. }) => {
            Some(format!("this kernel has no file system called {name}"))
        }
        (Errno::ENOENT | Errno::ENOTDIR, _) => ask.paths().into_iter().find_map(|path| no_path(&scene, path, errno)),
        (Errno::EINVAL | Errno::EBUSY, Ask::Unmount { target, .. }) => no_unmount(&scene, target, errno),
        (Errno::EINVAL, Ask::PivotRoot { new_root, put_old }) => no_pivot(&scene, new_root, put_old),
        (Errno::EBUSY, Ask::PivotRoot { new_root, .. }) => {
            Some(format!("{new_root} is the root of this process already"))
        }
        (Errno::EINVAL, Ask::Mount { target, flags, .. }) => no_mount(&scene, target, without_magic(*flags)),
        _ => None,
    }
}

fn no_permission(ask: &Ask, caller: &Caller) -> Option<String> {
    let (capability, name) = match ask {
        Ask::Chroot { .. } => (Capability::SysChroot, "CAP_SYS_CHROOT"),
        Ask::Execute { .. } => return None,
        _ => (Capability::SysAdmin, "CAP_SYS_ADMIN"),
    };
    if !caller.has(capability) {
        return Some(format!("it takes {name}, which this process does not have in its user namespace"));
    }
    match ask {
        Ask::Mount { kind, flags, .. }
            if flags & (libc::MS_BIND | libc::MS_REMOUNT | libc::MS_MOVE | PROPAGATION) == 0 =>
        {
            Some(runtime::why_not_mount(&kind.text()?, Errno::EPERM).to_owned())
        }
        Ask::Mount { .. } => {
            Some("what came with a mount from a user namespace above cannot be undone in this one".to_owned())
        }
        _ => None,
    }
}

fn no_path(scene: &Scene, path: &Text, errno: Errno) -> Option<String> {
    let path = scene.absolute(path)?;
    match errno {
        Errno::ENOTDIR => {
            let is_file = |part: &&Path| scene.find(part).is_ok_and(|found| !found.location.is_directory());
            let file = path.ancestors().find(is_file)?;
            Some(format!("{} is no directory", file.display()))
        }
        _ => Some(format!("there is no {}", scene.obstacle(&path)?.display())),
    }
}

fn no_unmount(scene: &Scene, target: &Text, errno: Errno) -> Option<String> {
    let path = scene.absolute(target)?;
    let found = scene.find(&path).ok()?;
    if !found.location.is_mount_point {
        return Some(format!("{} is not a mount point", path.display()));
    }
    if errno == Errno::EINVAL {
        return Some(format!(
            "the mount at {} came into this namespace together with others from one with more privileges; they cannot be \
             taken apart",
            path.display()
        ));
    }
    match scene.mounted_on(found.location.mount).first() {
        Some(row) => Some(format!("another mount lies on it, at {}", row.mount_point)),
        None => Some("a process has its working directory, its root or an open file in it".to_owned()),
    }
}

fn no_pivot(scene: &Scene, new_root: &Text, put_old: &Text) -> Option<String> {
    let (new, old) = (scene.absolute(new_root)?, scene.absolute(put_old)?);
    let found = scene.find(&new).ok()?;
    if !found.location.is_mount_point {
        return Some(format!("new_root, {}, is not a mount point", new.display()));
    }
    if !old.starts_with(&new) {
        return Some(format!("put_old, {}, is not below new_root, {}", old.display(), new.display()));
    }
    Some(runtime::explain_pivot(&scene.table(), &new))
}

fn no_mount(scene: &Scene, target: &Text, flags: u64) -> Option<String> {
    let path = scene.absolute(target)?;
    let is_mount_point = scene.find(&path).ok()?.location.is_mount_point;
    let wants_mount_point = flags & libc::MS_REMOUNT != 0 || (flags & PROPAGATION != 0 && flags & libc::MS_BIND == 0);
    if wants_mount_point && !is_mount_point {
        return Some(format!("{} is not a mount point", path.display()));
    }
    if flags & libc::MS_BIND == 0 && (flags & PROPAGATION).count_ones() > 1 {
        return Some("only one propagation type can be set at once".to_owned());
    }
    None
}

fn no_program(scene: &Scene, path: &Text, errno: Errno) -> Option<String> {
    let path = scene.absolute(path)?;
    let there_is = |path: &Path| scene.find(path).is_ok_and(|found| found.location.is_file());
    let shown = path.display();
    let found = match scene.find(&path) {
        Ok(found) => found,
        Err(Errno::ENOENT) => {
            let name = path.file_name()?;
            let elsewhere = PROGRAMS.iter().map(|directory| Path::new(directory).join(name));
            let shells = SHELLS.iter().map(Path::new).filter(|_| name.as_encoded_bytes().ends_with(b"sh"));
            let instead = elsewhere.chain(shells.map(Path::to_owned)).find(|path| there_is(path));
            return Some(match instead {
                Some(instead) => format!("this image has no {shown}; it has {}", instead.display()),
                None => format!("this image has no {shown}"),
            });
        }
        Err(_) => return None,
    };
    match errno {
        Errno::ENOENT => {
            let wanted = runtime::wants(&found.beginning())?;
            let is_missing = !there_is(Path::new(&wanted));
            is_missing.then(|| format!("{shown} is there, but it wants {wanted:?}, which this image does not have"))
        }
        Errno::EACCES if found.location.is_directory() => Some(format!("{shown} is a directory")),
        Errno::EACCES if found.location.mode & 0o111 == 0 => {
            Some(format!("{shown} is not executable: its mode is {:o}", found.location.mode & 0o7777))
        }
        Errno::ENOEXEC => {
            Some(format!("{shown} is neither a program for this machine nor a script that begins with #!"))
        }
        _ => None,
    }
}

impl Ask {
    /// The paths that the kernel looks up.
    fn paths(&self) -> Vec<&Text> {
        match self {
            Ask::Mount { source, target, flags, .. } if flags & (libc::MS_BIND | libc::MS_MOVE) != 0 => {
                vec![target, source]
            }
            Ask::Mount { target, .. } | Ask::Unmount { target, .. } => vec![target],
            Ask::PivotRoot { new_root, put_old } => vec![new_root, put_old],
            Ask::Chroot { path } => vec![path],
            Ask::OpenTree { directory: libc::AT_FDCWD, path, .. } => vec![path],
            Ask::MoveMount { to_directory: libc::AT_FDCWD, to, .. } => vec![to],
            Ask::PickFileSystem { directory: libc::AT_FDCWD, path, .. } => vec![path],
            Ask::SetAttributes { directory: libc::AT_FDCWD, path, .. } => vec![path],
            _ => Vec::new(),
        }
    }
}
