//! Calls that succeeded and did not do what was meant, or more: each in a sentence or two. Only what is certain is said.

use std::fs;
use std::os::unix::fs::MetadataExt;

use nix::unistd::Pid;
use shared::trace::Change;

use super::ask::Ask;
use super::caller::Caller;
use super::flags::{self, PROPAGATION};
use super::scene::directory_of;
use super::words::without_magic;
use crate::lab::proc;
use crate::lab::views::Views;

/// Options of a mount that a bind mount takes over from its source.
const OPTIONS: u64 = libc::MS_RDONLY
    | libc::MS_NOSUID
    | libc::MS_NODEV
    | libc::MS_NOEXEC
    | libc::MS_NOATIME
    | libc::MS_NODIRATIME
    | libc::MS_RELATIME
    | libc::MS_STRICTATIME
    | libc::MS_NOSYMFOLLOW;

/// What is to be known of a call that has succeeded, with what it changed.
pub fn warnings(ask: &Ask, caller: &Caller, init: Pid, changes: &[Change], views: &Views) -> Vec<String> {
    let mut warnings: Vec<String> = of_the_call(ask, caller).into_iter().collect();
    if let Ask::Mount { flags, .. } = ask {
        warnings.extend(ignored(without_magic(*flags)));
    }
    if ask.changes_tables() {
        warnings.extend(changes.iter().filter_map(|change| leak(change, views)));
        warnings.extend(on_the_host(caller, init).filter(|_| changes.iter().any(|change| !change.came.is_empty())));
    }
    warnings
}

fn of_the_call(ask: &Ask, caller: &Caller) -> Option<String> {
    match ask {
        Ask::Unshare { flags } if flags & libc::CLONE_NEWPID as u64 != 0 => Some(
            "This process itself stays in its PID namespace; its next child is process 1 of the new one.".to_owned(),
        ),
        Ask::Chroot { .. } if directory_of(caller).is_none() => {
            let root = proc::root_of(caller.thread).ok()?.path;
            Some(format!(
                "The working directory is still outside {root}: `.` and `..` lead on out there, until chdir(\"/\")."
            ))
        }
        _ => None,
    }
}

/// Flags that mount(2) does not look at beside others (path_mount() and do_loopback() in fs/namespace.c).
fn ignored(flags: u64) -> Vec<String> {
    let mut warnings = Vec::new();
    if flags & libc::MS_BIND == 0 || flags & libc::MS_REMOUNT != 0 {
        return warnings;
    }
    if flags & PROPAGATION != 0 {
        let names = flags::names(flags & PROPAGATION, &[flags::MOUNT]);
        warnings.push(format!(
            "{names} had no effect: with MS_BIND, mount(2) looks at no propagation flag. It takes a second call."
        ));
    }
    if flags & OPTIONS != 0 {
        let names = flags::names(flags & OPTIONS, &[flags::MOUNT]);
        warnings.push(format!(
            "{names} had no effect: a bind mount has the options of its source. Setting others takes a second call, with \
             MS_REMOUNT | MS_BIND."
        ));
    }
    warnings
}

fn leak(change: &Change, views: &Views) -> Option<String> {
    let group = change.carried_by?;
    let live = views.list().into_iter().find(|live| live.view.id == change.view)?;
    let what = match (change.came.is_empty(), change.went.is_empty()) {
        (false, _) => "It was mounted",
        (_, false) => "It was unmounted",
        _ => return None,
    };
    Some(format!(
        "{what} in another mount namespace too, {}: peer group {} carried it there.",
        name_of(live.view.ordinal),
        group.0
    ))
}

fn name_of(ordinal: u32) -> String {
    if ordinal == 0 { "the host's".to_owned() } else { format!("number {ordinal} here") }
}

/// A container in all but its mounts.
fn on_the_host(caller: &Caller, init: Pid) -> Option<String> {
    let namespace = |pid: Pid, kind: &str| fs::metadata(format!("/proc/{pid}/ns/{kind}")).map(|file| file.ino()).ok();
    let is_outside = namespace(init, "mnt") == Some(caller.mount_namespace);
    let is_inside = namespace(init, "pid")? != namespace(caller.thread, "pid")?;
    (is_outside && is_inside).then(|| {
        "This process has a PID namespace of its own, but the host's mount namespace: the mount is the host's, and stays \
         there when the process ends."
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_that_a_bind_mount_ignores_are_named() {
        assert!(ignored(libc::MS_BIND | libc::MS_REC | libc::MS_SILENT).is_empty());
        assert!(ignored(libc::MS_BIND | libc::MS_REMOUNT | libc::MS_RDONLY).is_empty());
        assert!(ignored(libc::MS_REC | libc::MS_PRIVATE).is_empty());
        let both = ignored(libc::MS_BIND | libc::MS_PRIVATE | libc::MS_RDONLY);
        assert!(both[0].starts_with("MS_PRIVATE had no effect") && both[1].starts_with("MS_RDONLY had no effect"));
    }
}
