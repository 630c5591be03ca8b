//! What a call is about to do, in one sentence of plain words.

use super::ask::{Ask, Attributes};
use super::flags::{self, PROPAGATION};
use super::memory::Text;
use super::words::without_magic;

/// What each kind of namespace makes its own, in the order of the flags.
const OWN: [(i32, &str); 7] = [
    (libc::CLONE_NEWNS, "list of mounts"),
    (libc::CLONE_NEWUTS, "host name"),
    (libc::CLONE_NEWIPC, "shared memory and message queues"),
    (libc::CLONE_NEWUSER, "user and group ids"),
    (libc::CLONE_NEWPID, "process numbers"),
    (libc::CLONE_NEWNET, "network"),
    (libc::CLONE_NEWCGROUP, "view of the cgroups"),
];

impl Ask {
    /// What it is about to do.
    pub fn about(&self) -> String {
        match self {
            Ask::Clone { flags, .. } => format!("Start a child process with {}.", own(*flags, "its own")),
            Ask::Unshare { flags } => unshare(*flags),
            Ask::Setns { fd, nstype: 0 } => format!("Go into the namespace that descriptor {fd} stands for."),
            Ask::Setns { fd, nstype } => {
                let kinds = flags::names(*nstype, &[flags::NAMESPACES]);
                format!("Go into the namespace that descriptor {fd} stands for, if it is one of {kinds}.")
            }
            Ask::Mount { source, target, kind, flags, .. } => mount(source, target, kind, without_magic(*flags)),
            Ask::Unmount { target, flags } if flags & libc::MNT_DETACH as u64 != 0 => {
                format!("Take the mount at {target} out of the tree now, in use or not; it ends when nobody uses it.")
            }
            Ask::Unmount { target, .. } => format!("Take away the mount on top of {target}."),
            Ask::OpenFileSystem { name, .. } => format!("Begin to set up a new file system of type {name}."),
            Ask::PickFileSystem { path, .. } => format!("Begin to set options of the file system at {path}."),
            Ask::Configure { command, key, .. } => match *command {
                libc::FSCONFIG_CMD_CREATE | libc::FSCONFIG_CMD_CREATE_EXCL => {
                    "Make the file system, with what was set until now.".to_owned()
                }
                libc::FSCONFIG_CMD_RECONFIGURE => "Give the file system the options that were set.".to_owned(),
                _ => format!("Set the option {key} of the file system."),
            },
            Ask::MakeMount { fd, .. } => {
                format!("Make a mount of the file system behind descriptor {fd}, in no place yet.")
            }
            Ask::MoveMount { from, to, .. } if from.bytes().is_some_and(<[u8]>::is_empty) => {
                format!("Put a mount that is held by a descriptor onto {to}.")
            }
            Ask::MoveMount { from, to, .. } => format!("Move the mount at {from} to {to}."),
            Ask::OpenTree { path, flags, .. } if flags & u64::from(libc::OPEN_TREE_CLONE) != 0 => {
                format!("Take a copy of the mount at {path}, in no place yet.")
            }
            Ask::OpenTree { path, .. } => format!("Get a descriptor for the mount at {path}."),
            Ask::SetAttributes { path, attributes, .. } => set_attributes(path, attributes),
            Ask::PivotRoot { new_root, put_old } if new_root == put_old => format!(
                "Make {new_root} the root of this mount namespace, and put the old root on top of it, to be unmounted."
            ),
            Ask::PivotRoot { new_root, put_old } => {
                format!("Make {new_root} the root of this mount namespace, and put the old root at {put_old}.")
            }
            Ask::Chroot { path } => {
                format!("Let the paths of this process begin at {path}; the mounts stay as they are.")
            }
            Ask::SetHostname { name, .. } => format!("Call the machine {name}, within this UTS namespace."),
            Ask::Execute { path, .. } => format!("Replace the program of this process by {path}."),
            Ask::Connect { .. } => "Connect to another program, perhaps on another machine.".to_owned(),
            Ask::Rename { from, to } => format!("Call what is at {from} {to} from now on."),
            Ask::OpenUnnamed { directory } => format!("Open a new file in {directory} that has no name."),
        }
    }
}

