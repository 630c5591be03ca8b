//! The root directory of a machine, from outside, as far as an unprivileged process may go in it: what is closed to
//! others in there is closed to us.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};

use nix::unistd::Pid;
use rustix::fs::{Mode, OFlags, ResolveFlags, open, openat2};

/// A machine's root directory, in its own mount namespace.
pub struct Root(OwnedFd);

impl Root {
    /// That of a process; `None` where it has ended.
    pub fn of(init: Pid) -> Option<Root> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        open(format!("/proc/{init}/root"), flags, Mode::empty()).ok().map(Root)
    }

    /// Opens what an absolute path leads to in there, without following a link in its last place.
    pub fn open(&self, path: &str, flags: OFlags) -> io::Result<OwnedFd> {
        open_in(&self.0, path, flags)
    }
}

/// The same, below any directory. No link, however made, leads out of it (openat2(2), Linux 5.6); those of /proc, which
/// lead anywhere, are not followed at all. Nothing that is opened can make us wait for another process.
pub fn open_in(directory: impl AsFd, path: &str, flags: OFlags) -> io::Result<OwnedFd> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // O_PATH knows neither of them.
    let flags = if flags.contains(OFlags::PATH) { flags } else { flags | OFlags::NONBLOCK | OFlags::NOCTTY };
    Ok(openat2(directory, path, flags, Mode::empty(), resolve)?)
}

/// Reads a regular file of no more than `most` bytes, as it says of itself: a file of /proc says 0.
pub fn read(file: OwnedFd, most: u64) -> io::Result<Vec<u8>> {
    let file = File::from(file);
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.len() > most {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let mut content = Vec::new();
    file.take(metadata.len()).read_to_end(&mut content)?;
    Ok(content)
}
