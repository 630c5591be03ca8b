//! Tries something in a child process, in new namespaces where that is asked for. What it does there is gone with it.

use std::fs::{self, File};
use std::io::{self, Read, Write};

use nix::errno::Errno;
use nix::sched::CloneFlags;
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Gid, Pid, Uid, setresgid, setresuid};

use crate::lab::uid_range::UidRange;
use crate::runtime;

/// Does something in a child, and says how it went. With CLONE_NEWUSER the child is root of a new user namespace, whose
/// ids are mapped as a lab's are. Errors with the child's own error, or that of making it.
pub fn probe(namespaces: CloneFlags, work: impl Fn() -> io::Result<()>) -> io::Result<()> {
    let (is_mapped, mut mapped) = io::pipe()?;
    let child = runtime::clone(namespaces, || {
        // An errno fits into an exit status.
        let result = wait_to_be_mapped(namespaces, &is_mapped).and_then(|()| work());
        result.err().map_or(0, |error| error.raw_os_error().unwrap_or(libc::EIO) as u8)
    })?;
    let ids = if namespaces.contains(CloneFlags::CLONE_NEWUSER) { map_ids(child).map(Some) } else { Ok(None) };
    let started = ids.and_then(|ids| mapped.write_all(b".").map(|()| ids));
    if started.is_err() {
        // It waits for what does not come.
        kill(child, Signal::SIGKILL)?;
    }
    let ended = waitpid(child, None)?;
    // Only now another may have the same ids.
    drop(started?);
    match ended {
        WaitStatus::Exited(_, 0) => Ok(()),
        WaitStatus::Exited(_, errno) => Err(io::Error::from_raw_os_error(errno)),
        // As seccomp does with a forbidden call.
        _ => Err(Errno::EPERM.into()),
    }
}

/// Does something with a user namespace whose ids are mapped as a lab's are.
pub fn with_user_namespace(work: impl Fn(File) -> io::Result<()>) -> io::Result<()> {
    let child = runtime::clone(CloneFlags::CLONE_NEWUSER, || {
        let _ = prctl::set_pdeathsig(Signal::SIGKILL);
        nix::unistd::pause();
        0
    })?;
    let result = map_ids(child).and_then(|_ids| work(File::open(format!("/proc/{child}/ns/user"))?));
    kill(child, Signal::SIGKILL)?;
    waitpid(child, None)?;
    result
}

fn wait_to_be_mapped(namespaces: CloneFlags, mut mapped: &io::PipeReader) -> io::Result<()> {
    mapped.read_exact(&mut [0])?;
    if namespaces.contains(CloneFlags::CLONE_NEWUSER) {
        let (user, group) = (Uid::from_raw(0), Gid::from_raw(0));
        setresgid(group, group, group)?;
        setresuid(user, user, user)?;
    }
    Ok(())
}

/// Maps ids from 0 on to a range that no lab has, as long as the value lives.
fn map_ids(child: Pid) -> io::Result<UidRange> {
    let ids = UidRange::take()?;
    let map = format!("0 {} {}", ids.first, UidRange::MAPPED);
    fs::write(format!("/proc/{child}/uid_map"), &map)?;
    fs::write(format!("/proc/{child}/gid_map"), &map)?;
    Ok(ids)
}