fn unshare(flags: u64) -> String {
    let pid = libc::CLONE_NEWPID as u64;
    match flags & pid {
        0 => format!("Give this process {}.", own(flags, "its own")),
        _ if flags & !pid == 0 => "Give the children of this process their own process numbers.".to_owned(),
        _ => format!("Give this process {}, and its children their own process numbers.", own(flags & !pid, "its own")),
    }
}

/// `its own list of mounts and host name`.
fn own(flags: u64, whose: &str) -> String {
    let kinds: Vec<&str> = OWN.iter().filter(|(flag, _)| flags & *flag as u64 != 0).map(|(_, own)| *own).collect();
    match kinds.split_last() {
        None => "nothing of its own but what the flags say".to_owned(),
        Some((last, [])) => format!("{whose} {last}"),
        Some((last, others)) => format!("{whose} {} and {last}", others.join(", ")),
    }
}

/// The kernel decides by these flags in this order what a mount(2) is about (path_mount() in fs/namespace.c).
fn mount(source: &Text, target: &Text, kind: &Text, flags: u64) -> String {
    let below = if flags & libc::MS_REC != 0 { " and all mounts below it" } else { "" };
    if flags & (libc::MS_REMOUNT | libc::MS_BIND) == libc::MS_REMOUNT | libc::MS_BIND {
        format!("Set the options of the mount at {target} anew; its file system keeps its own.")
    } else if flags & libc::MS_REMOUNT != 0 {
        format!("Set the options of the file system at {target} anew.")
    } else if flags & libc::MS_BIND != 0 {
        format!("Show what is at {source}{below} at {target} too (a bind mount).")
    } else if flags & PROPAGATION != 0 {
        format!("Make the mount at {target}{below} {}.", propagation(flags))
    } else if flags & libc::MS_MOVE != 0 {
        format!("Move the mount at {source} to {target}.")
    } else {
        format!("Mount a file system of type {kind} on {target}.")
    }
}

fn propagation(flags: u64) -> &'static str {
    match flags & PROPAGATION {
        libc::MS_PRIVATE => "private: mount events neither leave it nor reach it",
        libc::MS_SLAVE => "a slave: mount events reach it and none leave it",
        libc::MS_SHARED => "shared: its copies in other namespaces see what is mounted below it, and it sees theirs",
        libc::MS_UNBINDABLE => "unbindable: private, and no bind mount copies it",
        _ => "of several propagation types at once",
    }
}

fn set_attributes(path: &Text, attributes: &Attributes) -> String {
    let place = if path.bytes().is_some_and(<[u8]>::is_empty) {
        "that a descriptor stands for".to_owned()
    } else {
        format!("at {path}")
    };
    match attributes {
        Attributes::Are { set: 0, clear: 0, propagation: kind, .. } if *kind != 0 => {
            format!("Make the mount {place} {}.", propagation(*kind))
        }
        _ => format!("Set the attributes of the mount {place} anew."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Text {
        Text::Is(text.as_bytes().to_vec())
    }

    fn mounting(flags: u64) -> String {
        Ask::Mount { source: text("a"), target: text("/b"), kind: text("tmpfs"), flags, data: Text::Null }.about()
    }

    #[test]
    fn a_mount_is_told_by_what_the_kernel_makes_of_its_flags() {
        assert_eq!(mounting(libc::MS_NOSUID), r#"Mount a file system of type "tmpfs" on "/b"."#);
        assert!(mounting(libc::MS_REC | libc::MS_PRIVATE).starts_with("Make the mount at \"/b\" and all mounts below"));
        assert!(mounting(libc::MS_BIND | libc::MS_PRIVATE).contains("a bind mount"));
        assert!(
            mounting(libc::MS_BIND | libc::MS_REMOUNT | libc::MS_RDONLY).starts_with("Set the options of the mount")
        );
        assert!(mounting(libc::MS_MOVE).starts_with("Move"));
    }

    #[test]
    fn namespaces_are_told_by_what_becomes_ones_own() {
        let about = |flags: i32| Ask::Unshare { flags: flags as u64 }.about();
        assert_eq!(about(libc::CLONE_NEWNS), "Give this process its own list of mounts.");
        assert_eq!(about(libc::CLONE_NEWPID), "Give the children of this process their own process numbers.");
        assert_eq!(
            about(libc::CLONE_NEWNS | libc::CLONE_NEWUTS | libc::CLONE_NEWPID),
            "Give this process its own list of mounts and host name, and its children their own process numbers."
        );
        assert!(about(0).contains("nothing of its own"));
    }
}
