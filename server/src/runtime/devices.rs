//! What is in the container's /dev: the devices that every program counts on, links, and the terminal. The file system
//! that they are put into is mounted by `mounts`.

use std::io::{stderr, stdin, stdout};
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::mount::{MsFlags, mount};
use nix::sys::stat::Mode;
use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout, isatty, symlinkat, ttyname};

use super::error::RunError;
use super::rootfs::Rootfs;

/// The devices that read and write nothing of the machine, and the process's own terminal.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// Names that programs use, and what they stand for: the process's own open files, and the maker of pseudoterminals.
const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

/// The container's name for the terminal that `newroot run` was started on.
const CONSOLE: &str = "/dev/console";

/// Fills the new, empty /dev of the image.
pub fn fill(rootfs: &Path) -> Result<(), RunError> {
    let path = rootfs.join("dev");
    let dev = Rootfs::open(rootfs)
        .and_then(|inside| inside.directory(Path::new("dev")))
        .map_err(|errno| RunError::MountPoint { path: path.clone(), errno })?;
    for name in DEVICES {
        bind(&Path::new("/dev").join(name), &dev, name)?;
    }
    for (name, target) in LINKS {
        symlinkat(target, &dev, name).map_err(|errno| RunError::DeviceLink { path: path.join(name), errno })?;
    }
    match terminal() {
        Some(terminal) => bind(&terminal, &dev, "console"),
        None => Ok(()),
    }
}

/// Puts a device of the machine into the image's /dev. mknod(2) of a device is not allowed in a user namespace; a bind
/// mount of one that is there already is.
fn bind(device: &Path, dev: &impl AsFd, name: &str) -> Result<(), RunError> {
    let failed = |errno| RunError::Device { device: device.to_owned(), errno };
    // A mount point for a file is a file; O_EXCL, because it is this function's to make.
    let file = openat(dev, name, OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC, Mode::from_bits_truncate(0o666))
        .map_err(failed)?;
    let target = format!("/proc/self/fd/{}", file.as_raw_fd());
    // Named by its descriptor: a path could be led out of the image by a symbolic link.
    mount(Some(device), target.as_str(), None::<&str>, MsFlags::MS_BIND, None::<&str>).map_err(failed)
}

// step: terminal
/// Opens the terminal again under its name in the container, once the root has changed. It was opened under a name of
/// the machine (`/dev/pts/3`), which leads nowhere in here: `tty` would say that there is none.
pub fn reopen_terminal() -> Result<(), RunError> {
    if !Path::new(CONSOLE).exists() {
        return Ok(());
    }
    let failed = |errno| RunError::Device { device: CONSOLE.into(), errno };
    let terminal =
        nix::fcntl::open(CONSOLE, OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC, Mode::empty()).map_err(failed)?;
    // Only those that are the terminal: a pipe or a file stays what it is.
    let again = |is: nix::Result<bool>, place: &dyn Fn() -> nix::Result<()>| match is {
        Ok(true) => place(),
        _ => Ok::<(), Errno>(()),
    };
    again(isatty(stdin()), &|| dup2_stdin(&terminal))
        .and_then(|()| again(isatty(stdout()), &|| dup2_stdout(&terminal)))
        .and_then(|()| again(isatty(stderr()), &|| dup2_stderr(&terminal)))
        .map_err(failed)
}

/// The machine's name for the terminal of this process, if it has one.
fn terminal() -> Option<PathBuf> {
    ttyname(stdin()).or_else(|_| ttyname(stdout())).or_else(|_| ttyname(stderr())).ok()
}
