//! A directory that nothing leaves: names inside it are looked up as a process would that has it as its root, so that
//! `/`, `..` and symbolic links in an image end inside the image. What is put there is in `unpack`.

use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, open, openat2, readlinkat};
use nix::sys::stat::{FchmodatFlags, Mode, SFlag, fchmodat, fstatat, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};

/// An open directory that holds, or will hold, the files of an image.
pub struct Rootfs(OwnedFd);

impl Rootfs {
    /// Opens an existing directory.
    pub fn open(path: &Path) -> nix::Result<Rootfs> {
        open(path, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()).map(Rootfs)
    }

    /// Whether nothing is in it yet.
    pub fn is_empty(&self) -> nix::Result<bool> {
        Ok(names(&self.0)?.is_empty())
    }

    /// A directory inside, as a place for calls that take one (openat(2) and its kin).
    pub fn directory(&self, path: &Path) -> nix::Result<OwnedFd> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        // Looking at the path first and using it afterwards would leave a gap for a trick; RESOLVE_IN_ROOT makes
        // the kernel do both at once (openat2(2), Linux 5.6).
        let how = OpenHow::new()
            .flags(OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        loop {
            match openat2(&self.0, path, how) {
                // Something anywhere on the machine was renamed while a `..` was looked up: the kernel asks for another try.
                Err(Errno::EAGAIN) => {}
                result => return result,
            }
        }
    }

    /// A directory inside, made with its parents where it is missing. Errors with EEXIST at a link that leads nowhere.
    pub fn make_directories(&self, path: &Path) -> nix::Result<OwnedFd> {
        self.make(path, 0)
    }

    /// The same, and what links lead to is made too: `lib` may be a link to a `usr/lib` that is still to come.
    pub fn make_directories_through_links(&self, path: &Path) -> nix::Result<OwnedFd> {
        self.make(path, MAX_LINKS)
    }

    fn make(&self, path: &Path, links_left: u32) -> nix::Result<OwnedFd> {
        match self.directory(path) {
            Err(Errno::ENOENT) => {}
            result => return result,
        }
        let mut directory = self.directory(Path::new("."))?;
        let mut so_far = PathBuf::new();
        for name in path.components() {
            let parent = so_far.clone();
            so_far.push(name);
            directory = match self.directory(&so_far) {
                Err(Errno::ENOENT) => {
                    let mode = Mode::from_bits_truncate(0o755);
                    match mkdirat(&directory, name.as_os_str(), mode) {
                        // mkdir(2) subtracts the umask, which is the learner's business and not the image's.
                        Ok(()) => fchmodat(&directory, name.as_os_str(), mode, FchmodatFlags::FollowSymlink)?,
                        // Something has the name, and yet leads nowhere: a symbolic link to what is still to be made.
                        Err(Errno::EEXIST) if links_left > 0 => {
                            let target = readlinkat(&directory, name.as_os_str())?;
                            self.make(&parent.join(target), links_left - 1)?;
                        }
                        Err(errno) => return Err(errno),
                    }
                    self.directory(&so_far)?
                }
                result => result?,
            };
        }
        Ok(directory)
    }
}

/// How many symbolic links may lead from one to the next, as in the kernel (path_resolution(7)).
const MAX_LINKS: u32 = 40;

/// A path of an image, as a path that starts at its root: without `/` and `.`. `None` if it has a `..`, which no
/// honest image has.
pub fn from_root(path: &Path) -> Option<PathBuf> {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => plain.push(name),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => return None,
        }
    }
    Some(plain)
}

/// The directory that a path lies in, and its name there. The root directory, which archives call `./`, is `.` in itself.
pub fn split(path: &Path) -> (&Path, &OsStr) {
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => (parent, name),
        _ => (Path::new(""), OsStr::new(".")),
    }
}

/// Whether what has this name in the directory is a directory itself, and no link to one.
pub fn is_directory(parent: &impl AsFd, name: &OsStr) -> bool {
    fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW)
        .is_ok_and(|status| SFlag::from_bits_truncate(status.st_mode & SFlag::S_IFMT.bits()) == SFlag::S_IFDIR)
}

/// Removes what has this name in the directory, with everything in it. That nothing has the name is fine.
pub fn remove(directory: &impl AsFd, name: &OsStr) -> nix::Result<()> {
    match unlinkat(directory, name, UnlinkatFlags::NoRemoveDir) {
        Err(Errno::EISDIR) => {}
        Err(Errno::ENOENT) => return Ok(()),
        result => return result,
    }
    // O_NOFOLLOW: if it is a symbolic link by now, then what it leads to is not ours to remove.
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    clear(&nix::fcntl::openat(directory, name, flags, Mode::empty())?)?;
    unlinkat(directory, name, UnlinkatFlags::RemoveDir)
}

/// Removes everything in the directory.
pub fn clear(directory: &impl AsFd) -> nix::Result<()> {
    use std::os::unix::ffi::OsStrExt;
    names(directory)?.iter().try_for_each(|name| remove(directory, OsStr::from_bytes(name.as_bytes())))
}

/// The names in the directory, without `.` and `..`. All of them at once, because one does not read on in a directory
/// that one is changing.
fn names(directory: &impl AsFd) -> nix::Result<Vec<CString>> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mut open = Dir::openat(directory, ".", flags, Mode::empty())?;
    let names = open.iter().map(|entry| entry.map(|entry| entry.file_name().to_owned()));
    names.filter(|name| !matches!(name.as_ref().map(|name| name.to_bytes()), Ok(b"." | b".."))).collect()
}
